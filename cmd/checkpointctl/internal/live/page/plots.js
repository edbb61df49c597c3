// The plots over time, drawn by uPlot, with the group's events as marks on the time axis.
import { element, formatAxis, formatClock, formatNumber, plural, setAttribute, setText, shorten } from "./dom.js";

const height = 190;
const near = 6; // pixels between the pointer and a mark
const shortest = 300; // seconds that the time axis shows at least
const durations = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400, 172800, 604800, 2592000];

// colour reads a colour of app.css, which depends on the light or dark theme.
const colours = new Map();
function colour(name) {
  if (!colours.has(name)) colours.set(name, getComputedStyle(document.documentElement).getPropertyValue(name).trim());
  return colours.get(name);
}

const plots = new Set();
let pointed = null; // the plot under the pointer; the cursors of the others follow it
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  colours.clear();
  for (const plot of plots) plot.redraw();
});

// Marks of the same kind at the same time are one: a take-over of many partitions would be many.
export function marksOf(events) {
  const marks = new Map();
  for (const event of events) {
    const time = Date.parse(event.time) / 1000;
    const key = `${Math.round(time)} ${event.kind}`;
    if (!marks.has(key)) marks.set(key, { time, kind: event.kind, events: [] });
    marks.get(key).events.push(event);
  }
  return [...marks.values()];
}

// describe says in words what happened.
export function describe(event) {
  switch (event.kind) {
    case "owner":
      if (!event.from) return `was claimed by ${shorten(event.to ?? "", 40)}`;
      if (!event.to) return `was given up by ${shorten(event.from, 40)}`;
      return `${shorten(event.from, 40)} → ${shorten(event.to, 40)}`;
    case "reset":
      return "was reset" + fromTo(event) + (event.generation ? `, generation ${event.generation}` : "");
    case "checkpoint-back":
      return "has a checkpoint that went back" + fromTo(event);
    default:
      return String(event.kind);
  }
}

function fromTo(event) {
  const from = event.fromSequenceNumber ?? null;
  const to = event.toSequenceNumber ?? null;
  return (from === null ? "" : ` from ${formatNumber(from)}`) + (to === null ? "" : ` to ${formatNumber(to)}`);
}

// Plot shows series over one time axis. format writes a value; duration says that values are seconds.
export class Plot {
  #data = null;
  #labels = "";
  #marks = [];

  constructor(title, { format, duration = false, unknown = "Not known." }) {
    this.title = title;
    this.format = format;
    this.duration = duration;
    this.box = element("div", { class: "plot", role: "img" });
    this.note = element("p", { class: "plot-empty" }, unknown);
    this.caption = element("figcaption", {}, title);
    this.element = element("figure", {}, this.caption, this.box, this.note);
    this.tip = element("div", { class: "plot-tip", hidden: true });
    this.box.addEventListener("mousemove", () => { pointed = this; }, { capture: true });
    this.observer = new ResizeObserver(() => {
      if (this.plot && this.box.clientWidth > 0) this.plot.setSize({ width: this.box.clientWidth, height });
    });
    this.observer.observe(this.box);
    plots.add(this);
  }

  destroy() {
    plots.delete(this);
    this.observer.disconnect();
    this.plot?.destroy();
  }

  redraw() {
    this.plot?.redraw(false, true);
  }

  // update shows series of { label, values, colour, area }.
  update(times, series, marks, caption = this.title) {
    setText(this.caption, caption);
    const known = series.some((s) => s.values.some((v) => v !== null));
    this.note.hidden = known;
    this.box.hidden = !known;
    this.#marks = marks;
    if (!known || window.uPlot === undefined) return;
    const latest = series.map((s) => `${s.label} ${this.format(s.values.findLast((v) => v !== null) ?? null)}`);
    setAttribute(this.box, "aria-label", `${caption}. Latest: ${latest.join(", ")}. ${plural(marks.length, "event")} on the time axis.`);
    this.#data = [times, ...series.map((s) => s.values)];
    const labels = JSON.stringify(series.map((s) => [s.label, s.colour]));
    if (this.plot && labels === this.#labels) {
      this.plot.setData(this.#data);
    } else {
      this.#labels = labels;
      this.plot?.destroy();
      this.plot = new window.uPlot(this.#options(series), this.#data, this.box);
      this.plot.over.append(this.tip);
    }
    showLatest(this.plot);
  }

  #options(series) {
    const axis = { stroke: () => colour("--faint"), grid: { stroke: () => colour("--grid"), width: 1 }, ticks: { show: false }, font: "11px system-ui, sans-serif" };
    return {
      width: this.box.clientWidth || 400,
      height,
      padding: [8, 8, 0, 0],
      cursor: { sync: { key: "time" }, y: false, drag: { x: false, y: false }, points: { size: 6 } },
      legend: { markers: { width: 0, fill: (u, i) => colour(series[i - 1].colour) } },
      scales: {
        x: { time: true, range: (u, min, max) => [Math.min(min, max - shortest), max] },
        y: { range: (u, min, max) => [0, window.uPlot.rangeNum(0, max > 0 ? max : 1, 0.1, true)[1]] },
      },
      axes: [
        { ...axis, size: 34, space: 70, values: (u, ticks) => ticks.map((t) => formatClock(t * 1000).slice(0, u.scales.x.max - u.scales.x.min > 900 ? 5 : 8)) },
        { ...axis, size: 62, space: 36, values: (u, ticks) => ticks.map((v) => (this.duration ? this.format(v) : formatAxis(v))), ...(this.duration ? { incrs: durations } : { incrs: wholeSteps }) },
      ],
      series: [
        { label: "Time", value: (u, t) => (t === null ? "" : formatClock(t * 1000)) },
        ...series.map((s) => ({
          label: s.label,
          stroke: () => colour(s.colour),
          fill: s.area ? () => colour(s.colour) + "22" : undefined,
          width: 1.5,
          points: { show: (u) => u.data[0].length < 3, size: 5, fill: () => colour(s.colour) },
          value: (u, v) => this.format(v),
        })),
      ],
      hooks: { draw: [(u) => this.#drawMarks(u)], setCursor: [(u) => this.#showTip(u)] },
    };
  }

  #drawMarks(u) {
    const { ctx, bbox } = u;
    const scale = window.devicePixelRatio || 1;
    const bottom = bbox.top + bbox.height;
    ctx.save();
    for (const mark of this.#marks) {
      const x = Math.round(u.valToPos(mark.time, "x", true));
      if (x < bbox.left || x > bbox.left + bbox.width) continue;
      ctx.beginPath();
      if (mark.kind === "owner") { // a tick on the axis
        ctx.fillStyle = colour("--mark");
        ctx.rect(x - 0.75 * scale, bottom - 8 * scale, 1.5 * scale, 8 * scale);
      } else { // a line with a diamond at its top
        const size = 4 * scale;
        ctx.fillStyle = ctx.strokeStyle = colour("--mark-reset");
        ctx.globalAlpha = 0.5;
        ctx.lineWidth = scale;
        ctx.setLineDash([3 * scale, 3 * scale]);
        ctx.moveTo(x, bbox.top);
        ctx.lineTo(x, bottom);
        ctx.stroke();
        ctx.globalAlpha = 1;
        ctx.beginPath();
        ctx.moveTo(x, bbox.top - size);
        ctx.lineTo(x + size, bbox.top);
        ctx.lineTo(x, bbox.top + size);
        ctx.lineTo(x - size, bbox.top);
      }
      ctx.fill();
    }
    ctx.restore();
  }

  #showTip(u) {
    showLatest(u);
    const left = u.cursor.left;
    const found = left < 0 || pointed !== this ? [] : this.#marks.filter((mark) => Math.abs(u.valToPos(mark.time, "x") - left) <= near).flatMap((mark) => mark.events);
    this.tip.hidden = found.length === 0;
    if (found.length === 0) return;
    const lines = found.slice(0, 4).map((event) => element("div", {}, `${formatClock(event.time)} partition ${event.partitionId}: ${describe(event)}`));
    if (found.length > lines.length) lines.push(element("div", {}, `and ${found.length - lines.length} more`));
    this.tip.replaceChildren(...lines);
    const width = u.over.clientWidth;
    const rightwards = left < width / 2;
    this.tip.style.left = rightwards ? left + 10 + "px" : "";
    this.tip.style.right = rightwards ? "" : width - left + 10 + "px";
    this.tip.style.maxWidth = (rightwards ? width - left : left) - 14 + "px";
  }
}

// showLatest lets the legend have the latest values while no pointer is in the plot.
function showLatest(u) {
  if (u.cursor.idx === null || u.cursor.left < 0) u.setLegend({ idx: u.data[0].length - 1 }, false);
}

const wholeSteps = [];
for (let power = 1; power <= 1e15; power *= 10) wholeSteps.push(power, 2 * power, 5 * power);
