// The question box, with what is ticked above it.

import { $, button, el } from "./dom.js";
import * as conversations from "./conversations.js";
import { nested } from "./quotation.js";
import { chosen, clearScope, scope, untick } from "./tree.js";

let place; // the page's part that holds the box
let onSend; // (text, within) => whether the question was taken

/** Mounts the box of a part of the page; `send(text, within)` says whether it takes the question. */
export function mountComposer(element, send) {
  place = element;
  onSend = send;
  const box = question();
  $("form", place).addEventListener("submit", (event) => {
    event.preventDefault();
    sendTyped();
  });
  box.addEventListener("keydown", onEnter(sendTyped));
  box.addEventListener("input", grow);
  document.addEventListener("youju:scope", showScope);
  document.addEventListener("youju:ask-about", (event) => askAbout(event.detail));
  window.addEventListener("pagehide", () => conversations.note("youju-draft", box.value));
  write(conversations.noted("youju-draft"));
}

/** Puts a question into the box and sends it. */
export function ask(text) {
  question().value = text;
  sendTyped();
}

export const focusQuestion = () => question().focus();

/** A listener that acts on Enter, but not while an input method is composing; Shift and Enter begin a new line. */
export const onEnter = (act) => (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
  event.preventDefault();
  act();
};

const question = () => $("form textarea", place);

function write(text) {
  question().value = text;
  grow();
}

function grow() {
  const box = question();
  box.style.height = "auto";
  box.style.height = `${box.scrollHeight}px`;
}

function sendTyped() {
  const text = question().value.trim();
  question().focus();
  const titles = chosen().map((entry) => entry.title);
  if (text && onSend(text, { ...scope(), titles })) write("");
}

/** Quotes a sentence of the source in the box, restricted to nothing: the question is still to be written. */
function askAbout({ text }) {
  write(`“${nested(text)}”`);
  const box = question();
  box.focus();
  box.setSelectionRange(box.value.length, box.value.length);
}

function showScope() {
  const bar = $("#scope", place);
  const chips = chosen().map(({ id, title }) => {
    const remove = () => {
      untick(id);
      focusQuestion();
    };
    return el("button", { type: "button", class: "chip", title: `取消 Remove：${title}`, onclick: remove }, title);
  });
  bar.replaceChildren();
  if (!chips.length) return;
  const clear = () => {
    clearScope();
    focusQuestion();
  };
  bar.append(
    el("span", {}, `只在这 ${chips.length} 处中查找 `, el("small", {}, "only within")),
    ...chips,
    button("全部取消", "Clear", { class: "clear-scope", onclick: clear }),
  );
}
