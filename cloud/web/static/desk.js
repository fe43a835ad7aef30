// Fleet and learning: kept current, and their buttons sent; listened to on the document, as the parts are swapped.
import { keepCurrent, refresh } from "/static/live.js";
import { filled, post } from "/static/own.js";

const answerLine = document.getElementById("answer");
const dialog = document.getElementById("confirm");

function agreed(question, yes) {
  document.getElementById("confirm-text").textContent = question;
  document.getElementById("confirm-yes").textContent = yes;
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((done) => {
    dialog.addEventListener("close", () => done(dialog.returnValue === "yes"), { once: true });
  });
}

async function send(button) {
  const { post: address, body, said, ask } = button.dataset;
  if (ask && !(await agreed(ask, button.textContent))) return;
  answerLine.textContent = "";
  try {
    const answer = await post(address, body);
    if (answer.status === 401) {
      location.reload();
      return;
    }
    const told = await answer.json();
    answerLine.dataset.state = answer.ok ? "fine" : "refused";
    answerLine.textContent = answer.ok ? said : filled(answerLine.dataset.refused, told);
  } catch {
    answerLine.dataset.state = "refused";
    answerLine.textContent = answerLine.dataset.away;
  }
  await refresh();
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  if (button.dataset.post) send(button);
  else if (button.dataset.close !== undefined) dialog.close(button.dataset.close);
});

function openNamed() {
  const named = location.hash && document.getElementById(location.hash.slice(1));
  if (named instanceof HTMLDetailsElement) named.open = true;
}

addEventListener("hashchange", openNamed);
openNamed();
keepCurrent();
