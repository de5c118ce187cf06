// The bar below a finished answer in which a reader says what it was worth.

import { both, button, el } from "./dom.js";

const VERDICTS = [
  ["helpful", "有用", "Helpful"],
  ["wrong", "有误", "Wrong"],
  ["wrong_source", "出处不对", "Wrong source"],
  ["missing", "缺内容", "Missing"],
];
const ASKS = {
  wrong: ["哪里有误？（可不填）", "What is wrong? (optional)"],
  wrong_source: ["出处应在哪里？（可不填）", "Where does it stand? (optional)"],
  missing: ["还缺什么？（可不填）", "What is missing? (optional)"],
};
const MAX_COMMENT = 2000; // characters, as on the server
const typed = new WeakMap(); // comments not sent yet, by exchange: they outlast a redrawing of the page

/**
 * The bar for an exchange. `send({verdict, comment})` is a promise that the feedback is stored; its error's message
 * is shown. What is stored stays in `exchange.feedback`, from which the bar is drawn again.
 */
export function feedbackBar(exchange, { send }) {
  const state = el("span", { class: "state", role: "status" });
  const asks = el("span", { class: "asks" });
  const input = el("input", { type: "text", maxlength: MAX_COMMENT, autocomplete: "off" });
  const remark = el(
    "form",
    { class: "remark", hidden: true, onsubmit: (event) => comment(event) },
    el("label", {}, asks, input),
    el("button", { type: "submit" }, both("补充", "Add")),
  );
  const choices = VERDICTS.map(([verdict, ...words]) =>
    button(...words, { class: "choice", "data-verdict": verdict, onclick: () => choose(verdict) }),
  );
  const bar = el(
    "div",
    { class: "feedback", role: "group", "aria-label": "评价这个回答 Rate this answer" },
    el("div", { class: "choices" }, choices, state),
    remark,
  );
  let busy = false;

  input.addEventListener("input", () => typed.set(exchange, input.value));
  input.value = typed.get(exchange) ?? exchange.feedback?.comment ?? "";
  draw();
  return bar;

  function draw() {
    const verdict = exchange.feedback?.verdict;
    for (const choice of choices) choice.setAttribute("aria-pressed", String(choice.dataset.verdict === verdict));
    remark.hidden = !(verdict in ASKS);
    if (!remark.hidden) asks.replaceChildren(...both(...ASKS[verdict]));
  }

  function choose(verdict) {
    if (verdict !== exchange.feedback?.verdict) store(verdict, "已记下", "Noted");
  }

  function comment(event) {
    event.preventDefault();
    store(exchange.feedback.verdict, "已补充", "Added");
  }

  /** Sends the feedback and says what came of it; on a failure what was chosen before still holds. */
  async function store(verdict, ...done) {
    if (busy) return;
    busy = true;
    const feedback = { verdict, comment: verdict in ASKS ? input.value.trim() : "" };
    bar.setAttribute("aria-busy", "true");
    say(both("正在记下…", "Sending"));
    try {
      await send(feedback);
      exchange.feedback = feedback;
      if (feedback.comment) typed.delete(exchange);
      draw();
      say(both(...done));
    } catch (error) {
      say([error.message], true);
    } finally {
      busy = false;
      bar.removeAttribute("aria-busy");
    }
  }

  function say(words, failed = false) {
    state.classList.toggle("failed", failed);
    state.replaceChildren(...words);
  }
}
