// What the page says beside the conversation: a line above the question box, and words for screen readers alone.

import { $, both } from "./dom.js";

/** Shows a line above the question box in place of the one before; empty words take it away. */
export function notice(chinese, english) {
  $("#notice").replaceChildren(...(chinese ? both(chinese, english) : []));
}

/** Lets screen readers say something once. */
export function announce(words) {
  $("#announce").textContent = words;
}
