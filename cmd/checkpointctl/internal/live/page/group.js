// The view of one consumer group.
import { compareNatural, element, formatClock, formatDuration, formatNumber, formatShort, plural, setAttribute, setText, shorten } from "./dom.js";
import { ownersOf, Palette } from "./owners.js";
import { statesText, trouble } from "./overview.js";
import { describe, marksOf, Plot } from "./plots.js";
import { Strip } from "./strip.js";
import { Table } from "./table.js";

const furthest = 5; // partitions that are plotted if none is selected
const mostSelected = 8; // as many partitions can be plotted at once
const historySeconds = 3600;
const eventsShown = 20;
const ownersShown = 24;
const noLag = "Not known: the event hub was not asked, or has not answered.";
const idle = "Point at a partition to read about it. Click or press Enter to plot it.";

export class Group {
  #selected = new Set(); // partition IDs, in the order of their selection
  #owner = null; // the owner whose partitions are highlighted
  #history = null;
  #detail = null;
  #allEvents = false;
  #palette = new Palette();

  constructor(id, { load }) {
    this.path = "api/v1/groups/" + id; // which the address already has encoded
    this.load = load;
    this.title = "Consumer group";
    this.heading = element("h1", { tabIndex: -1 }, "Consumer group");
    this.where = element("p", { class: "where" });
    this.spellings = element("p", { class: "trouble attention", hidden: true });
    this.trouble = element("p", { class: "trouble", hidden: true });
    this.values = {};
    const tiles = element("dl", { class: "tiles" });
    for (const [key, label] of [["lag", "Lag"], ["lagSeconds", "Lag in time"], ["age", "Oldest checkpoint"], ["owners", "Owners"], ["states", "Partitions"]]) {
      const value = element("dd");
      const note = element("dd", { class: "note" });
      this.values[key] = { value, note };
      tiles.append(element("div", { class: "tile" }, element("dt", {}, label), value, note));
    }
    this.strip = new Strip({ onSelect: (p) => this.#toggle(p), onActive: (p) => this.#describe(p) });
    this.about = element("p", { class: "about" }, idle);
    this.legend = element("div", { class: "legend", role: "group", "aria-label": "Owners" });
    this.plots = {
      lag: new Plot("Total lag", { format: formatShort, unknown: noLag }),
      lagSeconds: new Plot("Lag in time", { format: formatDuration, duration: true, unknown: noLag }),
      partitions: new Plot("Lag per partition", { format: formatShort, unknown: noLag }),
      age: new Plot("Checkpoint age", { format: formatDuration, duration: true }),
    };
    this.selection = element("p", { class: "selection", role: "status" });
    this.clear = element("button", { type: "button", class: "plain", hidden: true }, "Clear the selection");
    this.clear.addEventListener("click", () => { this.#selected.clear(); this.#draw(); });
    this.table = new Table({ onSelect: (p) => this.#toggle(p) });
    this.events = element("ol", { class: "events" });
    this.eventsEmpty = element("p", { class: "quiet" }, "No owner change and no reset since this server started.");
    this.eventsMore = element("button", { type: "button", class: "plain", hidden: true });
    this.eventsMore.addEventListener("click", () => { this.#allEvents = !this.#allEvents; this.#drawEvents(); });
    this.body = element("div", {},
      tiles,
      section("Ownership", element("div", { class: "strip-box" }, this.strip.element, this.about), this.legend),
      section("Over time", element("div", { class: "selection-line" }, this.selection, this.clear), marksKey(),
        element("div", { class: "plots" }, ...Object.values(this.plots).map((p) => p.element))),
      section("Partitions", this.table.element),
      section("Events", this.events, this.eventsEmpty, this.eventsMore));
    this.body.hidden = true;
    this.gone = element("div", { class: "empty", hidden: true },
      element("p", {}, element("strong", {}, "There is no such consumer group.")),
      element("p", {}, "It may have been removed. ", element("a", { href: "#/" }, "See all groups.")));
    this.element = element("div", { class: "view" },
      element("nav", { class: "crumbs", "aria-label": "Breadcrumb" }, element("a", { href: "#/" }, "Consumer groups")),
      this.heading, this.where, this.spellings, this.trouble, this.gone, this.body);
    document.addEventListener("keydown", this.escape = (event) => {
      if (event.key !== "Escape" || event.target === this.table.search) return;
      this.#selected.clear();
      this.#highlight(null);
    });
  }

  destroy() {
    document.removeEventListener("keydown", this.escape);
    for (const plot of Object.values(this.plots)) plot.destroy();
  }

  // update reads the group. Its history is read when the view opens and when rounds were missed. In between each round
  // adds one point to it.
  async update(all) {
    let detail;
    try {
      detail = await this.load(this.path);
    } catch (error) {
      if (error.status !== 404) throw error;
      this.gone.hidden = false;
      this.body.hidden = true;
      return;
    }
    this.gone.hidden = true;
    detail.partitions.sort((a, b) => compareNatural(a.partitionId, b.partitionId));
    this.#detail = detail;
    this.#palette.see(detail.partitions.filter((p) => p.ownerId !== null).map((p) => p.ownerId));
    this.#draw();
    const time = Date.parse(detail.time) / 1000;
    const last = this.#history?.times.at(-1);
    if (last === undefined || time - last > 2.5 * all.interval || time < last - 1) {
      const history = await this.load(this.path + "/history");
      // A partition's ID can be the name of something that every object has.
      this.#history = { ...history, partitions: new Map(Object.entries(history.partitions)) };
    }
    this.#append(time);
    this.#drawPlots();
  }

  #append(time) {
    const { group, partitions } = this.#detail;
    const h = this.#history;
    const n = h.times.length;
    if (n > 0 && time - h.times[n - 1] < 1) return;
    h.times.push(time);
    h.lag.push(group.lag);
    h.lagSeconds.push(group.lagSeconds);
    for (const p of partitions) {
      if (!h.partitions.has(p.partitionId)) {
        h.partitions.set(p.partitionId, { lag: Array(n).fill(null), checkpointAgeSeconds: Array(n).fill(null) });
      }
      const series = h.partitions.get(p.partitionId);
      series.lag.push(p.lag);
      series.checkpointAgeSeconds.push(p.checkpointAgeSeconds);
    }
    for (const series of h.partitions.values()) {
      while (series.lag.length <= n) series.lag.push(null);
      while (series.checkpointAgeSeconds.length <= n) series.checkpointAgeSeconds.push(null);
    }
    let old = 0;
    while (time - h.times[old] > historySeconds) old++;
    if (old === 0) return;
    for (const list of [h.times, h.lag, h.lagSeconds]) list.splice(0, old);
    for (const series of h.partitions.values()) {
      series.lag.splice(0, old);
      series.checkpointAgeSeconds.splice(0, old);
    }
  }

  #toggle(id) {
    if (!this.#selected.delete(id)) {
      this.#selected.add(id);
      if (this.#selected.size > mostSelected) this.#selected.delete(this.#selected.values().next().value);
    }
    this.#draw();
  }

  // #highlight shows the partitions of one owner, in the strip and in the table. Null ends that.
  #highlight(owner) {
    if (owner !== this.#owner) this.table.filter(owner ?? "");
    this.#owner = owner;
    this.#draw();
  }

  #draw() {
    if (!this.#detail) return;
    const { group, partitions } = this.#detail;
    this.body.hidden = false;
    this.title = `${group.consumerGroup} · ${group.eventHubName}`;
    setText(this.heading, group.consumerGroup);
    setText(this.where, `${group.eventHubName} · ${group.fullyQualifiedNamespace}`);
    const spellings = group.spellings ?? [];
    this.spellings.hidden = spellings.length < 2;
    setText(this.spellings, `Its records are stored under ${spellings.length} spellings: ${spellings.join(", ")}`);
    setText(this.trouble, trouble(group));
    this.trouble.hidden = this.trouble.textContent === "";
    this.#tile("lag", formatShort(group.lag), group.lagUnknownPartitions > 0 ? `${plural(group.lagUnknownPartitions, "partition")} unknown` : "events not handled");
    this.values.lag.value.title = group.lag === null ? "" : formatNumber(group.lag);
    this.#tile("lagSeconds", formatDuration(group.lagSeconds), group.lagSeconds === null ? "unknown" : "the furthest behind");
    this.#tile("age", formatDuration(group.oldestCheckpointAgeSeconds), group.oldestCheckpointAgeSeconds === null ? "unknown" : "since it was written");
    this.#tile("owners", formatNumber(group.owners), shareText(group));
    this.#tile("states", formatNumber(group.partitions), statesText(group.states));
    this.strip.update(partitions, this.#palette, this.#selected);
    this.#drawLegend(partitions);
    this.table.update(partitions, this.#palette, this.#selected);
    const selected = [...this.#selected];
    setText(this.selection, selected.length === 0
      ? (partitions.length > furthest ? `The ${furthest} partitions furthest behind are plotted.` : "All partitions are plotted.") + " Select others in the strip or in the table."
      : `Plotted: ${selected.length === 1 ? "partition" : "partitions"} ${selected.join(", ")}.`);
    this.clear.hidden = selected.length === 0;
    this.#drawEvents();
    if (this.#history) this.#drawPlots();
  }

  #tile(key, value, note) {
    setText(this.values[key].value, value);
    setText(this.values[key].note, note);
  }

  #drawLegend(partitions) {
    const owners = ownersOf(partitions);
    if (this.#owner !== null && !owners.some(([owner]) => owner === this.#owner)) {
      this.#owner = null;
      this.table.filter("");
    }
    const shown = owners.slice(0, ownersShown);
    const key = JSON.stringify([shown.map(([owner]) => owner), owners.length]);
    if (key !== this.legendKey) {
      this.legendKey = key;
      this.legend.replaceChildren(...shown.map(([owner]) => {
        const button = element("button", { type: "button", class: "owner", title: owner },
          element("span", { class: "swatch " + this.#palette.classOf(owner, "live") }),
          element("span", { class: "name" }, shorten(owner)), element("span", { class: "of" }));
        button.owner = owner;
        button.addEventListener("click", () => this.#highlight(this.#owner === owner ? null : owner));
        return button;
      }));
      if (owners.length > shown.length) this.legend.append(element("span", { class: "quiet" }, `and ${owners.length - shown.length} more owners`));
      this.legend.append(element("span", { class: "states-key" },
        ...[["expired own-9", "expired"], ["relinquished", "relinquished"], ["never", "never owned"]].map(([look, label]) =>
          element("span", {}, element("span", { class: "swatch " + look }), label))));
    }
    const counts = new Map(owners);
    for (const button of this.legend.querySelectorAll("button")) {
      setText(button.lastChild, formatNumber(counts.get(button.owner)));
      setAttribute(button, "aria-pressed", String(button.owner === this.#owner));
      setAttribute(button, "aria-label", `${button.owner}: ${plural(counts.get(button.owner), "partition")}`);
    }
    this.strip.highlight(this.#owner);
  }

  // #describe says under the strip what is known about one partition.
  #describe(id) {
    const p = this.#detail?.partitions.find((row) => row.partitionId === id);
    if (!p) {
      setText(this.about, idle);
      return;
    }
    const parts = [`Partition ${p.partitionId}`, p.state];
    if (p.ownerId !== null) parts.push(p.ownerId);
    if (p.ownershipAgeSeconds !== null) parts.push(`renewed ${formatDuration(p.ownershipAgeSeconds)} ago`);
    if (p.lag !== null) parts.push(`lag ${formatNumber(p.lag)}` + (p.lagSeconds === null ? "" : ` (${formatDuration(p.lagSeconds)})`));
    if (p.checkpointAgeSeconds !== null) parts.push(`checkpoint ${formatDuration(p.checkpointAgeSeconds)} ago`);
    setText(this.about, parts.join(" · "));
  }

  #events() {
    const events = this.#detail.events ?? [];
    return this.#selected.size === 0 ? events : events.filter((event) => this.#selected.has(event.partitionId));
  }

  #drawPlots() {
    const h = this.#history;
    const marks = marksOf(this.#events());
    this.plots.lag.update(h.times, [{ label: "Total", values: h.lag, colour: "--own-0", area: true }], marks);
    this.plots.lagSeconds.update(h.times, [{ label: "Lag in time", values: h.lagSeconds, colour: "--own-5", area: true }], marks);
    const ids = this.#plotted();
    const chosen = this.#selected.size > 0;
    const series = (name) => ids.filter((id) => h.partitions.has(id)).map((id, i) => ({
      label: "Partition " + id, values: h.partitions.get(id)[name], colour: "--own-" + i,
    }));
    this.plots.partitions.update(h.times, series("lag"), marks, chosen || this.#detail.partitions.length <= furthest ? "Lag per partition" : "Lag per partition, furthest behind");
    const oldest = { label: "Oldest", values: oldestOf(h), colour: "--ink" };
    this.plots.age.update(h.times, [...(chosen ? [] : [oldest]), ...(chosen ? series("checkpointAgeSeconds") : [])], marks,
      chosen ? "Checkpoint age per partition" : "Checkpoint age, oldest of all partitions");
  }

  // #plotted are the selected partitions, else those furthest behind.
  #plotted() {
    if (this.#selected.size > 0) return [...this.#selected];
    const known = this.#detail.partitions.filter((p) => p.lag !== null);
    return known.sort((a, b) => b.lag - a.lag).slice(0, furthest).map((p) => p.partitionId).sort(compareNatural);
  }

  #drawEvents() {
    const lines = linesOf(this.#events());
    const shown = this.#allEvents ? lines : lines.slice(0, eventsShown);
    this.events.replaceChildren(...shown.map((line) => element("li", { "data-kind": line.kind },
      element("time", { dateTime: line.time, title: line.time }, formatClock(line.time)),
      element("span", { class: "kind", "aria-hidden": "true" }),
      element("span", {}, element("strong", {}, line.partitions.length === 1 ? "Partition " + line.partitions[0] : plural(line.partitions.length, "partition")), " " + line.text,
        line.partitions.length > 1 ? element("span", { class: "quiet" }, " (" + line.partitions.slice(0, 12).join(", ") + (line.partitions.length > 12 ? ", …" : "") + ")") : ""))));
    this.eventsEmpty.hidden = lines.length > 0;
    this.eventsMore.hidden = lines.length <= eventsShown;
    setText(this.eventsMore, this.#allEvents ? "Show fewer" : `Show all ${formatNumber(lines.length)}`);
  }
}

// linesOf are the events, newest first. The same event of several partitions at one time is one line.
function linesOf(events) {
  const lines = new Map();
  for (const event of events) {
    const text = describe(event);
    const key = `${formatClock(event.time)} ${text}`;
    if (!lines.has(key)) lines.set(key, { time: event.time, kind: event.kind, text, partitions: [] });
    lines.get(key).partitions.push(event.partitionId);
  }
  return [...lines.values()].reverse();
}

// shareText says how many partitions an owner has.
function shareText({ states, owners }) {
  if (owners === 0) return "";
  const share = states.live / owners;
  return (Number.isInteger(share) ? "" : "about ") + plural(Math.round(share), "partition") + (owners === 1 ? "" : " each");
}

// oldestOf is the age of the oldest checkpoint at each time.
function oldestOf(history) {
  const oldest = Array(history.times.length).fill(null);
  for (const { checkpointAgeSeconds } of history.partitions.values()) {
    checkpointAgeSeconds.forEach((age, i) => {
      if (age !== null && (oldest[i] === null || age > oldest[i])) oldest[i] = age;
    });
  }
  return oldest;
}

function section(title, ...content) {
  return element("section", { "aria-label": title }, element("h2", {}, title), ...content);
}

function marksKey() {
  return element("p", { class: "marks-key" },
    element("span", { class: "mark-owner", "aria-hidden": "true" }), "owner change",
    element("span", { class: "mark-reset", "aria-hidden": "true" }), "reset, or checkpoint went back");
}
