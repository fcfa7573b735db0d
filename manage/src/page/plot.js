// Plots of rates and gauges over time: one SVG each, redrawn from the columns of /v1/history. All of
// them share a cursor: pointing at a time in one shows that time in all.

import { h, s, setText, show } from "./dom.js";
import { clock } from "./text.js";

const HEIGHT = 150;
const EDGE = { top: 10, right: 8, bottom: 22, left: 54 };

// Round numbers from 0 to at least `most`: steps of 1, 2 or 5 times a power of ten.
function ticks(most, least) {
  const top = Math.max(most, least);
  const rough = top / 3;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough);
  const found = [0];
  while (found.at(-1) < top * 0.999) found.push(found.at(-1) + step);
  return found;
}

// Path through points, broken where there is none. A point by itself becomes a dot.
function path(values, x, y) {
  let d = "";
  let before = null;
  values.forEach((value, i) => {
    if (value === null) {
      before = null;
      return;
    }
    const point = `${x(i).toFixed(1)} ${y(value).toFixed(1)}`;
    const alone = before === null && (values[i + 1] ?? null) === null;
    d += before === null ? `M${point}${alone ? "h0" : ""}` : `L${point}`;
    before = value;
  });
  return d;
}

// The area below a line, down to zero.
function area(values, x, y) {
  let d = "";
  let from = null;
  values.forEach((value, i) => {
    if (value === null) return;
    if (from === null) {
      from = i;
      d += `M${x(i).toFixed(1)} ${y(0)}`;
    }
    d += `L${x(i).toFixed(1)} ${y(value).toFixed(1)}`;
    if ((values[i + 1] ?? null) === null) {
      d += `L${x(i).toFixed(1)} ${y(0)}Z`;
      from = null;
    }
  });
  return d;
}

// Runs of steps without a sample, as [first, last].
function gaps(known) {
  const found = [];
  known.forEach((is, i) => {
    if (is) return;
    if (found.at(-1)?.[1] === i - 1) found.at(-1)[1] = i;
    else found.push([i, i]);
  });
  return found;
}

export class Plot {
  // `series`: `{ name, read(data), color }`; `unit(value)` writes a value; `least` is the smallest top of
  // the axis, so that noise is not blown up; `help` says what is shown. An `optional` plot is only there
  // when there is something in it.
  constructor({ title, help, series, unit, least, filled = false, optional = false }) {
    Object.assign(this, { title, series, unit, least, filled, optional });
    this.values = series.map(() => []);
    this.readings = series.map(() => h("b", {}));
    const legend = series.map((one, i) =>
      h("li", {}, h("span", { class: `key ${one.color}`, "aria-hidden": "true" }), `${one.name} `, this.readings[i]));
    this.when = h("span", { class: "when" });
    this.svg = s("svg", { height: HEIGHT, tabindex: "0", role: "img", "aria-label": title });
    this.spoken = h("span", { class: "visually-hidden", "aria-live": "polite" });
    this.element = h(
      "figure",
      { class: "plot" },
      h("figcaption", {}, h("h3", { title: help }, title), this.when, h("ul", { class: "legend" }, ...legend)),
      this.svg,
      this.spoken,
    );
    this.listen();
  }

  listen() {
    const point = (event) => {
      const box = this.svg.getBoundingClientRect();
      this.moved?.(this.stepAt(event.clientX - box.left));
    };
    this.svg.addEventListener("pointermove", point);
    this.svg.addEventListener("pointerdown", point);
    this.svg.addEventListener("pointerleave", (event) => {
      if (event.pointerType === "mouse") this.moved?.(null);
    });
    this.svg.addEventListener("blur", () => this.moved?.(null));
    this.svg.addEventListener("keydown", (event) => {
      const steps = { ArrowLeft: -1, ArrowRight: 1, PageUp: -30, PageDown: 30 }[event.key];
      if (event.key === "Escape") this.moved?.(null);
      if (!steps) return;
      event.preventDefault();
      const last = this.data.length - 1;
      const at = this.cursor === null ? last : this.cursor + steps;
      this.moved?.(Math.min(last, Math.max(0, at)));
      setText(this.spoken, `${this.when.textContent} ${this.reading(this.cursor)}`);
    });
  }

  stepAt(pixels) {
    const share = (pixels - EDGE.left) / (this.width - EDGE.left - EDGE.right);
    const last = this.data.length - 1;
    return Math.min(last, Math.max(0, Math.round(share * last)));
  }

  // Whether there is anything to show.
  has(data) {
    return this.series.some((one) => one.read(data)?.some((value) => value !== null));
  }

  draw(data, cursor) {
    this.data = data;
    this.cursor = cursor;
    this.width = this.svg.clientWidth || 300;
    this.values = this.series.map((one) => one.read(data) ?? data.known.map(() => null));
    const most = this.values.flat().reduce((top, value) => Math.max(top, value ?? 0), 0);
    const scale = ticks(most, this.least);
    const right = this.width - EDGE.right;
    const bottom = HEIGHT - EDGE.bottom;
    const x = (i) => EDGE.left + ((right - EDGE.left) * i) / (data.length - 1);
    const y = (value) => bottom - ((bottom - EDGE.top) * value) / scale.at(-1);
    this.x = x;
    this.y = y;
    this.mark = s("g", { class: "cursor" });
    this.svg.setAttribute("viewBox", `0 0 ${this.width} ${HEIGHT}`);
    this.svg.replaceChildren(
      ...this.axes(scale, x, y, right, bottom),
      ...gaps(data.known).map(([from, to]) => {
        const left = x(Math.max(0, from - 0.5));
        const end = x(Math.min(data.length - 1, to + 0.5));
        return s("rect", { class: "gap", x: left, y: EDGE.top, width: end - left, height: bottom - EDGE.top });
      }),
      ...this.values.flatMap((values, i) => [
        this.filled ? s("path", { class: `area ${this.series[i].color}`, d: area(values, x, y) }) : null,
        s("path", { class: `line ${this.series[i].color}`, d: path(values, x, y) }),
      ]).filter(Boolean),
      this.mark,
    );
    this.point(cursor);
  }

  axes(scale, x, y, right, bottom) {
    const rows = scale.flatMap((value) => [
      s("line", { class: value === 0 ? "base" : "grid", x1: EDGE.left, x2: right, y1: y(value), y2: y(value) }),
      s("text", { class: "tick", x: EDGE.left - 7, y: y(value) + 4, "text-anchor": "end" }, this.unit(value)),
    ]);
    const { start, stepMs, length } = this.data;
    const span = stepMs * length;
    const every = [60, 120, 300, 1800, 3600, 7200].map((n) => n * 1000)
      .find((ms) => (span / ms) * 52 < right - EDGE.left) ?? span;
    const columns = [];
    // Local hours and minutes are whole where the time is a multiple of a minute or half an hour.
    for (let at = Math.ceil(start / every) * every; at < start + span; at += every) {
      const where = x((at - start) / stepMs);
      if (where < EDGE.left + 16 || where > right - 14) continue;
      columns.push(
        s("line", { class: "grid", x1: where, x2: where, y1: EDGE.top, y2: bottom }),
        s("text", { class: "tick", x: where, y: bottom + 16, "text-anchor": "middle" }, clock(at)),
      );
    }
    return [...columns, ...rows];
  }

  reading(at) {
    return this.series.map((one, i) => `${one.name} ${this.read(i, at)}`).join(", ");
  }

  read(i, at) {
    const value = this.values[i][at] ?? null;
    return value === null ? "–" : this.unit(value);
  }

  // Shows the values of one step, or the newest ones.
  point(cursor) {
    this.cursor = cursor;
    const at = cursor ?? this.data.latest;
    this.readings.forEach((element, i) => setText(element, this.read(i, at)));
    setText(this.when, cursor === null ? "" : clock(this.data.start + cursor * this.data.stepMs, true));
    this.svg.setAttribute("aria-label", `${this.title}: ${this.reading(at)}`);
    this.mark.replaceChildren();
    if (cursor === null) return;
    const where = this.x(cursor);
    this.mark.append(s("line", { x1: where, x2: where, y1: EDGE.top, y2: HEIGHT - EDGE.bottom }));
    this.values.forEach((values, i) => {
      if ((values[cursor] ?? null) === null) return;
      this.mark.append(s("circle", { class: this.series[i].color, cx: where, cy: this.y(values[cursor]), r: 3.5 }));
    });
  }
}

// Several plots with one cursor, drawn from one set of data.
export class Plots {
  constructor(parent, plots) {
    this.plots = plots;
    this.cursor = null;
    parent.append(...plots.map((plot) => plot.element));
    for (const plot of plots) {
      plot.moved = (cursor) => {
        this.cursor = cursor;
        for (const one of this.shown()) one.point(cursor);
      };
    }
    new ResizeObserver(() => this.data && this.draw(this.data)).observe(parent);
  }

  shown() {
    return this.plots.filter((plot) => !plot.element.hidden);
  }

  draw(data) {
    this.data = data;
    for (const plot of this.plots) {
      show(plot.element, !plot.optional || plot.has(data));
      if (!plot.element.hidden) plot.draw(data, this.cursor);
    }
  }
}
