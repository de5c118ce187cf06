// An answer as data -> its elements: sentences with their citation marks, how they were made, what lies nearby.

import { both, el, placeLink } from "./dom.js";

const NEARBY = 3; // places that a refusal points to
const MARKED_ITEM = /^\s*(?:[（(]?[一二三四五六七八九十\d]{1,3}[）)、.．是要]|第[一二三四五\d]|[①-⑳])/;

/** The element of a finished answer: class `answered`, `refused` or `stopped`. */
export function answerElement(answer) {
  if (answer.refused) return refusal(answer);
  const state = answer.stopped ? "stopped" : "answered";
  const parts = [sentences(answer)];
  if (answer.asked) {
    parts.unshift(el("p", { class: "understood" }, "按此理解 ", el("small", {}, "read as"), `：${answer.asked}`));
  }
  return el("div", { class: `answer ${state}`, "data-state": state }, ...parts, footing(answer));
}

/** The element of an answer that is still being written. */
export function draftElement(answer) {
  if (!answer.sentences.length) {
    return el("div", { class: "answering waiting" }, el("p", {}, both("正在查找原文…", "Searching")));
  }
  return el("div", { class: "answering" }, sentences(answer));
}

/** The element in the place of an answer that failed; `again` asks once more. */
export function failureElement(message, again) {
  return el(
    "div",
    { class: "failure" },
    el("p", { class: "verdict" }, both("没有完成", "Not done")),
    el("p", {}, message),
    el("p", {}, el("button", { type: "button", class: "retry", onclick: again }, both("再问一次", "Ask again"))),
  );
}

/** The answer as plain text with its marks, and a list of what they cite: for the clipboard. */
export function plainText(question, answer) {
  const lines = [`问：${question}`, "", ...bodyLines(answer)];
  if (answer.citations.length) lines.push("");
  for (const c of answer.citations) {
    lines.push(`[${c.n}] ${placeName(c)}：“${c.quote}”（${whereabouts(c)}）`);
  }
  return lines.join("\n");
}

/** What an answer cites, with the quotations, for paper: marks cannot be followed there. Null where it cites nothing. */
export function sourcesElement(answer) {
  if (!answer.citations.length) return null;
  const rows = answer.citations.map((c) =>
    el("li", {}, `[${c.n}] ${placeName(c)} `, el("small", {}, whereabouts(c)), el("q", {}, c.quote)),
  );
  return el("div", { class: "sources" }, el("p", {}, both("出处", "Sources")), el("ul", {}, rows));
}

export const spoken = (answer) => answer.sentences.map((s) => s.text).join("");

export const citationLink = (c) => placeLink({ document: c.document, start: c.start, end: c.end });

export const placeName = (place) => [`《${place.article.title}》`, ...place.section].join(" › ");

const whereabouts = (c) => `${c.document}，${c.start}–${c.end}${c.page ? `，第 ${c.page} 页` : ""}`;

function bodyLines(answer) {
  const lines = [];
  let previous = null;
  for (const sentence of answer.sentences) {
    const doubt = sentence.support === "unsupported" ? "【未找到依据】" : "";
    const text = sentence.text + sentence.citations.map((n) => `[${n}]`).join("") + doubt;
    if (sentence.kind === "item") lines.push(`- ${text}`);
    else if (previous === "text" && sentence.kind === "text") lines.push(lines.pop() + text);
    else lines.push(text);
    previous = sentence.kind;
  }
  return lines;
}

/** Running text of one section is a paragraph, each lead stands alone, neighbouring items are one list. */
function sentences(answer) {
  const cited = new Map(answer.citations.map((c) => [c.n, c]));
  const groups = [];
  for (const sentence of answer.sentences) {
    const key = sentence.kind === "text" ? `text ${origin(sentence, cited)}` : sentence.kind;
    if (groups.at(-1)?.key !== key || sentence.kind === "lead") groups.push({ key, kind: sentence.kind, held: [] });
    groups.at(-1).held.push(sentence);
  }
  return groups.map(({ kind, held }) => {
    if (kind !== "item") {
      return el("p", { class: kind === "lead" && "lead" }, held.map((s) => sentenceElement(s, cited)));
    }
    const own = held.every((s) => MARKED_ITEM.test(s.text)); // their own numbers instead of bullets
    return el(
      "ul",
      { class: own ? "items marked" : "items" },
      held.map((s) => el("li", {}, sentenceElement(s, cited))),
    );
  });
}

/** The section that a sentence was taken from: sentences of two sections make two paragraphs. */
function origin(sentence, cited) {
  const first = cited.get(sentence.citations[0]);
  return first ? JSON.stringify([first.document, first.article.number, first.section]) : "";
}

function sentenceElement(sentence, cited) {
  const marks = sentence.citations.map((n) => cited.get(n)).filter(Boolean);
  const shown = el("span", { class: `sentence ${sentence.support}` }, sentence.text, marks.map(mark));
  if (sentence.support === "unsupported") {
    shown.append(el("span", { class: "unfounded" }, "未找到依据 ", el("small", {}, "no support found")));
  }
  return shown;
}

const mark = (c) =>
  el("a", { class: "cite", href: citationLink(c), "aria-label": `${c.n}，出处：${placeName(c)}` }, String(c.n));

/** How the answer was made, in one small line. */
function footing(answer) {
  const line = el("p", { class: "footing" });
  if (answer.stopped) line.append(...both("已停止，只收到这些", "stopped"));
  else if (answer.engine === "extractive") line.append(...both("原文摘录，逐句有出处", "quoted from the documents"));
  else line.append(...both(`由 ${answer.engine} 撰写，逐句核对`, "checked sentence by sentence"));
  if (answer.fallback) line.append(` · ${answer.fallback}`);
  const doubtful = answer.sentences.filter((s) => s.support === "unsupported").length;
  if (doubtful) line.append(" · ", el("strong", { class: "doubt" }, both(`${doubtful} 句未找到依据`, "unsupported")));
  if (answer.timings_ms) {
    const seconds = Object.values(answer.timings_ms).reduce((sum, ms) => sum + ms, 0) / 1000;
    line.append(` · ${Number(seconds.toPrecision(2))} 秒`);
  }
  return line;
}

function refusal(answer) {
  return el(
    "div",
    { class: "answer refused", "data-state": "refused" },
    el("p", { class: "verdict" }, both("不作回答", "Not in the documents")),
    sentences(answer),
    nearby(answer.nearby),
  );
}

/** The first places that retrieval found, one for each section. */
function nearby(places) {
  if (!places?.length) return null;
  const rows = places.slice(0, NEARBY).map((place) =>
    el(
      "li",
      {},
      el("a", { class: "place", href: citationLink(place) }, placeName(place)),
      el("span", {}, place.text),
    ),
  );
  return el(
    "div",
    { class: "nearby" },
    el("p", {}, both("字面相近、但没有直接回答的地方", "Nearby, not an answer")),
    el("ul", {}, rows),
  );
}
