// One session: what it is about, and its transcript, a page at a time.

import { badge, bytes, clock, command, count, day, empty, foreign, h, show, time } from "./dom.js";
import { ask } from "./server.js";
import { continues, device, matches, state } from "./lists.js";

// Pages that are in the document at once; of more, those at the other end go.
const PAGES_MAX = 12;
// Asking on by itself where a page tells nothing.
const EMPTY_MAX = 40;

const SECTIONS = [
  ["task", "Task"],
  ["in_progress", "In progress"],
  ["next_steps", "Next steps"],
];
const SECTIONS_MORE = [
  ["done", "Done"],
  ["files", "Files"],
  ["handoff_prompt", "Hand-off prompt", "wide"],
];

const NOTES = {
  context: "put in by Claude Code",
  summary: "summary of what came before",
  interrupted: "stopped",
  background: "from the background",
  error: "error",
  compacted: "compacted",
  system: "Claude Code",
  unread: "not shown",
};

// --- Texts -----------------------------------------------------------------------

// The few signs of Markdown that help reading, as elements. Everything else, links
// above all, stays the text that it is.
export function prose(text) {
  const out = [];
  let paragraph = [];
  let list = null;
  const flush = () => {
    if (paragraph.length > 0) out.push(h("p", { dir: "auto" }, inline(paragraph.join("\n"))));
    if (list) out.push(h("ul", { dir: "auto" }, list));
    paragraph = [];
    list = null;
  };
  const lines = text.split("\n");
  for (let n = 0; n < lines.length; n += 1) {
    const line = lines[n];
    const fence = /^\s*(```+|~~~+)(.*)$/.exec(line);
    if (fence) {
      flush();
      const code = [];
      for (n += 1; n < lines.length && !lines[n].trim().startsWith(fence[1]); n += 1) code.push(lines[n]);
      out.push(h("pre", {}, h("code", {}, code.join("\n"))));
      continue;
    }
    if (/^>/.test(line)) {
      flush();
      const quoted = [];
      for (; n < lines.length && /^>/.test(lines[n]); n += 1) quoted.push(lines[n].replace(/^> ?/, ""));
      n -= 1;
      out.push(h("blockquote", {}, h("p", { dir: "auto" }, inline(quoted.join("\n")))));
      continue;
    }
    if (/^ {4}|^\t/.test(line) && paragraph.length === 0) {
      flush();
      const code = [];
      for (; n < lines.length && (/^ {4}|^\t/.test(lines[n]) || (lines[n].trim() === "" && /^ {4}|^\t/.test(lines[n + 1] || ""))); n += 1) code.push(lines[n].replace(/^ {4}|^\t/, ""));
      n -= 1;
      out.push(h("pre", {}, h("code", {}, code.join("\n"))));
      continue;
    }
    const heading = /^#{1,6}\s+(.*)$/.exec(line);
    const item = /^\s*(?:[-*+]|\d{1,3}[.)])\s+(.*)$/.exec(line);
    if (heading) {
      flush();
      out.push(h("p", { class: "heading", dir: "auto" }, inline(heading[1])));
    } else if (item) {
      if (paragraph.length > 0) flush();
      list = list || [];
      list.push(h("li", {}, inline(item[1])));
    } else if (line.trim() === "") {
      flush();
    } else {
      if (list) flush();
      paragraph.push(line);
    }
  }
  flush();
  return out;
}

function inline(text) {
  return text.split(/(`[^`\n]+`|\*\*[^*\n]+\*\*)/).map((part) => {
    if (part.length > 2 && part.startsWith("`") && part.endsWith("`")) return h("code", {}, part.slice(1, -1));
    if (part.length > 4 && part.startsWith("**") && part.endsWith("**")) return h("strong", {}, part.slice(2, -2));
    return part;
  });
}

const more = (words) => words.cut && h("p", { class: "cut" }, "cut here; the transcript has more");

// --- Records ---------------------------------------------------------------------

// The end of a path says more than its beginning.
function tail(path) {
  const parts = path.split(/[/\\]/);
  return parts.length > 4 ? `…/${parts.slice(-3).join("/")}` : path;
}

function diff(change) {
  let added = 0;
  let gone = 0;
  const lines = change.lines.map((line) => {
    const mark = line[0];
    if (mark === "+") added += 1;
    if (mark === "-") gone += 1;
    const kind = mark === "+" ? "add" : mark === "-" ? "del" : "same";
    return h("span", { class: kind }, h("span", { class: "mark", "aria-label": { add: "added", del: "removed" }[kind] || null }, mark), line.slice(1), "\n");
  });
  return {
    added,
    gone,
    element: h("figure", { class: "diff" },
      h("figcaption", {}, h("code", {}, foreign(change.path)), h("span", { class: "stat" }, h("ins", {}, `+${added}`), " ", h("del", {}, `−${gone}`))),
      h("pre", { tabindex: "0" }, h("code", {}, lines)),
      change.cut && h("p", { class: "cut" }, "cut here; the change is longer")),
  };
}

// Where the outcome of a call goes, by the id of the call.
class Calls {
  constructor() {
    this.waiting = new Map();
  }

  call(part, link) {
    const changes = part.diffs.map(diff);
    // What is in the line above is not told again.
    const note = part.fields.find((f) => f.name === "description" && f.text !== part.about);
    const fields = part.fields.filter((f) => f !== note && (f.text !== part.about || f.cut));
    const sum = (key) => changes.reduce((n, c) => n + c[key], 0);
    const result = h("div", { class: "result" });
    const status = h("span", { class: "call-state" });
    const details = h("details", { class: "call" },
      h("summary", {},
        h("span", { class: "tool" }, foreign(part.tool || "tool")),
        h("span", { class: "about", title: part.about }, foreign(/^([A-Za-z]:)?[/\\]\S*$/.test(part.about) ? tail(part.about) : part.about)),
        changes.length > 0 && h("span", { class: "stat" }, h("ins", {}, `+${sum("added")}`), " ", h("del", {}, `−${sum("gone")}`)),
        status),
      h("div", { class: "call-body" },
        changes.map((c) => c.element),
        note && h("p", { class: "call-note" }, foreign(note.text)),
        fields.length > 0 && h("dl", { class: "fields" }, fields.map((f) => h("div", {},
          h("dt", {}, foreign(f.name)), h("dd", {}, h("pre", {}, f.text), more(f))))),
        result));
    const found = { result, status, link, details };
    if (part.id) this.waiting.set(part.id, found);
    return details;
  }

  // The outcome, at its call; on its own where the call is on another page.
  outcome(part) {
    const body = [
      part.text && h("pre", { class: part.error ? "bad" : "", tabindex: "0" }, part.text),
      more(part),
    ];
    const found = this.waiting.get(part.call);
    const agent = part.agent && (found ? found.link : this.link)(part.agent);
    if (!found) {
      return h("details", { class: "call" },
        h("summary", {}, h("span", { class: "tool" }, part.error ? "failed" : "result"), h("span", { class: "about" }, foreign(part.text.split("\n", 1)[0].slice(0, 160)))),
        h("div", { class: "call-body" }, body), agent);
    }
    this.waiting.delete(part.call);
    show(found.status, part.error ? badge("failed", "bad") : h("span", { class: "ok", title: "it succeeded" }, "✓"));
    show(found.result, body);
    if (agent) found.details.after(agent);
    return null;
  }
}

function part(entry, calls, link, asker) {
  switch (entry.kind) {
    case "prompt":
      return h("div", { class: "said-by you" }, h("span", { class: "who" }, asker), h("div", { class: "words" }, prose(entry.text), more(entry)));
    case "answer":
      return h("div", { class: "said-by claude" }, h("span", { class: "who" }, "Claude"), h("div", { class: "words" }, prose(entry.text), more(entry)));
    case "thinking":
      return h("details", { class: "thinking" }, h("summary", {}, "Thinking"), h("div", { class: "words" }, prose(entry.text), more(entry)));
    case "call":
      return calls.call(entry, link);
    case "outcome":
      return calls.outcome(entry);
    case "note": {
      const about = NOTES[entry.about] || entry.about;
      const first = entry.text.split("\n", 1)[0];
      if (entry.text.length < 90 && first === entry.text) {
        return h("p", { class: `note ${entry.about === "error" ? "bad" : ""}` }, h("span", { class: "tool" }, about), " ", foreign(entry.text));
      }
      return h("details", { class: "note", open: entry.about === "error" }, h("summary", {}, h("span", { class: "tool" }, about), h("span", { class: "about" }, foreign(first.slice(0, 120)))), h("div", { class: "words" }, prose(entry.text), more(entry)));
    }
    default:
      return null;
  }
}

// --- The view --------------------------------------------------------------------

// A session that is looked at. It stays while its page is shown, and is told when
// there may be more.
export class Reading {
  constructor(id, agent, at = null) {
    this.id = id;
    this.agent = agent || null;
    // Where it is opened, if not at its end.
    this.at = at;
    this.calls = new Calls();
    this.link = (name) => h("p", { class: "agent-link" }, h("a", { href: `#/session/${encodeURIComponent(this.id)}/agent/${encodeURIComponent(name)}` }, "Read what this sub-agent did"));
    this.calls.link = this.link;
    this.head = h("div", { class: "session-head" });
    this.pages = h("div", { class: "pages" });
    this.above = h("div", { class: "paging" });
    this.below = h("div", { class: "paging" });
    this.agents = h("div", {});
    this.element = h("article", { class: "session" }, this.head, this.agents,
      h("section", { "aria-label": "Transcript" }, this.above, this.pages, this.below));
    this.from = 0;
    this.to = 0;
    this.bytes = 0;
    this.busy = false;
    this.day = "";
    this.row = null;
  }

  async open() {
    show(this.head, h("p", { class: "muted" }, "Reading…"));
    const [about, first] = await Promise.allSettled([
      ask("session", { session: this.id }),
      this.page(this.at === null ? "end" : { from: this.at }),
    ]);
    this.about = about.status === "fulfilled" ? about.value : null;
    if (first.status === "rejected") {
      this.failed(first.reason);
    } else {
      const page = first.value;
      const me = page.agents.find((a) => a.name === this.agent);
      this.agentAbout = me ? me.about : "";
      this.showAgents(page.agents);
      this.add(page, false);
      if (this.at === null) await this.fillUp();
      else await this.around();
    }
    this.showHead(first);
    this.point();
  }

  // What stands before the place that is looked for, and more behind it.
  async around() {
    if (this.pages.querySelectorAll(".entry").length === 0) await this.later();
    if (this.from > 0) this.add(await this.page({ before: this.from }), true);
    this.showPaging();
  }

  // Shows the place that is looked for.
  point() {
    if (this.at === null) return;
    const entries = [...this.pages.querySelectorAll(".entry")];
    const found = entries.find((e) => Number(e.dataset.row.slice(2)) >= this.at) || entries[entries.length - 1];
    if (!found) return;
    for (const details of found.querySelectorAll("details")) details.open = true;
    found.classList.add("found");
    found.scrollIntoView({ block: "center" });
    found.focus({ preventScroll: true });
  }

  page(at) {
    return ask("transcript", { task: this.id, agent: this.agent, at });
  }

  // Goes on by itself where a page has only lines that tell nothing.
  async fillUp() {
    for (let n = 0; n < EMPTY_MAX && this.from > 0 && this.pages.querySelectorAll(".entry").length < 10; n += 1) {
      this.add(await this.page({ before: this.from }), true);
    }
    this.showPaging();
  }

  showHead(first) {
    const about = this.about;
    const id = about ? about.session_id : this.id;
    // Of a fork the version is named, so that there is nothing to choose.
    const short = this.id.includes("-") ? id.slice(0, 8) : this.id.slice(0, 12);
    const title = about ? about.title : this.row ? this.row.title : short;
    const facts = about && h("p", { class: "under" },
      state(about.state),
      h("span", { class: "project" }, foreign(about.project)),
      device(about.device),
      about.branch && h("span", { class: "branch" }, foreign(about.branch)),
      h("span", { class: "muted" }, !this.agent && `${count(about.records, "line")}, `, this.bytes > 0 && bytes(this.bytes)),
      time(about.updated));
    const told = (list) => list.filter(([key]) => about && about.sections[key]).map(([key, name, kind]) =>
      h("section", { class: kind }, h("h3", {}, name), prose(about.sections[key])));
    const [first_ones, others] = [told(SECTIONS), told(SECTIONS_MORE)];
    show(this.head,
      this.agent
        ? [h("p", {}, h("a", { class: "back", href: `#/session/${encodeURIComponent(this.id)}` }, "← The session")),
          h("h1", {}, this.agentAbout ? foreign(this.agentAbout) : ["Sub-agent ", h("code", {}, foreign(this.agent))])]
        : h("h1", {}, foreign(title)),
      facts,
      first.status === "rejected" && h("div", { class: "notice" }, h("p", {}, foreign(first.reason.message)), first.reason.hint && h("p", { class: "muted" }, foreign(first.reason.hint))),
      !this.agent && h("div", { class: "commands" },
        command(continues(short), "goes on with it on this machine"),
        command(`ccpeer done ${short}`, "takes it off the list")),
      !this.agent && first_ones.length + others.length > 0 && h("details", { class: "summary-box", open: true },
        h("summary", {}, "Where it stands", about.enriched && badge("told by a model")),
        h("div", { class: "sections" }, first_ones),
        others.length > 0 && h("details", { class: "more" }, h("summary", {}, "What was done, files, hand-off prompt"), h("div", { class: "sections" }, others))));
  }

  showAgents(agents) {
    if (this.agent || agents.length === 0) return;
    show(this.agents, h("details", { class: "summary-box" },
      h("summary", {}, count(agents.length, "sub-agent")),
      h("ul", { class: "rows" }, agents.map((a) => h("li", { class: "row" },
        h("a", { class: "open", href: `#/session/${encodeURIComponent(this.id)}/agent/${encodeURIComponent(a.name)}` },
          h("span", { class: "title" }, foreign(a.about || a.name)), h("span", { class: "under muted" }, h("code", {}, foreign(a.name)), ` ${bytes(a.bytes)}`)))))));
  }

  // Adds a page above or below those that are shown.
  add(page, above) {
    this.bytes = page.bytes;
    const entries = [];
    // A sub-agent is asked by Claude, and all of its transcript is its own.
    const asker = this.agent ? "Task" : "You";
    let last = "";
    for (const record of page.records) {
      const today = day(record.time);
      if (today && today !== last) entries.push(h("h3", { class: "day" }, today));
      last = today || last;
      const parts = record.parts.map((p) => part(p, this.calls, this.link, asker)).filter(Boolean);
      if (parts.length === 0) continue;
      entries.push(h("div", { class: `entry ${record.sidechain && !this.agent ? "aside" : ""}`, tabindex: "-1", "data-row": `r:${record.at}` },
        h("span", { class: "at", title: record.time }, clock(record.time)), h("div", { class: "parts" }, parts)));
    }
    const element = h("div", { class: "page", "data-from": page.from, "data-to": page.to }, entries);
    if (above) {
      this.pages.prepend(element);
      this.from = page.from;
    } else {
      if (this.pages.childElementCount === 0) this.from = page.from;
      this.pages.append(element);
      this.to = page.to;
    }
    while (this.pages.childElementCount > PAGES_MAX) {
      const gone = above ? this.pages.lastElementChild : this.pages.firstElementChild;
      gone.remove();
      this.from = Number(this.pages.firstElementChild.dataset.from);
      this.to = Number(this.pages.lastElementChild.dataset.to);
    }
    this.showPaging();
  }

  showPaging() {
    const button = (text, go) => h("button", { type: "button", on: { click: () => this.turn(go) } }, text);
    const share = (n) => (this.bytes > 0 ? `${Math.round((100 * n) / this.bytes)} %` : "");
    show(this.above, this.from > 0
      ? [button("Earlier", () => this.earlier()), button("From the beginning", () => this.jump({ from: 0 })), h("span", { class: "muted" }, `begins at ${share(this.from)}`)]
      : this.to > 0 && h("span", { class: "muted" }, "The beginning"),
    this.to > 0 && this.pages.querySelectorAll(".entry").length > 12 && button("↓ Down to its last words", async () => window.scrollTo(0, document.documentElement.scrollHeight)));
    show(this.below, this.to < this.bytes
      ? [button("Later", () => this.later()), button("To the end", () => this.jump("end")), h("span", { class: "muted" }, `ends at ${share(this.to)}`)]
      : this.to > 0 && h("span", { class: "muted" }, "The end, for now"));
  }

  async turn(go) {
    if (this.busy) return;
    this.busy = true;
    try {
      await go();
    } catch (e) {
      this.failed(e);
    } finally {
      this.busy = false;
    }
  }

  async earlier() {
    // What is on the screen stays where it is.
    const before = document.documentElement.scrollHeight - window.scrollY;
    for (let n = 0; n < EMPTY_MAX && this.from > 0; n += 1) {
      const page = await this.page({ before: this.from });
      this.add(page, true);
      if (page.records.length > 0) break;
    }
    window.scrollTo(0, document.documentElement.scrollHeight - before);
  }

  async later() {
    for (let n = 0; n < EMPTY_MAX && this.to < this.bytes; n += 1) {
      const page = await this.page({ from: this.to });
      if (page.to === this.to) break;
      this.add(page, false);
      if (page.records.length > 0) break;
    }
  }

  async jump(at) {
    const page = await this.page(at);
    this.pages.replaceChildren();
    this.calls.waiting.clear();
    this.add(page, false);
    if (at === "end") {
      await this.fillUp();
      window.scrollTo(0, document.documentElement.scrollHeight);
    } else if (page.records.length === 0) {
      await this.later();
    }
  }

  // There may be more, while somebody works on it.
  async follow() {
    if (this.busy || this.bytes === 0 || this.to < this.bytes) return;
    await this.turn(async () => {
      const page = await this.page({ from: this.to });
      if (page.bytes < this.to) {
        await this.jump("end");
      } else if (page.to > this.to) {
        const low = window.innerHeight + window.scrollY > document.documentElement.scrollHeight - 80;
        this.add(page, false);
        if (low) window.scrollTo(0, document.documentElement.scrollHeight);
      }
    });
  }

  failed(e) {
    show(this.below, h("div", { class: "notice" }, h("p", {}, foreign(e.message)), e.hint && h("p", { class: "muted" }, foreign(e.hint))));
    if (this.pages.childElementCount === 0) this.pages.append(empty("The transcript cannot be read here."));
  }

  // Hides what does not fit.
  filter(words) {
    for (const entry of this.pages.querySelectorAll(".entry")) entry.hidden = !matches(words, entry.textContent);
  }

  // Unfolds everything, or folds it again.
  unfold() {
    const all = [...this.pages.querySelectorAll("details")];
    const open = all.some((d) => !d.open);
    for (const details of all) details.open = open;
  }
}
