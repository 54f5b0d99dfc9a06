// The live feed of a tab: one stream, closed while the tab is hidden, resumed at the last cursor.
//
// Every message becomes DOM events on <body>, which sections take as their hx-trigger:
//   vbl:changed  the run of this page has changed (any run, on a page about none), or who moves the file has
//   vbl:moved    anything in the file has
// detail: {cursor, runs, all, supervisor}. Refreshes never overlap: while one is under way, what comes meanwhile is
// gathered, and told once it is done. The state is on #live: live, paused, reconnecting.

const body = document.body;
const root = body.dataset.root ?? "";
const run = body.dataset.run ?? "";
const button = document.getElementById("live");

const BEAT_MS = 40_000; // the server beats every 15 s; without one for so long the stream is dead
const SOON_MS = 1_000;
const LATEST_MS = 15_000;
const AGAIN_MS = 1_500; // after a refresh that failed
const REST_MS = 100; // between two refreshes, and at least twice what the last one took: the processor is for the steps
const STUCK_MS = 5_000; // a refresh that has not ended after so long holds up nothing any more

let cursor = Number(body.dataset.cursor ?? 0);
let stream = null;
let paused = false;
let delay = SOON_MS;
let retry = 0;
let watchdog = 0;
let supervisor; // what the last message said of it, as text; undefined before the first one

const words = { live: "live", paused: "paused", reconnecting: "reconnecting…", connecting: "connecting…" };

function show(state) {
  if (!button) return;
  button.dataset.state = state;
  button.setAttribute("aria-pressed", String(state !== "paused"));
  button.querySelector(".word").textContent = words[state];
}

// The stream ---------------------------------------------------------------------------------------------------------

function open() {
  close();
  if (paused || document.hidden) return;
  const query = new URLSearchParams({ after: String(cursor) });
  if (run) query.set("run", run);
  stream = new EventSource(`${root}/live?${query}`);
  stream.onopen = () => { delay = SOON_MS; show("live"); alive(); };
  stream.onmessage = (event) => { alive(); take(JSON.parse(event.data)); };
  stream.addEventListener("beat", (event) => { cursor = Math.max(cursor, Number(event.data)); alive(); });
  stream.onerror = again; // we reconnect by ourselves: at the last cursor, and later and later
}

function close() {
  clearTimeout(retry);
  clearTimeout(watchdog);
  stream?.close();
  stream = null;
}

function alive() {
  clearTimeout(watchdog);
  watchdog = setTimeout(again, BEAT_MS);
}

function again() {
  close();
  if (paused || document.hidden) return;
  show("reconnecting");
  retry = setTimeout(open, delay * (0.75 + Math.random() / 2));
  delay = Math.min(delay * 2, LATEST_MS);
}

// What it says -------------------------------------------------------------------------------------------------------

let gathered = null;
let refreshing = 0;
let since = 0; // when the refresh that is under way began
let restUntil = 0;
let resting = 0;

function take(message) {
  cursor = message.cursor;
  const now = JSON.stringify(message.supervisor);
  const other = supervisor !== undefined && supervisor !== now;
  const first = supervisor === undefined;
  supervisor = now;
  const moved = message.runs.length > 0 || message.all || other;
  if (first && !moved && (message.supervisor === null) === (document.querySelector("#supervision.none") !== null)) return;
  const mine = first || other || message.all || (run ? message.runs.includes(run) : message.runs.length > 0);
  gathered ??= { runs: new Set(), all: false, mine: false };
  message.runs.forEach((id) => gathered.runs.add(id));
  gathered.all ||= message.all;
  gathered.mine ||= mine;
  gathered.supervisor = message.supervisor;
  tell();
}

function tell() {
  if (!gathered) return;
  const now = performance.now();
  if (refreshing > 0 && now - since < STUCK_MS) return;
  if (now < restUntil) {
    clearTimeout(resting);
    resting = setTimeout(tell, restUntil - now);
    return;
  }
  restUntil = now + REST_MS;
  const { runs, all, mine, supervisor } = gathered;
  gathered = null;
  refreshing = 0;
  const detail = { cursor, runs: [...runs], all, supervisor };
  const say = (name) => body.dispatchEvent(new CustomEvent(name, { detail }));
  say("vbl:moved");
  if (mine) say("vbl:changed");
}

// Refreshes that these events ask for. One that fails leaves the picture as it is; where the file was busy, or nobody
// answered, it is asked for again.
const ours = (event) => event.detail?.ctx?.sourceEvent?.type?.startsWith?.("vbl:");

document.addEventListener("htmx:before:request", (event) => {
  if (!ours(event)) return;
  if (refreshing === 0) since = performance.now();
  refreshing += 1;
});
document.addEventListener("htmx:before:response", (event) => {
  if (!ours(event)) return;
  const { status, headers } = event.detail.ctx.response;
  if (status < 400 || headers.get("HX-Refresh")) return;
  event.preventDefault();
  if (status >= 500) tellAgain();
});
document.addEventListener("htmx:error", (event) => { if (ours(event)) tellAgain(); });
document.addEventListener("htmx:finally:request", (event) => {
  if (!ours(event)) return;
  refreshing = Math.max(refreshing - 1, 0);
  if (refreshing > 0) return;
  const now = performance.now();
  restUntil = now + (gathered?.again ? AGAIN_MS : Math.max(REST_MS, 2 * (now - since)));
  tell();
});

function tellAgain() {
  gathered ??= { runs: new Set(), all: true, supervisor: undefined };
  gathered.mine = gathered.again = true;
}

setInterval(tell, STUCK_MS);

// When it listens ----------------------------------------------------------------------------------------------------

button?.addEventListener("click", () => {
  paused = !paused;
  if (paused) { close(); show("paused"); } else { show("connecting"); open(); }
});
document.addEventListener("visibilitychange", () => {
  if (document.hidden) close();
  else if (!paused) { delay = SOON_MS; open(); }
});
addEventListener("pagehide", close);
addEventListener("pageshow", (event) => { if (event.persisted && !paused) open(); });
addEventListener("online", () => { if (!paused) open(); });

// Changes that a script asks for carry the token of the session, as forms do in their hidden field.
document.addEventListener("htmx:config:request", (event) => {
  const token = document.querySelector('meta[name="csrf"]')?.content;
  const request = event.detail?.ctx?.request;
  if (token && request && request.method?.toUpperCase() !== "GET") request.headers["X-CSRF-Token"] = token;
});

show("connecting");
open();
