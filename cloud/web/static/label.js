// The labeller's desk: crops come in twenties, answers leave in the background and are kept until they are saved.
const AHEAD = 20;
const RETRY_MS = [500, 1000, 2000, 5000];
const KEYS = { 1: "with_mask", 2: "without_mask", 3: "mask_worn_incorrectly", 0: "not_a_face", "?": "cannot_tell" };

const at = (id) => document.getElementById(id);
const queue = []; // crops to come, the first is shown
const given = []; // answers of this visit, newest last
const unsaved = []; // of those, what the service has not confirmed
let labeller = localStorage.getItem("labeller") ?? "";
let shownAt = 0;
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
  if (fetching || !labeller || queue.length > AHEAD / 2) return;
  fetching = true;
  try {
    const answer = await fetch(`/api/v1/labels/next?${new URLSearchParams({ labeller, count: AHEAD })}`);
    if (!answer.ok) throw new Error(`the service answers ${answer.status}`);
    // a reply may be older than the answers saved meanwhile, so what was answered here stays answered
    const known = new Set([...queue, ...given.map((one) => one.crop)].map((one) => one.crop));
    const fresh = (await answer.json()).filter((one) => !known.has(one.crop));
    for (const one of fresh) {
      new Image().src = one.picture; // into the browser's cache
      queue.push(one);
    }
    none = queue.length === 0;
    failures = 0;
    say("live", "Live");
    if (none) setTimeout(more, 5000);
  } catch {
    say("lost", "The service does not answer; trying again");
    later(more);
  } finally {
    fetching = false;
  }
  show();
}

function show() {
  const crop = queue[0];
  at("who").hidden = Boolean(labeller);
  at("work").hidden = !labeller || !crop;
  at("idle").hidden = !labeller || Boolean(crop) || !none;
  for (const button of at("answers").querySelectorAll("[data-answer]")) button.disabled = !crop || !labeller;
  at("undo").disabled = !labeller;
  if (!crop) {
    at("idle-title").textContent = given.length ? "All done for now" : "There is nothing to label yet";
    at("idle-text").textContent = given.length
      ? "New crops appear here by themselves."
      : "Doors with crops = true under [learning] send the faces they are least sure of, and some at random.";
    return;
  }
  if (at("picture").dataset.crop !== crop.crop) {
    at("picture").dataset.crop = crop.crop;
    at("picture").src = crop.picture;
    at("where").textContent = `${crop.door}, ${new Date(crop.at).toLocaleString([], { dateStyle: "medium", timeStyle: "short" })}`;
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
  const wish = { id: newId(), crop: crop.crop, labeller, answer: kind, took_ms: Math.round(performance.now() - shownAt) };
  given.push({ crop, kind, at: Date.now() });
  unsaved.push(wish);
  flash(kind);
  show();
  save();
  more();
}

async function save() {
  if (sending) return;
  sending = true;
  while (unsaved.length) {
    try {
      const reply = await post("/api/v1/labels", unsaved[0]);
      if (reply.ok || reply.status === 409 || reply.status === 404 || reply.status === 422) {
        const wish = unsaved.shift(); // refused for good is settled as well
        if (!reply.ok) at("saving").textContent = `Not kept: ${(await reply.json()).detail}.`;
        else if (at("saving").dataset.state === "lost") at("saving").textContent = "";
        if (!reply.ok) given.splice(given.findIndex((one) => one.crop.crop === wish.crop), 1);
        at("saving").dataset.state = "";
        failures = 0;
        continue;
      }
      throw new Error(`the service answers ${reply.status}`);
    } catch {
      at("saving").dataset.state = "lost";
      at("saving").textContent = `${unsaved.length} not saved yet: the service does not answer. Keep this page open; it tries again.`;
      sending = false;
      later(save);
      return;
    }
  }
  sending = false;
  progress();
}

async function undo() {
  if (unsaved.length) {
    at("saving").textContent = "One moment: your last answer is still being saved.";
    return;
  }
  try {
    const reply = await post("/api/v1/labels/undo", { id: newId(), labeller });
    const told = await reply.json();
    if (!reply.ok) {
      at("saving").textContent = `${told.detail}.`;
      return;
    }
    given.pop();
    at("saving").textContent = "";
    const already = queue.findIndex((one) => one.crop === told.crop);
    if (already >= 0) queue.splice(already, 1);
    queue.unshift(told);
    show();
    progress();
  } catch {
    at("saving").textContent = "The service does not answer: nothing was taken back. Try again.";
  }
}

function post(address, body) {
  return fetch(address, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
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
    const hours = given.length > 1 ? (Date.now() - given[0].at) / 3_600_000 : 0;
    const pace = hours ? `, ${Math.round((given.length - 1) / hours)} an hour` : "";
    at("tally").textContent = `${told.labelled} labelled, ${told.waiting} waiting; ${given.length} by you now${pace}`;
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
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.tagName === "INPUT" || event.repeat) return;
  if (event.key.toLowerCase() === "z") undo();
  else if (KEYS[event.key] && queue.length && labeller) answer(KEYS[event.key]);
  else return;
  event.preventDefault();
});
at("answers").addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button?.dataset.answer) answer(button.dataset.answer);
  else if (button) undo();
});
at("who").addEventListener("submit", (event) => {
  event.preventDefault();
  labeller = at("name").value.trim();
  if (!labeller) return;
  localStorage.setItem("labeller", labeller);
  show();
  more();
});
at("picture").addEventListener("load", place);
addEventListener("resize", place);
addEventListener("beforeunload", (event) => {
  if (unsaved.length) event.preventDefault();
});

if (!labeller) say("live", "Live");
show();
more();
progress();
