// Talks to the server that the page came from. Every failure is a Failure that can be shown as it is.

export class Failure extends Error {
  /** `lost`: the server was not reached, so that trying again may help. */
  constructor(message, { lost = false, status = 0 } = {}) {
    super(message);
    this.lost = lost;
    this.status = status;
  }
}

const OWN_PAGE = { "X-Youju-Page": "1" }; // what another site's page cannot send

/** The response to a request; a Failure unless it succeeded. */
export async function request(path, options = {}) {
  let response;
  try {
    const headers = { ...OWN_PAGE, ...options.headers };
    response = await fetch(new URL(path, document.baseURI), { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Failure("连不上服务。请确认它还在运行，再试一次。(The server cannot be reached.)", { lost: true });
  }
  if (response.ok) return response;
  const body = await response.json().catch(() => null);
  const message = body?.error?.message ?? `服务出错 (${response.status})，请再试一次。(The server failed.)`;
  throw new Failure(message, { status: response.status });
}

export const post = (path, body, options = {}) =>
  request(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
    ...options,
  });

/** The server-sent events of a request: pairs of name and data. A stream that is cut off is a Failure. */
export async function* events(path, body, signal) {
  const response = await post(path, body, { signal });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    let part;
    try {
      part = await reader.read();
    } catch (error) {
      if (signal?.aborted) throw error;
      part = { done: true };
    }
    if (part.done) break;
    text += part.value;
    const messages = text.split("\n\n");
    text = messages.pop();
    for (const message of messages) {
      const fields = Object.fromEntries(message.split("\n").map((line) => line.split(/: (.*)/s)));
      if (fields.event === "error") throw new Failure(JSON.parse(fields.data).error.message);
      yield [fields.event, JSON.parse(fields.data)];
      if (fields.event === "done") return;
    }
  }
  throw new Failure("连接中断了，回答没有收完。(The connection was cut.)", { lost: true });
}

/** Waits until the server answers again; false after `seconds`. */
export async function reconnected(seconds, signal) {
  const end = Date.now() + seconds * 1000;
  while (Date.now() < end && !signal?.aborted) {
    await new Promise((resolve) => setTimeout(resolve, 1000));
    if (await request("healthz").then(() => true, () => false)) return true;
  }
  return false;
}
