// Moves the timeline: zoom, pan, the smallest picture, and which time and axis are shown.
//
// All that a person has chosen is kept on <html>, where no redraw of the page reaches: --vbl-zoom, data-clock,
// data-axis; and, on a served page, in its address (zoom, left, axis, time), so that it can be sent to somebody and
// outlives a reload. Listeners are on the document, so that a chart may come and go.

const root = document.documentElement;
const MOST = 400; // beyond that a browser can't lay out the width
const STEP = 1.5;
const SERVED = document.querySelector("meta[name=htmx-config]") !== null; // not a file that was saved
const CHOSEN = ["zoom", "left", "axis", "time"];

let zoom = 1;

const charts = () => [...document.querySelectorAll(".timeline")].filter((chart) => chart.offsetParent !== null);
const scrollerOf = (element) => element?.closest(".timeline")?.querySelector(".scroller") ?? null;
const namesOf = (scroller) => scroller.querySelector(".chart-head .lane-label")?.offsetWidth ?? 0;
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

// The instant under a place of the window stays there while the picture gets wider.
function zoomTo(wanted, scroller, clientX) {
  const names = namesOf(scroller);
  const view = scroller.clientWidth - names;
  const at = clientX === undefined ? view / 2 : clamp(clientX - scroller.getBoundingClientRect().left - names, 0, view);
  const share = (scroller.scrollLeft + at) / (view * zoom);
  zoom = clamp(wanted, 1, MOST);
  root.style.setProperty("--vbl-zoom", String(zoom));
  root.dataset.zoom = zoom >= 18 ? "3" : zoom >= 4 ? "2" : zoom >= 2 ? "1" : "0";
  root.toggleAttribute("data-zoomed", zoom > 1);
  scroller.scrollLeft = share * view * zoom - at;
  showWindow(scroller);
}

// Tells the smallest picture which part of the whole is in sight.
function showWindow(scroller) {
  const names = namesOf(scroller);
  const whole = scroller.scrollWidth - names;
  const view = scroller.clientWidth - names;
  root.style.setProperty("--vbl-from", String(whole > 0 ? scroller.scrollLeft / whole : 0));
  root.style.setProperty("--vbl-span", String(whole > 0 ? Math.min(view / whole, 1) : 1));
  rememberSoon();
}

// The address: what was chosen, where it is not what everybody sees at first ---------------------------------------

let remembering = 0;

function rememberSoon() {
  clearTimeout(remembering);
  remembering = setTimeout(remember, 200); // browsers take only so many changes of the address in a while
}

function remember() {
  clearTimeout(remembering);
  const [chart] = charts();
  if (!SERVED || !chart) return;
  const url = new URL(location.href);
  const left = Number(root.style.getPropertyValue("--vbl-from"));
  const chosen = {
    zoom: zoom > 1 && zoom.toFixed(2),
    left: zoom > 1 && left.toFixed(4),
    axis: chart.dataset.axis === "real" && "real",
    time: root.dataset.clock === "clock" && "clock",
  };
  for (const name of CHOSEN) {
    if (chosen[name]) url.searchParams.set(name, chosen[name]);
    else url.searchParams.delete(name);
  }
  if (url.href !== location.href) history.replaceState(history.state, "", url);
}

// The axis is drawn by the server, which reads the same address.
function recall() {
  const asked = new URLSearchParams(SERVED ? location.search : "");
  if (asked.get("time") === "clock") root.dataset.clock = "clock";
  const wanted = Number(asked.get("zoom"));
  const scroller = charts()[0]?.querySelector(".scroller");
  if (!(wanted > 1) || !scroller) return;
  zoomTo(wanted, scroller);
  scroller.scrollLeft = Number(asked.get("left")) * (scroller.scrollWidth - namesOf(scroller));
}

// Parts of the same page are links to it, and the form of filters sets the address anew: what was chosen goes with both.
document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[href]");
  if (!SERVED || link?.pathname !== location.pathname || link.getAttribute("href").startsWith("#")) return;
  remember();
  const url = new URL(link.href);
  const asked = new URLSearchParams(location.search);
  for (const name of CHOSEN) {
    if (asked.has(name)) url.searchParams.set(name, asked.get(name));
    else url.searchParams.delete(name); // it was there when the link was opened beside
  }
  link.href = url;
}, { capture: true });
document.addEventListener("htmx:after:history:update", rememberSoon);
document.addEventListener("htmx:after:swap", rememberSoon);

function toggle(name, first, second) {
  const shown = root.dataset[name] ?? first;
  root.dataset[name] = shown === first ? second : first;
}

const actions = {
  "zoom-in": (scroller) => zoomTo(zoom * STEP, scroller),
  "zoom-out": (scroller) => zoomTo(zoom / STEP, scroller),
  fit: (scroller) => zoomTo(1, scroller),
  clock: () => toggle("clock", "elapsed", "clock"),
  axis: (scroller) => {
    const chart = scroller.closest(".timeline");
    toggle("axis", "compressed", "real");
    const shown = charts().find((other) => other.parentElement === chart.parentElement);
    if (shown) {
      showWindow(shown.querySelector(".scroller"));
      shown.querySelector('[data-chart="axis"]')?.focus();
    }
  },
};

document.addEventListener("click", (event) => {
  const button = event.target.closest?.(".timeline [data-chart]");
  const act = button && actions[button.dataset.chart];
  if (act) { act(scrollerOf(button)); rememberSoon(); }
  const name = !button && event.target.closest?.(".timeline .lane > .lane-label");
  const first = name && name.parentElement.tagName !== "SUMMARY" && name.parentElement.querySelector(".track a");
  if (first) bring(first, scrollerOf(name));
});

document.addEventListener("wheel", (event) => {
  const scroller = event.target.closest?.(".timeline .scroller");
  if (!scroller || !(event.ctrlKey || event.metaKey)) return;
  event.preventDefault();
  zoomTo(zoom * Math.exp(-event.deltaY * 0.0025), scroller, event.clientX);
}, { passive: false });

document.addEventListener("scroll", (event) => {
  if (event.target.classList?.contains("scroller")) showWindow(event.target);
}, { capture: true, passive: true });

// Keys: zoom from anywhere on the page where nobody types, all others while the focus is in the chart.
const anywhere = { "+": "zoom-in", "=": "zoom-in", "-": "zoom-out", 0: "fit" };
const inside = { ...anywhere, t: "clock" };
const typing = (element) => element.closest?.("input, textarea, select, [contenteditable], dialog");

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
  const here = event.target.closest?.(".timeline");
  const chart = here ?? charts()[0];
  if (!chart) return;
  const act = actions[(here ? inside : anywhere)[event.key]];
  if (act) { act(scrollerOf(chart)); rememberSoon(); }
  else if (!here || !moveFocus(event, chart)) return;
  event.preventDefault();
  event.stopPropagation();
});

// One stop of the tab key for the whole chart: from its frame the arrows lead from attempt to attempt.
function moveFocus(event, chart) {
  const here = event.target.closest("a");
  const link = here ? neighbour(here, event.key) : event.key === "ArrowDown" ? chart.querySelector(".track a") : null;
  if (!link) return false;
  link.focus({ preventScroll: true });
  bring(link, scrollerOf(chart));
  return true;
}

function neighbour(link, key) {
  const track = link.closest(".track");
  const links = [...track.querySelectorAll("a")];
  const at = links.indexOf(link);
  if (key === "ArrowRight") return links[at + 1];
  if (key === "ArrowLeft") return links[at - 1];
  if (key !== "ArrowDown" && key !== "ArrowUp") return null;
  const tracks = [...track.closest(".timeline").querySelectorAll(".track")].filter((other) => other.querySelector("a"));
  const next = tracks[tracks.indexOf(track) + (key === "ArrowDown" ? 1 : -1)];
  return next?.querySelector("a");
}

// Into sight, and not below the names or the ruler.
function bring(link, scroller) {
  link.closest(".lane").scrollIntoView({ block: "nearest", inline: "nearest" });
  const box = link.getBoundingClientRect();
  const frame = scroller.getBoundingClientRect();
  const left = frame.left + namesOf(scroller);
  if (box.left < left || box.left > frame.right - 20) scroller.scrollLeft += box.left - left - 40;
  if (box.top < frame.top + 30) scroller.scrollTop -= frame.top + 30 - box.top;
}

// Dragging: the picture itself with the mouse, the window of the smallest picture with anything.
let drag = null;

document.addEventListener("pointerdown", (event) => {
  if (event.button !== 0) return;
  const minimap = event.target.closest?.(".timeline .minimap");
  const scroller = minimap ? scrollerOf(minimap) : event.target.closest?.(".timeline .scroller");
  if (!scroller || (!minimap && (event.pointerType !== "mouse" || event.target.closest(".lane-label, button")))) return;
  drag = { scroller, minimap, x: event.clientX, y: event.clientY, moved: false };
  if (minimap) centre(event);
});

document.addEventListener("pointermove", (event) => {
  if (!drag) return;
  if (drag.minimap) {
    centre(event);
    return;
  }
  if (!drag.moved && Math.abs(event.clientX - drag.x) + Math.abs(event.clientY - drag.y) < 4) return;
  drag.moved = true;
  drag.scroller.classList.add("grabbed");
  drag.scroller.scrollBy(drag.x - event.clientX, drag.y - event.clientY);
  drag.x = event.clientX;
  drag.y = event.clientY;
});

for (const end of ["pointerup", "pointercancel"]) {
  document.addEventListener(end, () => {
    drag?.scroller.classList.remove("grabbed");
    drag = null;
  });
}

document.addEventListener("dragstart", (event) => {
  if (event.target.closest?.(".timeline .scroller")) event.preventDefault();
});

function centre(event) {
  const box = drag.minimap.getBoundingClientRect();
  const share = clamp((event.clientX - box.left) / box.width, 0, 1);
  const names = namesOf(drag.scroller);
  const whole = drag.scroller.scrollWidth - names;
  drag.scroller.scrollLeft = share * whole - (drag.scroller.clientWidth - names) / 2;
}

addEventListener("resize", () => charts().forEach((chart) => showWindow(chart.querySelector(".scroller"))));

root.dataset.chart = "";
recall();
charts().forEach((chart) => showWindow(chart.querySelector(".scroller")));
