// The conversation: asks the server, shows answers as they come, keeps them, and what can be done with them.

import { answerElement, citationLink, draftElement, failureElement, plainText, spoken } from "./answer.js";
import * as conversations from "./conversations.js";
import { $, both, button, el } from "./dom.js";
import { feedbackBar } from "./feedback.js";
import { events, post, reconnected, request } from "./server.js";
import { chosen, clearScope, scope, untick } from "./tree.js";

const REMEMBERED = 12; // exchanges that go along with a question
const PATIENCE = 60; // seconds to wait for a server that went away
const NEARBY = 10; // places of a refusal that are kept
const OUTDATED = [404, 422]; // what the server says to citations of documents that are gone or changed

let conversation = conversations.fresh();
let running = null; // the AbortController of the question being answered
let place; // the page's part that holds it all

/** Fills the conversation's part of the page and opens the conversation last used. */
export function mountTalk(element) {
  place = element;
  const box = question();
  $("form", place).addEventListener("submit", submit);
  $(".stop", place).addEventListener("click", () => running?.abort());
  box.addEventListener("keydown", sendOnEnter);
  box.addEventListener("input", grow);
  document.addEventListener("youju:scope", showScope);
  document.addEventListener("youju:ask-about", (event) => askAbout(event.detail));
  window.addEventListener("pagehide", () => conversations.note("youju-draft", box.value));
  box.value = conversations.noted("youju-draft");
  grow();
  open(conversations.load(conversations.noted("youju-current")) ?? conversation);
}

/** The list of conversations, to reopen and to delete, with the buttons above it. */
export function mountConversations(element) {
  const above = element.closest("nav");
  const share = $("#export", above);
  $("#again", above).addEventListener("click", () => open(conversations.fresh()));
  share.addEventListener("click", () => toggleMenu(share, conversation.exchanges));
  document.addEventListener("youju:conversations", () => showConversations(element));
  showConversations(element);
}

/** Title, section path and quote of what a citation mark stands for; null where it is none of the conversation's. */
export function citationOf(anchor) {
  const shown = anchor.closest(".exchange");
  const answer = conversation.exchanges[Number(shown?.dataset.place)]?.answer;
  const found = answer?.citations.find((c) => citationLink(c) === anchor.getAttribute("href"));
  return found ? { title: found.article.title, section: found.section, quote: found.quote } : null;
}

/** Puts a question into the box and sends it. */
export function ask(text) {
  question().value = text;
  send();
}

const question = () => $("textarea", place);

// --- The question box -------------------------------------------------------------------------------

/** Enter sends, but not while an input method is composing; Shift and Enter begin a new line. */
function sendOnEnter(event) {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
  event.preventDefault();
  send();
}

function submit(event) {
  event.preventDefault();
  send();
}

function send() {
  const text = question().value.trim();
  question().focus();
  if (!text || running) return;
  question().value = "";
  grow();
  exchange(conversation.exchanges.length, text, { ...scope(), titles: chosen().map((entry) => entry.title) });
}

function grow() {
  const box = question();
  box.style.height = "auto";
  box.style.height = `${Math.min(box.scrollHeight, 240)}px`;
}

/** Quotes a sentence of the source in the box, restricted to nothing: the question is still to be written. */
function askAbout({ text }) {
  const box = question();
  box.value = `“${text}”`;
  grow();
  box.focus();
  box.setSelectionRange(box.value.length, box.value.length);
}

function showScope() {
  const bar = $("#scope", place);
  const chips = chosen().map(({ id, title }) => {
    const remove = () => {
      untick(id);
      question().focus();
    };
    return el("button", { type: "button", class: "chip", title: `取消 Remove：${title}`, onclick: remove }, title);
  });
  bar.replaceChildren();
  if (!chips.length) return;
  const clear = () => {
    clearScope();
    question().focus();
  };
  bar.append(
    el("span", {}, `只在这 ${chips.length} 处中查找 `, el("small", {}, "only within")),
    ...chips,
    button("全部取消", "Clear", { class: "clear-scope", onclick: clear }),
  );
}

// --- Asking -----------------------------------------------------------------------------------------

/** Asks `text` as the exchange number `at`; those from there on are given up for it. */
async function exchange(at, text, within) {
  if (running) return;
  const own = conversation;
  own.exchanges.splice(at);
  const asked = { question: text, within, answer: null, failure: "" };
  own.exchanges.push(asked);
  const control = (running = new AbortController());
  place.dataset.running = "";
  notice("", "");
  keep(own);
  const shown = show();
  const answer = { sentences: [], citations: [] };
  try {
    await answered(asked, answer, shown, control.signal);
  } catch (error) {
    if (control.signal.aborted) asked.answer = { ...answer, stopped: true };
    else asked.failure = error.message;
  }
  running = null;
  delete place.dataset.running;
  if (own !== conversation) {
    keep(own);
    return;
  }
  notice("", "");
  keep(own);
  shown.replaceWith(exchangeElement(asked, at));
  announce(asked);
  if (asked.answer && !asked.answer.stopped) suggest(asked);
}

/**
 * Reads the events of an answer into `asked.answer`. Where the connection is lost, asks once more when it is back; where
 * the server refuses the earlier citations, asks once more with those whose documents are still as they were.
 */
async function answered(asked, answer, shown, signal, { retries = 1, sent = body(asked) } = {}) {
  const draft = () => $(".answering", shown).replaceWith(draftElement(answer));
  try {
    for await (const [name, data] of events("api/ask", sent, signal)) {
      if (name === "citation") answer.citations.push(data);
      else if (name === "sentence") answer.sentences.push(data);
      else if (name === "discarded") Object.assign(answer, { sentences: [], citations: [] });
      else if (name === "done") asked.answer = stored(data);
      if (name === "sentence" || name === "discarded") draft();
    }
  } catch (error) {
    const cited = OUTDATED.includes(error.status) ? await unchanged(asked) : sent.cited;
    if (cited.length < sent.cited.length) {
      await answered(asked, answer, shown, signal, { retries, sent: { ...sent, cited } });
      return;
    }
    if (!error.lost || !retries) throw error;
    notice("连接断了，正在重新连接……", "Connection lost, reconnecting…");
    if (!(await reconnected(PATIENCE, signal))) throw error;
    notice("已重新连接，正在再问一次。", "Connected again, asking again.");
    Object.assign(answer, { sentences: [], citations: [] });
    draft();
    await answered(asked, answer, shown, signal, { retries: retries - 1, sent });
  }
}

const before = (asked) =>
  conversation.exchanges.slice(0, conversation.exchanges.indexOf(asked)).filter((e) => e.answer);

/** The citations before an exchange, each number once. */
function citedBefore(asked) {
  const numbered = new Map(before(asked).flatMap((e) => e.answer.citations.map((c) => [c.n, c])));
  return [...numbered.values()];
}

const placed = ({ n, document, start, end }) => ({ n, document, start, end });

/** Those citations before an exchange whose documents are still there, unchanged. */
async function unchanged(asked) {
  const cited = citedBefore(asked);
  const latest = new Map(cited.map((c) => [c.document, c]));
  const digests = new Map();
  for (const [name, citation] of latest) digests.set(name, await digest(citation));
  return cited.filter((c) => digests.get(c.document) === c.sha256).map(placed);
}

/** The hash of a citation's document as it is now; null where the document does not have the place. */
async function digest({ document: name, start, end }) {
  try {
    const query = new URLSearchParams({ start, end, context: 0 });
    return (await (await request(`api/source/${encodeURIComponent(name)}?${query}`)).json()).sha256;
  } catch (error) {
    if (OUTDATED.includes(error.status)) return null;
    throw error;
  }
}

function body(asked) {
  const history = before(asked).slice(-REMEMBERED).flatMap((e) => [
    { role: "user", content: e.question },
    { role: "assistant", content: spoken(e.answer) || "（没有回答）" },
  ]);
  return {
    question: asked.question,
    history,
    articles: asked.within.articles,
    within: asked.within.within.map(({ document, start, end }) => ({ document, start, end })),
    cited: citedBefore(asked).map(placed),
    stream: true,
  };
}

/** What is kept of an answer: all but the passages, of which a refusal shows some. */
function stored({ retrieved, ...answer }) {
  const near = new Map(retrieved.map((p) => [JSON.stringify([p.document, p.article, p.section]), p]).reverse());
  const nearby = [...near.values()].reverse().slice(0, NEARBY).map((p) => ({
    document: p.document,
    article: { number: p.article, title: p.title },
    section: p.section,
    start: p.start,
    end: p.end,
    text: p.text.slice(0, 80),
  }));
  return { ...answer, nearby };
}

function announce(asked) {
  const said = asked.answer ? `回答：${spoken(asked.answer)}` : asked.failure;
  $("#announce", place).textContent = said;
}

function notice(chinese, english) {
  $("#notice", place).replaceChildren(...(chinese ? both(chinese, english) : []));
}

/** Questions that go on from an answer, below it. */
async function suggest(asked) {
  const { refused, nearby, citations } = asked.answer;
  const cited = (refused ? nearby : citations).map(({ document, start, end }) => ({ document, start, end }));
  if (!cited.length) return;
  try {
    const response = await post("chat/follow-ups", { question: asked.question, cited, refused });
    asked.next = (await response.json()).questions;
  } catch {
    return; // an answer does without
  }
  if (asked === conversation.exchanges.at(-1) && !running) {
    keep(conversation);
    const shown = $("#conversation", place).lastElementChild; // not drawn anew: the reader may be in it
    if (asked.next.length) shown.append(followUps(asked.next));
  }
}

// --- Showing ----------------------------------------------------------------------------------------

/** Draws the conversation; returns the element of its last exchange. */
function show() {
  const transcript = $("#conversation", place);
  const elements = conversation.exchanges.map(exchangeElement);
  transcript.replaceChildren(...elements);
  place.toggleAttribute("data-empty", !elements.length);
  const last = elements.at(-1);
  if (last && running) last.scrollIntoView({ block: "start" });
  return last;
}

function exchangeElement(asked, at) {
  const again = () => exchange(at, asked.question, asked.within);
  const shown = asked.answer
    ? answerElement(asked.answer)
    : asked.failure
      ? failureElement(asked.failure, again)
      : draftElement({ sentences: [] });
  const parts = [questionElement(asked), shown];
  if (asked.answer) parts.push(actions(asked, at, again));
  if (asked.next?.length && at === conversation.exchanges.length - 1) parts.push(followUps(asked.next));
  return el("section", { class: "exchange", "data-place": at, "aria-label": `第 ${at + 1} 问` }, parts);
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

function actions(asked, at, again) {
  const send = async (feedback) => {
    await post("chat/feedback", { ...feedback, ...body(asked), answer: asked.answer });
    asked.feedback = feedback;
    keep(conversation);
  };
  const share = el("button", { type: "button", class: "share" }, both("导出", "Export"));
  share.addEventListener("click", () => toggleMenu(share, [asked]));
  return el(
    "div",
    { class: "actions" },
    button("复制", "Copy", { class: "copy", onclick: (event) => copy(event.currentTarget, asked) }),
    share,
    button("修改", "Edit", { class: "edit", onclick: () => edit(asked, at) }),
    button("重问", "Repeat", { class: "repeat", onclick: again }),
    asked.answer.stopped ? null : feedbackBar(asked, { send }),
  );
}

function followUps(questions) {
  const asks = questions.map((text) =>
    el("li", {}, el("button", { type: "button", class: "example", onclick: () => ask(text) }, text)),
  );
  return el("div", { class: "next" }, el("p", {}, both("接着问", "Ask on")), el("ul", { class: "examples" }, asks));
}

// --- What can be done with an answer ------------------------------------------------------------------

/** Turns the question into a box; sending it replaces this exchange and those after it. */
function edit(asked, at) {
  const old = $$question(at);
  const box = el("textarea", { rows: 2, "aria-label": "修改问题 Edit the question" });
  box.value = asked.question;
  const after = conversation.exchanges.length - 1 - at;
  const warning = after ? `其后的 ${after} 组问答会去掉。` : "";
  const back = () => {
    show();
    $$question(at).closest(".exchange").querySelector(".edit").focus();
  };
  const replace = () => box.value.trim() && !running && exchange(at, box.value.trim(), asked.within);
  box.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      event.stopPropagation();
      back();
    } else if (event.key === "Enter" && !event.shiftKey && !event.isComposing && event.keyCode !== 229) {
      event.preventDefault();
      replace();
    }
  });
  const form = el(
    "div",
    { class: "editing" },
    box,
    el(
      "p",
      {},
      button("重新提问", "Ask", { class: "send", onclick: replace }),
      button("取消", "Cancel", { onclick: back }),
      el("span", {}, warning),
    ),
  );
  old.replaceWith(form);
  box.focus();
}

const $$question = (at) => $(`.exchange[data-place="${at}"] .question`, place);

async function copy(pressed, asked) {
  try {
    await navigator.clipboard.writeText(plainText(asked.question, asked.answer));
    pressed.replaceChildren(...both("已复制", "Copied"));
  } catch {
    pressed.replaceChildren(...both("浏览器不让复制", "Not allowed"));
  }
  setTimeout(() => pressed.replaceChildren(...both("复制", "Copy")), 2000);
}

/** A menu of the forms that exchanges can be taken away in, below the button that opened it. */
function toggleMenu(opener, exchanges) {
  const open_ = opener.nextElementSibling;
  if (open_?.matches(".menu")) {
    open_.remove();
    opener.setAttribute("aria-expanded", "false");
    return;
  }
  const close = () => {
    menu.remove();
    opener.setAttribute("aria-expanded", "false");
    opener.focus();
  };
  const choose = (format) => () => {
    close();
    download(format, exchanges);
  };
  const menu = el(
    "div",
    { class: "menu", onkeydown: (event) => event.key === "Escape" && (event.stopPropagation(), close()) },
    button("Word", ".docx", { "data-format": "docx", onclick: choose("docx") }),
    button("Markdown", ".md", { "data-format": "md", onclick: choose("md") }),
  );
  opener.setAttribute("aria-expanded", "true");
  opener.after(menu);
  $("button", menu).focus();
}

async function download(format, exchanges) {
  const whole = exchanges.filter((e) => e.answer).map((e) => ({ question: e.question, answer: e.answer }));
  if (!whole.length) return;
  const title = whole.length > 1 ? conversation.title : whole[0].question.slice(0, 40);
  try {
    const response = await post("chat/export", { format, title, exchanges: whole });
    const link = el("a", { href: URL.createObjectURL(await response.blob()), download: `${title}.${format}` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
    notice("", "");
  } catch (error) {
    notice(error.message, "");
  }
}

// --- Conversations ------------------------------------------------------------------------------------

/** Shows another conversation; what is running is stopped. */
function open(other) {
  running?.abort();
  conversation = other;
  conversations.note("youju-current", other.id);
  for (const asked of conversation.exchanges) {
    if (!asked.answer && !asked.failure) asked.failure = "页面关闭时还没有答完。(The page was closed before the answer.)";
  }
  show();
  announceList();
  question().focus();
}

function keep(own) {
  if (!own.exchanges.length) return; // deleted meanwhile
  if (!conversations.save(own)) {
    notice("浏览器的存储满了或不可用，这次对话没有保存。可以删去旧的对话，或把它导出。", "Not kept: storage is full or closed.");
  }
  announceList();
}

const announceList = () => document.dispatchEvent(new Event("youju:conversations"));

function showConversations(element) {
  const rows = conversations.list().map((entry) => {
    const current = entry.id === conversation.id && "true";
    const reopen = () => {
      if (current) return;
      const found = conversations.load(entry.id);
      if (found) open(found);
      else notice("这次对话的记录读不出来。", "This conversation cannot be read.");
    };
    return el(
      "li",
      {},
      el("button", { type: "button", class: "open", "aria-current": current, onclick: reopen }, entry.title),
      el(
        "button",
        { type: "button", class: "delete", "aria-label": `删除对话：${entry.title}`, title: "删除 Delete", onclick: () => erase(entry.id) },
        "×",
      ),
    );
  });
  const none = el("p", { class: "empty" }, both("还没有对话", "None yet"));
  element.replaceChildren(rows.length ? el("ul", {}, rows) : none);
}

function erase(id) {
  conversations.remove(id);
  if (id !== conversation.id) {
    announceList();
    return;
  }
  conversation.exchanges = []; // an answer that is still coming must not bring it back
  open(conversations.fresh());
}

