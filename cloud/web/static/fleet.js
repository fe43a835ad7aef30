// Keeps the fleet page current and sends its buttons; they are listened to on the document, as the parts are swapped.
const live = document.getElementById("live");
const liveText = document.getElementById("live-text");

function say(state, text) {
  live.dataset.state = state;
  if (liveText.textContent !== text) liveText.textContent = text;
}

async function refresh() {
  try {
    const answer = await fetch("/fleet", { headers: { Accept: "text/html" } });
    if (!answer.ok) throw new Error(`the page answers ${answer.status}`);
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of document.querySelectorAll("[data-refresh]")) {
      part.replaceChildren(...fresh.getElementById(part.id).childNodes);
    }
    say("live", "Live");
  } catch {
    say("lost", "Not updating: the service does not answer");
  }
}

document.addEventListener("click", async (event) => {
  const verb = event.target.closest("button[data-verb]")?.dataset.verb;
  if (!verb) return;
  const answer = await fetch(`/api/v1/rollout/${verb}`, { method: "POST" });
  const body = await answer.json();
  await refresh();
  document.getElementById("answer").textContent = answer.ok ? `Now ${body.state}.` : body.detail;
});

const stream = new EventSource("/api/v1/live");
stream.addEventListener("changed", refresh);
stream.addEventListener("error", () => say("lost", "Reconnecting"));
