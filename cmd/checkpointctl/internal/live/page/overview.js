// The overview: every consumer group, its partitions as a strip, and its totals.
import { element, formatDuration, formatNumber, formatShort, plural, setAttribute, setText, unknown } from "./dom.js";
import { Palette } from "./owners.js";
import { thinStrip } from "./strip.js";

export const stateOrder = ["live", "expired", "relinquished", "never owned"];

// statesText says how many partitions are in which state.
export function statesText(states) {
  const parts = stateOrder.filter((state) => states?.[state] > 0).map((state) => `${formatNumber(states[state])} ${state}`);
  return parts.length === 0 ? unknown : parts.join(", ");
}

// trouble says what is wrong with a group, or an empty text.
export function trouble(group) {
  const parts = [];
  if (group.error) parts.push(group.error);
  if (group.lost > 0) parts.push(`${plural(group.lost, "event")} lost to retention`);
  if (group.states?.expired > 0) parts.push(`${plural(group.states.expired, "partition")} with an expired owner`);
  return parts.join(" · ");
}

export function groupHref(id) {
  return "#/groups/" + encodeURIComponent(id);
}

class Card {
  constructor(group) {
    this.palette = new Palette();
    this.link = element("a", { href: groupHref(group.id) });
    this.where = element("p", { class: "where" });
    this.trouble = element("p", { class: "trouble", hidden: true });
    this.strip = element("div", { class: "thin-strip", role: "img" });
    this.values = {};
    const values = element("dl", { class: "values" });
    for (const [key, label] of [["lag", "Lag"], ["lagSeconds", "Lag in time"], ["age", "Oldest checkpoint"], ["owners", "Owners"]]) {
      this.values[key] = element("dd");
      values.append(element("div", {}, element("dt", {}, label), this.values[key]));
    }
    this.states = element("p", { class: "states" });
    this.element = element("li", { class: "card" },
      element("div", { class: "card-head" }, element("h2", {}, this.link), this.where),
      values, this.strip, this.states, this.trouble);
    this.element.groupId = group.id;
  }

  update(group) {
    this.group = group;
    setText(this.link, group.consumerGroup);
    setText(this.where, `${group.eventHubName} · ${group.fullyQualifiedNamespace}`);
    setText(this.values.lag, formatShort(group.lag));
    this.values.lag.title = group.lag === null ? "" : formatNumber(group.lag);
    setText(this.values.lagSeconds, formatDuration(group.lagSeconds));
    setText(this.values.age, formatDuration(group.oldestCheckpointAgeSeconds));
    setText(this.values.owners, formatNumber(group.owners));
    const states = `${plural(group.partitions, "partition")}: ${statesText(group.states)}`;
    setText(this.states, states + (group.lag !== null && group.lagUnknownPartitions > 0 ? ` · lag of ${formatNumber(group.lagUnknownPartitions)} unknown` : ""));
    setAttribute(this.strip, "aria-label", states);
    setText(this.trouble, trouble(group));
    this.trouble.hidden = this.trouble.textContent === "";
  }

  setPartitions(partitions) {
    this.palette.see(partitions.filter((p) => p.ownerId !== null).map((p) => p.ownerId));
    this.strip.replaceChildren(...thinStrip(partitions, this.palette));
    this.strip.classList.toggle("dense", partitions.length > 64);
  }
}

export class Overview {
  title = "Consumer groups";
  #cards = new Map();
  #visible = new Set(); // group IDs

  constructor({ load }) {
    this.load = load;
    this.heading = element("h1", { tabIndex: -1 }, "Consumer groups");
    this.list = element("ul", { class: "cards" });
    this.empty = element("div", { class: "empty", hidden: true },
      element("p", {}, element("strong", {}, "No consumer group was found.")),
      element("p", {}, "A group appears here after the first of its processors has claimed a partition or has written a checkpoint."));
    this.element = element("div", { class: "view" }, this.heading, this.empty, this.list);
    this.observer = new IntersectionObserver((entries) => {
      for (const entry of entries) {
        const id = entry.target.groupId;
        if (!entry.isIntersecting) this.#visible.delete(id);
        else if (!this.#visible.has(id)) {
          this.#visible.add(id);
          this.#loadStrip(id);
        }
      }
    }, { rootMargin: "200px" });
  }

  destroy() {
    this.observer.disconnect();
  }

  // update shows what the API says about all groups. The strips of those in sight follow.
  async update(all) {
    const cards = new Map();
    for (const group of all.groups) {
      const card = this.#cards.get(group.id) ?? new Card(group);
      card.update(group);
      cards.set(group.id, card);
    }
    const changed = cards.size !== this.#cards.size || [...cards.keys()].some((id) => !this.#cards.has(id));
    for (const [id, card] of this.#cards) {
      if (!cards.has(id)) {
        this.observer.unobserve(card.element);
        this.#visible.delete(id);
      }
    }
    const added = [...cards].filter(([id]) => !this.#cards.has(id));
    this.#cards = cards;
    if (changed) this.list.replaceChildren(...[...cards.values()].map((card) => card.element));
    for (const [, card] of added) this.observer.observe(card.element);
    this.empty.hidden = cards.size > 0;
    for (const id of this.#visible) await this.#loadStrip(id);
  }

  async #loadStrip(id) {
    try {
      const detail = await this.load("api/v1/groups/" + encodeURIComponent(id));
      this.#cards.get(id)?.setPartitions(detail.partitions);
    } catch {
      // The card keeps its last strip. The page says when the server does not answer.
    }
  }
}
