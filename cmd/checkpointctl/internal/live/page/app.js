// The page of "checkpointctl serve" and "checkpointctl demo". It shows what the API of the same server says, and reads
// it again when the server announces a round.
import { formatClock, setText } from "./dom.js";
import { Group } from "./group.js";
import { Overview } from "./overview.js";

const schemaVersion = 1;
const firstRetry = 1000; // milliseconds
const longestRetry = 15000;

const main = document.getElementById("main");
const offline = document.getElementById("offline");
const errors = document.getElementById("errors");
const connection = document.getElementById("connection");
const loading = document.getElementById("loading");
const connectionText = document.getElementById("connection-text");

let view = null;
let all = null; // the latest answer of api/v1/groups
let seen = 0; // when its round was seen first, in milliseconds
let running = false;
let again = false;
let retry = 0; // the next delay, 0 while the server answers
let retryTimer = 0;

// A LoadError says why the server's data is not there.
class LoadError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

// load reads one resource. The browser keeps it with its ETag and asks for a newer one.
async function load(path) {
  let response, text;
  try {
    response = await fetch(path, { cache: "no-cache", headers: { Accept: "application/json" } });
    text = await response.text();
  } catch {
    throw new LoadError("The server does not answer.");
  }
  if (!response.ok) throw new LoadError(`The server answered ${response.status}: ${reasonIn(text)}.`, response.status);
  const content = JSON.parse(text);
  if (content.schemaVersion !== schemaVersion) {
    throw new LoadError(`The server has version ${content.schemaVersion} of the data, and this page knows ${schemaVersion}: reload the page.`);
  }
  return content;
}

// reasonIn returns the reason in an answer that is an error: that of the API's JSON, or the text.
function reasonIn(text) {
  try {
    return String(JSON.parse(text).error);
  } catch {
    return text.trim().slice(0, 300);
  }
}

// refresh reads what the view shows. One refresh runs at a time; a call during it leads to one more.
async function refresh() {
  again = true;
  if (running) return;
  running = true;
  while (again) {
    again = false;
    try {
      const latest = await load("api/v1/groups");
      if (latest.time !== all?.time) seen = performance.now();
      all = latest;
      showState();
      await view.update(all);
      document.title = view.title + " · checkpointctl";
      connected();
    } catch (error) {
      if (!(error instanceof LoadError)) console.error(error);
      disconnected(error.message);
    }
  }
  running = false;
}

function showState() {
  document.getElementById("demo").hidden = !all.demo;
  const list = all.errors ?? [];
  errors.hidden = list.length === 0;
  setText(errors, list.join(" · "));
}

function setConnection(state, text) {
  if (connection.dataset.state !== state) connection.dataset.state = state;
  setText(connectionText, text);
}

function connected() {
  loading.remove();
  retry = 0;
  clearTimeout(retryTimer);
  retryTimer = 0;
  offline.hidden = true;
  const late = performance.now() - seen > Math.max(3 * all.interval, 5) * 1000;
  setConnection(late ? "late" : "live", late ? `Last refresh at ${formatClock(all.time)}` : `Live · ${formatClock(all.time)}`);
}

// disconnected says that the data is old, and tries again.
function disconnected(reason) {
  loading.remove();
  setConnection("offline", "Reconnecting");
  setText(offline, all ? `${reason} This is what it said at ${formatClock(all.time)}. Trying again.` : `${reason} Trying again.`);
  offline.hidden = false;
  if (retryTimer !== 0) return;
  retry = retry === 0 ? firstRetry : Math.min(2 * retry, longestRetry);
  retryTimer = setTimeout(() => {
    retryTimer = 0;
    listen();
    refresh();
  }, retry);
}

let stream = null;

// listen follows the server's rounds. The browser reconnects by itself after a lost connection, but not after an answer
// that is an error: then the next call of listen does. A hidden tab does not listen, as browsers allow a server only six
// connections.
function listen() {
  if (document.hidden || stream !== null && stream.readyState !== EventSource.CLOSED) return;
  stream?.close();
  stream = new EventSource("api/v1/events");
  stream.addEventListener("round", refresh);
  stream.addEventListener("error", () => {
    if (offline.hidden) disconnected("The server does not answer."); // else it says a reason already
  });
}

// route shows the view that the address names: #/ or #/groups/<id>.
function route() {
  const match = /^#\/groups\/([\w.~%-]+)$/.exec(location.hash);
  const first = view === null;
  view?.destroy();
  view = match ? new Group(match[1], { load }) : new Overview({ load });
  main.replaceChildren(view.element, loading);
  if (!first) {
    view.heading.focus({ preventScroll: true });
    scrollTo(0, 0);
  }
  refresh();
}

document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address is the view's
  main.focus();
});
document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    stream?.close();
  } else {
    listen();
    refresh();
  }
});
setInterval(() => {
  listen();
  if (all && retryTimer === 0 && !running && !document.hidden) connected();
}, 5000);
addEventListener("hashchange", route);
route();
listen();
