// Conversations in the browser's own storage: a short list, and each conversation under a key of its own.

const LIST = "youju-conversations";
const key = (id) => `youju-conversation-${id}`;
const FORM = 1; // of what is stored
const TITLE = 40; // characters

/** What is known of each conversation, the last one used first: `{id, title, updated}`. */
export function list() {
  const found = read(LIST);
  return Array.isArray(found) ? found.filter((entry) => entry?.id && entry.title) : [];
}

/** A stored conversation; null where there is none or it cannot be read. */
export function load(id) {
  const found = read(key(id));
  return found?.form === FORM && Array.isArray(found.exchanges) ? found : null;
}

export const fresh = () => ({ form: FORM, id: identity(), title: "", exchanges: [] });

/** Not crypto.randomUUID, which a page has not that comes over plain HTTP from another machine. */
const identity = () => [...crypto.getRandomValues(new Uint32Array(4))].map((word) => word.toString(36)).join("-");

/** Stores a conversation under its first question as the title; false where the storage is full or closed. */
export function save(conversation) {
  conversation.title ||= conversation.exchanges[0]?.question.slice(0, TITLE) ?? "";
  const entry = { id: conversation.id, title: conversation.title, updated: Date.now() };
  return (
    write(key(conversation.id), conversation) &&
    write(LIST, [entry, ...list().filter((other) => other.id !== conversation.id)])
  );
}

export function remove(id) {
  if (write(LIST, list().filter((entry) => entry.id !== id))) localStorage.removeItem(key(id));
}

/** Something short that this tab remembers over a reload; nothing where its storage is closed. */
export function note(name, value) {
  try {
    sessionStorage.setItem(name, value);
  } catch {
    // the tab forgets it
  }
}

/** What the tab noted under a name, or an empty text. */
export function noted(name) {
  try {
    return sessionStorage.getItem(name) ?? "";
  } catch {
    return "";
  }
}

function read(name) {
  try {
    return JSON.parse(localStorage.getItem(name));
  } catch {
    return null;
  }
}

function write(name, value) {
  try {
    localStorage.setItem(name, JSON.stringify(value));
    return true;
  } catch {
    return false; // full, or closed to this page
  }
}
