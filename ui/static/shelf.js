// The list of conversations, to reopen and to delete.

import { list } from "./conversations.js";
import { both, el } from "./dom.js";

/** Lists the conversations in `element` now and whenever they change; `talk` has `current()`, `reopen(id)`, `erase(id)`. */
export function mountShelf(element, talk) {
  const show = () => {
    const rows = list().map((entry) => row(entry, talk));
    const none = el("p", { class: "empty" }, both("还没有对话", "None yet"));
    element.replaceChildren(rows.length ? el("ul", {}, rows) : none);
  };
  document.addEventListener("youju:conversations", show);
  show();
}

function row({ id, title }, talk) {
  const current = id === talk.current() && "true";
  const reopen = () => current || talk.reopen(id);
  const erase = { "aria-label": `删除对话：${title}`, title: "删除 Delete", onclick: () => talk.erase(id) };
  return el(
    "li",
    {},
    el("button", { type: "button", class: "open", "aria-current": current, title, onclick: reopen }, title),
    el("button", { type: "button", class: "delete", ...erase }, "×"),
  );
}
