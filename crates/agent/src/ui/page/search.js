// Words in every session that is held: what is asked, and what was found.

import { count, empty, foreign, h, show, time } from "./dom.js";
import { ask } from "./server.js";
import { device } from "./lists.js";

// After this long without another key the words are meant.
const PAUSE_MS = 220;
const HITS_MAX = 50;
// While the index is being built, there is more to find a moment later.
const AGAIN_MS = 2500;

const ROLES = { title: "title", user: "you", assistant: "Claude", tool: "a tool's call", output: "a tool's answer" };

// A text with what was asked for marked; every piece is a text.
function marked(text, marks) {
  const chars = Array.from(text);
  const out = [];
  let at = 0;
  for (const [from, to] of marks) {
    if (from < at || to > chars.length) continue;
    out.push(chars.slice(at, from).join(""), h("mark", {}, chars.slice(from, to).join("")));
    at = to;
  }
  out.push(chars.slice(at).join(""));
  return h("bdi", {}, out);
}

function where(hit) {
  const agent = hit.agent ? `/agent/${encodeURIComponent(hit.agent)}` : "";
  const at = hit.role === "title" ? "" : `/at/${hit.offset}`;
  return `#/session/${encodeURIComponent(hit.version)}${agent}${at}`;
}

function row(hit) {
  const isTitle = hit.role === "title";
  // Mostly the title is what was asked first, and need not be said twice.
  const isSaid = isTitle || hit.snippet === hit.title;
  return h("li", { class: "row hit" },
    h("a", { class: "open", href: where(hit), "data-row": `h:${hit.version}`, "data-copy": `ccpeer continue ${hit.session_id.slice(0, 8)}` },
      h("span", { class: "title" }, isSaid ? marked(hit.title, hit.marks) : foreign(hit.title)),
      !isSaid && h("span", { class: "snippet" }, marked(hit.snippet, hit.marks)),
      h("span", { class: "under" },
        h("span", { class: "project" }, foreign(hit.project)),
        device(hit.device),
        h("span", { class: "muted" }, ROLES[hit.role] || hit.role, !isTitle && `, line ${hit.line.toLocaleString("en")}`, hit.agent && " of a sub-agent"))),
    time(hit.at));
}

// What is looked for, and its answer. It stays while one goes from hit to hit.
export class Searching {
  constructor(lost) {
    this.words = "";
    this.lost = lost;
    this.timer = 0;
    this.done = false;
    this.status = h("p", { class: "lead", role: "status" });
    this.found = h("div", {});
    this.element = h("section", { class: "search" }, h("h1", {}, "Search"), this.status, this.found);
    this.nothing();
  }

  // Looks for these words, in a moment.
  want(words) {
    // Who comes back gets a new answer where the last one came too late.
    if (words === this.words && (this.done || words === "")) return;
    this.done = false;
    this.words = words;
    clearTimeout(this.timer);
    if (words === "") {
      this.nothing();
    } else {
      this.timer = setTimeout(() => this.look(words), PAUSE_MS);
    }
  }

  nothing() {
    show(this.status, "Every session that is held here, from every machine.");
    show(this.found, empty("Type what was said, or a part of it.",
      h("p", { class: "muted" }, "All words must be in one session; words in quotes stand in a row.")));
  }

  async look(words) {
    let answer;
    try {
      answer = await ask("search", { words, limit: HITS_MAX });
    } catch (e) {
      if (words !== this.words) return;
      if (e.kind !== "error") return this.lost(e);
      this.done = true;
      show(this.status, "");
      show(this.found, empty(e.message, e.hint && h("p", { class: "muted" }, e.hint)));
      return;
    }
    // Somebody may have typed on meanwhile, or gone elsewhere.
    if (words !== this.words || !this.element.isConnected) return;
    const { hits, building } = answer;
    if (building) this.timer = setTimeout(() => this.element.isConnected && this.look(words), AGAIN_MS);
    this.done = !building;
    show(this.status, hits.length >= HITS_MAX ? `The best ${HITS_MAX} sessions` : count(hits.length, "session"),
      building && `; the index is being built${building.done < building.total ? ` (${building.done} of ${building.total})` : ""}, some may be missing`,
      answer.cut && "; only the first words count", ".");
    show(this.found, hits.length > 0 ? h("ul", { class: "rows" }, hits.map(row))
      : empty("Nothing was found.", h("p", { class: "muted" }, "Try fewer words, or the beginning of one.")));
  }
}
