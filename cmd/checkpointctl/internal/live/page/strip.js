// A group's partitions as a strip, coloured by owner and state.
import { element, setAttribute, setText } from "./dom.js";

const mostSegments = 256;

// thinStrip draws the strip of the overview: a segment for each partition, or the share of each owner if there are too
// many partitions for that.
export function thinStrip(partitions, palette) {
  let segments = partitions.map((p) => ({ look: palette.classOf(p.ownerId, p.state), partitions: 1 }));
  if (segments.length > mostSegments) {
    const shares = new Map();
    for (const { look } of segments) shares.set(look, (shares.get(look) ?? 0) + 1);
    segments = [...shares].map(([look, n]) => ({ look, partitions: n }));
  }
  return segments.map((segment) => {
    const node = element("span", { class: "segment " + segment.look });
    node.style.flexGrow = segment.partitions;
    return node;
  });
}

// Strip is the strip of a group's view: a list box with one option per partition. Arrow keys, Home and End move
// through it, Enter and the space bar select.
export class Strip {
  #cells = new Map(); // partition ID to its cell
  #ids = [];
  #active = 0;

  constructor({ onSelect, onActive }) {
    this.element = element("div", {
      class: "strip", role: "listbox", tabIndex: 0,
      "aria-label": "Partitions by owner", "aria-multiselectable": "true",
    });
    this.onSelect = onSelect;
    this.onActive = onActive;
    this.element.addEventListener("keydown", (event) => this.#key(event));
    this.element.addEventListener("focus", () => this.#activate(this.#active));
    this.element.addEventListener("blur", () => { this.#mark(null); onActive(null); });
    this.element.addEventListener("click", (event) => {
      const cell = event.target.closest(".cell");
      if (!cell) return;
      this.#activate(this.#ids.indexOf(cell.partitionId));
      onSelect(cell.partitionId);
    });
    this.element.addEventListener("pointerover", (event) => {
      const cell = event.target.closest(".cell");
      if (cell) onActive(cell.partitionId);
    });
    this.element.addEventListener("pointerleave", () => {
      onActive(document.activeElement === this.element ? this.#ids[this.#active] : null);
    });
  }

  // update shows the partitions. A cell that changes its owner is marked as changed for a moment.
  update(partitions, palette, selected) {
    const ids = partitions.map((p) => p.partitionId);
    if (ids.length !== this.#ids.length || ids.some((id, i) => id !== this.#ids[i])) this.#build(ids);
    const numbered = ids.length <= 64;
    setAttribute(this.element, "data-size", numbered ? "large" : ids.length <= 256 ? "medium" : "small");
    for (const p of partitions) {
      const cell = this.#cells.get(p.partitionId);
      const look = "cell " + palette.classOf(p.ownerId, p.state);
      if (cell.look !== look) {
        if (cell.look !== undefined) {
          cell.className = look;
          void cell.offsetWidth; // so that the animation starts again
          cell.className = look + " changed";
        } else {
          cell.className = look;
        }
        cell.look = look;
      }
      setText(cell, numbered ? p.partitionId : "");
      setAttribute(cell, "data-owner", p.ownerId ?? "");
      setAttribute(cell, "aria-label", `Partition ${p.partitionId}, ${p.state}${p.ownerId ? ", owner " + p.ownerId : ""}`);
      setAttribute(cell, "aria-selected", String(selected.has(p.partitionId)));
    }
  }

  // highlight dims the partitions of all owners but one. Null ends that.
  highlight(owner) {
    for (const cell of this.#cells.values()) {
      cell.classList.toggle("dim", owner !== null && cell.getAttribute("data-owner") !== owner);
    }
  }

  #build(ids) {
    const active = this.#ids[this.#active];
    this.#ids = ids;
    this.#cells = new Map(ids.map((id, i) => {
      const cell = this.#cells.get(id) ?? element("div", { role: "option", partitionId: id });
      cell.id = "cell-" + i;
      return [id, cell];
    }));
    this.element.replaceChildren(...this.#cells.values());
    this.#active = Math.max(0, ids.indexOf(active));
  }

  #mark(cell) {
    this.element.querySelector(".active")?.classList.remove("active");
    if (cell) {
      cell.classList.add("active");
      this.element.setAttribute("aria-activedescendant", cell.id);
    }
  }

  #activate(index) {
    if (this.#ids.length === 0) return;
    this.#active = Math.min(Math.max(index, 0), this.#ids.length - 1);
    const id = this.#ids[this.#active];
    this.#mark(this.#cells.get(id));
    this.onActive(id);
  }

  // #perLine is how many cells stand in the first line.
  #perLine() {
    const top = this.element.firstElementChild?.offsetTop;
    let n = 0;
    for (const cell of this.element.children) {
      if (cell.offsetTop !== top) break;
      n++;
    }
    return Math.max(1, n);
  }

  #key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const steps = {
      ArrowLeft: () => this.#active - 1,
      ArrowRight: () => this.#active + 1,
      ArrowUp: () => (this.#active < this.#perLine() ? this.#active : this.#active - this.#perLine()),
      ArrowDown: () => (this.#active + this.#perLine() < this.#ids.length ? this.#active + this.#perLine() : this.#active),
      Home: () => 0,
      End: () => this.#ids.length - 1,
    };
    if (steps[event.key]) {
      this.#activate(steps[event.key]());
    } else if ((event.key === "Enter" || event.key === " ") && this.#ids.length > 0) {
      this.onSelect(this.#ids[this.#active]);
    } else {
      return;
    }
    event.preventDefault();
  }
}
