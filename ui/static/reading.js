// Reading the source: sentences are reached by arrow keys, and a sentence or what was selected can be asked about.

import { $, $$, button, el } from "./dom.js";

const SETTLED = 250; // milliseconds without a change after which a selection is taken as made
const STEPS = { ArrowDown: 1, ArrowUp: -1 };

let scroller; // the element that the article scrolls in
let ask; // told what to ask about
let returning = null; // the sentence that gets the focus when the button goes

/** `onAsk` gets `{text, document, article, start, end}`, with places in code points of the document. */
export function mountReading(element, onAsk) {
  scroller = element;
  ask = onAsk;
  scroller.addEventListener("keydown", onKey);
  document.addEventListener("keydown", dismiss, true);
  scroller.addEventListener("click", onClick);
  new MutationObserver(prepare).observe(scroller, { childList: true });
  let waiting = 0;
  document.addEventListener("selectionchange", () => {
    clearTimeout(waiting);
    waiting = setTimeout(offerSelection, SETTLED);
  });
}

const body = () => $(".body", scroller);
const sentences = () => $$(".s", body());

/** Of a new article's sentences the cited one, or else the first, is in the order of the Tab key. */
function prepare() {
  if (!body() || $(".s[tabindex='0']", body())) return;
  returning = null;
  const first = $(".s:has(mark.evidence)", body()) ?? $(".s", body());
  if (first) first.tabIndex = 0;
}

// --- Keys and clicks ------------------------------------------------------------------------------------

function onKey(event) {
  if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey || event.isComposing) return;
  if (!body()?.contains(event.target)) return;
  const current = event.target.closest(".s");
  if (event.key === "Enter" && current) {
    event.preventDefault();
    offer(rangeOf(current), current);
    $("button", toolbar()).focus();
  } else if (event.key in STEPS || event.key === "Home" || event.key === "End") {
    event.preventDefault();
    const all = sentences();
    const next = event.key === "Home" ? 0 : event.key === "End" ? -1 : all.indexOf(current) + STEPS[event.key];
    reach(all.at(Math.min(next, all.length - 1)), all);
  }
}

/** Escape takes the button away; the panel itself stays open. */
function dismiss(event) {
  if (event.key !== "Escape" || !toolbar()) return;
  event.preventDefault();
  withdraw();
  returning?.focus({ preventScroll: true });
}

/** Moves the focus to a sentence; only it is in the order of the Tab key. */
function reach(sentence) {
  for (const other of $$(".s[tabindex='0']", body())) other.tabIndex = -1;
  sentence.tabIndex = 0;
  sentence.focus({ preventScroll: true });
  sentence.scrollIntoView({ block: "nearest" });
  withdraw();
}

function onClick(event) {
  if (event.target.closest(".ask-about")) return;
  const sentence = event.target.closest(".s");
  if (!getSelection().isCollapsed) return;
  if (!sentence) {
    withdraw();
    return;
  }
  reach(sentence);
  offer(rangeOf(sentence), sentence);
}

// --- The button -----------------------------------------------------------------------------------------

const toolbar = () => $(".ask-about", scroller);
const withdraw = () => toolbar()?.remove();

function offerSelection() {
  const selection = getSelection();
  if (selection.isCollapsed || !body()?.contains(selection.getRangeAt(0).startContainer)) return;
  const range = selection.getRangeAt(0).cloneRange();
  if (!body().contains(range.endContainer)) range.setEndAfter(body().lastChild);
  if (range.toString().trim()) offer(range, null);
}

/** Shows the button below `range`. */
function offer(range, sentence) {
  withdraw();
  returning = sentence;
  const detail = placed(range);
  const pressed = () => {
    withdraw();
    ask(detail);
  };
  const made = el(
    "div",
    { class: "ask-about", role: "toolbar", "aria-label": "对所选文字 For this text" },
    button("就此提问", "Ask about this", { onclick: pressed }),
  );
  scroller.append(made);
  const box = scroller.getBoundingClientRect();
  const end = [...range.getClientRects()].at(-1) ?? box;
  const left = Math.min(end.left - box.left, scroller.clientWidth - made.offsetWidth - 8);
  made.style.insetBlockStart = `${end.bottom - box.top + scroller.scrollTop + 4}px`;
  made.style.insetInlineStart = `${Math.max(8, left)}px`;
}

// --- Places ---------------------------------------------------------------------------------------------

const points = (text) => [...text].length;

function rangeOf(element) {
  const range = document.createRange();
  range.selectNodeContents(element);
  return range;
}

/** The characters of a range and their place: counted from the beginning of the block that it begins in. */
function placed(range) {
  const parent = range.startContainer;
  const block = (parent instanceof Element ? parent : parent.parentElement).closest("[data-start]");
  const before = rangeOf(block ?? body());
  before.setEnd(range.startContainer, range.startOffset);
  const first = block ?? $("[data-start]", body());
  const start = Number(first.dataset.start) + points(before.toString());
  const text = range.toString();
  const source = $("article", scroller).dataset;
  return { text, document: source.document, article: Number(source.article), start, end: start + points(text) };
}
