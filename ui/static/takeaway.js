// Exchanges as files: a button with a menu of formats, and the download.

import { $, both, button, el } from "./dom.js";
import { post } from "./server.js";
import { notice } from "./status.js";

const TITLE = 40; // characters of a question
const KEPT = 10_000; // milliseconds until the browser has taken the file

/** A button that opens a menu of formats for what `exchanges()` gives then. */
export function exportButton(exchanges, attributes) {
  const made = el("button", { type: "button", ...attributes }, both("导出", "Export"));
  opensFormats(made, exchanges);
  return made;
}

/** Lets a button open the menu below itself, or close it; `title()` names a file of several exchanges. */
export function opensFormats(opener, exchanges, title = () => "") {
  opener.setAttribute("aria-expanded", "false");
  opener.addEventListener("click", () => {
    const opened = opener.nextElementSibling?.matches(".menu") && opener.nextElementSibling;
    if (opened) close(opener, opened);
    else openMenu(opener, (format) => download(format, exchanges(), title()));
  });
}

function openMenu(opener, choose) {
  const shut = () => {
    close(opener, menu);
    opener.focus();
  };
  const choice = (words, suffix) =>
    button(words, `.${suffix}`, {
      "data-format": suffix,
      onclick: () => {
        shut();
        choose(suffix);
      },
    });
  const onkeydown = (event) => {
    if (event.key !== "Escape") return;
    event.stopPropagation();
    shut();
  };
  const menu = el("div", { class: "menu", onkeydown }, choice("Word", "docx"), choice("Markdown", "md"));
  opener.setAttribute("aria-expanded", "true");
  opener.after(menu);
  $("button", menu).focus();
}

function close(opener, menu) {
  menu.remove();
  opener.setAttribute("aria-expanded", "false");
}

async function download(format, asked, whole) {
  const exchanges = asked
    .filter((e) => e.answer)
    .map((e) => ({ question: e.question, within: e.within.titles, answer: e.answer }));
  if (!exchanges.length) return;
  const title = exchanges.length > 1 ? whole : exchanges[0].question.slice(0, TITLE);
  try {
    const response = await post("chat/export", { format, title, exchanges });
    const link = el("a", { href: URL.createObjectURL(await response.blob()), download: `${title}.${format}` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), KEPT);
    notice("", "");
  } catch (error) {
    notice(error.message, "");
  }
}
