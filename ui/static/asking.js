// A question to the server: what goes along with it, the events of its answer, and what to do where they fail.

import { spoken } from "./answer.js";
import { events, reconnected, request } from "./server.js";
import { notice } from "./status.js";

const REMEMBERED = 12; // exchanges that go along with a question
const PATIENCE = 60; // seconds to wait for a server that went away
const NEARBY = 10; // places of a refusal that are kept
const OUTDATED = [404, 422]; // what the server says to citations of documents that are gone or changed

/** The request for an exchange that comes after `earlier` ones. */
export function body(asked, earlier) {
  const history = earlier.slice(-REMEMBERED).flatMap((e) => [
    { role: "user", content: e.question },
    { role: "assistant", content: spoken(e.answer) || "（没有回答）" },
  ]);
  return {
    question: asked.question,
    history,
    articles: asked.within.articles,
    within: asked.within.within.map(({ document, start, end }) => ({ document, start, end })),
    cited: citedIn(earlier).map(placed),
    stream: true,
  };
}

/**
 * Asks, and extends `draft`, `{sentences, citations}`, by what comes; `onDraft` is told of each change. Gives the
 * finished answer. Where the connection is lost, asks once more when it is back; where the server refuses the earlier
 * citations, asks once more with those whose documents are still as they were.
 */
export async function answered(asked, earlier, draft, { signal, onDraft }) {
  return attempt({ earlier, draft, signal, onDraft }, body(asked, earlier), 1);
}

async function attempt(asking, sent, retries) {
  try {
    return await received(asking, sent);
  } catch (error) {
    const cited = OUTDATED.includes(error.status) ? await unchanged(asking.earlier) : sent.cited;
    if (cited.length < sent.cited.length) return attempt(asking, { ...sent, cited }, retries);
    if (!error.lost || !retries) throw error;
    notice("连接断了，正在重新连接……", "Connection lost, reconnecting…");
    if (!(await reconnected(PATIENCE, asking.signal))) throw error;
    notice("已重新连接，正在再问一次。", "Connected again, asking again.");
    empty(asking);
    return attempt(asking, sent, retries - 1);
  }
}

async function received(asking, sent) {
  const { draft, onDraft } = asking;
  let answer = null;
  for await (const [name, data] of events("api/ask", sent, asking.signal)) {
    if (name === "citation") draft.citations.push(data);
    else if (name === "discarded") empty(asking);
    else if (name === "done") answer = stored(data);
    else if (name === "sentence") {
      draft.sentences.push(data);
      onDraft();
    }
  }
  return answer;
}

function empty({ draft, onDraft }) {
  Object.assign(draft, { sentences: [], citations: [] });
  onDraft();
}

/** What is kept of an answer: all but the passages, of which a refusal shows some. */
function stored({ retrieved, ...answer }) {
  const near = new Map(retrieved.map((p) => [JSON.stringify([p.document, p.article, p.section]), p]).reverse());
  const nearby = [...near.values()].reverse().slice(0, NEARBY).map((p) => ({
    document: p.document,
    article: { number: p.article, title: p.title },
    section: p.section,
    start: p.start,
    end: p.end,
    text: p.text.slice(0, 80),
  }));
  return { ...answer, nearby };
}

// --- Earlier citations --------------------------------------------------------------------------------

/** The citations of exchanges, each number once. */
function citedIn(exchanges) {
  const numbered = new Map(exchanges.flatMap((e) => e.answer.citations.map((c) => [c.n, c])));
  return [...numbered.values()];
}

const placed = ({ n, document, start, end }) => ({ n, document, start, end });

/** Those citations of exchanges whose documents are still there, unchanged. */
async function unchanged(exchanges) {
  const cited = citedIn(exchanges);
  const latest = new Map(cited.map((c) => [c.document, c]));
  const digests = new Map();
  for (const [name, citation] of latest) digests.set(name, await digest(citation));
  return cited.filter((c) => digests.get(c.document) === c.sha256).map(placed);
}

/** The hash of a citation's document as it is now; null where the document does not have the place. */
async function digest({ document: name, start, end }) {
  try {
    const query = new URLSearchParams({ start, end, context: 0 });
    return (await (await request(`api/source/${encodeURIComponent(name)}?${query}`)).json()).sha256;
  } catch (error) {
    if (OUTDATED.includes(error.status)) return null;
    throw error;
  }
}
