// The conversation: the exchanges shown, the question that is being answered, and keeping them.

import { citationLink, draftElement, spoken } from "./answer.js";
import { answered, body } from "./asking.js";
import * as composer from "./composer.js";
import * as conversations from "./conversations.js";
import { $ } from "./dom.js";
import { exchangeElement, followUps } from "./exchange.js";
import { post } from "./server.js";
import { mountShelf } from "./shelf.js";
import { announce, notice } from "./status.js";
import { opensFormats } from "./takeaway.js";

let conversation = conversations.fresh();
let running = null; // the AbortController of the question being answered
let place; // the page's part that holds it all

/** Fills the conversation's part of the page and opens the conversation last used. */
export function mountTalk(element) {
  place = element;
  $(".stop", place).addEventListener("click", () => running?.abort());
  composer.mountComposer(place, (text, within) => exchange(conversation.exchanges.length, text, within));
  open(conversations.load(conversations.noted("youju-current")) ?? conversation);
}

/** The list of conversations with the buttons above it. */
export function mountConversations(element) {
  const above = element.closest("nav");
  $("#again", above).addEventListener("click", () => open(conversations.fresh()));
  opensFormats($("#export", above), () => conversation.exchanges, () => conversation.title);
  mountShelf(element, { current: () => conversation.id, reopen, erase });
}

/** Title, section path and quote of what a citation mark stands for; null where it is none of the conversation's. */
export function citationOf(anchor) {
  const shown = anchor.closest(".exchange");
  const answer = conversation.exchanges[Number(shown?.dataset.place)]?.answer;
  const found = answer?.citations.find((c) => citationLink(c) === anchor.getAttribute("href"));
  return found ? { title: found.article.title, section: found.section, quote: found.quote } : null;
}

// --- Asking -----------------------------------------------------------------------------------------

/** Asks as the exchange number `at`; those from there on are given up for it. False while another is being answered. */
function exchange(at, text, within) {
  if (running) return false;
  conversation.exchanges.splice(at);
  const asked = { question: text, within, answer: null, failure: "" };
  conversation.exchanges.push(asked);
  answer(asked, at, conversation);
  return true;
}

async function answer(asked, at, own) {
  const control = (running = new AbortController());
  place.dataset.running = "";
  notice("", "");
  keep(own);
  const shown = show().at(-1);
  const draft = { sentences: [], citations: [] };
  const onDraft = () => $(".answering", shown).replaceWith(draftElement(draft));
  try {
    asked.answer = await answered(asked, before(asked), draft, { signal: control.signal, onDraft });
  } catch (error) {
    if (control.signal.aborted) asked.answer = { ...draft, stopped: true };
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
  shown.replaceWith(exchangeElement(asked, at, talk));
  announce(asked.answer ? `回答：${spoken(asked.answer)}` : asked.failure);
  if (asked.answer && !asked.answer.stopped) suggest(asked);
}

/** The answered exchanges before one. */
const before = (asked) =>
  conversation.exchanges.slice(0, conversation.exchanges.indexOf(asked)).filter((e) => e.answer);

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
    if (asked.next.length) shown.append(followUps(asked.next, composer.ask));
  }
}

// --- Showing ----------------------------------------------------------------------------------------

/** What can be done with an exchange. */
const talk = {
  ask: composer.ask,
  replace: exchange,
  redraw: show,
  following: (at) => conversation.exchanges.length - 1 - at,
  rate: async (asked, feedback) => {
    await post("chat/feedback", { ...feedback, ...body(asked, before(asked)), answer: asked.answer });
    asked.feedback = feedback;
    keep(conversation);
  },
};

/** Draws the conversation; returns the elements of its exchanges. */
function show() {
  const elements = conversation.exchanges.map((asked, at) => exchangeElement(asked, at, talk));
  $("#conversation", place).replaceChildren(...elements);
  place.toggleAttribute("data-empty", !elements.length);
  if (running) elements.at(-1)?.scrollIntoView({ block: "start" });
  return elements;
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
  composer.focusQuestion();
}

function reopen(id) {
  const found = conversations.load(id);
  if (found) open(found);
  else notice("这次对话的记录读不出来。", "This conversation cannot be read.");
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

function keep(own) {
  if (!own.exchanges.length) return; // deleted meanwhile
  if (!conversations.save(own)) {
    notice("浏览器的存储满了或不可用，这次对话没有保存。可以删去旧的对话，或把它导出。", "Not kept: storage is full or closed.");
  }
  announceList();
}

const announceList = () => document.dispatchEvent(new Event("youju:conversations"));
