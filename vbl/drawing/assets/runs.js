// The list of runs: ticking all rows of the page, and saying how many are ticked. Works by delegation on the document,
// for the list is drawn anew while one looks. Without it the form works all the same.

import { duration } from "./run.js";

function boxes() {
  return [...document.querySelectorAll('#list input[name="run"]')];
}

function tell() {
  const form = document.getElementById("list");
  if (!form) return;
  const all = boxes();
  const ticked = all.filter((box) => box.checked).length;
  const every = form.querySelector("#every")?.checked;
  const whole = form.querySelector("[data-all]");
  if (whole) {
    whole.checked = all.length > 0 && ticked === all.length;
    whole.indeterminate = ticked > 0 && ticked < all.length;
  }
  const words = form.querySelector("[data-ticked]");
  if (words) words.textContent = every ? "with all that fit:" : ticked ? `with the ${ticked} ticked:` : "tick runs to:";
  for (const button of form.querySelectorAll('button[name="act"]')) button.disabled = !ticked && !every;
}

// Ages, as they were drawn: whole seconds, from a minute on whole minutes.
setInterval(() => {
  if (document.hidden) return;
  for (const one of document.querySelectorAll("[data-age]")) {
    const us = Date.now() * 1000 - Number(one.dataset.age);
    const unit = us >= 6e7 ? 6e7 : 1e6;
    const text = duration(us >= unit ? us - (us % unit) : us);
    if (one.textContent !== text) one.textContent = text;
  }
}, 5000);

document.addEventListener("change", (event) => {
  if (event.target.matches?.("#list [data-all]")) {
    for (const box of boxes()) box.checked = event.target.checked;
  }
  if (event.target.closest?.("#list")) tell();
});
document.addEventListener("htmx:after:swap", tell);
addEventListener("pageshow", tell);
tell();
