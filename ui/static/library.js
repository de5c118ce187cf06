// Adding documents in the page: files are chosen or dropped, previewed, stored with progress by step; documents are
// read again or removed. The server has these routes only where the operator allows it.

import { both, button, el, failureNote } from "./dom.js";
import { notes, progressView, result, size, splitTree } from "./library-parts.js";
import { events, Failure, post, request } from "./server.js";

const ROUTES = "chat/library";
const LOST =
  "连接断了。已经开始的写入，服务会把它做完；请稍后刷新页面，在文件列表里查看。(Connection lost; the server goes on.)";

/** The panel's element; `onChange` is called after documents were added, replaced or removed. */
export function libraryPanel({ onChange }) {
  return new Library(onChange).element;
}

class Library {
  #onChange;
  #most = Infinity; // bytes of a file
  #waiting = new Set(); // previewed files: {name, token, row}
  #queue = Promise.resolve(); // files are sent one after the other
  #input = el("input", { type: "file", multiple: true, hidden: true, onchange: () => this.#chosen() });
  #choose = button("选择文件", "Choose files", { class: "choose", onclick: () => this.#input.click() });
  #limit = el("span");
  #files = el("ul", { class: "files", "aria-label": "选好的文件 Chosen files" });
  #storeAll = button("全部存入", "Store all", {
    class: "store-all",
    hidden: true,
    onclick: () => this.#store([...this.#waiting]),
  });
  #job = el("div", { class: "job", role: "group", "aria-label": "进展 Progress", tabindex: "-1", hidden: true });
  #status = el("p", { class: "status", role: "status" });
  #documents = el("ul", { class: "held", "aria-label": "已有的文件 Documents" });

  constructor(onChange) {
    this.#onChange = onChange;
    this.element = el(
      "section",
      { class: "library", "aria-label": "管理文件 Manage documents" },
      el(
        "div",
        { class: "drop" },
        el("p", {}, "把文件拖到这里，或", this.#choose, this.#input),
        el("p", { class: "kinds" }, "文本文件（.txt、.md），", this.#limit, "。存入之前先看切分得对不对。"),
      ),
      this.#files,
      this.#storeAll,
      this.#status,
      this.#job,
      el("h3", {}, both("已有的文件", "Documents")),
      this.#documents,
    );
    this.#acceptDrops();
    this.#refresh();
  }

  // --- Choosing files ---

  #chosen() {
    this.#add([...this.#input.files]);
    this.#input.value = ""; // so that the same file can be chosen again
  }

  #acceptDrops() {
    let inside = 0; // entering a child comes before leaving its parent
    const shown = (change) => this.element.classList.toggle("over", (inside += change) > 0);
    const carriesFiles = (event) => event.dataTransfer?.types.includes("Files");
    this.element.addEventListener("dragenter", (event) => carriesFiles(event) && shown(1));
    this.element.addEventListener("dragleave", (event) => carriesFiles(event) && shown(-1));
    this.element.addEventListener("dragover", (event) => carriesFiles(event) && event.preventDefault());
    this.element.addEventListener("drop", (event) => {
      if (!carriesFiles(event)) return;
      event.preventDefault();
      shown(-inside);
      const items = [...event.dataTransfer.items].filter((item) => item.kind === "file");
      const folders = items.map((item) => Boolean(item.webkitGetAsEntry?.()?.isDirectory));
      this.#add([...event.dataTransfer.files], folders);
    });
  }

  #add(files, folders = []) {
    files.forEach((file, i) => {
      const row = el("li", {}, el("strong", {}, file.name), " ", state("正在读取", "Reading"));
      this.#files.append(row);
      const unfit = folders[i] ? "这是文件夹，请选择其中的文件。(A folder: choose the files in it.)" : "";
      this.#queue = this.#queue.then(() => this.#preview(file, row, unfit));
    });
  }

  async #preview(file, row, unfit) {
    const waiting = { name: file.name, row, token: null };
    try {
      if (unfit) throw new Failure(unfit);
      if (file.size > this.#most) throw new Failure(`文件超过 ${size(this.#most)}，请拆分后再试。(Too large.)`);
      const body = new FormData();
      body.append("file", file);
      const found = await (await request(`${ROUTES}/preview`, { method: "POST", body })).json();
      waiting.token = found.token;
      this.#waiting.add(waiting);
      this.#showPreview(waiting, found);
      this.#status.replaceChildren(...both(`“${file.name}”可以存入。`, "Ready to be stored."));
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      this.#showUnusable(row, file.name, error);
    }
    this.#showStoreAll();
    this.#busy(this.element.hasAttribute("data-busy"));
  }

  #showPreview(waiting, found) {
    const what = found.unchanged
      ? state("与已存的相同，不必存入", "Stored already")
      : found.replaces
        ? state("会替换已存的旧版", "Replaces the stored one")
        : state("可以存入", "Ready");
    const renamed = found.name === waiting.name ? null : el("p", {}, both(`存为“${found.name}”`, "stored as"));
    const actions = el(
      "p",
      { class: "actions" },
      named("存入", "Store", waiting.name, { class: "first", onclick: () => this.#store([waiting]) }),
      named("取消", "Cancel", waiting.name, { onclick: () => this.#cancel(waiting) }),
    );
    waiting.row.replaceChildren(
      el("strong", {}, waiting.name), " ", what, ...present(renamed, notes(found.warnings)), splitTree(found), actions,
    );
  }

  #showUnusable(row, name, error) {
    const close = named("知道了", "Dismiss", name, { onclick: () => this.#drop(row) });
    row.replaceChildren(el("strong", {}, name), failureNote(error), el("p", { class: "actions" }, close));
  }

  #showStoreAll() {
    this.#storeAll.hidden = this.#waiting.size < 2;
  }

  async #cancel(waiting) {
    this.#forget(waiting);
    this.#choose.focus();
    await this.#attempt(() => post(`${ROUTES}/cancel`, { tokens: [waiting.token] }));
  }

  #forget(waiting) {
    this.#waiting.delete(waiting);
    waiting.row.remove();
    this.#showStoreAll();
  }

  #drop(row) {
    row.remove();
    this.#choose.focus();
  }

  // --- Writing ---

  async #store(chosen) {
    const tokens = chosen.map((waiting) => waiting.token);
    if (await this.#run("store", { tokens }, "正在存入", "Storing")) chosen.forEach((waiting) => this.#forget(waiting));
  }

  #reread(name) {
    return this.#run("reread", { document: name }, `正在重读“${name}”`, "Reading again");
  }

  /** Shows the work's progress and what became of the files; whether it was done. */
  async #run(route, body, chinese, english) {
    const view = progressView();
    this.#begin(view.element, chinese, english);
    const done = await this.#attempt(async () => {
      for await (const [name, data] of events(`${ROUTES}/${route}`, body)) {
        if (name === "progress") view.show(data);
        else this.#showResults(data.documents);
      }
    });
    this.#busy(false);
    if (done) await this.#changed();
    return done;
  }

  #begin(shown, chinese, english) {
    this.#busy(true);
    this.#status.replaceChildren(...both(`${chinese}……`, english));
    this.#job.replaceChildren(shown);
    this.#job.hidden = false;
    this.#job.focus();
  }

  #showResults(reports) {
    this.#job.replaceChildren(el("ul", { class: "results" }, reports.map(result)));
    this.#status.replaceChildren(...both(`完成：${reports.length} 个文件。`, "Done."));
  }

  async #remove(name) {
    this.#busy(true);
    const done = await this.#attempt(() =>
      request(`${ROUTES}/${encodeURIComponent(name)}`, { method: "DELETE" }));
    this.#busy(false);
    if (!done) return;
    this.#job.hidden = true;
    this.#status.replaceChildren(...both(`已移除“${name}”。`, "Removed."));
    await this.#changed();
    this.#choose.focus();
  }

  /** Whether it succeeded; a failure is said in the place of the progress. */
  async #attempt(action) {
    try {
      await action();
      return true;
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      this.#status.replaceChildren();
      this.#job.replaceChildren(failureNote(error.lost ? new Failure(LOST) : error));
      this.#job.hidden = false;
      return false;
    }
  }

  /** While something is written, nothing else can be. */
  #busy(on) {
    this.element.toggleAttribute("data-busy", on);
    const writing = this.element.querySelectorAll(".files button, .held button, .store-all");
    for (const control of writing) control.disabled = on;
  }

  // --- The documents ---

  async #changed() {
    await this.#refresh();
    this.#onChange();
  }

  async #refresh() {
    try {
      const { documents, max_upload: most } = await (await request(ROUTES)).json();
      this.#most = most;
      this.#limit.textContent = `每个不超过 ${size(most)}`;
      this.#documents.replaceChildren(...documents.map((document) => this.#row(document)));
      if (!documents.length) this.#documents.replaceChildren(el("li", {}, both("还没有文件", "No documents yet")));
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      this.#documents.replaceChildren(el("li", {}, failureNote(error)));
    }
  }

  #row({ name, articles, characters, present: there, warnings }) {
    const held = `${articles} 篇，${characters.toLocaleString("en")} 字`;
    const actions = el(
      "p",
      { class: "actions" },
      there
        ? named("重读", "Re-read", name, { onclick: () => this.#reread(name) })
        : el("span", { class: "gone" }, both("原文件已不在原处", "its file is gone")),
      named("移除", "Remove", name, { onclick: () => this.#confirm(actions, name) }),
    );
    return el("li", {}, el("strong", {}, name), " ", el("small", {}, held), ...present(notes(warnings)), actions);
  }

  /** Asks in the place of the buttons; Escape keeps the document. */
  #confirm(actions, name) {
    const asking = el(
      "p",
      { class: "actions confirm", role: "group", "aria-label": `移除“${name}”？ Remove?` },
      el("span", {}, both(`移除“${name}”？`, "Remove it?")),
      button("移除", "Remove", { class: "danger", onclick: () => this.#remove(name) }),
    );
    const back = () => {
      asking.replaceWith(actions);
      actions.lastElementChild.focus();
    };
    const keep = button("保留", "Keep", { onclick: back });
    asking.append(keep);
    asking.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      back();
    });
    actions.replaceWith(asking);
    keep.focus();
  }
}

const state = (chinese, english) => el("span", { class: "state" }, both(chinese, english));
/** A button whose accessible name says which file it is for. */
const named = (chinese, english, file, attributes) =>
  button(chinese, english, { "aria-label": `${chinese} ${english}：${file}`, ...attributes });
const present = (...parts) => parts.filter((part) => part !== null);
