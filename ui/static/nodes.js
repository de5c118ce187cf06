// The documents as a tree in memory: built from the server's arrays, ticked, searched. Knows nothing of the page.
//
// A node is {kind, label, document, article, number, start, end, parent, children, on, state, hit, below}: `on` is
// whether an article or section was ticked, `state` what its box shows ("on", "some", "off"), `hit` whether the search
// finds its label, and `below` how many of those under it are found.

/** The documents' nodes from what `GET chat/tree` sends. */
export const build = (documents) => documents.map(documentNode);

function node(kind, label, parent, more) {
  const blank = { parent, children: [], on: false, state: "off", hit: false, below: 0, folded: null };
  return { kind, label, document: parent?.document ?? label, ...more, ...blank };
}

function documentNode([name, groups]) {
  const made = node("document", name, null, {});
  for (const [category, articles] of groups) {
    const group = category === null ? made : node("category", category, made, {});
    if (group !== made) made.children.push(group);
    for (const article of articles) group.children.push(articleNode(article, group));
  }
  return made;
}

function articleNode([number, title, start, end, sections], parent) {
  const made = node("article", title, parent, { number, start, end });
  made.article = made;
  made.children = sections.map((section) => sectionNode(section, made));
  return made;
}

function sectionNode([label, start, end, sections], parent) {
  const made = node("section", label, parent, { start, end, article: parent.article });
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

/** Ticks or unticks a node and all in it. What holds an unticked part is not whole any more. */
export function tick(each, on) {
  for (const part of walk([each])) part.on = on;
  if (!on) for (let above = each.parent; above; above = above.parent) above.on = false;
}

/** Works out what every box shows. Ticking all sections of an article is not the article: it has text beside them. */
export function refresh(nodes) {
  for (const each of nodes) {
    refresh(each.children);
    const whole = holdsText(each) ? each.on : each.children.every((child) => child.state === "on");
    const some = each.children.some((child) => child.state !== "off");
    each.state = whole ? "on" : some ? "some" : "off";
  }
}

/** The ticked nodes that no ticked node holds, in reading order. */
export function ticked(nodes) {
  return nodes.flatMap((each) => (each.state === "on" ? [each] : each.state === "some" ? ticked(each.children) : []));
}

/** The same as articles and sections alone. */
export const tickedTexts = (nodes) =>
  ticked(nodes).flatMap((each) => (holdsText(each) ? [each] : [...walk([each])].filter((n) => n.kind === "article")));

// --- Search -----------------------------------------------------------------------------------------------

/** As compared: without white space, half width, lower case. */
export const fold = (text) => text.normalize("NFKC").toLowerCase().replace(/\s+/g, "");

/** Notes which nodes' labels hold `wanted`, folded already; returns how many do. None are sought for "". */
export function search(nodes, wanted) {
  let found = 0;
  for (const each of nodes) {
    each.folded ??= fold(each.label);
    each.hit = wanted !== "" && each.folded.includes(wanted);
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
