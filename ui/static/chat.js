// The chat page's own behaviour: fills the panels with fragments from the server, opens sources,
// keeps the restriction to articles. Gradio runs the conversation itself.

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

// --- The source panel -------------------------------------------------------------------------------

let opener = null; // what had the focus before the panel opened
let latest = 0; // the last source asked for: slower answers to earlier clicks are dropped

/** Opens the place that a link's hash names; `remember` adds it to the browser's history. */
async function openSource(hash, { remember = true } = {}) {
  const turn = ++latest;
  const panel = $("#source .content");
  if (!panel) return;
  if (!root.dataset.source) opener = document.activeElement;
  if (remember && location.hash !== hash) history.pushState(null, "", withHash(hash));
  const slow = setTimeout(() => panel.setAttribute("aria-busy", "true"), 150);
  let content;
  try {
    content = parsed(await fragment("chat/source?" + hash.slice(1)));
  } catch (error) {
    content = failure(error);
  }
  clearTimeout(slow);
  if (turn !== latest) return;
  panel.removeAttribute("aria-busy");
  panel.replaceChildren(content);
  root.dataset.source = "open";
  if (drawers.matches) delete root.dataset.documents;
  markCurrent(hash);
  const mark = $("mark.evidence", panel);
  const target = mark ?? $("h2, .failure", panel);
  target.tabIndex = -1;
  target.focus({ preventScroll: true });
  if (mark) mark.scrollIntoView({ block: "center" });
  else panel.scrollTop = 0;
}

function closeSource({ remember = true } = {}) {
  latest += 1;
  delete root.dataset.source;
  markCurrent("");
  if (remember && location.hash) history.pushState(null, "", withHash(""));
  if (opener?.isConnected) opener.focus({ preventScroll: true });
  opener = null;
}

const withHash = (hash) => location.pathname + location.search + hash;
const isSource = (hash) => hash.startsWith("#document=");

/** Shows which mark and which article the open source belongs to. */
function markCurrent(hash) {
  for (const link of $$("a[aria-current]")) link.removeAttribute("aria-current");
  if (!hash) return;
  for (const link of $$("a.cite, a.place, a.open")) {
    if (link.getAttribute("href") === hash) link.setAttribute("aria-current", "true");
  }
}

// --- Restriction to articles ------------------------------------------------------------------------

const ticked = () => $$("#documents .tick:checked");

/** The ticked articles as [document, number]; Gradio sends it along with the question. */
window.youju = { scope: () => ticked().map((box) => [box.dataset.document, Number(box.dataset.article)]) };

function showScope() {
  const bar = $("#scope .content");
  if (!bar) return;
  const chosen = ticked();
  bar.replaceChildren();
  root.toggleAttribute("data-scoped", chosen.length > 0);
  const badge = $("#ticked");
  if (badge) badge.textContent = chosen.length ? `已选 ${chosen.length}` : "";
  if (chosen.length) {
    const lead = document.createElement("span");
    lead.textContent = `只在这 ${chosen.length} 篇中查找`;
    bar.append(lead, ...chosen.map(chip), button("全部取消 Clear", "clear-scope"));
  }
  for (const all of $$("#documents .tick-all")) {
    const boxes = $$(".tick", all.closest(".group"));
    const on = boxes.filter((box) => box.checked).length;
    all.checked = on > 0 && on === boxes.length;
    all.indeterminate = on > 0 && on < boxes.length;
  }
}

function chip(box) {
  const item = button(box.dataset.title, "chip");
  item.title = "取消 Remove";
  item.addEventListener("click", () => {
    box.checked = false;
    showScope();
    question()?.focus();
  });
  return item;
}

function button(text, name) {
  const made = document.createElement("button");
  made.type = "button";
  made.className = name;
  made.textContent = text;
  return made;
}

/** Shows only the articles whose title or category holds what was typed. */
function filter(typed) {
  const wanted = typed.trim().toLowerCase();
  for (const group of $$("#documents .group")) {
    const whole = $(".category span", group)?.textContent.toLowerCase().includes(wanted);
    for (const row of $$("li", group)) row.hidden = !whole && !row.textContent.toLowerCase().includes(wanted);
    group.hidden = $$("li:not([hidden])", group).length === 0;
  }
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
  if (event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey) return;
  const target = event.target instanceof Element ? event.target : null;
  const link = target?.closest("a[href^='#document=']");
  if (link) {
    event.preventDefault();
    openSource(link.getAttribute("href"));
  } else if (target?.closest(".example")) ask(target.closest(".example").textContent);
  else if (target?.closest("#close-source")) closeSource();
  else if (target?.closest("#show-documents")) toggleDocuments();
  else if (target?.closest("#close-documents, #shade")) closeDrawers();
  else if (target?.closest(".clear-scope")) {
    for (const box of ticked()) box.checked = false;
    showScope();
    question()?.focus();
  }
});

document.addEventListener("change", (event) => {
  if (event.target.matches?.("#documents .tick-all")) {
    for (const box of $$("li:not([hidden]) .tick", event.target.closest(".group"))) box.checked = event.target.checked;
  }
  if (event.target.matches?.("#documents .tick, #documents .tick-all")) showScope();
});

document.addEventListener("input", (event) => {
  if (event.target.matches?.("#find")) filter(event.target.value);
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || event.isComposing) return;
  if (root.dataset.source) closeSource();
  else if (root.dataset.documents === "open" && drawers.matches) closeDrawers();
});

window.addEventListener("popstate", () => {
  if (isSource(location.hash)) openSource(location.hash, { remember: false });
  else if (root.dataset.source) closeSource({ remember: false });
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
function fill(selector, path, then = () => {}) {
  const content = fragment(path).then(parsed, failure);
  return [selector, async (place) => (place.replaceChildren(await content), then())];
}

/** What was typed survives a reload; Gradio reloads the page when the service was restarted. */
function restoreDraft(box) {
  const draft = sessionStorage.getItem("youju-draft");
  if (draft) {
    box.value = draft;
    box.dispatchEvent(new Event("input", { bubbles: true }));
  }
  if (!drawers.matches && !isSource(location.hash)) box.focus();
}

window.addEventListener("pagehide", () => sessionStorage.setItem("youju-draft", question()?.value ?? ""));

const starts = new Map([
  fill("#welcome .content", "chat/welcome"),
  fill("#documents .content", "chat/documents", showScope),
  ["#source .content", () => isSource(location.hash) && openSource(location.hash, { remember: false })],
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
