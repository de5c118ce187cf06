// What the library panel shows of a file: its split before it is stored, progress by step, and what became of it.

import { both, el } from "./dom.js";

const STEPS = { read: ["读取", "Read"], split: ["切分", "Split"], embed: ["向量化", "Embed"], store: ["保存", "Store"] };
const STATUS = {
  added: ["新增", "added"],
  updated: ["更新", "updated"],
  unchanged: ["未变", "unchanged"],
  skipped: ["跳过", "skipped"],
};

const count = (sections) => sections.reduce((sum, section) => sum + 1 + count(section.sections), 0);
const number = (n) => n.toLocaleString("en");

export const counts = (articles, sections) =>
  both(`${number(articles)} 篇文章，${number(sections)} 节`, `${number(articles)} articles, ${number(sections)} sections`);

/** A file's size limit as it is read: 50 MB. */
export const size = (bytes) => (bytes < 1e6 ? `${number(bytes / 1e3)} KB` : `${number(bytes / 1e6)} MB`);

/** What the reader should know about a split. */
export const notes = (warnings) =>
  warnings.length ? el("ul", { class: "warnings" }, warnings.map((warning) => el("li", {}, warning))) : null;

/** How a file would be split: a tree that unfolds to articles and sections, made as it is opened. */
export function splitTree(found) {
  const all = found.articles.reduce((sum, article) => sum + count(article.sections), 0);
  const head = [...both("切分预览", "Preview of the split"), "：", ...counts(found.articles.length, all)];
  return fold(head, () => el("ol", { class: "articles" }, found.articles.map(article)));
}

function article({ number: n, title, category, sections }) {
  const name = [el("span", { class: "n" }, String(n)), ` ${title}`];
  if (category) name.push(" ", el("small", {}, category));
  if (!sections.length) return el("li", {}, name);
  const all = count(sections);
  return el("li", {}, fold([...name, " ", el("small", {}, `${number(all)} 节`)], () => tree(sections)));
}

const tree = (sections) =>
  el("ul", {}, sections.map(({ label, sections: inner }) => el("li", {}, label, inner.length ? tree(inner) : null)));

/** A disclosure whose content is made when it is first opened. */
function fold(head, content) {
  const made = el("details", {}, el("summary", {}, head));
  made.addEventListener("toggle", () => made.append(content()), { once: true });
  return made;
}

/** The four steps and the progress of the present one; `show` takes an event's data. */
export function progressView() {
  const steps = new Map(Object.entries(STEPS).map(([step, words]) => [step, el("li", {}, both(...words))]));
  const bar = el("progress", { max: 1, "aria-label": "进度 Progress" });
  const done = el("span", { class: "done" });
  const names = [...steps.keys()];
  return {
    element: el("div", { class: "progress" }, el("ol", { class: "steps" }, [...steps.values()]), bar, done),
    show({ step, done: n, total }) {
      for (const [name, item] of steps) {
        item.classList.toggle("past", names.indexOf(name) < names.indexOf(step));
        if (name === step) item.setAttribute("aria-current", "step");
        else item.removeAttribute("aria-current");
      }
      bar.setAttribute("aria-label", STEPS[step].join(" "));
      bar.max = total || 1;
      bar.value = total ? n : 1;
      done.textContent = `${number(n)} / ${number(total)}`;
    },
  };
}

/** What became of a file. */
export const result = (report) =>
  el(
    "li",
    { class: `result ${report.status}` },
    el("strong", {}, report.name),
    " ",
    el("span", { class: "state" }, both(...STATUS[report.status])),
    el("p", {}, counts(report.articles, report.sections)),
    notes(report.warnings),
  );
