// A question and its answer as elements, and what can be done with them: copy, export, edit, repeat, ask on.

import { answerElement, draftElement, failureElement, plainText, sourcesElement } from "./answer.js";
import { onEnter } from "./composer.js";
import { both, button, el } from "./dom.js";
import { feedbackBar } from "./feedback.js";
import { exportButton } from "./takeaway.js";

const SAID = 2000; // milliseconds that a button says what it did

/**
 * The element of the exchange number `at`. `talk` is what the conversation does with it: `replace(at, text, within)`
 * asks instead of it and what follows, `following(at)` counts those, `redraw()` draws all again, `ask(text)` asks on,
 * and `rate(asked, feedback)` keeps what a reader thinks of it.
 */
export function exchangeElement(asked, at, talk) {
  const again = () => talk.replace(at, asked.question, asked.within);
  const parts = [questionElement(asked), answerPart(asked, again)];
  if (asked.answer) parts.push(sourcesElement(asked.answer), actions(asked, at, again, talk));
  if (asked.next?.length && !talk.following(at)) parts.push(followUps(asked.next, talk.ask));
  const whole = { class: "exchange", "data-place": at, "aria-label": `第 ${at + 1} 问` };
  return el("section", whole, parts.filter(Boolean));
}

/** Questions that go on from an answer, to stand below it. */
export function followUps(questions, ask) {
  const asks = questions.map((text) =>
    el("li", {}, el("button", { type: "button", class: "example", onclick: () => ask(text) }, text)),
  );
  return el("div", { class: "next" }, el("p", {}, both("接着问", "Ask on")), el("ul", { class: "examples" }, asks));
}

function questionElement(asked) {
  const { titles } = asked.within;
  const within = titles.length
    ? el(
        "div",
        { class: "within" },
        el("span", {}, both("仅查", "within")),
        el("ul", {}, titles.map((title) => el("li", {}, title))),
      )
    : null;
  return el("div", { class: "question" }, el("h2", {}, asked.question), within);
}

function answerPart(asked, again) {
  if (asked.answer) return answerElement(asked.answer);
  return asked.failure ? failureElement(asked.failure, again) : draftElement({ sentences: [] });
}

function actions(asked, at, again, talk) {
  const copying = (event) => copy(event.currentTarget, asked);
  const editing = (event) => edit(event.currentTarget.closest(".exchange"), asked, at, talk);
  const send = (feedback) => talk.rate(asked, feedback);
  return el(
    "div",
    { class: "actions" },
    button("复制", "Copy", { class: "copy", onclick: copying }),
    exportButton(() => [asked], { class: "share" }),
    button("修改", "Edit", { class: "edit", onclick: editing }),
    button("重问", "Repeat", { class: "repeat", onclick: again }),
    asked.answer.stopped ? null : feedbackBar(asked, { send }),
  );
}

async function copy(pressed, asked) {
  try {
    await navigator.clipboard.writeText(plainText(asked.question, asked.answer));
    pressed.replaceChildren(...both("已复制", "Copied"));
  } catch {
    pressed.replaceChildren(...both("浏览器不让复制", "Not allowed"));
  }
  setTimeout(() => pressed.replaceChildren(...both("复制", "Copy")), SAID);
}

/** Turns the question into a box; sending it replaces this exchange and those after it. */
function edit(shown, asked, at, talk) {
  const box = el("textarea", { rows: 2, "aria-label": "修改问题 Edit the question" });
  box.value = asked.question;
  const after = talk.following(at);
  const back = () => talk.redraw().at(at).querySelector(".edit").focus();
  const replace = () => box.value.trim() && talk.replace(at, box.value.trim(), asked.within);
  box.addEventListener("keydown", onEnter(replace));
  box.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    event.stopPropagation();
    back();
  });
  const choices = el(
    "p",
    {},
    button("重新提问", "Ask", { class: "send", onclick: replace }),
    button("取消", "Cancel", { onclick: back }),
    el("span", {}, after ? `其后的 ${after} 组问答会去掉。` : ""),
  );
  shown.querySelector(".question").replaceWith(el("div", { class: "editing" }, box, choices));
  box.focus();
}
