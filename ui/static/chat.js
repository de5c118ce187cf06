// The page: waits for the parts that Gradio makes, fills each with its module, and moves the drawers.

import { ask } from "./composer.js";
import { $, both, drawers, el, failureNote } from "./dom.js";
import { libraryPanel } from "./library.js";
import * as preview from "./preview.js";
import { request } from "./server.js";
import { closeSource, mountSource } from "./source.js";
import { citationOf, mountConversations, mountTalk } from "./talk.js";
import { mountTree, reloadTree } from "./tree.js";

const root = document.documentElement;

// --- Drawers ----------------------------------------------------------------------------------------

/** On a wide page the left column folds away; on a narrow one it is a drawer. */
function toggleDocuments() {
  const shown = drawers() ? root.dataset.documents === "open" : root.dataset.documents !== "closed";
  if (drawers() && !shown) root.dataset.documents = "open";
  else if (shown && !drawers()) root.dataset.documents = "closed";
  else delete root.dataset.documents;
  $("#show-documents").setAttribute("aria-expanded", String(!shown));
  (shown ? $("#show-documents") : $("#again")).focus();
}

const drawerOpen = () => drawers() && root.dataset.documents === "open";

document.addEventListener("click", (event) => {
  if (event.target.closest("#show-documents, #close-documents")) toggleDocuments();
  else if (event.target.closest("#shade")) (drawerOpen() ? toggleDocuments : closeSource)();
});

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !event.isComposing && !event.defaultPrevented && drawerOpen()) toggleDocuments();
});

// --- First screen and documents -----------------------------------------------------------------------

async function loadWelcome() {
  const template = el("template");
  try {
    template.innerHTML = await (await request("chat/welcome")).text();
    $("#welcome").replaceChildren(template.content);
  } catch (error) {
    $("#welcome").replaceChildren(failureNote(error));
  }
}

function mountWelcome(place) {
  place.addEventListener("click", (event) => {
    const example = event.target.closest(".example");
    if (example) ask(example.textContent);
  });
  loadWelcome();
}

/** Where the operator allows it, documents can be added. */
function mountLibrary(place) {
  if (!$("meta[name='youju-library']")) return;
  const onChange = () => {
    reloadTree();
    loadWelcome();
  };
  const panel = libraryPanel({ onChange });
  place.append(el("details", {}, el("summary", {}, both("添加文件", "Add documents")), panel));
}

// --- Filling the page -------------------------------------------------------------------------------

/** Whoever has logged in can log out. */
function mountLogout(form) {
  form.hidden = !$("meta[name='youju-session']");
}

const starts = new Map([
  ["#logout", mountLogout],
  ["#welcome", mountWelcome],
  ["#tree", mountTree],
  ["#library", mountLibrary],
  ["#source-panel", mountSource],
  ["#ask", mountTalk],
  ["#conversations", mountConversations],
]);

/** Mounts each part as soon as Gradio has made its place. */
function settle() {
  for (const [selector, start] of starts) {
    const place = $(selector);
    if (place && starts.delete(selector)) start(place);
  }
  if (!starts.size) watching.disconnect();
}

root.lang = "zh-CN";
preview.install(citationOf);
const watching = new MutationObserver(settle);
watching.observe(root, { childList: true, subtree: true });
settle();
