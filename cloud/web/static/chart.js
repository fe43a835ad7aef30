// Draws compliance and passes per hour with uPlot: every hour stands alone, gaps stay gaps, too few are shown as such.
const HOUR_S = 3600;
const HOURS = 24;
const LABELS = ["with_mask", "mask_worn_incorrectly", "without_mask"];
const COLOURS = { with_mask: "--with", mask_worn_incorrectly: "--wrong", without_mask: "--without" };

const box = document.getElementById("chart");
const readout = document.getElementById("readout");
const rows = document.getElementById("hours");
const zone = box.dataset.zone;
const clock = new Intl.DateTimeFormat("en-GB", { timeZone: zone, hour: "2-digit", minute: "2-digit" });
const weekday = new Intl.DateTimeFormat("en-GB", { timeZone: zone, weekday: "short", day: "numeric" });
const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const percent = (share) => `${Math.round(share * 100)}\u00a0%`;
const span = (share) => `${Math.round(share.low * 100)}\u2013${Math.round(share.high * 100)}\u00a0%`;
const hourName = (at) => `${clock.format(new Date(at * 1000))}\u2013${clock.format(new Date((at + HOUR_S) * 1000))}`;

const whole = (value) => (Number.isInteger(value) ? value.toLocaleString("en").replace(",", "\u202f") : "");

let hours = [];
let plots = [];
let pointed = null; // index of the hour under the pointer

function countOf(tally, label) {
  return tally.labels.find((one) => one.label === label).passes;
}

function inside(u, at) {
  const left = u.valToPos(at, "x", true);
  const right = u.valToPos(at + HOUR_S, "x", true);
  const pad = Math.min(6 * devicePixelRatio, (right - left) * 0.14);
  return [left + pad, right - left - 2 * pad];
}

function drawRates(u) {
  const { ctx } = u;
  ctx.save();
  for (const { at, tally } of hours) {
    if (!tally || !tally.passes) continue;
    const [left, width] = inside(u, at);
    const share = tally.compliance;
    if (!share) {
      ctx.strokeStyle = style("--soft");
      ctx.lineWidth = 2 * devicePixelRatio;
      ctx.beginPath();
      ctx.arc(left + width / 2, u.valToPos(0, "y", true) - 8 * devicePixelRatio, 4 * devicePixelRatio, 0, 2 * Math.PI);
      ctx.stroke();
      continue;
    }
    const [high, low, rate] = [share.high, share.low, share.rate].map((value) => u.valToPos(value * 100, "y", true));
    ctx.fillStyle = style("--interval");
    ctx.beginPath();
    ctx.roundRect(left, high, width, Math.max(low - high, 1), Math.min(4 * devicePixelRatio, width / 2));
    ctx.fill();
    ctx.fillStyle = style("--with");
    ctx.fillRect(left, rate - 1.5 * devicePixelRatio, width, 3 * devicePixelRatio);
  }
  ctx.restore();
}

function drawPasses(u) {
  const { ctx } = u;
  ctx.save();
  for (const { at, tally } of hours) {
    if (!tally) continue;
    const [left, width] = inside(u, at);
    let sum = 0;
    for (const label of LABELS) {
      const bottom = u.valToPos(sum, "y", true);
      sum += countOf(tally, label);
      const top = u.valToPos(sum, "y", true);
      ctx.fillStyle = style(COLOURS[label]);
      if (bottom - top > 0.5) ctx.fillRect(left, top, width, Math.max(bottom - top - devicePixelRatio, 1));
    }
  }
  ctx.restore();
}

function describe(index) {
  const { at, tally } = hours[index];
  const [when, what] = [document.createElement("strong"), document.createElement("span")];
  when.textContent = hourName(at);
  if (!tally || !tally.passes) what.textContent = " · no passes";
  else {
    const share = tally.compliance;
    const says = share ? `${percent(share.rate)} properly worn, interval ${span(share)}` : "too few for a share";
    const sofar = index === hours.length - 1 ? " so far" : "";
    what.textContent = ` · ${says} · ${whole(tally.passes)} ${tally.passes === 1 ? "pass" : "passes"}${sofar}`;
  }
  readout.replaceChildren(when, what);
}

function lastBusyHour() {
  const last = hours.findLastIndex(({ tally }) => tally && tally.passes);
  return last < 0 ? hours.length - 1 : last;
}

function tick(s) {
  const at = new Date(s * 1000);
  const time = clock.format(at);
  return time === "00:00" ? weekday.format(at) : time;
}

function options(height, range, values, draw, { splits, hours: shown }) {
  const axis = {
    stroke: style("--soft"), font: `12px ${getComputedStyle(document.body).fontFamily}`,
    grid: { stroke: style("--line"), width: 1 }, ticks: { show: false },
  };
  const narrow = box.clientWidth < 560;
  return {
    width: box.clientWidth, height, legend: { show: false }, tzDate: (s) => uPlot.tzDate(new Date(s * 1000), zone),
    padding: [8, 18, 0, 0],
    cursor: { y: false, drag: { x: false, y: false }, sync: { key: "hours" }, points: { show: false } },
    scales: { x: { time: true, range: () => [hours[0].at, hours[hours.length - 1].at + HOUR_S] }, y: { range } },
    axes: [
      { ...axis, grid: { show: false }, space: narrow ? 64 : 56, size: shown ? 30 : 10, values: (u, at) => at.map((s) => (shown ? tick(s) : "")) },
      { ...axis, size: 52, space: 24, splits, values },
    ],
    series: [{}, { paths: () => null, points: { show: false } }],
    hooks: {
      draw: [draw],
      setCursor: [point],
    },
  };
}

function point(u) {
  pointed = (u.cursor.left ?? -1) >= 0 ? hourAt(u) : null;
  if (pointed !== null) describe(pointed);
}

function hourAt(u) {
  const at = u.posToVal(u.cursor.left, "x");
  return Math.max(0, Math.min(hours.length - 1, Math.floor((at - hours[0].at) / HOUR_S)));
}

function columns() {
  const at = hours.map((hour) => hour.at);
  return [at, at.map(() => null)]; // the hooks draw; uPlot keeps the scales
}

function highest() {
  return Math.max(4, ...hours.map(({ tally }) => tally?.passes ?? 0)) * 1.08;
}

function build() {
  plots.forEach((plot) => plot.destroy());
  plots = [
    new uPlot(
      options(230, () => [0, 100], (u, ticks) => ticks.map((value) => `${value}\u00a0%`), drawRates, { splits: () => [0, 25, 50, 75, 100], hours: false }),
      columns(), document.getElementById("rate-plot"),
    ),
    new uPlot(
      options(140, () => [0, highest()], (u, ticks) => ticks.map(whole), drawPasses, { hours: true }),
      columns(), document.getElementById("passes-plot"),
    ),
  ];
}

function show() {
  if (plots.length) plots.forEach((plot) => plot.setData(columns()));
  else build();
  if (hours.some(({ tally }) => tally)) describe(pointed ?? lastBusyHour());
  else readout.textContent = "No passes in the last 24 hours";
}

function cell(text, kind = "td") {
  const one = document.createElement(kind);
  one.textContent = text;
  if (kind === "th") one.scope = "row";
  else one.className = "figure";
  return one;
}

function fillTable() {
  const order = ["with_mask", "without_mask", "mask_worn_incorrectly"];
  rows.replaceChildren(...hours.map(({ at, tally }) => {
    const row = document.createElement("tr");
    const share = tally?.compliance;
    row.append(
      cell(hourName(at), "th"), cell(share ? percent(share.rate) : tally?.passes ? "too few" : "–"), cell(share ? span(share) : "–"),
      cell(String(tally?.passes ?? 0)), ...order.map((label) => cell(String(tally ? countOf(tally, label) : 0))),
    );
    return row;
  }));
}

export async function drawChart() {
  const end = (Math.floor(Date.now() / 1000 / HOUR_S) + 1) * HOUR_S;
  const start = end - HOURS * HOUR_S;
  const query = new URLSearchParams({ from: new Date(start * 1000).toISOString(), to: new Date(end * 1000).toISOString(), by: "hour" });
  const answer = await fetch(`/api/v1/counts?${query}`);
  if (!answer.ok) throw new Error(`the counts answer ${answer.status}`);
  const tallies = new Map((await answer.json()).cells.map((one) => [Date.parse(one.at) / 1000, one.tally]));
  hours = Array.from({ length: HOURS }, (_, index) => start + index * HOUR_S).map((at) => ({ at, tally: tallies.get(at) }));
  show();
  fillTable();
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => hours.length && build());
let resizing = 0;
addEventListener("resize", () => {
  cancelAnimationFrame(resizing);
  resizing = requestAnimationFrame(() => hours.length && build());
});
