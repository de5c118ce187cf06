// A preview of what a citation mark stands for, beside the mark, while it is hovered or has the focus.

import { el } from "./dom.js";

const DELAY = 250; // milliseconds that the pointer rests on a mark before its preview shows
const GRACE = 200; // milliseconds to reach the preview from its mark
const GAP = 6; // pixels between the mark and the preview
const EDGE = 8; // pixels that the preview keeps from the window's edge

let lookup; // anchor -> {title, section: [label], quote} or null
let shown = null; // {anchor, card}
let timer = 0;

/** Shows previews of `a.cite`; `find(anchor)` says what an anchor cites: `{title, section, quote}`, or null. */
export function install(find) {
  lookup = find;
  document.addEventListener("pointerover", enter);
  document.addEventListener("pointerout", leave);
  document.addEventListener("focusin", (event) => event.target.matches?.("a.cite:focus-visible") && show(event.target));
  document.addEventListener("focusout", (event) => event.target === shown?.anchor && hide());
  document.addEventListener("click", (event) => event.target.closest?.("a.cite") && hide(), true);
  document.addEventListener("keydown", dismiss, true);
  document.addEventListener("scroll", (event) => event.target !== shown?.card && put(), true);
  window.addEventListener("resize", put);
}

const markAt = (event) => event.target.closest?.("a.cite");

function enter(event) {
  const mark = markAt(event);
  const inCard = shown?.card.contains(event.target);
  if (event.pointerType === "touch" || (!mark && !inCard)) return;
  clearTimeout(timer);
  if (mark && mark !== shown?.anchor) timer = setTimeout(() => show(mark), DELAY);
}

function leave(event) {
  if (!markAt(event) && !shown?.card.contains(event.target)) return;
  clearTimeout(timer);
  timer = setTimeout(() => shown?.anchor !== document.activeElement && hide(), GRACE);
}

/** Escape takes the preview away, and nothing else. */
function dismiss(event) {
  if (event.key !== "Escape" || !shown) return;
  event.preventDefault();
  event.stopPropagation();
  hide();
}

function show(anchor) {
  const found = anchor.isConnected && lookup(anchor);
  hide();
  if (!found) return;
  const card = el(
    "div",
    { id: "cite-preview", class: "cite-preview", role: "tooltip", lang: "zh-CN" },
    el("p", { class: "title" }, found.title),
    found.section.length ? el("p", { class: "path" }, found.section.join(" › ")) : null,
    el("p", { class: "quote" }, found.quote),
  );
  document.body.append(card);
  anchor.setAttribute("aria-describedby", card.id);
  shown = { anchor, card };
  put();
}

/** Below the mark, or above it where there is more room; never beyond the window. Goes when its mark scrolls away. */
function put() {
  if (!shown) return;
  const { card } = shown;
  const mark = shown.anchor.getBoundingClientRect();
  if (mark.bottom < 0 || mark.top > window.innerHeight || !mark.width) {
    hide();
    return;
  }
  const [width, height] = [document.documentElement.clientWidth, window.innerHeight];
  const below = height - mark.bottom - GAP - EDGE;
  const above = mark.top - GAP - EDGE;
  const under = below >= card.offsetHeight || below >= above;
  card.style.maxHeight = `${under ? below : above}px`;
  card.style.top = `${under ? mark.bottom + GAP : mark.top - GAP - card.offsetHeight}px`;
  card.style.left = `${Math.max(EDGE, Math.min(mark.left - 16, width - card.offsetWidth - EDGE))}px`;
}

function hide() {
  clearTimeout(timer);
  if (!shown) return;
  shown.anchor.removeAttribute("aria-describedby");
  shown.card.remove();
  shown = null;
}
