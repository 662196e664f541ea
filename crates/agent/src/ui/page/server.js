// Asking the agent. The link that opened this page lets it in once; what it gets
// for that lives in this tab alone and goes nowhere but to where the page is from.

const KEPT = "ccpeer-bearer";
const WAIT_MS = 15000;

// What went wrong, in one word: `locked`, `off`, or an answer with a message.
export class Failed extends Error {
  constructor(kind, message, hint) {
    super(message);
    this.kind = kind;
    this.hint = hint;
  }
}

async function post(path, bearer, question) {
  const stop = new AbortController();
  const timer = setTimeout(() => stop.abort(), WAIT_MS);
  const headers = { authorization: `Bearer ${bearer}` };
  if (question !== undefined) headers["content-type"] = "application/json";
  try {
    return await fetch(path, {
      method: "POST",
      mode: "same-origin",
      credentials: "omit",
      cache: "no-store",
      redirect: "error",
      referrerPolicy: "no-referrer",
      headers,
      body: question === undefined ? undefined : JSON.stringify(question),
      signal: stop.signal,
    });
  } catch {
    throw new Failed("off", "The page is switched off.");
  } finally {
    clearTimeout(timer);
  }
}

// Takes what stands in the link out of the address, and gets in with it. True if
// this tab is in.
export async function enter() {
  const found = /^#t=([0-9a-f]{32})$/.exec(location.hash);
  if (location.hash && !location.hash.startsWith("#/")) {
    // Nobody finds it in the history, and a reload does not show it again.
    history.replaceState(null, "", "/");
  } else if (location.search) {
    history.replaceState(null, "", `/${location.hash}`);
  }
  if (found) {
    const answer = await post("/api/enter", found[1]);
    if (answer.ok) {
      const { bearer } = await answer.json();
      sessionStorage.setItem(KEPT, bearer);
    }
  }
  return sessionStorage.getItem(KEPT) !== null;
}

// The answer to a question.
export async function ask(what, question = {}) {
  const bearer = sessionStorage.getItem(KEPT);
  if (bearer === null) throw new Failed("locked", "This tab is not let in.");
  const answer = await post(`/api/${what}`, bearer, question);
  if (answer.status === 401) {
    sessionStorage.removeItem(KEPT);
    throw new Failed("locked", "This tab is not let in.");
  }
  let value;
  try {
    value = await answer.json();
  } catch {
    throw new Failed("error", `The agent's answer cannot be read (${answer.status}).`);
  }
  if (!answer.ok) throw new Failed("error", value.message || "The agent could not answer.", value.hint);
  return value;
}

// Something that is asked for again and again, and comes only when it has changed.
export class Watched {
  constructor(what) {
    this.what = what;
    this.mark = "";
    this.value = undefined;
  }

  // True if there is something new.
  async look() {
    const answer = await ask(this.what, { mark: this.mark });
    if (answer.same) return false;
    this.mark = answer.mark;
    this.value = answer.value;
    return true;
  }
}
