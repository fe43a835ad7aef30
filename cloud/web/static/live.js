// Keeps a page current: each `changed` event fetches the page again and swaps the parts marked data-refresh.
const AT_MOST_EVERY_MS = 1000;
const REST = 4; // times what the last answer took: a page that is dear to make is asked for less often
const live = document.getElementById("live");
const liveText = document.getElementById("live-text");
let busy = false;
let again = false;

function say(state, text) {
  live.dataset.state = state;
  if (liveText.textContent !== text) liveText.textContent = text;
}

const parts = [...document.querySelectorAll("[data-refresh]")];
const served = new Map(parts.map((part) => [part.id, part.innerHTML])); // as it came: what is opened or lit since does not count

// By what something that has the focus is found again when its part was swapped.
const REACHED = "a[href], button, summary, [tabindex]";
const called = (one) => `${one.tagName} ${one.closest("summary") ? one.closest("details").id : one.id || one.getAttribute("href") || one.dataset.post || one.getAttribute("aria-label")}`;

function swap(fresh) {
  for (const part of parts) {
    const next = fresh.getElementById(part.id);
    if (!next || next.innerHTML === served.get(part.id)) continue;
    served.set(part.id, next.innerHTML);
    const focused = part.contains(document.activeElement) && document.activeElement !== part ? called(document.activeElement) : null;
    const open = new Map([...part.querySelectorAll("details")].map((one) => [one.id, one.open]));
    const before = new Map([...part.querySelectorAll("[id]")].map((one) => [one.id, one.textContent]));
    part.replaceChildren(...next.childNodes);
    for (const one of part.querySelectorAll("details")) one.open = open.get(one.id) ?? one.open;
    for (const one of part.querySelectorAll("dd[id], span[id]")) {
      if (before.has(one.id) && before.get(one.id) !== one.textContent) one.classList.add("fresh");
    }
    if (focused) [...part.querySelectorAll(REACHED)].find((one) => called(one) === focused)?.focus({ preventScroll: true });
  }
}

let afterwards = async () => {};

export async function refresh() {
  if (busy) {
    again = true;
    return;
  }
  busy = true;
  const begun = performance.now();
  try {
    const answer = await fetch(location.pathname + location.search, { headers: { Accept: "text/html" } });
    if (answer.redirected) {
      location.assign(answer.url); // signed out: the address is the form to sign in again
      return;
    }
    if (!answer.ok) throw new Error(`the page answers ${answer.status}`);
    swap(new DOMParser().parseFromString(await answer.text(), "text/html"));
    await afterwards();
    say("live", live.dataset.live);
  } catch {
    say("lost", live.dataset.away);
  }
  setTimeout(() => {
    busy = false;
    if (again) {
      again = false;
      refresh();
    }
  }, Math.max(AT_MOST_EVERY_MS, REST * (performance.now() - begun)));
}

export function keepCurrent(then) {
  if (then) afterwards = then;
  const stream = new EventSource("/api/v1/live");
  stream.addEventListener("changed", refresh);
  stream.addEventListener("error", () => {
    say("lost", live.dataset.again);
    if (stream.readyState === EventSource.CLOSED) refresh(); // refused: the page will say why
  });
}
