// The page: where one is, what is asked for again, and the keys.

import { command, copy, count, empty, foreign, h, hue, say, show } from "./dom.js";
import { Watched, enter } from "./server.js";
import { sessions, tasks } from "./lists.js";
import { devices, pause, store, transfers } from "./machines.js";
import { Searching } from "./search.js";
import { timeline } from "./timeline.js";
import { Reading } from "./transcript.js";

// How often it is looked whether something has changed, while somebody looks on.
const LOOK_MS = 4000;
// After this long without a hand on mouse or keys, nobody does.
const AWAY_MS = 10 * 60 * 1000;
const OFF_MS = 15000;

const VIEWS = [
  ["tasks", "Tasks"],
  ["sessions", "Sessions"],
  ["devices", "Devices"],
  ["transfers", "Transfers"],
  ["timeline", "Timeline"],
  ["store", "Store"],
  ["search", "Search"],
];
// Characters of an address that are looked for.
const WORDS_MAX = 200;

const main = document.getElementById("main");
const filter = document.getElementById("filter");
const link = document.getElementById("link");
const help = document.getElementById("help");

const overview = new Watched("overview");
const list = new Watched("sessions");
const activity = new Watched("activity");
const policy = new Watched("policy");

const searching = new Searching((e) => lost(e));
let reading = null;
let all = false;
let touched = Date.now();
let timer = 0;
let round = 0;
let was = "";
let wasView = "";
// The field is wanted where one is going.
let toField = false;
// The list that a session was opened from.
let origin = ["#/tasks", "Tasks"];

// Where one is, out of the address: a view and what it is about. Nothing else in
// the address means anything.
function place() {
  const parts = location.hash.replace(/^#\/?/, "").split("/").map((p) => {
    try {
      return decodeURIComponent(p);
    } catch {
      return "";
    }
  });
  const [view, what, ...more] = parts;
  if (view === "session" && /^[0-9a-f-]{8,64}$/.test(what || "")) {
    const after = (word) => more[more.indexOf(word) + 1] || "";
    const agent = more[0] === "agent" && /^[A-Za-z0-9_-]{1,64}$/.test(more[1] || "") ? more[1] : null;
    const at = more.includes("at") && /^[0-9]{1,15}$/.test(after("at")) ? Number(after("at")) : null;
    return { view, what, agent, at };
  }
  // What is looked for is a text, and is shown as one.
  if (view === "search") return { view, what: (what || "").slice(0, WORDS_MAX) };
  if (VIEWS.some(([known]) => known === view)) return { view, what: /^[a-z]{1,12}$/.test(what || "") ? what : "" };
  return { view: "tasks", what: "" };
}

function watched(view) {
  return { sessions: list, timeline: activity, store: policy }[view];
}

// --- Drawing -----------------------------------------------------------------------

function nav(current) {
  const value = overview.value;
  const numbers = value ? {
    tasks: value.tasks.length,
    sessions: value.status.store.sessions,
    devices: value.devices.filter((d) => d.state !== "this").length + 1,
    transfers: value.coming.length,
  } : {};
  show(document.getElementById("views"), VIEWS.map(([view, name], n) =>
    h("a", { href: `#/${view}`, "aria-current": view === current ? "page" : null, "aria-keyshortcuts": String(n + 1) },
      name, numbers[view] > 0 && h("span", { class: "n" }, numbers[view]))));
  const on = document.querySelector("#views [aria-current]");
  // Where the views do not fit side by side, the chosen one is seen.
  if (on) on.parentElement.scrollLeft = on.offsetLeft - 60;
}

function draw() {
  const { view, what, agent, at } = place();
  // Other words are no other place.
  const now = view === "search" ? view : `${view}/${what}/${agent || ""}/${at === null ? "" : at}`;
  const moved = now !== was;
  if (moved) {
    was = now;
    all = false;
    reading = null;
    field(view, what);
  }
  nav(view === "session" ? "" : view);
  const value = overview.value;
  if (value && value.status.device) {
    // This machine first, the others by their ids, so that colours stay.
    hue(value.status.device.id);
    for (const id of value.devices.map((d) => d.id).sort()) hue(id);
    show(document.getElementById("here"), foreign(value.status.device.name));
    document.title = value.tasks.length > 0 ? `(${value.tasks.length}) ccpeer` : "ccpeer";
  }
  if (view === "session") {
    if (!reading) {
      reading = new Reading(what, agent, at);
      show(main, h("p", { class: "crumbs" }, h("a", { class: "back", href: origin[0] }, `← ${origin[1]}`)), reading.element);
      reading.open().catch(lost);
    } else {
      reading.filter(filter.value.trim());
    }
  } else {
    if (view === "search") searching.want(what);
    origin = [`#/${view}${what ? `/${encodeURIComponent(what)}` : ""}`, VIEWS.find(([known]) => known === view)[1]];
    redraw(view, what, moved);
  }
  if (moved) {
    window.scrollTo(0, 0);
    if (view === "search" && (toField || !searching.words)) filter.select();
    else main.focus({ preventScroll: true });
    toField = false;
  }
}

// The field looks for words in everything, or in what is listed.
function field(view, what) {
  const all = view === "search";
  if (all) filter.value = what;
  // What was looked for hides nothing elsewhere.
  else if (wasView === "search") filter.value = "";
  wasView = view;
  filter.placeholder = all ? "Search every session…" : "Filter by title, project, device…";
  filter.setAttribute("aria-label", all ? "Search every session" : "Filter what is listed");
}

// Somebody went to another address, by a link or by hand.
function went() {
  const { view, what } = place();
  if (view === "search") filter.value = what;
  draw();
}

function typed() {
  if (place().view === "search") {
    const words = filter.value.trim();
    history.replaceState(null, "", `#/search/${encodeURIComponent(words)}`);
  }
  draw();
}

function redraw(view, what, moved) {
  const value = overview.value;
  const needs = watched(view);
  if (!value || (needs && !needs.value && view !== "store")) {
    if (moved || !main.firstChild) show(main, h("p", { class: "muted loading" }, "Asking the agent…"));
    if (value && moved) look();
    return;
  }
  if (needs && moved) look();
  // Whoever stands on a row stays on it.
  const row = document.activeElement && document.activeElement.dataset ? document.activeElement.dataset.row : null;
  const words = filter.value.trim();
  const more = () => {
    all = true;
    draw();
  };
  const around = getComputedStyle(main);
  // Less the frame of the picture and what is around it.
  const width = main.clientWidth - parseFloat(around.paddingLeft) - parseFloat(around.paddingRight) - 26;
  const made = {
    tasks: () => tasks(value, words),
    sessions: () => sessions(list.value, what === "remote" ? "remote" : "local", words, all, more),
    devices: () => devices(value, words),
    transfers: () => transfers(value, words),
    timeline: () => timeline(activity.value, what, words, Math.max(width, 240), all, more),
    store: () => store(value, policy.value),
    search: () => searching.element,
  }[view]();
  show(main, made);
  if (row) {
    const again = rows().find((r) => r.dataset.row === row);
    if (again) again.focus({ preventScroll: true });
  }
}

function linkIs(kind, words) {
  link.className = `link ${kind}`;
  show(link, words);
}

// --- Asking again ------------------------------------------------------------------

const looking = () => document.visibilityState === "visible" && Date.now() - touched < AWAY_MS;

async function look() {
  clearTimeout(timer);
  try {
    const { view } = place();
    const needs = watched(view);
    const changed = [await overview.look()];
    // What takes longer to find is asked for less often.
    if (needs && (needs.value === undefined || round % 4 === 0)) changed.push(await needs.look());
    round += 1;
    const peers = overview.value.status.peers;
    const up = peers.filter((p) => p.state === "connected").length;
    const paused = pause(overview.value.status);
    if (paused) linkIs("down", paused);
    else linkIs(up > 0 || peers.length === 0 ? "up" : "down", peers.length === 0 ? "no other machine" : `${up} of ${peers.length} connected`);
    if (changed.some(Boolean) || main.querySelector(".loading")) draw();
    if (reading) await reading.follow();
    next(LOOK_MS);
  } catch (e) {
    lost(e);
  }
}

function next(ms) {
  clearTimeout(timer);
  if (looking()) {
    timer = setTimeout(look, ms);
  } else {
    linkIs("", "not looking");
  }
}

function lost(e) {
  if (e.kind === "locked") return locked();
  if (e.kind === "off") {
    linkIs("down", "switched off");
    if (!main.querySelector(".off")) {
      main.prepend(h("div", { class: "notice off", role: "alert" }, h("p", {}, "This page is switched off: ccpeer ui has ended, or nobody used it for half an hour."), command("ccpeer ui")));
    }
    next(OFF_MS);
    return;
  }
  say(e.message || "Something on this page went wrong.");
  next(OFF_MS);
}

function locked() {
  clearTimeout(timer);
  nav("");
  linkIs("", "not let in");
  show(main, empty("This link has been used already, or is older than a minute.",
    h("p", { class: "muted" }, "Each link lets one tab in, once. If you have not opened it, somebody else on this machine may have: end ccpeer ui, and start it again."),
    command("ccpeer ui", "opens a new one")));
}

function wake() {
  const slept = !looking();
  touched = Date.now();
  if (slept && looking() && sessionStorage.length > 0) look();
}

// --- Keys --------------------------------------------------------------------------

function rows() {
  return [...main.querySelectorAll("[data-row]")].filter((r) => r.offsetParent !== null);
}

function step(by) {
  const found = rows();
  if (found.length === 0) return;
  const at = found.indexOf(document.activeElement.closest ? document.activeElement.closest("[data-row]") : null);
  const to = at < 0 ? (by > 0 ? 0 : found.length - 1) : Math.min(found.length - 1, Math.max(0, at + by));
  focusOn(found[to]);
}

function focusOn(row) {
  row.focus({ preventScroll: true });
  row.scrollIntoView({ block: "nearest" });
}

function key(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (help.open) return;
  const typing = document.activeElement === filter;
  if (event.key === "Escape") {
    if (typing || filter.value) {
      filter.value = "";
      filter.blur();
      typed();
    } else if (place().view === "session") {
      const { what, agent, at } = place();
      // From a place that was found, back to what was found.
      location.hash = agent && at === null ? `#/session/${encodeURIComponent(what)}` : origin[0];
    }
    return;
  }
  if (typing) {
    if (event.key === "Enter" || event.key === "ArrowDown") {
      event.preventDefault();
      step(1);
    }
    return;
  }
  const found = rows();
  const on = document.activeElement.closest ? document.activeElement.closest("[data-row]") : null;
  const keys = {
    j: () => step(1),
    k: () => step(-1),
    g: () => found.length > 0 && focusOn(found[0]),
    G: () => found.length > 0 && focusOn(found[found.length - 1]),
    "/": () => {
      if (place().view === "search") return filter.select();
      toField = true;
      location.hash = `#/search/${encodeURIComponent(searching.words)}`;
    },
    f: () => filter.focus(),
    "?": () => help.showModal(),
    x: () => reading && reading.unfold(),
    c: () => {
      if (on && on.dataset.copy) copy(on.dataset.copy);
      else if (reading) copy(`ccpeer continue ${reading.id.slice(0, reading.id.includes("-") ? 8 : 12)}`);
    },
  };
  const digit = Number(event.key);
  if (digit >= 1 && digit <= VIEWS.length) keys[event.key] = () => { location.hash = `#/${VIEWS[digit - 1][0]}`; };
  const act = Object.hasOwn(keys, event.key) ? keys[event.key] : null;
  if (act) {
    event.preventDefault();
    act();
  }
}

// --- Beginning ---------------------------------------------------------------------

async function begin() {
  let isIn = false;
  try {
    isIn = await enter();
  } catch (e) {
    return lost(e);
  }
  if (!isIn) return locked();
  draw();
  addEventListener("hashchange", went);
  addEventListener("keydown", key);
  filter.addEventListener("input", typed);
  for (const event of ["pointerdown", "pointermove", "keydown", "wheel", "touchstart"]) addEventListener(event, wake, { passive: true });
  document.addEventListener("visibilitychange", () => {
    if (looking()) look();
    else next(LOOK_MS);
  });
  let resizing = 0;
  addEventListener("resize", () => {
    clearTimeout(resizing);
    resizing = setTimeout(() => place().view === "timeline" && draw(), 150);
  });
  document.getElementById("help-open").addEventListener("click", () => help.showModal());
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault();
    main.focus();
  });
  await look();
}

begin();
