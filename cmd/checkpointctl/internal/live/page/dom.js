// Elements and texts. Whatever comes from the API becomes a text node or an attribute, never markup.

// element creates an element. Properties are set as properties, or as attributes if their name has a dash or is "role";
// children are elements or texts.
export function element(name, properties = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (key === "class") node.className = value;
    else if (key.includes("-") || key === "role" || key === "scope" || key === "for") node.setAttribute(key, value);
    else node[key] = value;
  }
  node.append(...children);
  return node;
}

// setText changes the text of a node if it is another one, so that nothing is laid out in vain.
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function setAttribute(node, name, value) {
  if (value === null || value === false) node.removeAttribute(name);
  else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
}

export const unknown = "–";

const whole = new Intl.NumberFormat("en");
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });

export const formatNumber = (n) => (n === null || n === undefined ? unknown : whole.format(n));

// formatShort writes large numbers in at most four characters or so.
export const formatShort = (n) => (n === null || n === undefined ? unknown : n < 100000 ? whole.format(n) : compact.format(n));

// formatAxis writes a number of an axis.
export const formatAxis = (n) => (n < 10000 ? whole.format(n) : compact.format(n));

// formatDuration writes seconds with the two largest units.
export function formatDuration(seconds) {
  if (seconds === null || seconds === undefined) return unknown;
  if (seconds < 0) return "-" + formatDuration(-seconds);
  if (seconds < 9.95) return (Math.round(seconds * 10) / 10).toString() + " s";
  const s = Math.round(seconds);
  if (s < 60) return s + " s";
  if (s < 3600) return two(s, 60, "min", 1, "s");
  if (s < 86400) return two(s, 3600, "h", 60, "min");
  return two(s, 86400, "d", 3600, "h");
}

function two(seconds, large, largeName, small, smallName) {
  const n = Math.floor(seconds / large);
  const rest = Math.floor((seconds % large) / small);
  return rest === 0 ? `${n} ${largeName}` : `${n} ${largeName} ${rest} ${smallName}`;
}

// formatClock writes a time in the browser's time zone.
export function formatClock(time) {
  const date = new Date(time);
  return Number.isNaN(date.getTime()) ? unknown : clock.format(date);
}

// shorten leaves out the middle of a long name: owner IDs often differ only at one of their ends.
export function shorten(text, most = 24) {
  if (text.length <= most) return text;
  const tail = Math.floor((most - 1) / 2);
  return text.slice(0, most - 1 - tail) + "…" + text.slice(-tail);
}

const natural = new Intl.Collator("en", { numeric: true });

// compareNatural orders "2" before "10".
export const compareNatural = (a, b) => natural.compare(a, b);

export const plural = (n, one, many = one + "s") => `${formatNumber(n)} ${n === 1 ? one : many}`;
