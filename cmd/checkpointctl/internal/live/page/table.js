// The sortable table of a group's partitions. Only the rows in sight are in the document.
import { compareNatural, element, formatClock, formatDuration, formatNumber, setAttribute, setText, shorten, unknown } from "./dom.js";

const rowHeight = 33; // as in app.css
const spare = 8; // rows above and below those in sight

const text = (value) => (value === null || value === "" ? unknown : value);
const ago = (seconds) => (seconds === null ? unknown : formatDuration(seconds) + " ago");

// A column sorts by sort(row), which is a number, a text or null, and shows show(row). Columns with more are hidden at first.
const columns = [
  { key: "partitionId", label: "Partition", sort: (p) => p.partitionId, show: (p) => p.partitionId },
  { key: "state", label: "State", sort: (p) => p.state, show: (p) => p.state },
  { key: "ownerId", label: "Owner", sort: (p) => p.ownerId, show: (p) => (p.ownerId === null ? unknown : shorten(p.ownerId)), title: (p) => p.ownerId },
  { key: "lag", label: "Lag", number: true, sort: (p) => p.lag, show: (p) => formatNumber(p.lag) },
  { key: "lagSeconds", label: "Lag in time", number: true, sort: (p) => p.lagSeconds, show: (p) => formatDuration(p.lagSeconds), title: (p) => (p.lagMethod ? "Method: " + p.lagMethod : "") },
  { key: "lagState", label: "Lag state", sort: (p) => p.lagState, show: (p) => text(p.lagState) },
  { key: "lost", label: "Lost", number: true, sort: (p) => p.lost, show: (p) => formatNumber(p.lost) },
  { key: "checkpointAgeSeconds", label: "Checkpoint", number: true, sort: (p) => p.checkpointAgeSeconds, show: (p) => ago(p.checkpointAgeSeconds), title: (p) => p.checkpointTime },
  { key: "ownershipAgeSeconds", label: "Renewed", number: true, sort: (p) => p.ownershipAgeSeconds, show: (p) => ago(p.ownershipAgeSeconds) },
  { key: "sequenceNumber", label: "Sequence number", number: true, sort: (p) => p.sequenceNumber, show: (p) => formatNumber(p.sequenceNumber) },
  { key: "offset", label: "Offset", number: true, more: true, sort: (p) => p.offset, show: (p) => text(p.offset) },
  { key: "enqueuedTime", label: "Enqueued", number: true, more: true, sort: (p) => p.enqueuedTime, show: (p) => (p.enqueuedTime === null ? unknown : formatClock(p.enqueuedTime)), title: (p) => p.enqueuedTime },
  { key: "lagMethod", label: "Method", more: true, sort: (p) => p.lagMethod, show: (p) => text(p.lagMethod) },
  { key: "generation", label: "Generation", number: true, more: true, sort: (p) => p.generation, show: (p) => formatNumber(p.generation) },
  { key: "writer", label: "Writer", more: true, sort: (p) => p.writer, show: (p) => (p.writer === null ? unknown : shorten(p.writer)), title: (p) => p.writer },
  { key: "checkpointSpelling", label: "Spelling", more: true, sort: (p) => p.checkpointSpelling, show: (p) => (p.checkpointSpelling === null ? unknown : shorten(p.checkpointSpelling, 40)), title: (p) => p.checkpointSpelling },
];

// compareBy orders rows by a column. What is not known comes last either way.
function compareBy(column, descending) {
  return (a, b) => {
    const x = column.sort(a);
    const y = column.sort(b);
    if (x === null || y === null) {
      if (x !== y) return x === null ? 1 : -1;
    } else {
      const order = typeof x === "number" ? x - y : compareNatural(x, y);
      if (order !== 0) return descending ? -order : order;
    }
    return compareNatural(a.partitionId, b.partitionId);
  };
}

// Table is a grid: Tab reaches the headers and the body; the left and right arrows move between headers, Enter sorts;
// the up and down arrows, Page Up and Down, Home and End move between rows, Enter selects one.
export class Table {
  #rows = []; // as the API has them
  #shown = []; // filtered and sorted
  #nodes = []; // the rows in the document
  #sort = columns[0];
  #descending = false;
  #filter = "";
  #more = false;
  #active = null; // a partition ID
  #selected = new Set();

  constructor({ onSelect }) {
    this.onSelect = onSelect;
    this.headers = columns.map((column) => {
      const button = element("button", { type: "button", class: "sort", tabIndex: -1 }, element("span", {}, column.label));
      button.addEventListener("click", () => this.#sortBy(column));
      button.addEventListener("keydown", (event) => this.#headerKey(event, button));
      return { column, button, cell: element("th", { scope: "col", class: (column.number ? "number" : "") + (column.more ? " more" : "") }, button) };
    });
    this.headers[0].button.tabIndex = 0;
    this.body = element("tbody");
    this.table = element("table", { class: "partitions", role: "grid", tabIndex: 0, "aria-label": "Partitions", "aria-multiselectable": "true" },
      element("thead", {}, element("tr", {}, ...this.headers.map((h) => h.cell))), this.body);
    this.scroller = element("div", { class: "table-scroll" }, this.table);
    this.above = element("tr", { class: "spacer", "aria-hidden": "true" }, element("td", { colSpan: columns.length }));
    this.below = element("tr", { class: "spacer", "aria-hidden": "true" }, element("td", { colSpan: columns.length }));
    const search = element("input", { type: "search", id: "filter", placeholder: "partition, owner or state", autocomplete: "off", spellcheck: false });
    search.addEventListener("input", () => this.filter(search.value));
    const more = element("input", { type: "checkbox", id: "more-columns" });
    more.addEventListener("change", () => { this.#more = more.checked; this.#draw(); });
    this.count = element("span", { class: "count", role: "status" });
    this.element = element("div", { class: "table-box" },
      element("div", { class: "table-tools" },
        element("label", { for: "filter" }, "Filter"), search,
        element("label", { class: "check" }, more, " More columns"), this.count),
      this.scroller);
    this.search = search;
    this.scroller.addEventListener("scroll", () => this.#draw(), { passive: true });
    this.table.addEventListener("keydown", (event) => this.#key(event));
    this.table.addEventListener("focus", () => this.#draw());
    this.table.addEventListener("blur", () => this.#draw());
    this.body.addEventListener("click", (event) => {
      const row = event.target.closest("tr");
      if (!row?.partitionId) return;
      this.#active = row.partitionId;
      this.onSelect(row.partitionId);
    });
    new ResizeObserver(() => this.#draw()).observe(this.scroller);
    this.#markSort();
  }

  update(rows, palette, selected) {
    this.#rows = rows;
    this.palette = palette;
    this.#selected = selected;
    this.#arrange();
  }

  // filter shows the partitions of the owner of that name, or else those with that ID, or with the text in their owner
  // or their state.
  filter(text) {
    if (this.search.value !== text) this.search.value = text;
    this.#filter = text.trim().toLowerCase();
    this.scroller.scrollTop = 0;
    this.#arrange();
  }

  #arrange() {
    const wanted = this.#filter;
    const is = (value) => value !== null && value.toLowerCase() === wanted;
    const has = (value) => value !== null && value.toLowerCase().includes(wanted);
    if (wanted === "") this.#shown = [...this.#rows];
    else if (this.#rows.some((p) => is(p.ownerId))) this.#shown = this.#rows.filter((p) => is(p.ownerId));
    else this.#shown = this.#rows.filter((p) => is(p.partitionId) || has(p.ownerId) || has(p.state));
    this.#shown.sort(compareBy(this.#sort, this.#descending));
    setText(this.count, wanted === "" ? "" : `${formatNumber(this.#shown.length)} of ${formatNumber(this.#rows.length)}`);
    setAttribute(this.table, "aria-rowcount", this.#shown.length + 1);
    this.#draw();
  }

  #sortBy(column) {
    this.#descending = this.#sort === column ? !this.#descending : column.number === true;
    this.#sort = column;
    this.#markSort();
    this.scroller.scrollTop = 0;
    this.#arrange();
  }

  #markSort() {
    for (const { column, cell } of this.headers) {
      setAttribute(cell, "aria-sort", column === this.#sort ? (this.#descending ? "descending" : "ascending") : "none");
    }
  }

  // #draw puts the rows in sight into the document.
  #draw() {
    if (!this.palette) return;
    this.table.classList.toggle("all-columns", this.#more);
    const height = this.scroller.clientHeight || 400;
    const first = Math.max(0, Math.min(Math.floor(this.scroller.scrollTop / rowHeight) - spare, this.#shown.length - 1));
    const last = Math.min(this.#shown.length, first + Math.ceil(height / rowHeight) + 2 * spare);
    while (this.#nodes.length < last - first) this.#nodes.push(this.#newRow(this.#nodes.length));
    this.#nodes.length = last - first;
    this.above.firstChild.style.height = first * rowHeight + "px";
    this.below.firstChild.style.height = (this.#shown.length - last) * rowHeight + "px";
    const focused = document.activeElement === this.table;
    let active = null;
    for (let i = first; i < last; i++) {
      const row = this.#nodes[i - first];
      const p = this.#shown[i];
      row.partitionId = p.partitionId;
      setAttribute(row, "aria-rowindex", i + 2);
      setAttribute(row, "aria-selected", String(this.#selected.has(p.partitionId)));
      row.classList.toggle("active", focused && p.partitionId === this.#active);
      if (p.partitionId === this.#active) active = row;
      columns.forEach((column, c) => this.#fill(row.children[c], column, p));
    }
    const body = [this.above, ...this.#nodes, this.below];
    if (body.length !== this.body.children.length || body.some((node, i) => this.body.children[i] !== node)) this.body.replaceChildren(...body);
    setAttribute(this.table, "aria-activedescendant", focused && active ? active.id : null);
  }

  #newRow(i) {
    return element("tr", { id: "row-" + i }, ...columns.map((column) => {
      const cell = element("td", { class: (column.number ? "number" : "") + (column.more ? " more" : "") });
      if (column.key === "partitionId" || column.key === "ownerId") cell.append(element("span", { class: "swatch" }), element("span"));
      if (column.key === "state" || column.key === "lagState") cell.append(element("span"));
      return cell;
    }));
  }

  #fill(cell, column, p) {
    const value = column.show(p);
    if (column.key === "ownerId") {
      cell.firstChild.className = "swatch " + this.palette.classOf(p.ownerId, p.state);
      setText(cell.lastChild, value);
    } else if (column.key === "partitionId") {
      cell.firstChild.className = "tick";
      setText(cell.lastChild, value);
    } else if (column.key === "state" || column.key === "lagState") {
      cell.firstChild.className = "state " + stateClass(value);
      setText(cell.firstChild, value);
    } else {
      setText(cell, value);
    }
    const title = column.title?.(p) ?? "";
    if (cell.title !== title) cell.title = title;
  }

  #headerKey(event, button) {
    const buttons = this.headers.filter((h) => this.#more || !h.column.more).map((h) => h.button);
    const at = buttons.indexOf(button);
    const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: buttons.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const next = buttons[Math.min(Math.max(to, 0), buttons.length - 1)];
    for (const b of buttons) b.tabIndex = b === next ? 0 : -1;
    next.focus();
  }

  #key(event) {
    if (event.target !== this.table || event.altKey || event.ctrlKey || event.metaKey || this.#shown.length === 0) return;
    const at = this.#shown.findIndex((p) => p.partitionId === this.#active);
    const page = Math.max(1, Math.floor(this.scroller.clientHeight / rowHeight) - 2);
    const to = { ArrowUp: at - 1, ArrowDown: at + 1, PageUp: at - page, PageDown: at + page, Home: 0, End: this.#shown.length - 1 }[event.key];
    if (to !== undefined) {
      const index = Math.min(Math.max(to, 0), this.#shown.length - 1);
      this.#active = this.#shown[index].partitionId;
      this.#scrollTo(index);
      this.#draw();
    } else if ((event.key === "Enter" || event.key === " ") && at >= 0) {
      this.onSelect(this.#active);
    } else {
      return;
    }
    event.preventDefault();
  }

  #scrollTo(index) {
    const top = index * rowHeight;
    const height = this.scroller.clientHeight - rowHeight * 1.5; // less the header, which stays in sight
    if (top < this.scroller.scrollTop) this.scroller.scrollTop = top;
    else if (top + rowHeight > this.scroller.scrollTop + height) this.scroller.scrollTop = top + rowHeight - height;
  }
}

function stateClass(state) {
  switch (state) {
    case "expired": return "bad";
    case "ahead": case "unknown": case "no partition": case "no checkpoint": case "relinquished": return "attention";
    case "never owned": return "faint";
    default: return "";
  }
}
