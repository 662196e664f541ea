// Devices, what is on its way between them, and what is kept here.

import { ago, badge, bytes, command, count, empty, foreign, h, hue, time } from "./dom.js";
import { device, matches } from "./lists.js";

const THEIRS = {
  accepted: null,
  waiting: "it has not accepted this machine yet",
  revoked: "it has revoked this machine",
};

function way(peer) {
  if (!peer || peer.state !== "connected") return null;
  const path = peer.path === "direct" ? "direct" : peer.path === "relay" ? "through a relay" : "connected";
  return [path, peer.rtt_ms !== null && peer.rtt_ms !== undefined && `, ${peer.rtt_ms} ms`];
}

function card(entry, peer, overview) {
  const here = entry.state === "this";
  const up = here || entry.state === "connected";
  const open = overview.tasks.filter((t) => t.device.id === entry.id).length;
  const fact = (name, value) => value && h("div", {}, h("dt", {}, name), h("dd", {}, value));
  return h("li", { class: `card d${hue(entry.id)}`, tabindex: "-1", "data-row": `d:${entry.id}` },
    h("div", { class: "card-head" },
      h("span", { class: `dot ${up ? "up" : "down"}`, "aria-hidden": "true" }),
      h("h2", {}, foreign(entry.name)),
      badge(here ? "this machine" : up ? "connected" : "offline", up ? "good" : "")),
    h("dl", { class: "facts" },
      fact("Listens on", here && overview.status.listen.length > 0 && h("code", {}, overview.status.listen.slice(0, 3).join(" "))),
      fact("Path", way(peer)),
      fact("System", entry.os && foreign(entry.os)),
      fact("Trust", entry.trust !== "paired" && !here && entry.trust),
      fact("Says", THEIRS[entry.theirs]),
      fact("Offered by", entry.offered_by.length > 0 && entry.offered_by.map((d) => [foreign(d.name), " "])),
      fact("Revoked by", entry.revoked_by.length > 0 && entry.revoked_by.map((d) => [foreign(d.name), " "])),
      fact("Last seen", !up && entry.last_seen && [ago(entry.last_seen), " ago"]),
      fact("Behind", peer && peer.behind > 0 && count(peer.behind, "entry", "entries")),
      fact("Unfinished", count(open, "task")),
      fact("Id", h("code", {}, entry.id.slice(0, 12)))));
}

// That nothing is exchanged, and until when, if the user wants that.
export function pause(status) {
  if (!status.paused) return null;
  const { until } = status.paused;
  if (!until) return "exchange paused";
  const at = new Date(until);
  const far = at.getTime() - Date.now() > 20 * 3600 * 1000;
  const day = far ? { day: "numeric", month: "short" } : {};
  return `exchange paused until ${at.toLocaleString([], { ...day, hour: "2-digit", minute: "2-digit", hourCycle: "h23" })}`;
}

export function devices(overview, filter) {
  const peers = new Map(overview.status.peers.map((p) => [p.id, p]));
  const me = overview.status.device;
  const here = me && !overview.devices.some((d) => d.state === "this")
    ? [{ ...me, os: "", state: "this", trust: "paired", theirs: "accepted", offered_by: [], revoked_by: [], last_seen: null }]
    : [];
  const all = [...here, ...overview.devices].filter((d) => matches(filter, d.name, d.os, d.state));
  const { relay } = overview.status;
  return [
    h("h1", {}, "Devices"),
    overview.status.paused && h("section", {}, h("p", { class: "note" }, `${pause(overview.status)}: nothing goes to or comes from other machines.`),
      command("ccpeer resume", "ends the pause")),
    h("ul", { class: "cards" }, all.map((d) => card(d, peers.get(d.id), overview))),
    all.length === 0 && empty("No device fits the filter."),
    h("section", {}, h("h2", {}, "One more machine"),
      command("ccpeer pair", "shows a code; type it on the other machine after ccpeer join"),
      relay && relay.use && h("p", { class: "muted" }, "A relay is set for machines that cannot reach each other.")),
  ];
}

function bar(done, all, label) {
  return h("progress", { value: done, max: Math.max(all, 1), "aria-label": label });
}

export function transfers(overview, filter) {
  const { status, coming } = overview;
  const rows = coming.filter((c) => matches(filter, c.title, c.project, c.device.name));
  const behind = status.peers.filter((p) => p.behind > 0);
  const entry = (c) => {
    const done = c.known - c.missing;
    const share = c.known > 0 ? `${Math.floor((100 * done) / c.known)} %` : "not begun";
    return h("li", { class: "row" },
      h("a", { class: "open", href: `#/session/${encodeURIComponent(c.version)}`, "data-row": `c:${c.version}` },
        h("span", { class: "title" }, foreign(c.title)),
        h("span", { class: "under" }, h("span", { class: "project" }, foreign(c.project)), device(c.device),
          c.held_by.length > 0
            ? h("span", { class: "muted" }, "from ", c.held_by.map((d, n) => [n > 0 && ", ", foreign(d.name)]))
            : badge("waits for a machine that has it", "warn"))),
      h("span", { class: "progress" }, bar(done, c.known, `${c.title}: ${share}`), h("span", { class: "muted" }, c.known > 0 ? `${done} of ${c.known} pieces, ${share}` : share)));
  };
  return [
    h("h1", {}, "Transfers"),
    h("section", {}, h("h2", {}, "Coming here", h("span", { class: "n" }, rows.length)),
      rows.length === 0 ? empty(filter ? "No transfer fits the filter." : "Everything that is known of is here.") : h("ul", { class: "rows" }, rows.map(entry))),
    h("section", {}, h("h2", {}, "By machine"),
      h("table", {},
        h("thead", {}, h("tr", {}, ["Machine", "Link", "Path", "To learn from it"].map((x) => h("th", { scope: "col" }, x)))),
        h("tbody", {}, status.peers.map((p) => h("tr", {},
          h("th", { scope: "row" }, device(p)),
          h("td", {}, badge(p.state, p.state === "connected" ? "good" : "")),
          h("td", {}, way(p) || "–"),
          h("td", {}, p.behind > 0 ? count(p.behind, "entry", "entries") : "nothing"))))),
      status.peers.length === 0 && empty("No other machine is paired.", command("ccpeer pair"))),
    h("section", {}, h("h2", {}, "Waiting here"),
      h("p", {}, status.spool > 0 ? `${count(status.spool, "event")} of Claude Code wait to be dealt with.` : "No event of Claude Code waits."),
      behind.length === 0 && h("p", { class: "muted" }, `${count(status.hooks_received, "event")} taken in so far.`)),
  ];
}

const PLACE = { auto: "placed by themselves", ask: "placed when you continue them", never: "never placed by themselves" };

export function store(overview, policy) {
  const { status } = overview;
  const tile = (name, value, more) => h("div", { class: "tile" }, h("span", { class: "big" }, value), h("span", { class: "muted" }, name), more);
  const expiring = status.expiring;
  return [
    h("h1", {}, "Store and retention"),
    h("div", { class: "tiles" },
      tile("on this disk", bytes(status.store.bytes)),
      tile("sessions", status.store.sessions.toLocaleString("en")),
      tile("chunks", status.store.chunks.toLocaleString("en"))),
    policy === undefined ? h("p", { class: "muted" }, "Reading what is kept…") : [
      h("section", {}, h("h2", {}, "Kept because of"),
        h("table", {},
          h("thead", {}, h("tr", {}, ["Machine", "Uses", "May use", ""].map((x) => h("th", { scope: "col" }, x)))),
          h("tbody", {}, policy.devices.map((d) => h("tr", {},
            h("th", { scope: "row" }, device(d.device)),
            h("td", {}, bytes(d.used)),
            h("td", {}, d.quota === null ? "no bound: its own" : bytes(d.quota)),
            h("td", {}, d.quota !== null && h("meter", { value: d.used, max: Math.max(d.quota, 1), high: d.quota * 0.9, "aria-label": "Share of what it may use" }),
              d.over && badge("full", "bad")))))),
        command("ccpeer policy quota 10GiB", "what each other machine may fill")),
      h("section", {}, h("h2", {}, "How long"),
        h("p", {}, policy.keep_days === null ? "Every version is kept for ever." : `A version that a later one contains, and that another machine holds, is kept for ${count(policy.keep_days, "day")}.`),
        command("ccpeer policy keep 90"),
        h("p", {}, `Sessions of other machines are ${PLACE[policy.place_default] || policy.place_default}.`)),
    ],
    h("section", {}, h("h2", {}, "About to be deleted by Claude Code", h("span", { class: "n" }, expiring.sessions.length)),
      expiring.sessions.length === 0
        ? h("p", { class: "muted" }, `Nothing that no other machine holds. Claude Code deletes a session after ${count(expiring.cleanup_days, "day")}.`)
        : h("ul", { class: "rows" }, expiring.sessions.map((e) => h("li", { class: "row" },
          h("a", { class: "open", href: `#/session/${encodeURIComponent(e.session_id)}`, "data-row": `e:${e.session_id}` }, h("code", {}, e.session_id.slice(0, 8)), e.captured ? " is held here and can be brought back" : " is not captured yet"),
          h("span", { class: "muted" }, new Date(e.expires).toLocaleDateString()))))),
    h("section", {}, h("h2", {}, "Where"),
      h("dl", { class: "facts wide" },
        h("div", {}, h("dt", {}, "ccpeer's directory"), h("dd", {}, h("code", {}, foreign(status.home)))),
        h("div", {}, h("dt", {}, "Claude Code's directory"), h("dd", {}, h("code", {}, foreign(status.claude_dir))))),
      command("ccpeer verify --read-data", "reads and checks all of it")),
    h("p", { class: "muted" }, "ccpeer ", status.version, ", process ", status.pid),
  ];
}
