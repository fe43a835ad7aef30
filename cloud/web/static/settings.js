// Sites and doors: forms are sent as JSON, and what became of them is said beside the button.
import { keepCurrent, refresh } from "/static/live.js";
import { change, filled } from "/static/own.js";
import { Plan } from "/static/plan.js";

const dialog = document.getElementById("confirm");
const planBox = document.getElementById("plan");
const plan = planBox && new Plan(planBox);

function agreed(question, yes) {
  document.getElementById("confirm-text").textContent = question;
  document.getElementById("confirm-yes").textContent = yes;
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((done) => {
    dialog.addEventListener("close", () => done(dialog.returnValue === "yes"), { once: true });
  });
}

const week = (form) => [...form.querySelectorAll("input[name=week]")].map((one) => one.value);

const bodies = {
  site: (form) => ({
    name: form.elements.name.value, time_zone: form.elements.time_zone.value.trim(), week: week(form),
    closed: form.elements.closed.value.split(/[\s,;]+/).filter(Boolean),
  }),
  door: (form) => {
    const { title, site, note, installed_at, budget, window_min, own_hours } = form.elements;
    const sampled = budget.value !== "" || window_min.value !== "";
    return {
      title: title.value, site: site.value || null, note: note.value, installed_at: installed_at.value || null,
      sampling: sampled ? { budget: Number(budget.value), window_s: Math.round(60 * Number(window_min.value)) } : null,
      week: own_hours.checked ? week(form) : null, ...plan.told(),
    };
  },
};

function why(told) {
  if (typeof told.detail === "string") return told.detail;
  const { loc, msg } = told.detail[0];
  return `${loc.slice(1).join(" ")}: ${msg.replace("Value error, ", "")}`;
}

// What was read is what is changed: whoever saves second is told, and overwrites nothing.
function condition(form, method) {
  if (method !== "PUT") return {};
  return form.dataset.version ? { "If-Match": `"${form.dataset.version}"` } : { "If-None-Match": "*" };
}

async function send(form, method, address, body) {
  const line = form.querySelector(".answer");
  line.textContent = "";
  try {
    const answer = await change(method, address, body && JSON.stringify(body), condition(form, method));
    const told = await answer.json();
    if (answer.ok && method === "PUT") form.dataset.version = answer.headers.get("ETag")?.match(/"(.*)"/)[1] ?? "";
    line.dataset.state = answer.ok ? "fine" : "refused";
    line.textContent = answer.ok ? line.dataset.saved : filled(line.dataset.refused, { detail: why(told) });
    return answer.ok;
  } catch {
    line.dataset.state = "refused";
    line.textContent = line.dataset.away;
    return false;
  }
}

document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (!form.dataset.put) return; // the language
  event.preventDefault();
  const { kind, put } = form.dataset;
  const fresh = form.elements.slug?.value;
  const saved = await send(form, "PUT", put + (fresh ?? ""), bodies[kind](form));
  if (saved && kind === "site") location.replace(`/settings#site-${fresh ?? put.split("/").at(-1)}`);
  if (saved && kind === "site") location.reload();
  else if (saved) await refresh();
});

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  if (button.dataset.close !== undefined) dialog.close(button.dataset.close);
  if (!button.dataset.delete || !(await agreed(button.dataset.ask, button.textContent))) return;
  if (await send(button.closest("form"), "DELETE", button.dataset.delete)) location.reload();
});

document.querySelector("input[name=own_hours]")?.addEventListener("change", (event) => {
  document.getElementById("own-week").hidden = !event.target.checked;
});

const named = location.hash && document.getElementById(location.hash.slice(1));
if (named instanceof HTMLDetailsElement) named.open = true;
keepCurrent();
