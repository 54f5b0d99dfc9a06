// The keyboard: rows by j and k, search, places, the answer at a question, and this help. And dialogs, by data-dialog.
//
// Rows are marked data-row; what Enter opens in one is its data-open, else its first link, summary or button. The focus
// of the browser is the cursor, so nothing is kept that a redraw could lose, and Enter, Tab and screen readers do what
// they always do. No single key changes anything: a and d put the focus on a button, and Enter presses it.

const HELP = [
  ["j", "k", "next row, row before"],
  ["Enter", "open the row, press the button"],
  ["/", "search"],
  ["a", "d", "go to Approve, to Deny; Enter then decides"],
  ["g r", "runs"],
  ["g i", "inbox"],
  ["g q", "queues"],
  ["g s", "schedules"],
  ["Esc", "close, leave the field"],
  ["?", "this help"],
];
const ON_A_RUN = [["+", "-", "0", "zoom the timeline"]];
const PLACES = { r: "runs", i: "inbox", q: "queues", s: "schedules" };
const CHORD_MS = 1500;

// Rows ----------------------------------------------------------------------------------------------------------------

let last = 0; // where the cursor was, for when its row has gone

const rows = () => [...document.querySelectorAll("main [data-row]")].filter((row) => row.getClientRects().length > 0);
const opener = (row) => row.querySelector("[data-open]") ?? row.querySelector("a[href], summary, button:not(:disabled)");

function here(all) {
  const row = document.activeElement?.closest("[data-row]");
  return row ? all.indexOf(row) : -1;
}

function move(by) {
  const all = rows().filter(opener);
  if (!all.length) return;
  const at = here(all);
  const next = at >= 0 ? at + by : by > 0 && last === 0 ? 0 : Math.min(last, all.length - 1);
  last = Math.max(0, Math.min(next, all.length - 1));
  opener(all[last]).focus({ preventScroll: true, focusVisible: true });
  all[last].scrollIntoView({ block: "nearest" });
}

document.addEventListener("focusin", () => {
  const at = here(rows().filter(opener));
  if (at >= 0) last = at;
});

// Places --------------------------------------------------------------------------------------------------------------

function search() {
  const field = document.querySelector("main [data-search]");
  if (field) {
    field.focus();
    field.select?.();
  } else {
    go("runs");
  }
}

function go(name) {
  const link = document.querySelector(`header a[data-go="${name}"]`);
  if (link) link.click();
}

/** The button of an answer in the question where the cursor is, else in the first one. */
function answer(key) {
  const question = document.activeElement?.closest(".question") ?? document.querySelector(`.question:has([data-key])`);
  const button = question?.querySelector(`button[data-key="${key}"]`);
  if (!button) return;
  button.focus({ focusVisible: true });
  button.scrollIntoView({ block: "nearest" });
}

// Keys ----------------------------------------------------------------------------------------------------------------

let chord = -Infinity; // when g was pressed

const ACTS = {
  j: () => move(1),
  k: () => move(-1),
  "/": search,
  "?": help,
  a: () => answer("a"),
  d: () => answer("d"),
};

const typing = (element) => element?.closest?.("input:not([type=checkbox], [type=radio]), textarea, select, [contenteditable]");

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (event.key === "Enter" && event.target.closest?.("form.decision input")) {
    // or a line break after the reason would approve
    event.preventDefault();
    return event.target.form.querySelector("button[type=submit]")?.focus({ focusVisible: true });
  }
  if (event.key === "Escape" && typing(event.target) && !event.target.closest("dialog")) return event.target.blur();
  if (typing(event.target) || document.querySelector("dialog[open]")) return;
  const place = event.timeStamp - chord < CHORD_MS ? PLACES[event.key] : undefined;
  chord = event.key === "g" ? event.timeStamp : -Infinity;
  const act = place ? () => go(place) : ACTS[event.key];
  if (!act) return;
  event.preventDefault();
  act();
});

// Help ----------------------------------------------------------------------------------------------------------------

function made(name, ...children) {
  const element = document.createElement(name);
  element.append(...children);
  return element;
}

function help() {
  const dialog = document.getElementById("help");
  if (!dialog || dialog.open) return;
  const list = document.createElement("dl");
  for (const line of document.querySelector("#timeline") ? [...HELP, ...ON_A_RUN] : HELP) {
    const keys = made("dt");
    line.slice(0, -1).forEach((key) => keys.append(made("kbd", key), " "));
    list.append(made("div", keys, made("dd", line.at(-1))));
  }
  const close = made("button", "Close");
  close.type = "button";
  close.dataset.close = "";
  dialog.replaceChildren(made("h2", "Keys"), list, close);
  dialog.showModal();
}

// Dialogs -------------------------------------------------------------------------------------------------------------

document.addEventListener("click", (event) => {
  const button = event.target.closest?.("button");
  if (button?.id === "keys") return help();
  if (button?.dataset.dialog) return document.getElementById(button.dataset.dialog)?.showModal();
  if (button?.hasAttribute("data-close")) return button.closest("dialog")?.close();
  if (event.target instanceof HTMLDialogElement && event.target.open) {
    const box = event.target.getBoundingClientRect();
    const inside = event.clientX >= box.left && event.clientX <= box.right && event.clientY >= box.top && event.clientY <= box.bottom;
    if (!inside) event.target.close(); // on what lies behind it
  }
});
