// The list of runs: ticking all rows of the page, and saying how many are ticked. Works by delegation on the document,
// for the list is drawn anew while one looks. Without it the form works all the same.

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

document.addEventListener("change", (event) => {
  if (event.target.matches?.("#list [data-all]")) {
    for (const box of boxes()) box.checked = event.target.checked;
  }
  if (event.target.closest?.("#list")) tell();
});
document.addEventListener("htmx:after:swap", tell);
addEventListener("pageshow", tell);
tell();
