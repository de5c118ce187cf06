// Builds the page's elements. What comes from documents, models or readers enters as text, never as markup.

export const $ = (selector, within = document) => within.querySelector(selector);
export const $$ = (selector, within = document) => [...within.querySelectorAll(selector)];

/** An element with attributes (`onclick` and the like are listeners, false and null are left out) and children. */
export function el(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return made;
}

/** Chinese words with the English beside them. */
export const both = (chinese, english) => [`${chinese} `, el("small", { lang: "en" }, english)];

/** A file's name, which breaks after its separators before it breaks anywhere else; its ending stays with the rest. */
export const breakable = (name) =>
  name.split(/(?<=[-_.+~])(?=[^-_.+~])(?!\w{1,5}$)/).flatMap((part, at) => (at ? [el("wbr"), part] : [part]));

/** Whether the outer columns are drawers: the style sheet decides, by the window's width in characters. */
export const drawers = () => getComputedStyle($("#source")).position === "fixed";

/** A button that says its words in both languages. */
export const button = (chinese, english, attributes) =>
  el("button", { type: "button", ...attributes }, both(chinese, english));

/** What an error means, in the place of what it prevented. */
export const failureNote = (error) => el("p", { class: "failure", role: "alert" }, error.message);

/** Where a span or an article of a document is opened: the hash of a link. */
export const placeLink = (place) => `#${new URLSearchParams(place)}`;
