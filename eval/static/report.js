"use strict";
// Shows the cases that fit the filters; opens them for printing.
(() => {
  const cases = [...document.querySelectorAll(".case")];
  const type = document.getElementById("type");
  const failed = document.getElementById("failed");
  const text = document.getElementById("text");
  const shown = document.getElementById("shown");
  const held = new Map(cases.map((one) => [one, one.textContent.toLowerCase()]));

  function fits(one) {
    const failures = one.dataset.failed ? one.dataset.failed.split(" ") : [];
    return (!type.value || one.dataset.type === type.value)
      && (!failed.value || (failed.value === "*" ? failures.length > 0 : failures.includes(failed.value)))
      && text.value.toLowerCase().split(/\s+/).every((word) => held.get(one).includes(word));
  }

  function filter() {
    let count = 0;
    for (const one of cases) {
      one.hidden = !fits(one);
      count += one.hidden ? 0 : 1;
    }
    shown.textContent = `${count} / ${cases.length}`;
  }

  for (const control of [type, failed, text]) control.addEventListener("input", filter);
  document.getElementById("open").addEventListener("click", () => {
    const visible = cases.filter((one) => !one.hidden);
    const open = visible.some((one) => !one.open);
    for (const one of visible) one.open = open;
  });
  let closed = [];
  addEventListener("beforeprint", () => {
    closed = cases.filter((one) => !one.hidden && !one.open);
    for (const one of closed) one.open = true;
  });
  addEventListener("afterprint", () => {
    for (const one of closed) one.open = false;
    closed = [];
  });
  filter();
})();
