// The documents as nested lists to browse, to search as one types, and to tick: what is ticked restricts the question.
// Only rows that are open exist as elements, so that tens of thousands of sections cost nothing.

import { $, $$, both, breakable, button, el, failureNote, placeLink } from "./dom.js";
import { build, fold, parts, search, tick, ticked, walk } from "./nodes.js";
import { samePlace } from "./place.js";
import { request } from "./server.js";

const PAGE = 200; // rows of one list that are shown at once
const OPENED = 200; // rows after which nothing more is opened without being asked for
const LONG = [32, 14]; // characters that are shown of the beginning and the end of a file's long name

let roots = []; // the documents' nodes
let wanted = ""; // what is sought, folded
let budget = 0; // rows that may still be opened unasked
let place; // the element that holds it all
let loaded; // a promise of the tree
const nodes = new WeakMap(); // the node of each row's element

/** Fills `element` with the tree. */
export function mountTree(element) {
  place = element;
  place.classList.add("tree");
  const find = el("input", { type: "search", id: "find", placeholder: "查找标题、章节 Find", oninput: onSearch });
  place.replaceChildren(
    el("h2", {}, both("目录", "Documents")),
    el("label", { for: "find", class: "unseen" }, "查找标题、类别、章节 Find titles and headings"),
    find,
    el("p", { class: "found", role: "status" }),
    el("p", { class: "hint" }, both("点标题阅读，勾选则只在所选处提问；方向键走动。", "Arrow keys move.")),
    el("p", { class: "chosen", role: "status" }),
    el("div", { class: "content" }),
  );
  const content = $(".content", place);
  content.addEventListener("click", onClick);
  content.addEventListener("change", onTick);
  content.addEventListener("keydown", onKey);
  content.addEventListener("focusin", onFocus);
  find.addEventListener("keydown", onFindKey);
  return reloadTree();
}

/** Asks the server again, as after documents were added or removed; ticks stay on what is still there. */
export function reloadTree() {
  loaded = load();
  return loaded;
}

async function load() {
  const before = scope();
  try {
    roots = build(await (await request("chat/tree")).json());
  } catch (error) {
    const again = button("再试一次", "Try again", { onclick: reloadTree });
    $(".content", place).replaceChildren(failureNote(error), again);
    return;
  }
  restore(before);
  if (wanted) search(roots, wanted);
  show();
  announce();
}

// --- What is ticked ---------------------------------------------------------------------------------------

/**
 * What the question is restricted to: `{articles: [[document, number]], within: [{document, start, end, title}]}`.
 * Documents and categories of several articles are one place each: thousands would be more than a question may name.
 */
export function scope() {
  const all = ticked(roots).map((each) => (articlesIn(each) === 1 ? onlyArticle(each) : each));
  const places = all.filter((each) => each.kind !== "article");
  return {
    articles: all.filter((each) => each.kind === "article").map((each) => [each.document, each.number]),
    within: places.map((each) => ({ document: each.document, start: each.start, end: each.end, title: name(each) })),
  };
}

/** The ticked documents, categories, articles and sections that no other ticked one holds: `[{id, title}]`. */
export const chosen = () => ticked(roots).map((each) => ({ id: identity(each), title: name(each) }));

/** Unticks one of `chosen()` by its id. */
export function untick(id) {
  change(ticked(roots).filter((each) => identity(each) === id), false);
}

export function clearScope() {
  change(roots, false);
}

/** Ticks what `scope()` gave earlier and nothing else; returns (a promise of) those that are not there any more. */
export async function setScope(wished) {
  await loaded;
  const missing = restore(wished);
  announce();
  return missing;
}

function restore({ articles, within }) {
  for (const root of roots) tick(root, false);
  const missing = new Map([...articles, ...within].map((entry) => [key(entry), entry]));
  if (!missing.size) return [];
  for (const each of walk(roots)) {
    const own = each.kind === "article" ? key([each.document, each.number]) : key(each);
    if (missing.delete(own)) tick(each, true);
  }
  return [...missing.values()];
}

const key = (entry) => JSON.stringify(Array.isArray(entry) ? entry : [entry.document, entry.start, entry.end]);

const identity = ({ kind, document, label, start, end }) => JSON.stringify([kind, document, label, start, end]);

function name(each) {
  if (each.kind === "section") return `《${each.article.label}》› ${each.label}`;
  const count = articlesIn(each);
  return count === 1 ? `《${onlyArticle(each).label}》` : `${each.label}（${count} 篇）`;
}

const onlyArticle = (each) => (each.kind === "article" ? each : onlyArticle(each.children[0]));

const articlesIn = (each) =>
  each.kind === "article" ? 1 : each.children.reduce((sum, child) => sum + articlesIn(child), 0);

function change(changed, on) {
  for (const each of changed) tick(each, on);
  announce();
}

/** Shows what is ticked, and tells the page. */
function announce() {
  for (const row of $$("li", place)) if (nodes.has(row)) showTick($(".tick", row), nodes.get(row));
  const count = ticked(roots).length;
  const clear = button("全部取消", "Clear", { class: "clear", onclick: clearScope });
  $(".chosen", place).replaceChildren(...(count ? [`已选 ${count} 处 `, clear] : []));
  document.dispatchEvent(new Event("youju:scope"));
}

function showTick(box, each) {
  box.checked = each.state === "on";
  box.indeterminate = each.state === "some";
}

// --- Rows -------------------------------------------------------------------------------------------------

function show() {
  budget = OPENED;
  const empty = el("p", { class: "empty" }, both("还没有文件", "No documents yet"));
  const nothing = el("p", { class: "empty" }, both("没有找到", "Nothing found"));
  const top = visible(roots);
  $(".content", place).replaceChildren(top.length ? list(top) : roots.length ? nothing : empty);
  const first = $("li", place);
  if (first) makeCurrent(first);
}

/** While something is sought: those that are found or hold what is found; in what is found itself, all. */
function visible(all) {
  if (!wanted) return all;
  const found = all.filter((each) => each.hit || each.below);
  return found.length ? found : all[0]?.parent ? all : [];
}

function list(all) {
  const made = el("ul");
  extend(made, all);
  return made;
}

/** Appends the next rows to a list, and a button for the rest. */
function extend(made, rest) {
  for (const each of rest.slice(0, PAGE)) made.append(row(each));
  const left = rest.slice(PAGE);
  if (!left.length) return;
  const more = () => {
    const last = made.lastElementChild;
    budget = OPENED;
    extend(made, left);
    const next = last.nextElementSibling;
    last.remove();
    makeCurrent(next);
    $(".open", next).focus();
  };
  const words = both(`再显示 ${Math.min(PAGE, left.length)} 个（还有 ${left.length}）`, "more");
  made.append(el("li", { class: "more" }, el("button", { type: "button", onclick: more }, words)));
}

function row(each) {
  budget -= 1;
  const made = el(
    "li",
    { class: each.kind },
    el("div", { class: "row" }, twist(each), box(each), title(each), count(each)),
  );
  nodes.set(made, each);
  if (each.children.length && budget > 0 && (wanted ? each.below : each.kind !== "article")) open(made);
  return made;
}

function twist(each) {
  if (!each.children.length) return el("span", { class: "twist" });
  const label = `“${each.label}”下的内容 Contents`;
  return el("button", { type: "button", class: "twist", tabindex: -1, "aria-expanded": "false", "aria-label": label });
}

const WHAT = { document: "这份文件", category: "这一类", article: "此篇", section: "这一节" };

function box(each) {
  const what = `只在${WHAT[each.kind]}中提问`;
  const label = `${what}：${each.label}`;
  const made = el("input", { type: "checkbox", class: "tick", tabindex: -1, "aria-label": label, title: what });
  showTick(made, each);
  return made;
}

/** A link to the article or section; a document or category is opened in the tree itself. */
function title(each) {
  const pieces = wanted && each.hit ? parts(each.label, wanted) : null;
  const words = pieces ? [pieces[0], el("mark", { class: "hit" }, pieces[1]), pieces[2]] : [each.label];
  if (each.kind === "document") return documentName(each.label, pieces && words);
  if (each.kind === "category") return el("button", { type: "button", class: "open name", tabindex: -1 }, words);
  const href = placeLink(
    each.kind === "article"
      ? { document: each.document, article: each.number }
      : { document: each.document, start: each.start, end: each.end, heading: 1 },
  );
  const current = samePlace(href, location.hash) && "true";
  const number = each.kind === "article" ? [el("span", { class: "n" }, each.number), " "] : [];
  return el("a", { class: "open", href, tabindex: -1, "aria-current": current }, number, words);
}

/** A document's row: the middle of a long name is left out, unless something was found in it. */
function documentName(label, found) {
  const characters = [...label];
  const [head, tail] = LONG;
  const cut = !found && characters.length > head + tail;
  const shown = cut ? [`${characters.slice(0, head).join("")}…${characters.slice(-tail).join("")}`] : (found ?? [label]);
  const words = shown.flatMap((part) => (typeof part === "string" ? breakable(part) : [part]));
  const name = { title: label, "aria-label": cut && label };
  return el("button", { type: "button", class: "open name", tabindex: -1, ...name }, words);
}

/** How many articles a document or category has, or how many places were found below. */
function count(each) {
  if (wanted && each.below) return el("small", {}, `${each.below} 处`);
  if (each.kind === "article" || each.kind === "section") return null;
  return el("small", {}, `${articlesIn(each)} 篇`);
}

// --- Opening and closing rows -----------------------------------------------------------------------------

const twistOf = (made) => $(":scope > .row > button.twist", made);
const isOpen = (made) => twistOf(made)?.getAttribute("aria-expanded") === "true";

function open(made) {
  twistOf(made).setAttribute("aria-expanded", "true");
  made.append(list(visible(nodes.get(made).children)));
}

function close(made) {
  twistOf(made).setAttribute("aria-expanded", "false");
  made.lastElementChild.remove();
}

function toggle(made) {
  budget = 0; // only what was asked for
  if (isOpen(made)) close(made);
  else if (twistOf(made)) open(made);
}

function onClick(event) {
  const made = event.target.closest("li");
  if (event.target.closest("button.twist, .name")) toggle(made);
}

function onTick(event) {
  change([nodes.get(event.target.closest("li"))], event.target.checked);
}

// --- Keys: one row at a time is in the order of the Tab key, arrows reach the others -----------------------

const CONTROLS = ":scope > .row > :is(button.twist, .tick, .open)";

function makeCurrent(made) {
  for (const control of $$(".content [tabindex='0']", place)) control.tabIndex = -1;
  for (const control of $$(CONTROLS, made)) control.tabIndex = 0;
}

function onFocus(event) {
  const made = event.target.closest("li");
  if (nodes.has(made)) makeCurrent(made);
}

function onKey(event) {
  if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
  const made = event.target.closest("li");
  const move = MOVES[event.key];
  if (!move || !made) return;
  event.preventDefault();
  const next = move(made);
  $(":scope > .row > .open, :scope > button", next)?.focus();
}

/** What each key does from a row; gives the row to go to. */
const MOVES = {
  ArrowDown: (made) => neighbour(made, 1),
  ArrowUp: (made) => neighbour(made, -1),
  ArrowRight: (made) => {
    if (!twistOf(made)) return made;
    if (isOpen(made)) return $("li", made);
    toggle(made);
    return made;
  },
  ArrowLeft: (made) => {
    if (!isOpen(made)) return made.parentElement.closest("li") ?? made;
    toggle(made);
    return made;
  },
  Home: () => $("li", place),
  End: () => $$("li", place).at(-1),
};

function neighbour(made, by) {
  const all = $$("li", place);
  return all[all.indexOf(made) + by] ?? made;
}

// --- Search -----------------------------------------------------------------------------------------------

function onSearch(event) {
  wanted = fold(event.target.value);
  const found = wanted ? both(`找到 ${search(roots, wanted)} 处`, "found") : [];
  $(".found", place).replaceChildren(...found);
  show();
}

/** Escape empties the box, and closes nothing; the arrow goes on to what was found. */
function onFindKey(event) {
  if (event.isComposing) return;
  if (event.key === "Escape" && event.target.value) {
    event.preventDefault();
    event.target.value = "";
    onSearch(event);
  } else if (event.key === "ArrowDown") {
    event.preventDefault();
    $("li .open", place)?.focus();
  }
}
