// The labeller's desk: crops come in twenties; answers and undos leave in the background, in the order they were given,
// and are kept until they are saved.
import { filled, post } from "/static/own.js";

const AHEAD = 20;
const RETRY_MS = [500, 1000, 2000, 5000];
const KEYS = { 1: "with_mask", 2: "without_mask", 3: "mask_worn_incorrectly", 0: "not_a_face", "?": "cannot_tell" };

const words = document.getElementById("main").dataset;
const at = (id) => document.getElementById(id);
const queue = []; // crops to come, the first is shown
const given = []; // answers of this visit that stand, newest last
const unsaved = []; // answers and undos that the service has not confirmed, oldest first
const clock = new Intl.DateTimeFormat(words.tongue, { dateStyle: "medium", timeStyle: "short", timeZone: words.zone });
let shownAt = 0;
let begun = 0; // when the first of the given answers was given
let fetching = false;
let sending = false;
let failures = 0;
let none = false; // the service has no more crops now

function say(state, text) {
  at("live").dataset.state = state;
  at("live-text").textContent = text;
}

function later(act) {
  const wait = RETRY_MS[Math.min(failures, RETRY_MS.length - 1)];
  failures += 1;
  setTimeout(act, wait);
}

async function more() {
  if (fetching || queue.length > AHEAD / 2) return;
  fetching = true;
  try {
    const answer = await fetch(`/api/v1/labels/next?count=${AHEAD}`);
    if (answer.status === 401) {
      signedOut(more);
      return;
    }
    if (!answer.ok) throw new Error(`the service answers ${answer.status}`);
    // a reply may be older than the answers saved meanwhile, so what was answered here stays answered
    const known = new Set([...queue, ...given].map((one) => one.crop));
    const fresh = (await answer.json()).filter((one) => !known.has(one.crop));
    for (const one of fresh) {
      one.image = new Image(); // kept, so that it is fetched once: the browser stores no picture on disk
      one.image.src = one.picture;
      queue.push(one);
    }
    none = queue.length === 0;
    failures = 0;
    say("live", words.live);
    if (none) setTimeout(more, 5000);
  } catch {
    say("lost", words.away);
    later(more);
  } finally {
    fetching = false;
  }
  show();
}

function show() {
  const crop = queue[0];
  at("work").hidden = !crop;
  at("idle").hidden = Boolean(crop) || !none;
  for (const button of at("answers").querySelectorAll("[data-answer]")) button.disabled = !crop;
  at("undo").disabled = false;
  if (!crop) {
    at("idle-title").textContent = given.length ? words.over : words.none;
    at("idle-text").textContent = given.length ? words.overMore : words.noneMore;
    return;
  }
  if (at("picture").dataset.crop !== crop.crop) {
    at("picture").dataset.crop = crop.crop;
    at("picture").src = crop.picture;
    at("where").textContent = `${crop.door}, ${clock.format(new Date(crop.at))}`;
    shownAt = performance.now();
  }
  place();
}

function place() {
  const crop = queue[0];
  const picture = at("picture");
  if (!crop || !picture.naturalWidth) return;
  const { clientWidth: width, clientHeight: height } = at("frame");
  const scale = Math.min(width / picture.naturalWidth, height / picture.naturalHeight);
  const size = [picture.naturalWidth * scale, picture.naturalHeight * scale];
  picture.dataset.zoom = scale >= 3 ? "1" : "0";
  const box = at("box");
  box.style.width = `${size[0]}px`;
  box.style.height = `${size[1]}px`;
  const [x0, y0, x1, y1] = crop.box;
  for (const edge of box.querySelectorAll("rect")) {
    for (const [name, value] of [["x", x0], ["y", y0], ["width", x1 - x0], ["height", y1 - y0]]) edge.setAttribute(name, value);
  }
}

function answer(kind) {
  const crop = queue.shift();
  if (!crop) return;
  if (!given.length) begun = Date.now();
  given.push(crop);
  const took = Math.round(performance.now() - shownAt);
  unsaved.push({ crop, address: "/api/v1/labels", wish: { id: newId(), crop: crop.crop, answer: kind, took_ms: took } });
  flash(kind);
  show();
  save();
  more();
}

function undo() {
  const crop = given.pop(); // none: an answer of an earlier visit, which only the service knows
  unsaved.push({ crop, address: "/api/v1/labels/undo", wish: { id: newId() } });
  if (crop) bring(crop);
  save();
}

function bring(crop) {
  without(queue, crop);
  queue.unshift(crop);
  show();
}

function without(list, crop, of = (one) => one) {
  const found = list.findIndex((one) => of(one)?.crop === crop.crop);
  if (found >= 0) list.splice(found, 1);
}

async function save() {
  if (sending) return;
  sending = true;
  try {
    while (unsaved.length) {
      const [first] = unsaved;
      const reply = await post(first.address, JSON.stringify(first.wish)); // the same id again where no reply came: it counts once
      if (reply.status === 401 || reply.status === 403) {
        notSaved(words.unsavedOut);
        signedOut(save);
        return;
      }
      if (!reply.ok && ![404, 409, 422].includes(reply.status)) throw new Error(`the service answers ${reply.status}`);
      const told = await reply.json();
      unsaved.shift(); // refused for good is settled as well
      failures = 0;
      if (at("saving").dataset.state === "lost") at("saving").textContent = "";
      at("saving").dataset.state = "";
      settle(first, reply.ok, told);
    }
  } catch {
    notSaved(words.unsaved);
    later(save);
    return;
  } finally {
    sending = false;
  }
  progress();
}

function notSaved(text) {
  at("saving").dataset.state = "lost";
  at("saving").textContent = filled(text, { number: unsaved.length });
}

function settle({ crop, wish }, kept, told) {
  if (wish.answer) {
    if (kept) return;
    at("saving").textContent = filled(words.refused, told);
    without(unsaved, crop, (one) => one.crop); // its undo would take another answer back
    without(given, crop);
    without(queue, crop);
    show();
  } else if (!kept) {
    at("saving").textContent = `${told.detail}.`;
  } else {
    at("saving").textContent = "";
    if (told.crop === crop?.crop) return; // it is shown already, or answered again
    if (crop) without(queue, crop); // answered in another tab meanwhile, or its picture is gone: the one before came
    bring(told);
  }
}

function signedOut(again) {
  say("lost", words.out);
  later(again);
}

function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16)); // randomUUID needs https, and a quick try has none
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = [...bytes].map((one) => one.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

async function progress() {
  try {
    const told = await (await fetch("/api/v1/labels/progress")).json();
    const hours = given.length > 1 ? (Date.now() - begun) / 3_600_000 : 0;
    const pace = hours ? filled(words.pace, { number: Math.round((given.length - 1) / hours) }) : "";
    at("tally").textContent = filled(words.tally, { ...told, yours: given.length, pace });
  } catch {
    // the next one will tell
  }
}

function flash(kind) {
  const button = at("answers").querySelector(`[data-answer="${kind}"]`);
  button.classList.add("given");
  setTimeout(() => button.classList.remove("given"), 250);
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (event.key.toLowerCase() === "z") undo();
  else if (KEYS[event.key] && queue.length) answer(KEYS[event.key]);
  else return;
  event.preventDefault();
});
at("answers").addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button?.dataset.answer) answer(button.dataset.answer);
  else if (button) undo();
});
at("picture").addEventListener("load", place);
addEventListener("resize", place);
addEventListener("beforeunload", (event) => {
  if (unsaved.length) event.preventDefault();
});

show();
more();
progress();
