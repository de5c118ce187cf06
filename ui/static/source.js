// The source panel: opens the article that a link's hash names beside the answer, steps through the answer's
// citations, and leads back to where the reader was.

import { $, $$, both, button, drawers, el, failureNote } from "./dom.js";
import { fields, isPlace, samePlace } from "./place.js";
import { printAlone } from "./print.js";
import { mountReading } from "./reading.js";
import { request } from "./server.js";

const CLOSE = { id: "close-source", class: "close", "aria-label": "关闭原文 Close" };
const LINKS = "a[href^='#document=']";
const root = document.documentElement;

let panel; // the element that holds it all
let shown = ""; // the hash of the place that is open
let citations = []; // of the answer that the place was opened from: {n, hash}, one for each place, in order
let origin = null; // where the reader was: {element, hash}
let latest = 0; // the last source asked for: slower answers to earlier clicks are dropped

/** Fills `element` with the panel, which from now on opens every link to a place and the address's own place. */
export function mountSource(element) {
  panel = element;
  const content = el("div", { class: "content" });
  panel.replaceChildren(titleBar(), steps(), content);
  mountReading(content, askAbout);
  content.addEventListener("click", (event) => {
    const jump = event.target.closest(".jump");
    if (!jump) return;
    jump.closest("details")?.removeAttribute("open"); // it would lie over the heading
    show(blockAt(jump.dataset.to));
  });
  document.addEventListener("click", follow);
  document.addEventListener("keydown", closeOnEscape);
  window.addEventListener("popstate", openAddress);
  window.addEventListener("beforeprint", () => panel.contains(document.activeElement) && printArticle());
  setTimeout(openAddress); // the conversation, mounted meanwhile, may hold the mark of this place
}

const place = (selector) => $(selector, panel);

function titleBar() {
  return el(
    "div",
    { class: "bar" },
    el("h2", {}, both("原文", "Source")),
    el("button", { type: "button", ...CLOSE, onclick: closeSource }, "×"),
  );
}

function steps() {
  const print = (event) => {
    event.currentTarget.focus(); // not every browser focuses what is clicked
    window.print();
  };
  return el(
    "div",
    { class: "steps", role: "group", "aria-label": "引文 Citations" },
    button("回到原处", "Back", { class: "back", onclick: back }),
    button("‹ 上一处", "Previous", { class: "previous", onclick: () => step(-1) }),
    el("span", { class: "count", role: "status" }),
    button("下一处 ›", "Next", { class: "next", onclick: () => step(1) }),
    button("复制链接", "Copy link", { class: "copy-link", onclick: copyLink }),
    button("打印", "Print", { class: "print", onclick: print }),
    el("p", { class: "copied", role: "status" }),
  );
}

// --- Opening and closing ------------------------------------------------------------------------------

/** Follows a plain click on a link to a place; a new tab opens the page at that place without any help. */
function follow(event) {
  if (event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey) return;
  const link = event.target.closest?.(LINKS);
  if (!link) return;
  event.preventDefault();
  origin = { element: link, hash: link.getAttribute("href") };
  citations = citationsOf(link.closest(".answer"));
  openSource(origin.hash);
}

function openAddress() {
  const { hash } = location;
  if (!isPlace(hash)) {
    if (root.dataset.source) closeSource({ remember: false });
    return;
  }
  if (!citations.some((citation) => samePlace(citation.hash, hash))) {
    const mark = $$(".answer a.cite").findLast((cite) => samePlace(cite.getAttribute("href"), hash));
    origin = mark ? { element: mark, hash } : null;
    citations = citationsOf(mark?.closest(".answer"));
  }
  openSource(hash, { remember: false });
}

/** An answer's citations, each place once. */
function citationsOf(answer) {
  const found = [];
  for (const mark of answer ? $$("a.cite", answer) : []) {
    const hash = mark.getAttribute("href");
    if (!found.some((citation) => samePlace(citation.hash, hash))) found.push({ n: mark.textContent.trim(), hash });
  }
  return found;
}

/** Opens a place; `remember` adds it to the browser's history, `focus` moves the keyboard's focus there. */
export async function openSource(hash, { remember = true, focus = true } = {}) {
  const turn = ++latest;
  if (remember && !samePlace(location.hash, hash)) history.pushState(null, "", withHash(hash));
  const content = place(".content");
  const others = citations.filter((citation) => !samePlace(citation.hash, hash) && sameDocument(citation.hash, hash));
  const slow = setTimeout(() => content.setAttribute("aria-busy", "true"), 150);
  const fragment = await article(hash, others);
  clearTimeout(slow);
  if (turn !== latest) return;
  content.removeAttribute("aria-busy");
  content.replaceChildren(fragment);
  shown = hash;
  root.dataset.source = "open";
  if (drawers()) delete root.dataset.documents;
  number(others);
  showSteps();
  markCurrent();
  show(target(hash), focus);
}

const sameDocument = (one, other) => fields(one).get("document") === fields(other).get("document");
const withHash = (hash) => location.pathname + location.search + hash;

/** The server's article, laid out, or what went wrong. */
async function article(hash, others) {
  const query = fields(hash);
  for (const { hash: other } of others) query.append("also", `${fields(other).get("start")}-${fields(other).get("end")}`);
  try {
    const template = el("template");
    template.innerHTML = await (await request(`chat/source?${query}`)).text();
    return template.content;
  } catch (error) {
    return failureNote(error);
  }
}

/** Gives the marks of the answer's other citations their numbers. */
function number(others) {
  for (const [at, { n }] of others.entries()) {
    const marks = $$(`mark.also[data-also~="${at}"]`, panel);
    for (const mark of marks) mark.title = `${mark.title || "同一回答的引文 Citation"} [${n}]`;
    const last = marks.at(-1);
    if (last) last.dataset.n = `${last.dataset.n ?? ""}[${n}]`;
  }
}

/** What the reader came for: the cited characters, a section's beginning, or the article's title. */
function target(hash) {
  const section = fields(hash).has("heading") ? $$(".path .jump", panel).at(-1) : null;
  return place("mark.evidence") ?? (section ? blockAt(section.dataset.to) : place("article h2, .failure"));
}

const blockAt = (start) => place(`[data-start="${start}"]`);

function show(element, focus = true) {
  element.tabIndex = -1;
  if (focus) element.focus({ preventScroll: true });
  if (element.closest(".body")) {
    element.scrollIntoView({ block: element.matches("mark") ? "center" : "start" });
  } else place(".content").scrollTop = 0;
}

/** Shows which links lead to the place that is open. */
function markCurrent() {
  for (const link of $$(LINKS)) {
    if (samePlace(link.getAttribute("href"), shown)) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
}

/** Closes the panel and returns to where the reader was. */
export function closeSource({ remember = true } = {}) {
  latest += 1;
  shown = "";
  delete root.dataset.source;
  markCurrent();
  if (remember && isPlace(location.hash)) history.pushState(null, "", withHash(""));
  originElement()?.focus({ preventScroll: true });
  origin = null;
  citations = [];
}

function closeOnEscape(event) {
  if (event.key !== "Escape" || event.isComposing || event.defaultPrevented || !root.dataset.source) return;
  event.preventDefault();
  closeSource();
}

// --- Steps --------------------------------------------------------------------------------------------

/** The link that was followed; where the conversation was drawn anew, the one that took its place. */
function originElement() {
  if (!origin || origin.element.isConnected) return origin?.element;
  return $$(LINKS).find((link) => !panel.contains(link) && samePlace(link.getAttribute("href"), origin.hash));
}

/** Back to the mark in the answer; the source stays open where both have room. */
function back() {
  const element = originElement();
  if (drawers()) closeSource();
  element?.focus({ preventScroll: true });
  element?.scrollIntoView({ block: "center" });
}

/** Opens the answer's next (or previous) citation; after the last comes the first. */
function step(by) {
  const at = citations.findIndex(({ hash }) => samePlace(hash, shown));
  openSource(citations.at((at + by) % citations.length).hash, { focus: false });
}

function showSteps() {
  const at = citations.findIndex(({ hash }) => samePlace(hash, shown));
  for (const part of $$(".previous, .next, .count", panel)) part.hidden = at < 0 || citations.length < 2;
  place(".count").textContent = at < 0 ? "" : `${at + 1} / ${citations.length}`;
  place(".back").hidden = !originElement();
  place(".copied").replaceChildren();
}

/** Copies the page's address, which names this place; where the browser does not let it, offers it for copying. */
async function copyLink() {
  const note = place(".copied");
  try {
    await navigator.clipboard.writeText(location.href);
    note.replaceChildren(...both("链接已复制", "Link copied"));
  } catch {
    const address = el("input", { readonly: true, value: location.href, "aria-label": "此处的链接 Link to this place" });
    note.replaceChildren(...both("浏览器不让网页复制，请自行复制：", "Please copy it yourself"), address);
    address.select();
  }
}

// --- What can be done with it --------------------------------------------------------------------------

/** Tells the page that the reader wants to ask about characters of the source. */
function askAbout(detail) {
  if (drawers()) closeSource(); // the question box lies behind it
  document.dispatchEvent(new CustomEvent("youju:ask-about", { detail }));
}

function printArticle() {
  const article = place("article");
  if (article) printAlone(article);
}
