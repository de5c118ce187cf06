// Prints one element of the page and nothing else.

import { el } from "./dom.js";

/** Called while the browser prepares to print: what it prints is a copy of `element`, which then goes again. */
export function printAlone(element) {
  const sheet = el("div", { id: "print-sheet" }, element.cloneNode(true));
  document.body.append(sheet);
  document.documentElement.dataset.print = "alone";
  const done = () => {
    sheet.remove();
    delete document.documentElement.dataset.print;
  };
  window.addEventListener("afterprint", done, { once: true });
}
