// Draws a door's lines and zone on a square, and lets them be moved by pointer, by arrow keys and as numbers.
import { filled } from "/static/own.js";

const SIDE = 1000;
const HANDLE = 20;
const STEP = 0.01;
const MOST_LINES = 8;
const MOST_CORNERS = 32;

const within = (value) => Math.min(1, Math.max(0, Math.round(value * 1000) / 1000));

function shape(name, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function piece(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

export class Plan {
  constructor(box) {
    this.box = box;
    this.svg = box.querySelector("svg");
    this.words = box.dataset;
    this.lines = JSON.parse(box.dataset.lines).map((one) => ({ name: one.name, line: [...one.line] }));
    this.zone = JSON.parse(box.dataset.zone).map((corner) => [...corner]);
    box.querySelector("#add-line").addEventListener("click", () => this.addLine());
    box.querySelector("#add-corner").addEventListener("click", () => this.addCorner());
    this.build();
  }

  addLine() {
    if (this.lines.length >= MOST_LINES) return;
    const y = within(0.5 + 0.2 * (this.lines.length % 3));
    this.lines.push({ name: this.lines.length ? `line-${this.lines.length + 1}` : "", line: [0.1, y, 0.9, y] });
    if (this.lines.length === 2 && !this.lines[0].name) this.lines[0].name = "line-1";
    this.build();
  }

  addCorner() {
    if (this.zone.length >= MOST_CORNERS) return;
    if (!this.zone.length) {
      this.zone = [[0.05, 0.05], [0.95, 0.05], [0.95, 0.95], [0.05, 0.95]];
    } else {
      const [first, last] = [this.zone[0], this.zone.at(-1)];
      this.zone.push([within((first[0] + last[0]) / 2), within((first[1] + last[1]) / 2)]);
    }
    this.build();
  }

  build() {
    const rows = this.box.querySelector("#line-rows");
    rows.replaceChildren(...this.lines.map((one, index) => this.lineRow(one, index)));
    const corners = this.box.querySelector("#corner-rows");
    corners.replaceChildren(...this.zone.map((corner, index) => this.cornerRow(corner, index)));
    this.box.querySelector("#zone-box").hidden = !this.zone.length;
    this.handles = [];
    this.ground = shape("g", {});
    const grid = shape("path", { class: "grid", d: "M250 0V1000M500 0V1000M750 0V1000M0 250H1000M0 500H1000M0 750H1000" });
    this.svg.replaceChildren(grid, this.ground);
    this.zone.forEach((corner, index) => this.handle(corner, 0, filled(this.words.corner, { number: index + 1 }), "handle corner"));
    this.lines.forEach((one, index) => {
      const called = one.name || filled(this.words.line, { number: index + 1 });
      this.handle(one.line, 0, filled(this.words.start, { line: called }), "handle");
      this.handle(one.line, 2, filled(this.words.end, { line: called }), "handle");
    });
    this.draw();
  }

  lineRow(one, index) {
    const named = piece("input", { maxlength: 39, pattern: "[a-z0-9][a-z0-9\\-]{0,38}", placeholder: this.words.several });
    named.value = one.name;
    named.addEventListener("input", () => { one.name = named.value; this.draw(); });
    const turn = piece("button", { type: "button" }, this.words.turn);
    turn.addEventListener("click", () => { one.line = [...one.line.slice(2), ...one.line.slice(0, 2)]; this.build(); });
    const remove = piece("button", { type: "button", "aria-label": filled(this.words.removeLine, { number: index + 1 }) }, this.words.remove);
    remove.addEventListener("click", () => { this.lines.splice(index, 1); this.build(); });
    const row = piece("div", { class: "row" }, piece("label", { class: "named" }, this.words.name, named), piece("span", { class: "doing" }, turn, remove));
    [this.words.fromX, this.words.fromY, this.words.toX, this.words.toY].forEach((called, part) => row.append(this.number(called, one.line, part)));
    return row;
  }

  cornerRow(corner, index) {
    const remove = piece("button", { type: "button", "aria-label": filled(this.words.removeCorner, { number: index + 1 }) }, this.words.remove);
    remove.addEventListener("click", () => {
      this.zone.splice(index, 1);
      if (this.zone.length < 3) this.zone = [];
      this.build();
    });
    return piece("div", { class: "row corner" }, this.number(filled(this.words.cornerX, { number: index + 1 }), corner, 0), this.number("y", corner, 1), remove);
  }

  number(called, values, part) {
    const field = piece("input", { type: "number", min: 0, max: 1, step: "any", required: "" });
    field.value = values[part];
    field.addEventListener("input", () => {
      if (field.value === "" || !field.validity.valid) return;
      values[part] = Number(field.value);
      this.draw();
    });
    (values.fields ??= [])[part] = field;
    return piece("label", {}, called, field);
  }

  handle(values, part, called, look) {
    const made = shape("g", { class: look, tabindex: 0, role: "button", "aria-label": called }, shape("circle", { class: "hit" }), shape("circle", { r: HANDLE }));
    const move = (x, y) => {
      [values[part], values[part + 1]] = [within(x), within(y)];
      for (const one of [part, part + 1]) values.fields[one].value = values[one];
      this.draw();
    };
    made.addEventListener("pointerdown", (event) => { made.setPointerCapture(event.pointerId); made.focus(); event.preventDefault(); });
    made.addEventListener("pointermove", (event) => {
      if (!made.hasPointerCapture(event.pointerId)) return;
      const { left, top, width, height } = this.svg.getBoundingClientRect();
      move((event.clientX - left) / width, (event.clientY - top) / height);
    });
    made.addEventListener("keydown", (event) => {
      const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (!way) return;
      event.preventDefault();
      const far = event.shiftKey ? 10 * STEP : STEP;
      move(values[part] + way[0] * far, values[part + 1] + way[1] * far);
    });
    this.handles.push({ made, values, part, called });
    this.svg.append(made);
  }

  draw() {
    const drawn = [];
    if (this.zone.length) {
      drawn.push(shape("polygon", { class: "zone", points: this.zone.map((corner) => corner.map((one) => one * SIDE).join(",")).join(" ") }));
    }
    for (const { name, line } of this.lines) {
      const [x0, y0, x1, y1] = line.map((one) => one * SIDE);
      drawn.push(shape("line", { class: "line", x1: x0, y1: y0, x2: x1, y2: y1 }));
      const long = Math.hypot(x1 - x0, y1 - y0);
      if (!long) continue;
      const [mx, my, nx, ny] = [(x0 + x1) / 2, (y0 + y1) / 2, (y0 - y1) / long, (x1 - x0) / long]; // to the right-hand side, y down
      const [tx, ty] = [mx + 90 * nx, my + 90 * ny];
      const wing = (side) => `M${tx} ${ty}L${tx - 28 * nx + side * 22 * ny} ${ty - 28 * ny - side * 22 * nx}`;
      drawn.push(shape("path", { class: "arrow", d: `M${mx} ${my}L${tx} ${ty}${wing(1)}${wing(-1)}` }));
      drawn.push(shape("text", { x: tx + 26 * nx, y: ty + 26 * ny + 12, "text-anchor": "middle" }, name ? `${this.words.in} · ${name}` : this.words.in));
    }
    this.ground.replaceChildren(...drawn);
    for (const { made, values, part, called } of this.handles) {
      made.setAttribute("transform", `translate(${values[part] * SIDE} ${values[part + 1] * SIDE})`);
      made.setAttribute("aria-label", filled(this.words.where, { point: called, x: values[part], y: values[part + 1] }));
    }
  }

  told() {
    return { lines: this.lines.map(({ name, line }) => ({ name, line: [...line] })), zone: this.zone.map((corner) => [...corner]) };
  }
}
