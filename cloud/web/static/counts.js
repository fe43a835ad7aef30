// Draws the charts of overview and door from the tables beside them: a gap stays a gap, an interval is seen before its mark.
import { keepCurrent } from "/static/live.js";

const LABELS = ["with_mask", "mask_worn_incorrectly", "without_mask"]; // from the ground up
const COLOURS = { with_mask: "--with", mask_worn_incorrectly: "--wrong", without_mask: "--without" };
const GAPS = new Set(["unseen", "untold"]);
const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const grouped = (value) => String(value).replace(/\B(?=(\d{3})+$)/g, "\u202f");
const charts = [...document.querySelectorAll(".chart")].map(open);

function open(box) {
  const chart = { box, readout: box.querySelector(".readout"), reach: box.querySelector(".reach"), bins: [], plots: [], at: null };
  chart.reach.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key];
    if (!step || !chart.bins.length) return;
    event.preventDefault();
    chart.at = Math.max(0, Math.min(chart.bins.length - 1, (chart.at ?? latest(chart)) + step));
    describe(chart);
  });
  chart.reach.addEventListener("blur", () => release(chart));
  return chart;
}

function read(chart) {
  const table = document.getElementById(chart.box.dataset.table); // swapped as the day goes on, and with the day itself
  chart.bins = [...table.querySelectorAll("tr[data-from]")].map(({ dataset: said, cells }) => {
    const number = (name) => (said[name] === undefined ? null : Number(said[name]));
    return {
      from: number("from"), to: number("to"), watch: said.watch, tick: said.tick, words: said.words, release: said.release,
      name: cells[0].firstChild.textContent.trim(), passes: number("passes"), rate: number("rate"), low: number("low"), high: number("high"), corrected: said.corrected === "1",
      bandLow: number("bandLow"), bandMiddle: number("bandMiddle"), bandHigh: number("bandHigh"),
      labels: Object.fromEntries(LABELS.map((label) => [label, number(label)])),
    };
  });
  const coming = table.dataset.coming?.split(" ").map((said) => said.split("=")) ?? [];
  chart.coming = coming.map(([from, tick]) => ({ from: Number(from), tick }));
  chart.from = Number(table.dataset.from);
  chart.to = Math.max(Number(table.dataset.to), chart.bins.at(-1)?.to ?? 0);
}

function inside(u, bin, share = 0.14) {
  const left = u.valToPos(bin.from, "x", true);
  const right = u.valToPos(bin.to, "x", true);
  const pad = Math.min(6 * devicePixelRatio, (right - left) * share);
  return [left + pad, right - left - 2 * pad];
}

function hatched(ctx, strong) {
  const size = (strong ? 7 : 9) * devicePixelRatio;
  const tile = document.createElement("canvas");
  tile.width = tile.height = size;
  const pen = tile.getContext("2d");
  pen.strokeStyle = style("--hatch");
  pen.globalAlpha = strong ? 1 : 0.5;
  pen.lineWidth = (strong ? 1.6 : 1) * devicePixelRatio;
  pen.beginPath();
  for (const shift of [-size, 0, size]) {
    pen.moveTo(shift - 1, size + 1);
    pen.lineTo(shift + size + 1, -1);
  }
  pen.stroke();
  return ctx.createPattern(tile, "repeat");
}

function drawGround(chart, u) {
  const { ctx, bbox } = u;
  const [strong, light] = [hatched(ctx, true), hatched(ctx, false)];
  for (const [index, bin] of chart.bins.entries()) {
    const [left, right] = [u.valToPos(bin.from, "x", true), u.valToPos(bin.to, "x", true)];
    const gap = GAPS.has(bin.watch) && bin.passes === null;
    if (index === chart.at) {
      ctx.fillStyle = style("--faint");
      ctx.fillRect(left, bbox.top, right - left, bbox.height);
    }
    if (!gap && bin.watch !== "partly") continue;
    ctx.fillStyle = gap ? strong : light;
    ctx.fillRect(left, bbox.top, right - left, bbox.height);
  }
}

function drawSplices(chart, u, named) {
  const { ctx, bbox } = u;
  for (const bin of chart.bins) {
    if (!bin.release) continue;
    const x = Math.round(u.valToPos(bin.from, "x", true));
    ctx.strokeStyle = ctx.fillStyle = style("--ink");
    ctx.lineWidth = devicePixelRatio;
    ctx.setLineDash([4 * devicePixelRatio, 3 * devicePixelRatio]);
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
    ctx.setLineDash([]);
    if (!named) continue;
    ctx.font = `600 ${12 * devicePixelRatio}px ${getComputedStyle(document.body).fontFamily}`;
    ctx.textBaseline = "bottom";
    const room = x + ctx.measureText(bin.release).width + 6 * devicePixelRatio < bbox.left + bbox.width;
    ctx.textAlign = room ? "left" : "right";
    ctx.fillText(bin.release, x + (room ? 5 : -5) * devicePixelRatio, bbox.top + bbox.height - 4 * devicePixelRatio);
  }
}

function drawRates(chart, u) {
  const { ctx } = u;
  let last = null; // the mark that the next one is joined to
  for (const bin of chart.bins) {
    const [band, mark] = bin.corrected ? [style("--interval"), style("--with")] : [style("--band"), style("--soft")];
    if (bin.release || last?.corrected !== bin.corrected) last = null;
    if (bin.rate === null) {
      last = null;
      if (bin.passes) few(u, bin);
      continue;
    }
    const [left, width] = inside(u, bin);
    const [high, low, rate] = [bin.high, bin.low, bin.rate].map((value) => u.valToPos(value * 100, "y", true));
    ctx.fillStyle = band;
    ctx.beginPath();
    ctx.roundRect(left, high, width, Math.max(low - high, 2 * devicePixelRatio), Math.min(4 * devicePixelRatio, width / 2));
    ctx.fill();
    if (last) {
      ctx.strokeStyle = mark;
      ctx.lineWidth = 1.2 * devicePixelRatio;
      ctx.globalAlpha = 0.6;
      ctx.beginPath();
      ctx.moveTo(last.x, last.y);
      ctx.lineTo(left, rate);
      ctx.stroke();
      ctx.globalAlpha = 1;
    }
    ctx.fillStyle = mark;
    ctx.fillRect(left, rate - 1.5 * devicePixelRatio, width, 3 * devicePixelRatio);
    last = { x: left + width, y: rate, corrected: bin.corrected };
  }
}

function few(u, bin) {
  const { ctx } = u;
  const [left, width] = inside(u, bin);
  ctx.strokeStyle = style("--soft");
  ctx.lineWidth = 2 * devicePixelRatio;
  ctx.beginPath();
  ctx.arc(left + width / 2, u.valToPos(0, "y", true) - 9 * devicePixelRatio, 4 * devicePixelRatio, 0, 2 * Math.PI);
  ctx.stroke();
}

function drawPasses(chart, u) {
  const { ctx } = u;
  for (const bin of chart.bins) {
    if (bin.passes === null) continue;
    const [left, width] = inside(u, bin);
    let sum = 0;
    for (const label of LABELS) {
      const bottom = u.valToPos(sum, "y", true);
      sum += bin.labels[label];
      const top = u.valToPos(sum, "y", true);
      ctx.fillStyle = style(COLOURS[label]);
      if (bottom - top > 0.5) ctx.fillRect(left, top, width, Math.max(bottom - top - devicePixelRatio, 1));
    }
    if (bin.passes === 0) { // watched, and nobody came: a mark on the ground line
      ctx.fillStyle = style("--soft");
      ctx.fillRect(left, u.valToPos(0, "y", true) - 2 * devicePixelRatio, width, 2 * devicePixelRatio);
    }
  }
}

function drawUsual(chart, u) {
  const { ctx } = u;
  for (const bin of chart.bins) {
    if (bin.bandHigh !== null) {
      const [left, right] = [u.valToPos(bin.from, "x", true), u.valToPos(bin.to, "x", true)];
      const [high, low, middle] = [bin.bandHigh, bin.bandLow, bin.bandMiddle].map((value) => u.valToPos(value, "y", true));
      ctx.fillStyle = style("--band");
      ctx.fillRect(left, high, right - left + 0.5, Math.max(low - high, 2 * devicePixelRatio));
      ctx.fillStyle = style("--soft");
      ctx.fillRect(left, middle - devicePixelRatio, right - left, 2 * devicePixelRatio);
    }
    if (bin.passes === null) continue;
    const [left, width] = inside(u, bin, 0.26);
    const top = u.valToPos(bin.passes, "y", true);
    const ground = u.valToPos(0, "y", true);
    ctx.fillStyle = style("--with");
    ctx.fillRect(left, Math.min(top, ground - 2 * devicePixelRatio), width, Math.max(ground - top, 2 * devicePixelRatio));
  }
}

const highest = (chart) => Math.max(4, ...chart.bins.map((bin) => Math.max(bin.passes ?? 0, bin.bandHigh ?? 0))) * 1.08;
const PLOTS = {
  rate: { height: 230, range: () => [0, 100], splits: () => [0, 25, 50, 75, 100], values: (u, ticks) => ticks.map((value) => `${value}\u00a0%`), draw: drawRates, named: true },
  passes: { height: 150, range: (chart) => [0, highest(chart)], values: (u, ticks) => ticks.map((value) => (Number.isInteger(value) ? grouped(value) : "")), draw: drawPasses },
  usual: { height: 220, range: (chart) => [0, highest(chart)], values: (u, ticks) => ticks.map((value) => (Number.isInteger(value) ? grouped(value) : "")), draw: drawUsual },
};

function ticks(chart) {
  const step = (chart.bins[0].to - chart.bins[0].from) || 3600;
  const most = Math.max(2, Math.floor((chart.box.clientWidth - 70) / 62));
  const number = Math.ceil((chart.to - chart.from) / step / most);
  const every = [1, 2, 3, 4, 6, 7, 8, 12, 14].find((one) => one >= number) ?? number;
  return [...chart.bins, ...chart.coming].filter((_, index) => index % every === 0);
}

function options(chart, kind, last) {
  const plot = PLOTS[kind];
  const axis = {
    stroke: style("--soft"), font: `12px ${getComputedStyle(document.body).fontFamily}`,
    grid: { stroke: style("--line"), width: 1 }, ticks: { show: false },
  };
  const shown = ticks(chart);
  return {
    width: chart.box.clientWidth, height: plot.height, legend: { show: false }, padding: [8, 14, 0, 0],
    cursor: { y: false, drag: { x: false, y: false }, sync: { key: chart.box.id }, points: { show: false } },
    scales: { x: { time: false, range: () => [chart.from, chart.to] }, y: { range: () => plot.range(chart) } },
    axes: [
      { ...axis, grid: { show: false }, size: last ? 30 : 10, splits: () => shown.map((bin) => bin.from), values: () => shown.map((bin) => (last ? bin.tick : "")), align: 1 },
      { ...axis, size: 54, space: 28, splits: plot.splits, values: plot.values },
    ],
    series: [{}, { paths: () => null, points: { show: false } }],
    hooks: {
      drawClear: [(u) => drawing(u, () => drawGround(chart, u))],
      draw: [(u) => drawing(u, () => { plot.draw(chart, u); drawSplices(chart, u, plot.named); })],
      setCursor: [(u) => point(chart, u)],
    },
  };
}

function drawing(u, draw) {
  u.ctx.save();
  u.ctx.beginPath();
  u.ctx.rect(u.bbox.left, u.bbox.top, u.bbox.width, u.bbox.height);
  u.ctx.clip();
  draw();
  u.ctx.restore();
}

function point(chart, u) {
  if (chart.building) return undefined; // a new plot has no pointer yet: what was pointed at stays
  if ((u.cursor.left ?? -1) < 0) return document.activeElement === chart.reach ? undefined : release(chart);
  const at = u.posToVal(u.cursor.left, "x");
  const found = chart.bins.findIndex((bin) => bin.from <= at && at < bin.to);
  if (found < 0 || found === chart.at) return undefined;
  chart.at = found;
  return describe(chart);
}

function release(chart) {
  if (chart.at === null) return;
  chart.at = null;
  describe(chart);
}

function latest(chart) {
  const last = chart.bins.findLastIndex((bin) => bin.passes);
  return last < 0 ? chart.bins.length - 1 : last;
}

function describe(chart) {
  const bin = chart.bins[chart.at ?? latest(chart)];
  if (!bin) return;
  const [when, what] = [document.createElement("strong"), document.createElement("span")];
  when.textContent = bin.name;
  what.textContent = ` \u00b7 ${bin.words}`;
  chart.readout.setAttribute("aria-live", chart.at === null ? "off" : "polite"); // what only follows the day is not read out
  chart.readout.replaceChildren(when, what);
  for (const plot of chart.plots) plot.redraw(false);
}

function build(chart) {
  for (const plot of chart.plots) plot.destroy();
  const places = [...chart.box.querySelectorAll("[data-plot]")];
  const columns = [[chart.from, chart.to], [null, null]]; // the hooks draw; uPlot keeps the scales
  chart.building = true;
  chart.plots = chart.bins.length && chart.box.clientWidth
    ? places.map((place, index) => new uPlot(options(chart, place.dataset.plot, index === places.length - 1), columns, place))
    : [];
  queueMicrotask(() => { chart.building = false; }); // uPlot commits its first state in a microtask of its own
}

function draw() {
  for (const chart of charts) {
    read(chart);
    if (chart.at !== null && chart.at >= chart.bins.length) chart.at = null;
    build(chart);
    describe(chart);
  }
}

const again = () => charts.forEach(build);
for (const media of ["(prefers-color-scheme: dark)", "print"]) matchMedia(media).addEventListener("change", again);
let resizing = 0;
addEventListener("resize", () => {
  cancelAnimationFrame(resizing);
  resizing = requestAnimationFrame(again);
});
document.querySelector(".pick select")?.addEventListener("change", (event) => event.target.form.submit());
keepCurrent(draw);
draw();
