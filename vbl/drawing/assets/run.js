// The page of a run: times that go on, things that are copied, and addresses that lead to an event.
// It works by delegation on the document, so that nothing has to be bound again after a part was drawn anew.

const UNITS = [[86400, "d", 3600, "h"], [3600, "h", 60, "min"], [60, "min", 1, "s"]];

/** A span of time in words, as the page is drawn with: `850 ms`, `1.2 s`, `2 min 5 s`. */
export function duration(us) {
  us = Math.max(us, 0);
  if (us < 999500) return us >= 1000 || us === 0 ? `${Math.round(us / 1000)} ms` : "1 ms";
  if (us < 9950000) return `${(us / 1e6).toFixed(1).replace(/\.0$/, "")} s`;
  const seconds = Math.round(us / 1e6);
  for (const [size, unit, restSize, restUnit] of UNITS) {
    if (seconds < size) continue;
    const rest = Math.floor((seconds % size) / restSize);
    return `${Math.floor(seconds / size)} ${unit}` + (rest ? ` ${rest} ${restUnit}` : "");
  }
  return `${seconds} s`;
}

// Countdowns and clocks -----------------------------------------------------------------------------------------

function tick() {
  const now = Date.now() * 1000;
  for (const one of document.querySelectorAll("[data-until]")) {
    const left = Number(one.dataset.until) - now;
    const text = left > 0 ? `in ${duration(Math.max(left, 1e6))}` : one.dataset.past || "now";
    if (one.textContent !== text) one.textContent = text;
  }
  for (const one of document.querySelectorAll("[data-since]")) {
    const text = duration(now - Number(one.dataset.since));
    if (one.textContent !== text) one.textContent = text;
  }
}

if (document.querySelector("meta[name=htmx-config]")) {
  // a served page only: a file that was saved shows the time at which it was saved
  setInterval(() => document.hidden || tick(), 1000);
  document.addEventListener("htmx:after:swap", tick);
}

// Copying ---------------------------------------------------------------------------------------------------------

async function copy(element) {
  const json = element.closest(".payload")?.querySelector(":scope > .json pre");
  const text = element.hasAttribute("data-copy-json") ? json?.textContent : element.dataset.copy;
  if (text === undefined) return;
  const said = document.getElementById("said");
  if (!navigator.clipboard) { // a page from another machine without TLS may not write it
    if (said) said.textContent = "this page may not copy: it is not served from this machine or by TLS";
    return select(element.hasAttribute("data-copy-json") ? json : element);
  }
  await navigator.clipboard.writeText(text);
  element.dataset.copied = "";
  if (said) said.textContent = "copied";
  setTimeout(() => delete element.dataset.copied, 1500);
}

/** Mark a text, so that the keys of the system copy it. */
function select(element) {
  const details = element.closest("details");
  if (details) details.open = true;
  window.getSelection()?.selectAllChildren(element);
}

document.addEventListener("click", (event) => {
  const element = event.target.closest?.("[data-copy], [data-copy-json]");
  if (element && !String(window.getSelection())) copy(element);
});

// Addresses of events ---------------------------------------------------------------------------------------------

/** Open the row that the address names, and bring it into view; it is fetched where it is not on the page yet. */
async function follow() {
  const seq = /^#e(\d+)$/.exec(location.hash)?.[1];
  if (!seq) return;
  const row = document.getElementById(`e${seq}`);
  if (row) return show(row);
  const list = document.getElementById("event-list"), run = document.body.dataset.run;
  if (!run) return;
  const page = `${document.body.dataset.root || ""}/runs/${encodeURIComponent(run)}`;
  if (!list || !window.htmx) {
    const query = new URLSearchParams(location.search); // the timeline stays as it is
    for (const name of ["checkpoint", "at", "against"]) query.delete(name);
    query.set("tab", "events");
    query.set("event", seq);
    return location.replace(`${page}?${query}${location.hash}`);
  }
  await window.htmx.ajax("GET", `${page}/events?event=${seq}&order=${list.dataset.order}`, { target: "#event-list", swap: "outerHTML" });
  const fetched = document.getElementById(`e${seq}`);
  if (fetched) show(fetched);
}

function show(row) {
  const details = row.querySelector("details");
  if (details) details.open = true;
  row.scrollIntoView({ block: "center" });
  row.querySelector("summary")?.focus({ preventScroll: true });
}

window.addEventListener("hashchange", follow);
if (document.readyState === "complete") follow();
else window.addEventListener("load", follow);

// The address names a row again also where it does already: the event of a link that is clicked twice.
document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[href], [*|href]");
  const target = link && (link.getAttribute("href") || "");
  if (target && /^#e\d+$/.test(target) && target === location.hash) follow();
});
