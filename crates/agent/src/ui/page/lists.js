// Tasks and sessions.

import { badge, command, copy, count, empty, foreign, h, bytes, hue, time } from "./dom.js";

// Rows that a list shows before somebody asks for the others.
const ROWS_FIRST = 150;

const STATES = {
  live: "Claude is at work on it",
  idle: "open, waiting for you",
  interrupted: "ended in the middle of something",
  ended: "closed",
  done: "marked as done",
  archived: "its files are gone; continue brings it back",
};

export function state(word) {
  return h("span", { class: `state ${STATES[word] ? word : ""}`, title: STATES[word] || "" }, word);
}

export function device(name) {
  return h("span", { class: `device d${hue(name.id)}` }, foreign(name.name));
}

export const continues = (id) => `ccpeer continue ${id}`;

// Whether a row is one that the filter lets through.
export function matches(filter, ...texts) {
  const words = filter.toLowerCase().split(/\s+/).filter(Boolean);
  const all = texts.join("\n").toLowerCase();
  return words.every((word) => all.includes(word));
}

function row({ key, id, main, under, side, copies }) {
  return h("li", { class: "row" },
    h("a", { class: "open", href: `#/session/${encodeURIComponent(id)}`, "data-row": key, "data-copy": copies }, main, under),
    side,
    h("button", { class: "copy", type: "button", title: copies, "aria-label": `Copy the command ${copies}`, on: { click: () => copy(copies) } }, "Copy", h("span", { class: "wide-only" }, " command")));
}

function taskRow(task) {
  // Of a fork the version is named, so that there is nothing to choose.
  const id = task.heads > 1 ? task.version : task.session_id;
  const away = task.last_heard && ["live", "idle"].includes(task.state);
  return row({
    key: `t:${task.version}`,
    id,
    copies: continues(task.heads > 1 ? task.version.slice(0, 12) : task.session_id.slice(0, 8)),
    main: h("span", { class: "title" }, foreign(task.title)),
    under: h("span", { class: "under" },
      state(task.state),
      away && h("span", { class: "muted" }, "when last heard"),
      h("span", { class: "project" }, foreign(task.project)),
      device(task.device),
      task.branch && h("span", { class: "branch" }, foreign(task.branch)),
      task.open_todos > 0 && badge(`${task.open_todos} to do`),
      task.heads > 1 && badge(`fork, ${task.heads} lines`, "warn"),
      task.taken_over_by && badge(["went on on ", foreign(task.taken_over_by.name)], "warn"),
      !task.complete && badge(task.unreadable ? "made by a newer ccpeer" : "on its way", "warn")),
    side: time(task.updated),
  });
}

// What there is to do, the first thing that somebody wants to see.
export function tasks(overview, filter) {
  const { status } = overview;
  const all = overview.tasks.filter((t) =>
    matches(filter, t.title, t.project, t.device.name, t.branch, t.state));
  const notes = [
    ...status.findings.map((f) => h("div", { class: "notice" }, h("p", {}, foreign(f.message)), h("p", { class: "muted" }, foreign(f.hint)))),
    status.last_error && h("div", { class: "notice bad" }, h("p", {}, foreign(status.last_error))),
    status.hooks !== "installed" && h("div", { class: "notice" }, h("p", {}, "Claude Code does not tell ccpeer about its sessions yet."), command("ccpeer hooks install")),
  ];
  const here = status.device ? status.device.id : "";
  const groups = [
    ["Open now", all.filter((t) => t.state === "live" || (t.state === "idle" && !t.last_heard))],
    ["To go on with", all.filter((t) => !(t.state === "live" || (t.state === "idle" && !t.last_heard)))],
  ];
  const list = all.length === 0
    ? empty(filter ? "No task fits the filter." : "Nothing is unfinished, on no machine.",
      !filter && h("p", { class: "muted" }, "A session appears here as soon as Claude Code has had a turn in it."))
    : groups.filter(([, rows]) => rows.length > 0).map(([title, rows]) => h("section", {},
      h("h2", {}, title, h("span", { class: "n" }, rows.length)),
      h("ul", { class: "rows" }, rows.map(taskRow))));
  return [
    h("h1", {}, "Unfinished tasks"),
    h("p", { class: "lead" }, `${count(all.length, "task")} on `,
      count(new Set(all.map((t) => t.device.id)).size, "machine"),
      here ? [", this one is ", foreign(status.device.name)] : "", "."),
    notes,
    list,
    overview.more_tasks && h("p", { class: "muted" }, "There are more: ccpeer tasks lists all of them."),
  ];
}

function sessionRow(session, isGrouped) {
  return row({
    key: `s:${session.session_id}`,
    id: session.session_id,
    copies: continues(session.session_id.slice(0, 8)),
    main: h("span", { class: "title" }, foreign(session.title)),
    under: h("span", { class: "under" },
      state(session.state),
      !isGrouped && device(session.device),
      h("span", { class: "muted" }, `${count(session.records, "line")}, ${bytes(session.bytes)}`),
      session.heads > 1 && badge(`fork, ${session.heads} lines`, "warn")),
    side: time(session.updated),
  });
}

function grouped(sessions, name) {
  const groups = new Map();
  for (const session of sessions) {
    const key = name(session);
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(session);
  }
  return [...groups];
}

// Folds that somebody has opened or closed stay so.
const folds = new Map();

function fold(key, open, summary, body) {
  const is = folds.has(key) ? folds.get(key) : open;
  // The attribute has to be there for the fold to be open.
  const details = h("details", { class: "group", open: is }, h("summary", {}, summary), body);
  details.addEventListener("toggle", () => folds.set(key, details.open));
  return details;
}

// Local sessions by project, and those of other machines by machine and project.
export function sessions(list, which, filter, all, more) {
  const local = list.sessions.filter((x) => x.local);
  const remote = list.sessions.filter((x) => x.remote);
  const chosen = (which === "remote" ? remote : local).filter((x) =>
    matches(filter, x.title, x.project, x.device.name, x.state));
  const shown = all ? chosen : chosen.slice(0, ROWS_FIRST);
  const tab = (name, text, n) => h("a", { class: "tab", href: `#/sessions/${name}`, "aria-current": which === name ? "page" : null }, text, h("span", { class: "n" }, n));
  const byProject = (rows, prefix) => grouped(rows, (x) => x.project).map(([project, rows], n) =>
    fold(`${prefix}/${project}`, n < 12 || filter !== "",
      [h("span", { class: "name" }, foreign(project || "(no project)")), h("span", { class: "n" }, rows.length)],
      h("ul", { class: "rows" }, rows.map((x) => sessionRow(x, which === "remote")))));
  const body = which === "remote"
    ? grouped(shown, (x) => x.device.id).map(([id, rows]) => h("section", {},
      h("h2", {}, device(rows[0].device), h("span", { class: "n" }, rows.length)),
      byProject(rows, id)))
    : byProject(shown, "local");
  const nothing = which === "remote" ? "No session of another machine is held here." : "No session lies in Claude Code's directory here.";
  return [
    h("h1", {}, "Sessions"),
    h("div", { class: "tabs", role: "group", "aria-label": "Which sessions" }, tab("local", "On this machine", local.length), tab("remote", "From other machines", remote.length)),
    shown.length === 0 ? empty(filter ? "No session fits the filter." : nothing) : body,
    shown.length < chosen.length && h("p", {}, h("button", { type: "button", on: { click: more } }, `Show all ${chosen.length}`)),
    list.sessions.length < list.total && h("p", { class: "muted" }, `The newest ${list.sessions.length} of ${list.total}; ccpeer sessions lists all of them.`),
  ];
}
