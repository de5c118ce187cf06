// <youju-chat>: questions to a Youju server from any page. One file without dependencies, and a page needs to allow
// nothing but `script-src` and `connect-src` of that server. Whatever comes from documents, models, readers or
// storage enters as text, never as markup. docs/widget.md describes the attributes, parts and variables.

(() => {
  "use strict";

  const NAME = "youju-chat";
  const ATTRIBUTES = ["site", "ticket", "mode", "position", "lang", "theme", "accent", "open"];
  const TURNS = 10; // earlier messages that go along with a question
  const CITED = 500; // earlier citations that do
  const script = document.currentScript;
  const home = script ? new URL(".", script.src).href : "";

  // --- Words --------------------------------------------------------------------------------------------

  const WORDS = {
    zh: {
      lang: "zh-CN",
      name: "文件问答",
      ask: "问文件",
      question: "问题",
      placeholder: "想问什么？",
      send: "发送",
      stop: "停止",
      close: "关闭",
      clear: "清空对话",
      conversation: "对话",
      welcome: "只根据文件回答。每句话后面都有编号，点编号看原文。",
      examples: "可以这样问",
      searching: "正在查找原文…",
      quoted: "原文摘录，逐句有出处",
      written: "语言模型撰写，逐句核对",
      stopped: "已停止，只收到这些",
      refused: "不作回答",
      unfounded: "未找到依据",
      doubtful: (count) => `${count} 句未找到依据`,
      understood: (question) => `按此理解：${question}`,
      cite: (n, place) => `${n}，出处：${place}`,
      source: "原文",
      back: "返回回答",
      opening: "正在打开原文…",
      failure: "没有完成",
      again: "再问一次",
      retry: "再试一次",
      wait: (seconds) => `${seconds} 秒后可以再试`,
      offline: "连不上服务。问题还在，网络恢复后请再试。",
      cut: "连接中断了，回答没有收完。",
      limited: "问得太密了，请稍后再试。",
      busy: "正在回答的问题太多，请稍后再试。",
      unfinished: "离开页面时还没有答完。",
      failed: (status) => `服务出错（${status}），请再试一次。`,
      origin: (origin) => `这个网页没有获准使用此问答：${origin}`,
      owner: "网站管理员：请在服务器上用 youju sites 核对站点编号，并把这个来源加入站点，再刷新此页。",
    },
    en: {
      lang: "en",
      name: "Ask the documents",
      ask: "Ask",
      question: "Question",
      placeholder: "What would you like to know?",
      send: "Send",
      stop: "Stop",
      close: "Close",
      clear: "Clear conversation",
      conversation: "Conversation",
      welcome: "Answers come from the documents alone. Every sentence has a number: follow it to the source.",
      examples: "For example",
      searching: "Searching the documents…",
      quoted: "Quoted from the documents, each sentence with its source",
      written: "Written by a language model, checked sentence by sentence",
      stopped: "Stopped; this is what had come",
      refused: "Not in the documents",
      unfounded: "no support found",
      doubtful: (count) => (count === 1 ? "1 sentence without support" : `${count} sentences without support`),
      understood: (question) => `Read as: ${question}`,
      cite: (n, place) => `${n}, source: ${place}`,
      source: "Source",
      back: "Back to the answer",
      opening: "Opening the source…",
      failure: "Not done",
      again: "Ask again",
      retry: "Try again",
      wait: (seconds) => `You can try again in ${seconds} s`,
      offline: "The server cannot be reached. Your question is kept: try again once you are connected.",
      cut: "The connection was cut before the answer was complete.",
      limited: "Too many questions. Please try again later.",
      busy: "Too many answers are being made. Please try again later.",
      unfinished: "The page was left before the answer was complete.",
      failed: (status) => `The server failed (${status}). Please try again.`,
      origin: (origin) => `This page may not use this service: ${origin}`,
      owner: "To the site's owner: check the site id with youju sites on the server, add this origin, then reload.",
    },
  };

  /** The words of an element: of its own language, or of the page around it. */
  function wordsOf(element) {
    const page = element.closest("[lang]")?.lang || document.documentElement.lang || "zh";
    return page.toLowerCase().startsWith("zh") ? WORDS.zh : WORDS.en;
  }

  // --- Look ---------------------------------------------------------------------------------------------

  const DARK = `
    --paper: #16181b; --sheet: #1d2024; --ink: #e4e1d9; --soft: #a3a7ae; --line: #35393f;
    --link: var(--youju-link-dark, #93bdf2); --link-soft: #25344a; --mark: #5f4d10; --mark-line: #e0b73a;
    --warn: #f0b26a; --warn-soft: #33281a; --shadow: 0 8px 30px rgb(0 0 0 / 50%); color-scheme: dark;`;

  // No rem: the page decides how large that is. `:host` rules are important, which a page's own cannot overrule.
  const STYLE = `
    :host { all: initial !important; display: contents !important; direction: ltr !important; }
    :host([mode="inline"]) { display: block !important; }
    .root {
      --paper: #f7f6f2; --sheet: #fffefb; --ink: #23262b; --soft: #5d6168; --line: #dedbd2;
      --link: var(--youju-link, #1f4f8b); --link-soft: #e6edf6; --mark: #ffe9a3; --mark-line: #b98a00;
      --warn: #8a4b00; --warn-soft: #fdf1e2; --shadow: 0 8px 30px rgb(40 35 20 / 18%);
      --accent: var(--youju-accent, #1f4f8b); --on-accent: var(--youju-on-accent, #fff);
      --serif: var(--youju-serif, "Songti SC", "Noto Serif CJK SC", "Source Han Serif SC", "STSong", "SimSun", serif);
      color-scheme: light; color: var(--ink);
      font: 400 var(--youju-font-size, 15px)/1.75 var(--youju-font, system-ui, "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", "Source Han Sans SC", sans-serif);
    }
    @media (prefers-color-scheme: dark) { .root:not([data-theme="light"]) { ${DARK} } }
    .root[data-theme="dark"] { ${DARK} }

    *, ::before, ::after { box-sizing: border-box; }
    h2, h3, h4, p, ul, ol { margin: 0; padding: 0; font: inherit; }
    ul, ol { list-style: none; }
    [hidden] { display: none !important; }
    button { margin: 0; padding: 0; border: 0; color: inherit; background: none; font: inherit; text-align: inherit; cursor: pointer; }
    :focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
    .unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }

    .launcher, .panel { position: fixed; z-index: 2147483647; inset: auto 20px 20px auto; box-shadow: var(--shadow); }
    [data-position$="left"] > * { inset-inline: 20px auto; }
    [data-position^="top"] > * { inset-block: 20px auto; }
    .launcher { display: flex; align-items: center; gap: .5em; min-height: 48px; max-width: calc(100vw - 40px); padding: .5em 1.2em .5em .6em; border-radius: 99px; color: var(--on-accent); background: var(--accent); font-weight: 600; }
    .launcher:focus-visible { outline-color: var(--ink); box-shadow: 0 0 0 2px var(--sheet); }
    .seal { flex: none; display: grid; place-items: center; width: 1.9em; height: 1.9em; border-radius: 99px; color: var(--accent); background: var(--on-accent); font: 600 1em/1 var(--serif); }
    .panel { display: flex; flex-direction: column; width: min(27em, 100vw - 40px); height: min(42em, 100vh - 40px); height: min(42em, 100dvh - 40px); overflow: hidden; border: 1px solid var(--line); border-radius: var(--youju-radius, 12px); background: var(--paper); }
    [data-mode="inline"] .panel { position: relative; z-index: 0; inset: auto; width: auto; height: var(--youju-height, 560px); box-shadow: none; }
    @media (max-width: 480px) {
      [data-mode="button"] .panel { inset: 0; width: 100%; height: 100vh; height: 100dvh; border: 0; border-radius: 0; }
    }

    header { flex: none; display: flex; align-items: center; gap: .2em .6em; padding: .45em .6em .45em 1em; border-bottom: 1px solid var(--line); background: var(--sheet); }
    header h2 { flex: 1; min-width: 0; overflow-wrap: anywhere; font: 600 1.05em/1.4 var(--serif); }
    header button { min-width: 32px; min-height: 32px; padding: 0 .5em; border-radius: 6px; color: var(--soft); font-size: .9em; text-align: center; }
    header button:hover { color: var(--link); background: var(--link-soft); }
    header .close { font-size: 1.3em; line-height: 1; }
    .body { position: relative; flex: 1; min-height: 0; }
    .talk, .source { position: absolute; inset: 0; display: flex; flex-direction: column; }
    .scroll { position: relative; flex: 1; min-height: 0; padding: 0 1em; overflow-y: auto; overscroll-behavior: contain; overflow-wrap: anywhere; }
    .scroll:focus-visible { outline-offset: -3px; }

    .welcome { padding: 1em 0; }
    .welcome h3 { margin: 1em 0 .4em; color: var(--soft); font-size: .9em; }
    .example { width: 100%; margin-bottom: .5em; padding: .5em .8em; border: 1px solid var(--line); border-radius: 8px; background: var(--sheet); line-height: 1.5; }
    .example:hover { border-color: var(--link); color: var(--link); }

    .exchange { padding: 1em 0 .2em; }
    .exchange:last-child { min-height: 100%; padding-bottom: 1em; }
    .question { margin-bottom: .6em; padding-left: .8em; border-left: 3px solid var(--link); font-weight: 600; white-space: pre-wrap; }
    .box { padding: .7em .9em; border: 1px solid var(--line); border-radius: 10px; background: var(--sheet); }
    .box > * + * { margin-top: .5em; }
    .waiting, .understood { color: var(--soft); }
    .answering:not(.waiting)::after { content: "▍"; color: var(--link); animation: blink 1s steps(2) infinite; }
    @keyframes blink { 50% { opacity: 0; } }
    .items { padding-left: .8em; border-left: 2px solid var(--line); }
    .items > * + * { margin-top: .35em; }
    .end { white-space: nowrap; }
    .cite { min-width: 24px; height: 24px; padding: 0 .25em; border: 3px solid transparent; border-radius: 7px; color: var(--link); background: var(--link-soft) padding-box; font-size: .78em; font-variant-numeric: tabular-nums; line-height: 1; text-align: center; vertical-align: .1em; }
    .cite:is(:hover, [aria-current]) { color: var(--sheet); background-color: var(--link); }
    .unsupported .said { text-decoration: underline wavy var(--warn) 1px; text-underline-offset: 4px; }
    .unfounded { display: inline-block; margin-left: .3em; padding: 0 .4em; border: 1px solid var(--warn); border-radius: 4px; color: var(--warn); font-size: .78em; line-height: 1.5; }
    .footing { padding-top: .4em; border-top: 1px solid var(--line); color: var(--soft); font-size: .82em; line-height: 1.5; }
    .doubt { color: var(--warn); font-weight: 600; }
    .refused, .failure { border: 1px dashed var(--warn); background: var(--warn-soft); }
    .verdict { color: var(--warn); font-weight: 600; }
    .verdict::before { content: "!"; display: inline-grid; place-items: center; width: 1.4em; height: 1.4em; margin-right: .45em; border: 1.5px solid; border-radius: 99px; font-size: .85em; line-height: 1; }
    .refused .verdict::before { content: "∅"; }
    .retry { min-height: 32px; padding: .2em .9em; border: 1px solid var(--link); border-radius: 6px; color: var(--link); background: var(--sheet); }
    .retry:hover { background: var(--link-soft); }
    .retry:disabled { border-color: var(--line); color: var(--soft); cursor: default; }

    form { flex: none; display: flex; align-items: flex-end; gap: .5em; margin: .4em .8em .8em; padding: .3em .3em .3em .8em; border: 1px solid var(--soft); border-radius: 10px; background: var(--sheet); }
    form:focus-within { border-color: var(--link); box-shadow: 0 0 0 1px var(--link); }
    textarea:focus-visible { outline: none; } /* the form around it shows the focus */
    textarea { flex: 1; min-width: 0; max-height: 8em; margin: 0; padding: .3em 0; border: 0; resize: none; color: var(--ink); background: none; font: inherit; line-height: 1.6; }
    textarea::placeholder { color: var(--soft); opacity: 1; }
    form button { flex: none; min-height: 32px; padding: .3em 1em; border-radius: 7px; }
    .send { color: var(--on-accent); background: var(--accent); }
    .halt { border: 1px solid var(--warn); color: var(--warn); }

    .source { background: var(--sheet); }
    .source .steps { flex: none; padding: .5em 1em; border-bottom: 1px solid var(--line); }
    .back { min-height: 32px; padding: .1em .8em; border: 1px solid var(--line); border-radius: 6px; font-size: .9em; }
    .back:hover { border-color: var(--link); color: var(--link); }
    .source .scroll { padding-bottom: 2em; }
    .source .head { padding: .6em 0; border-bottom: 1px solid var(--line); background: var(--sheet); }
    @media (min-height: 600px) { .source .head { position: sticky; z-index: 1; top: 0; } }
    .category { color: var(--soft); font-size: .85em; }
    .source h3 { font: 600 1.15em/1.5 var(--serif); }
    .path { color: var(--link); font-size: .88em; line-height: 1.6; }
    .path li { display: inline; }
    .path li + li::before { content: "› "; margin-left: .35em; color: var(--soft); }
    .text { padding-top: .6em; font: 1.04em/1.95 var(--serif); white-space: pre-wrap; }
    mark { padding: .12em 0; color: inherit; background: var(--mark); box-shadow: inset 0 -2px 0 var(--mark-line); outline-offset: 3px; }
    @media (prefers-reduced-motion: reduce) { *, ::before, ::after { animation: none !important; transition: none !important; } }
    @media print { .launcher, [data-mode="button"] .panel { display: none; } }
  `;

  // --- Elements -----------------------------------------------------------------------------------------

  /** An element with attributes (`onclick` and the like are listeners, false and null are left out) and children. */
  function el(name, attributes = {}, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (value === false || value === null || value === undefined) continue;
      if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
      else made.setAttribute(key, value === true ? "" : value);
    }
    made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== ""));
    return made;
  }

  const button = (attributes, text) => el("button", { type: "button", ...attributes }, text);

  const placeName = (citation) => [`《${citation.article.title}》`, ...citation.section].join(" › ");

  /** The element of a finished answer: class `answered`, `refused` or `stopped`. */
  function answerElement(answer, words, follow) {
    const state = answer.refused ? "refused" : answer.stopped ? "stopped" : "answered";
    return el(
      "div",
      { class: `box answer ${state}`, "data-state": state, part: `answer ${state}` },
      answer.refused ? el("p", { class: "verdict" }, words.refused) : null,
      answer.asked ? el("p", { class: "understood" }, words.understood(answer.asked)) : null,
      sentenceElements(answer, words, follow),
      answer.refused ? null : footing(answer, words),
    );
  }

  /** The element of an answer that is still being written. */
  function draftElement(answer, words, follow) {
    if (!answer.sentences.length) return el("div", { class: "box answering waiting" }, words.searching);
    return el("div", { class: "box answering", part: "answer" }, sentenceElements(answer, words, follow));
  }

  /** How the answer was made, and how much of it has no support. */
  function footing(answer, words) {
    const how = answer.stopped ? words.stopped : answer.engine === "extractive" ? words.quoted : words.written;
    const doubtful = answer.sentences.filter((sentence) => sentence.support === "unsupported").length;
    const doubt = doubtful ? [" · ", el("span", { class: "doubt" }, words.doubtful(doubtful))] : [];
    return el("p", { class: "footing" }, how, doubt);
  }

  /** Running text of one section is a paragraph, each lead stands alone, neighbouring items are one list. */
  function sentenceElements(answer, words, follow) {
    const cited = new Map(answer.citations.map((citation) => [citation.n, citation]));
    const groups = [];
    for (const sentence of answer.sentences) {
      const key = sentence.kind === "text" ? origin(cited.get(sentence.citations[0])) : sentence.kind;
      if (groups.at(-1)?.key !== key || sentence.kind === "lead") groups.push({ key, elements: [] });
      groups.at(-1).elements.push(sentenceElement(sentence, cited, words, follow));
    }
    return groups.map(({ key, elements }) =>
      key === "item"
        ? el("ul", { class: "items" }, elements.map((element) => el("li", {}, element)))
        : el("p", {}, elements),
    );
  }

  /** The section that a citation is from: sentences of two sections make two paragraphs. */
  const origin = (citation) =>
    citation ? JSON.stringify([citation.document, citation.article.number, citation.section]) : "";

  function sentenceElement(sentence, cited, words, follow) {
    const marks = sentence.citations.map((n) => cited.get(n)).filter(Boolean);
    const [, text, last] = sentence.text.match(/^(.*?)(.?)$/su);
    return el(
      "span",
      { class: `sentence ${sentence.support}`, part: sentence.support === "unsupported" && "unsupported" },
      el("span", { class: "said" }, text),
      // No line begins with the marks: they stay with the sentence that they prove.
      el("span", { class: "end" }, el("span", { class: "said" }, last), marks.map((c) => citeElement(c, words, follow))),
      sentence.support === "unsupported" ? el("span", { class: "unfounded" }, words.unfounded) : null,
    );
  }

  const citeElement = (citation, words, follow) =>
    button(
      {
        class: "cite",
        part: "citation",
        "aria-label": words.cite(citation.n, placeName(citation)),
        onclick: (event) => follow(citation, event.currentTarget),
      },
      String(citation.n),
    );

  /** What went wrong in the place of what it prevented; `again` tries once more, when the server lets it. */
  function failureElement(failure, words, label, again) {
    const retry = button({ class: "retry", onclick: again }, label);
    countDown(retry, failure.until ?? 0, words, label);
    return el(
      "div",
      { class: `box failure ${failure.kind}`, "data-state": failure.kind, part: "failure" },
      el("p", { class: "verdict" }, words.failure),
      el("p", {}, failure.message),
      el("p", {}, failure.kind === "origin" ? words.owner : retry),
    );
  }

  /** Lets a button be pressed only from a time on, and says how long that takes. */
  function countDown(waiting, until, words, label) {
    const seconds = Math.ceil((until - Date.now()) / 1000);
    waiting.disabled = seconds > 0;
    waiting.textContent = seconds > 0 ? words.wait(seconds) : label;
    if (seconds > 0) setTimeout(() => countDown(waiting, until, words, label), 1000);
  }

  // --- Server -------------------------------------------------------------------------------------------

  /** `kind`: offline (the server is not reached), limited, origin (this page is not allowed) or failed. */
  class Failure extends Error {
    constructor(kind, message, until) {
      super(message);
      this.kind = kind;
      this.until = until; // when it may be tried again, in milliseconds
    }
  }

  const RESUMED_AFTER = [0, 1000, 3000]; // milliseconds; the server keeps a cut stream for ten seconds

  const failureOf = (error, words) =>
    error instanceof Failure ? error : new Failure("failed", words.failed(error.name));

  const posted = (body, signal, headers = {}) => ({
    method: "POST",
    headers: { "Content-Type": "application/json", ...headers },
    body: JSON.stringify(body),
    signal,
  });

  /** Resolves after some milliseconds, or as soon as `signal` is aborted. */
  const pause = (milliseconds, signal) =>
    new Promise((resolve) => {
      setTimeout(resolve, milliseconds);
      signal.addEventListener("abort", resolve, { once: true });
    });

  /** One site of one server. The token of its session is kept in memory alone. */
  class Server {
    #session = null;

    constructor(base, site, ticket, words) {
      this.base = base;
      this.site = site;
      this.ticket = ticket;
      this.words = words;
    }

    /** What the server tells of the site: `{token, title, examples}`. */
    session() {
      if (!this.#session) {
        const begun = this.#begin();
        this.#session = begun;
        begun.catch(() => this.#forget(begun));
      }
      return this.#session;
    }

    /** The events of an answer: pairs of name and data. A stream that is cut is gone on with; if it stays cut: Failure. */
    async *ask(body, signal) {
      let last = ""; // the id of the last event that came
      for (const wait of RESUMED_AFTER) {
        if (wait) await pause(wait, signal);
        signal.throwIfAborted();
        const headers = last ? { "Last-Event-ID": last } : {};
        const response = await this.#authorised("widget/ask", posted(body, signal, headers)).catch((error) => {
          if (!last || error.name === "AbortError") throw error;
        });
        try {
          for await (const { id, event, data } of eventsOf(response?.body)) {
            if (event === "error") throw new Failure("failed", data.error.message);
            last = id;
            yield [event, data];
            if (event === "done") return;
          }
        } catch (error) {
          if (error instanceof Failure || error.name === "AbortError") throw error;
        }
        if (!last) break;
      }
      throw new Failure("offline", this.words.cut);
    }

    /** The characters that a citation names, with those around them. */
    async source({ document, start, end }) {
      const response = await this.#authorised(`widget/source?${new URLSearchParams({ document, start, end })}`, {});
      return response.json();
    }

    #forget(session) {
      if (this.#session === session) this.#session = null;
    }

    async #begin() {
      const body = this.ticket ? { site: this.site, ticket: this.ticket } : { site: this.site };
      const response = await this.#fetch("widget/session", posted(body)).catch(async (error) => {
        // A browser hides from a page which answer it was not given: is it the server or this page's origin?
        throw (await this.#reached()) ? this.#notAllowed() : error;
      });
      if (response.status === 403) throw this.#notAllowed();
      return (await this.#checked(response)).json();
    }

    #notAllowed() {
      return new Failure("origin", this.words.origin(window.origin));
    }

    async #reached() {
      const script = await fetch(`${this.base}widget.js`, { cache: "no-store", credentials: "omit" }).catch(() => null);
      return script?.ok;
    }

    /** A response to a request under the session, which is renewed once where the server has ended it. */
    async #authorised(path, options) {
      const session = this.session();
      const first = await this.#fetch(path, withToken(options, await session));
      if (first.status !== 401) return this.#checked(first);
      this.#forget(session);
      return this.#checked(await this.#fetch(path, withToken(options, await this.session())));
    }

    async #fetch(path, options) {
      try {
        return await fetch(this.base + path, { ...options, credentials: "omit", cache: "no-store" });
      } catch (error) {
        if (error.name === "AbortError") throw error;
        throw new Failure("offline", this.words.offline);
      }
    }

    async #checked(response) {
      if (response.ok) return response;
      const until = Date.now() + Number(response.headers.get("Retry-After")) * 1000;
      const { code, message } = (await response.json().catch(() => null))?.error ?? {};
      if (response.status === 429) throw new Failure("limited", this.words.limited, until);
      if (code === "busy") throw new Failure("limited", this.words.busy, until);
      throw new Failure("failed", message ?? this.words.failed(response.status));
    }
  }

  const withToken = (options, { token }) => ({
    ...options,
    headers: { ...options.headers, Authorization: `Bearer ${token}` },
  });

  /** Server-sent events: `{id, event, data}`. */
  async function* eventsOf(body) {
    if (!body) return;
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      const messages = (text + part.value).replaceAll("\r\n", "\n").split("\n\n");
      text = messages.pop();
      for (const message of messages) {
        const fields = message.split("\n").map((line) => line.match(/^(\w+): ?(.*)$/s)).filter(Boolean);
        const { id, event, data } = Object.fromEntries(fields.map(([, name, value]) => [name, value]));
        if (data) yield { id, event, data: JSON.parse(data) };
      }
    }
  }

  // --- Conversation -------------------------------------------------------------------------------------

  const FORM = 1; // of what is stored

  /** Questions and answers of one site, kept for the tab: `exchanges` of `{question, answer, failure}`. */
  class Conversation {
    constructor(key, words) {
      this.key = key;
      const failure = new Failure("failed", words.unfinished);
      this.exchanges = this.#stored().map(({ question, answer }) =>
        answer ? { question, answer } : { question, failure },
      );
    }

    #stored() {
      try {
        const stored = JSON.parse(sessionStorage.getItem(this.key));
        return stored?.form === FORM ? stored.exchanges : [];
      } catch {
        return []; // closed to this page, or written by someone else
      }
    }

    save() {
      const exchanges = this.exchanges.map(({ question, answer }) => ({ question, answer }));
      try {
        if (exchanges.length) sessionStorage.setItem(this.key, JSON.stringify({ form: FORM, exchanges }));
        else sessionStorage.removeItem(this.key);
      } catch {
        // full, or closed to this page: the conversation ends with the page
      }
    }

    /** What the server is asked: the question, the last messages and all citations before it. */
    request(question) {
      const answers = this.exchanges.filter((exchange) => exchange.answer?.sentences.length);
      const history = answers.flatMap((exchange) => [
        { role: "user", content: exchange.question },
        { role: "assistant", content: spoken(exchange.answer) },
      ]);
      const cited = new Map(
        answers.flatMap(({ answer }) => answer.citations).map(({ document, start, end, n }) => [n, { document, start, end, n }]),
      );
      return { question, history: history.slice(-TURNS), cited: [...cited.values()].slice(-CITED) };
    }
  }

  const spoken = (answer) => answer.sentences.map((sentence) => sentence.text).join("");

  const draft = () => ({ sentences: [], citations: [] });

  // --- The element --------------------------------------------------------------------------------------

  class YoujuChat extends HTMLElement {
    #running = null; // what stops the answer that is being made
    #session = null;
    #origin = null; // the citation mark that the source was opened from

    connectedCallback() {
      if (this.shadowRoot) return;
      this.inline = this.getAttribute("mode") === "inline";
      this.words = wordsOf(this);
      const base = new URL(".", new URL(this.getAttribute("base") ?? home, document.baseURI)).href;
      const site = this.getAttribute("site") ?? "";
      this.server = new Server(base, site, this.getAttribute("ticket"), this.words);
      this.conversation = new Conversation(`${NAME} ${base} ${site}`, this.words);
      this.#build();
      this.#showConversation();
      if (this.inline || this.hasAttribute("open")) this.#reveal();
    }

    disconnectedCallback() {
      // Moving it within the page is no reason to stop.
      setTimeout(() => this.isConnected || this.#running?.abort());
    }

    /** Opens the panel, with the focus on the question. */
    show() {
      this.#reveal();
      this.question.focus({ preventScroll: true });
    }

    /** Closes the panel; the focus returns to the button. */
    hide() {
      if (this.inline) return;
      this.panel.hidden = true;
      this.launcher.hidden = false;
      this.launcher.focus({ preventScroll: true });
    }

    // What it is made of

    #build() {
      const root = this.attachShadow({ mode: "open" });
      const sheet = new CSSStyleSheet();
      sheet.replaceSync(STYLE);
      root.adoptedStyleSheets = [sheet];
      this.launcher = this.#launcher();
      this.panel = this.#panel();
      this.root = el(
        "div",
        {
          class: "root",
          lang: this.words.lang,
          "data-mode": this.inline ? "inline" : "button",
          "data-position": this.getAttribute("position"),
          "data-theme": this.getAttribute("theme"),
        },
        this.launcher,
        this.panel,
      );
      if (this.hasAttribute("accent")) this.root.style.setProperty("--accent", this.getAttribute("accent"));
      root.append(this.root);
      // The page's own shortcuts are not meant by what is typed here.
      for (const kind of ["keydown", "keyup", "keypress"]) root.addEventListener(kind, (event) => event.stopPropagation());
    }

    #launcher() {
      const seal = el("span", { class: "seal", "aria-hidden": "true" }, "据");
      const label = el("span", {}, this.getAttribute("heading") ?? this.words.ask);
      return button(
        { class: "launcher", part: "launcher", "aria-haspopup": "dialog", onclick: () => this.show() },
        [seal, label],
      );
    }

    #panel() {
      this.heading = el("h2", { part: "title" }, this.getAttribute("heading") ?? this.words.name);
      this.talk = this.#talk();
      this.source = this.#source();
      this.status = el("div", { class: "unseen", role: "status", "aria-live": "polite" });
      const role = this.inline ? { role: "region" } : { role: "dialog", "aria-modal": "true" };
      return el(
        "section",
        {
          class: "panel",
          part: "panel",
          ...role,
          "aria-label": this.heading.textContent,
          hidden: !this.inline,
          onkeydown: (event) => this.#key(event),
        },
        this.#header(),
        el("div", { class: "body" }, this.talk, this.source),
        this.status,
      );
    }

    #header() {
      const { words } = this;
      this.clear = button({ class: "clear", onclick: () => this.#clear() }, words.clear);
      const close = button({ class: "close", "aria-label": words.close, title: words.close, onclick: () => this.hide() }, "×");
      return el("header", { part: "header" }, this.heading, this.clear, this.inline ? null : close);
    }

    #talk() {
      const { words } = this;
      this.scroll = el("div", { class: "scroll", part: "conversation", tabindex: "0", role: "group", "aria-label": words.conversation });
      this.question = el("textarea", {
        rows: "1",
        "aria-label": words.question,
        placeholder: words.placeholder,
        enterkeyhint: "send",
        onkeydown: (event) => this.#enter(event),
        oninput: () => this.#fit(),
      });
      this.send = button({ class: "send", part: "send", onclick: () => this.#submit() }, words.send);
      this.halt = button({ class: "halt", part: "stop", hidden: true, onclick: () => this.#stop() }, words.stop);
      const form = el("form", { part: "composer", onsubmit: (event) => event.preventDefault() }, this.question, this.send, this.halt);
      return el("div", { class: "talk" }, this.scroll, form);
    }

    #source() {
      const { words } = this;
      this.place = el("div", { class: "scroll", part: "source", tabindex: "0", role: "group", "aria-label": words.source });
      const back = button({ class: "back", onclick: () => this.#closeSource() }, `‹ ${words.back}`);
      return el("div", { class: "source", hidden: true }, el("p", { class: "steps" }, back), this.place);
    }

    // Opening, keys

    #reveal() {
      const first = this.panel.hidden || this.inline;
      this.panel.hidden = false;
      this.launcher.hidden = true;
      if (first) this.scroll.scrollTop = this.scroll.scrollHeight;
      this.#meet();
    }

    /** Asks the server what the site is called and what may be asked; says so where this page may not ask. */
    async #meet() {
      if (this.#session) return;
      try {
        this.#session = await this.server.session();
      } catch (error) {
        this.#showConversation(failureOf(error, this.words));
        if (error.kind === "origin") this.dispatchEvent(new CustomEvent("youju-refused"));
        return;
      }
      if (!this.hasAttribute("heading") && this.#session.title) {
        this.heading.textContent = this.#session.title;
        this.panel.setAttribute("aria-label", this.#session.title);
      }
      if (!this.conversation.exchanges.length) this.#showConversation();
    }

    #key(event) {
      if (event.isComposing) return;
      if (event.key === "Escape") {
        if (!this.source.hidden) this.#closeSource();
        else this.hide();
      } else if (event.key === "Tab" && !this.inline) {
        event.preventDefault();
        this.#tab(event.shiftKey);
      }
    }

    /** Moves the focus to the next element of the panel, or the one before; after the last comes the first. */
    #tab(back) {
      const all = [...this.panel.querySelectorAll("button, textarea, [tabindex='0']")];
      const stops = all.filter((element) => !element.disabled && !element.closest("[inert], [hidden]"));
      if (back) stops.reverse();
      const active = this.shadowRoot.activeElement;
      const side = back ? Node.DOCUMENT_POSITION_PRECEDING : Node.DOCUMENT_POSITION_FOLLOWING;
      (stops.find((element) => active?.compareDocumentPosition(element) & side) ?? stops[0]).focus();
    }

    #enter(event) {
      // 229: Safari tells of the Enter that ends a composition only so
      if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
      event.preventDefault();
      this.#submit();
    }

    /** Makes the question box as high as what stands in it. */
    #fit() {
      this.question.style.height = "auto";
      this.question.style.height = `${this.question.scrollHeight}px`;
    }

    // Asking

    #submit() {
      const text = this.question.value.trim();
      if (!text || this.#running) return;
      this.question.value = "";
      this.#fit();
      this.#ask(text);
      this.question.focus({ preventScroll: true }); // the send button has gone
    }

    async #ask(question) {
      const { conversation } = this;
      const body = conversation.request(question);
      const exchange = { question, draft: draft() };
      conversation.exchanges.push(exchange);
      this.#run(new AbortController());
      const { signal } = this.#running;
      this.#showConversation();
      this.scroll.scrollTop = exchange.element.offsetTop;
      try {
        for await (const [name, data] of this.server.ask(body, signal)) this.#take(exchange, name, data);
      } catch (error) {
        if (signal.aborted) exchange.answer = { ...exchange.draft, stopped: true };
        else exchange.failure = failureOf(error, this.words);
      }
      exchange.draft = null;
      if (!conversation.exchanges.includes(exchange)) return; // cleared meanwhile
      this.#run(null);
      conversation.save();
      this.#show(exchange);
      this.#announce(exchange);
    }

    #take(exchange, name, data) {
      if (name === "citation") exchange.draft.citations.push(data);
      else if (name === "sentence") exchange.draft.sentences.push(data);
      else if (name === "discarded") exchange.draft = draft();
      else if (name === "done") exchange.answer = data;
      if (name === "sentence" || name === "discarded") this.#show(exchange);
    }

    #run(controller) {
      this.#running = controller;
      this.send.hidden = Boolean(controller);
      this.halt.hidden = !controller;
    }

    #stop() {
      this.#running.abort();
      this.question.focus({ preventScroll: true });
    }

    /** Asks an exchange's question again, in its place as the last one. */
    #again(exchange) {
      if (this.#running) return;
      const { exchanges } = this.conversation;
      exchanges.splice(exchanges.indexOf(exchange), 1);
      this.#ask(exchange.question);
      this.question.focus({ preventScroll: true });
    }

    #clear() {
      this.#running?.abort();
      this.#run(null);
      this.conversation.exchanges = [];
      this.conversation.save();
      this.#closeSource();
      this.#showConversation();
      this.question.focus({ preventScroll: true });
    }

    // Showing

    #showConversation(failure) {
      const { exchanges } = this.conversation;
      this.clear.hidden = !exchanges.length;
      if (exchanges.length) {
        for (const exchange of exchanges) this.#show(exchange);
        this.scroll.replaceChildren(...exchanges.map((exchange) => exchange.element));
      } else this.scroll.replaceChildren(this.#welcome(failure));
    }

    #welcome(failure) {
      const { words } = this;
      if (failure) {
        const retry = () => {
          this.#showConversation();
          this.#meet();
          this.question.focus({ preventScroll: true });
        };
        return el("div", { class: "welcome" }, failureElement(failure, words, words.retry, retry));
      }
      const examples = (this.#session?.examples ?? []).map((question) =>
        el("li", {}, button({ class: "example", part: "example", onclick: () => this.#example(question) }, question)),
      );
      return el(
        "div",
        { class: "welcome" },
        el("p", {}, words.welcome),
        examples.length ? [el("h3", {}, words.examples), el("ul", {}, examples)] : null,
      );
    }

    #example(question) {
      this.#ask(question);
      this.question.focus({ preventScroll: true });
    }

    #show(exchange) {
      exchange.element ??= el("div", { class: "exchange" });
      const asked = el("h3", { class: "question", part: "question" }, exchange.question);
      const marks = () => [...exchange.element.querySelectorAll(".cite")];
      const focused = marks().indexOf(this.shadowRoot.activeElement);
      exchange.element.replaceChildren(asked, this.#outcome(exchange));
      marks()[focused]?.focus({ preventScroll: true });
    }

    #outcome(exchange) {
      const { words } = this;
      const follow = (citation, mark) => this.#openSource(citation, mark);
      if (exchange.answer) return answerElement(exchange.answer, words, follow);
      if (exchange.draft) return draftElement(exchange.draft, words, follow);
      return failureElement(exchange.failure, words, words.again, () => this.#again(exchange));
    }

    /** Tells screen readers what came of a question, once. */
    #announce({ answer, failure }) {
      const { words } = this;
      const said = failure?.message ?? [answer.refused ? words.refused : "", spoken(answer) || words.stopped].join(" ");
      this.status.textContent = said;
    }

    // The source

    async #openSource(citation, mark) {
      const { words } = this;
      this.#leave();
      this.#origin = mark;
      mark.setAttribute("aria-current", "true");
      this.talk.inert = true;
      this.source.hidden = false;
      this.place.replaceChildren(el("p", {}, words.opening));
      this.place.focus({ preventScroll: true });
      let shown;
      try {
        shown = sourceElements(await this.server.source(citation));
      } catch (error) {
        const again = () => this.#openSource(citation, mark);
        shown = [failureElement(failureOf(error, words), words, words.retry, again)];
      }
      if (this.#origin !== mark) return; // closed meanwhile
      this.place.replaceChildren(...shown);
      const evidence = this.place.querySelector(".evidence");
      if (!evidence) return;
      evidence.focus({ preventScroll: true });
      this.place.scrollTop = evidence.offsetTop - this.place.firstChild.offsetHeight - 40;
    }

    #closeSource() {
      if (this.source.hidden) return;
      this.source.hidden = true;
      this.talk.inert = false;
      const { isConnected } = this.#origin; // not where the answer was still growing when it was followed
      (isConnected ? this.#origin : this.question).focus({ preventScroll: true });
      this.#leave();
    }

    #leave() {
      this.#origin?.removeAttribute("aria-current");
      this.#origin = null;
    }
  }

  /** An article's title, the path of sections, and the cited characters among those around them. */
  function sourceElements({ document, title, category, section, before, text, after }) {
    return [
      el(
        "div",
        { class: "head" },
        el("p", { class: "category" }, [document, category].filter(Boolean).join(" · ")),
        el("h3", { class: "title" }, title ?? document),
        el("ol", { class: "path" }, section.map((label) => el("li", {}, label))),
      ),
      el("p", { class: "text" }, before, el("mark", { class: "evidence", part: "evidence", tabindex: "-1" }, text), after),
    ];
  }

  // --- The script's own element -------------------------------------------------------------------------

  /** The element that the script's `data-` attributes describe, put where they say. */
  function place() {
    const { dataset } = script;
    const made = document.createElement(NAME);
    made.setAttribute("base", home);
    if (dataset.title) made.setAttribute("heading", dataset.title); // `title` itself would be a tooltip
    for (const name of ATTRIBUTES) {
      if (name in dataset && dataset[name] !== "auto") made.setAttribute(name, dataset[name]);
    }
    if (dataset.mode !== "inline") document.body.append(made);
    else if (dataset.target) {
      const target = document.querySelector(dataset.target);
      if (!target) throw new Error(`widget.js: data-target="${dataset.target}" matches no element of the page`);
      target.append(made);
    } else script.after(made);
  }

  if (!customElements.get(NAME)) customElements.define(NAME, YoujuChat);
  if (script?.dataset.site) {
    if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", place);
    else place();
  }
})();
