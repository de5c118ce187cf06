// The chat page's own behaviour: mounts the panels, shows what the question is restricted to.
// Gradio runs the conversation itself.

import { isPlace } from "./place.js";
import { closeSource, mountSource } from "./source.js";
import { chosen, clearScope, mountTree, scope, untick } from "./tree.js";

const root = document.documentElement;
const $ = (selector, within = document) => within.querySelector(selector);
const $$ = (selector, within = document) => [...within.querySelectorAll(selector)];
const drawers = window.matchMedia("(max-width: 1100px)");

/** The server's fragment of HTML at `path`; an Error whose message can be shown otherwise. */
async function fragment(path) {
  let response;
  try {
    response = await fetch(new URL(path, document.baseURI));
  } catch {
    throw new Error("连不上服务。请确认它还在运行，再试一次。(The server cannot be reached.)");
  }
  if (response.ok) return response.text();
  const body = await response.json().catch(() => null);
  throw new Error(body?.error?.message ?? `服务出错 (${response.status})，请再试一次。`);
}

function parsed(text) {
  const template = document.createElement("template");
  template.innerHTML = text;
  return template.content;
}

function failure(error) {
  const note = document.createElement("p");
  note.className = "failure";
  note.setAttribute("role", "alert");
  note.textContent = error.message;
  return note;
}

// --- Restriction to articles ------------------------------------------------------------------------

/** The ticked articles as [document, number]; Gradio sends it along with the question. */
window.youju = { scope: () => scope().articles };

function showScope() {
  const bar = $("#scope .content");
  if (!bar) return;
  const entries = chosen();
  bar.replaceChildren();
  root.toggleAttribute("data-scoped", entries.length > 0);
  if (!entries.length) return;
  const lead = document.createElement("span");
  lead.textContent = `只在这 ${entries.length} 处中查找`;
  bar.append(lead, ...entries.map(chip), button("全部取消 Clear", "clear-scope"));
}

function chip({ id, title }) {
  const item = button(title, "chip");
  item.title = "取消 Remove";
  item.addEventListener("click", () => {
    untick(id);
    question()?.focus();
  });
  return item;
}

document.addEventListener("youju:scope", showScope);

function button(text, name) {
  const made = document.createElement("button");
  made.type = "button";
  made.className = name;
  made.textContent = text;
  return made;
}

// --- The question box -------------------------------------------------------------------------------

const question = () => $("#question textarea");
let composing = false;

function ask(text) {
  const box = question();
  box.value = text;
  box.dispatchEvent(new Event("input", { bubbles: true }));
  box.focus();
  // Gradio reads the new value on its next turn
  setTimeout(() => $("#question .submit-button")?.click(), 0);
}

/** Enter never sends while an input method is composing, nor an empty box. */
function guardEnter(event) {
  const box = event.target;
  if (event.key !== "Enter" || !(box instanceof HTMLTextAreaElement)) return;
  if (event.isComposing || event.keyCode === 229 || composing) {
    event.stopImmediatePropagation();
  } else if (!event.shiftKey && !box.value.trim()) {
    event.preventDefault();
    event.stopImmediatePropagation();
  }
}

/** Nor does the button send an empty box. */
function guardButton(event) {
  if (!event.target.closest?.("#question .submit-button") || question().value.trim()) return;
  event.stopImmediatePropagation();
  question().focus();
}

document.addEventListener("click", guardButton, true);
document.addEventListener("compositionstart", () => (composing = true), true);
document.addEventListener("compositionend", () => setTimeout(() => (composing = false), 0), true);
document.addEventListener("keydown", guardEnter, true);
document.addEventListener("keypress", guardEnter, true);

// --- Reading position -------------------------------------------------------------------------------

let followed = null; // the last question, kept at the top while its answer comes
let released = false; // the reader has scrolled away from it

/** Keeps the newest question in view from its top, so that its answer is read from the beginning. */
function follow() {
  const rows = $$("#conversation .user-row");
  const newest = rows.at(-1) ?? null;
  if (newest !== followed) released = false;
  else if (!$("#conversation .answering")) return;
  followed = newest;
  if (newest && !released) requestAnimationFrame(() => newest.scrollIntoView({ block: "start" }));
}

for (const name of ["wheel", "touchmove"]) {
  document.addEventListener(name, (event) => (released ||= Boolean(event.target.closest?.("#conversation"))), { passive: true });
}

// --- Events of the page -----------------------------------------------------------------------------

document.addEventListener("click", (event) => {
  const target = event.target instanceof Element ? event.target : null;
  if (target?.closest(".example")) ask(target.closest(".example").textContent);
  else if (target?.closest("#show-documents")) toggleDocuments();
  else if (target?.closest("#close-documents, #shade")) closeDrawers();
  else if (target?.closest(".clear-scope")) {
    clearScope();
    question()?.focus();
  }
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || event.isComposing || event.defaultPrevented) return;
  if (root.dataset.documents === "open" && drawers.matches) closeDrawers();
});

/** On a wide page the list of documents folds away; on a narrow one it is a drawer. */
function toggleDocuments() {
  const shown = drawers.matches ? root.dataset.documents === "open" : root.dataset.documents !== "closed";
  if (drawers.matches && !shown) root.dataset.documents = "open";
  else if (shown && !drawers.matches) root.dataset.documents = "closed";
  else delete root.dataset.documents;
  $("#show-documents")?.setAttribute("aria-expanded", String(!shown));
  if (!shown) $("#find")?.focus();
}

function closeDrawers() {
  if (root.dataset.documents === "open") toggleDocuments();
  else if (root.dataset.source) closeSource();
}

// --- Filling the page -------------------------------------------------------------------------------

// Gradio leaves these in English, whatever the language.
const PHRASES = {
  "Connection Lost": "连接中断",
  "Connection to the server was lost. Attempting reconnection...":
    "与服务的连接断开了，正在重新连接……请确认服务还在运行。(Connection lost, reconnecting.)",
  "Connection re-established.": "已重新连接，请再问一次。(Connected again.)",
  "chatbot conversation": "对话 Conversation",
  "Scroll down": "到最后 Scroll down",
  Close: "关闭 Close",
  Error: "出错了 Error",
};

function translate() {
  for (const element of $$(".toast-wrap [aria-label], #conversation [aria-label]")) {
    const label = element.getAttribute("aria-label");
    if (label in PHRASES) element.setAttribute("aria-label", PHRASES[label]);
    // Gradio repeats each message's whole HTML here
    else if (/^(bot|user)'s message: /.test(label)) element.removeAttribute("aria-label");
  }
  for (const element of $$(".toast-title, .toast-message-text")) {
    const words = element.textContent.trim();
    if (words in PHRASES) element.textContent = PHRASES[words];
  }
}

/** A fragment for a place that Gradio has yet to make; asked for at once. */
function fill(selector, path) {
  const content = fragment(path).then(parsed, failure);
  return [selector, async (place) => place.replaceChildren(await content)];
}

/** What was typed survives a reload; Gradio reloads the page when the service was restarted. */
function restoreDraft(box) {
  const draft = sessionStorage.getItem("youju-draft");
  if (draft) {
    box.value = draft;
    box.dispatchEvent(new Event("input", { bubbles: true }));
  }
  if (!drawers.matches && !isPlace(location.hash)) box.focus();
}

window.addEventListener("pagehide", () => sessionStorage.setItem("youju-draft", question()?.value ?? ""));

const starts = new Map([
  fill("#welcome .content", "chat/welcome"),
  ["#tree", mountTree],
  ["#source-panel", mountSource],
  ["#question textarea", restoreDraft],
]);

let settling = false;

function settle() {
  settling = false;
  for (const [selector, start] of starts) {
    const place = $(selector);
    if (place && starts.delete(selector)) start(place);
  }
  translate();
  follow();
}

root.lang = "zh-CN";
new MutationObserver(() => {
  if (!settling) requestAnimationFrame(settle);
  settling = true;
}).observe(document.documentElement, { childList: true, subtree: true });
settle();
