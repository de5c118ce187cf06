// The documents as a tree in memory: built from the server's arrays, ticked, searched. Knows nothing of the page.
//
// `on` is whether an article or section was ticked, `state` what a node's box shows ("on", "some", "off"), `hit`
// whether the search finds its label, and `below` how many of those under it are found.

class Node {
  on = false;
  state = "off";
  hit = false;
  below = 0;
  folded = null;
  children = [];

  constructor(kind, label, parent, start, end, number) {
    this.kind = kind; // document, category, article or section
    this.label = label;
    this.parent = parent;
    this.document = parent ? parent.document : label;
    this.article = kind === "article" ? this : parent?.article;
    this.start = start;
    this.end = end;
    this.number = number;
  }
}

/** The documents' nodes from what `GET chat/tree` sends. */
export const build = (documents) => documents.map(documentNode);

function documentNode([name, groups]) {
  const made = new Node("document", name, null);
  for (const [category, articles] of groups) {
    const group = category === null ? made : new Node("category", category, made);
    if (group !== made) made.children.push(group);
    for (const article of articles) group.children.push(articleNode(article, group));
    reach(group);
  }
  return reach(made);
}

/** A document or category reaches from its first article to its last. */
function reach(each) {
  each.start = each.children[0].start;
  each.end = each.children.at(-1).end;
  return each;
}

function articleNode([number, title, start, end, sections], parent) {
  const made = new Node("article", title, parent, start, end, number);
  made.children = sections.map((section) => sectionNode(section, made));
  return made;
}

function sectionNode([label, start, end, sections], parent) {
  const made = new Node("section", label, parent, start, end);
  made.children = sections.map((section) => sectionNode(section, made));
  return made;
}

/** All nodes in reading order. */
export function* walk(nodes) {
  for (const each of nodes) {
    yield each;
    yield* walk(each.children);
  }
}

const holdsText = (each) => each.kind === "article" || each.kind === "section";

// --- Ticks ------------------------------------------------------------------------------------------------

/** Ticks or unticks a node and all in it; what holds it shows so. An article without one of its parts is not whole. */
export function tick(each, on) {
  set(each, on);
  for (let above = each.parent; above; above = above.parent) {
    above.on &&= on;
    above.state = stateOf(above);
  }
}

function set(each, on) {
  each.on = on;
  each.state = on ? "on" : "off";
  for (const child of each.children) set(child, on);
}

/** Ticking all sections of an article is not the article: it has text beside them. */
function stateOf(each) {
  if (holdsText(each) ? each.on : each.children.every((child) => child.state === "on")) return "on";
  return each.children.some((child) => child.state !== "off") ? "some" : "off";
}

/** The ticked nodes that no ticked node holds, in reading order. */
export function ticked(nodes) {
  return nodes.flatMap((each) => (each.state === "on" ? [each] : each.state === "some" ? ticked(each.children) : []));
}

// --- Search -----------------------------------------------------------------------------------------------

/** As compared: without white space, half width, lower case. */
export const fold = (text) => text.normalize("NFKC").toLowerCase().replace(/\s+/g, "");

/** Notes which nodes' labels hold `wanted`, folded already and not empty; returns how many do. */
export function search(nodes, wanted) {
  let found = 0;
  for (const each of nodes) {
    each.folded ??= fold(each.label);
    each.hit = each.folded.includes(wanted);
    each.below = search(each.children, wanted);
    found += each.below + Number(each.hit);
  }
  return found;
}

/** A label in three parts, of which the middle one is what was sought; null where it does not hold it. */
export function parts(label, wanted) {
  const characters = [...label];
  const folded = characters.map(fold);
  const at = folded.join("").indexOf(wanted);
  if (at < 0) return null;
  let [start, length] = [0, 0];
  while (length + folded[start].length <= at) length += folded[start++].length;
  let end = start;
  while (length < at + wanted.length) length += folded[end++].length;
  return [characters.slice(0, start), characters.slice(start, end), characters.slice(end)].map((c) => c.join(""));
}
