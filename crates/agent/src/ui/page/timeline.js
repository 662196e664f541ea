// When there was work: one lane for each machine and project, drawn as a picture
// and told as a table.

import { count, empty, foreign, h, hue, s } from "./dom.js";
import { device, matches } from "./lists.js";

const LANE = 30;
const TOP = 26;
const LANES_FIRST = 24;
const DAYS = { two: 2, week: 7, fortnight: 14 };
const HOUR_MS = 3600 * 1000;

// Hours that one bar stands for, so that it can be seen.
function step(hours, width) {
  for (const n of [1, 2, 3, 4, 6, 12]) {
    if ((width / hours) * n >= 5) return n;
  }
  return 24;
}

function picture(activity, lanes, days, width) {
  const narrow = width < 560;
  const left = narrow ? 0 : 210;
  const hours = days * 24;
  const first = activity.first_hour + activity.hours - hours;
  const per = step(hours, width - left);
  const x = (hour) => left + ((hour - first) / hours) * (width - left);
  const lane = narrow ? LANE + 16 : LANE;
  const height = TOP + lanes.length * lane + 6;
  const parts = [];
  const midnight = new Date((first + 1) * HOUR_MS);
  midnight.setHours(0, 0, 0, 0);
  const each = narrow && days > 7 ? 2 : 1;
  for (let n = 0; ; n += 1) {
    const at = new Date(midnight);
    at.setDate(at.getDate() + n);
    const hour = at.getTime() / HOUR_MS;
    if (hour > first + hours) break;
    if (hour < first) continue;
    parts.push(s("line", { class: "grid", x1: x(hour), x2: x(hour), y1: TOP - 4, y2: height }));
    if (n % each === 0 && x(hour) < width - 30) {
      const words = { day: "numeric", ...(days <= 7 ? { weekday: "short" } : narrow ? {} : { month: "short" }) };
      parts.push(s("text", { class: "axis", x: x(hour) + 4, y: 14 }, at.toLocaleDateString([], words)));
    }
  }
  // The same number is as high in every lane.
  const sums = lanes.map(({ hours: counts }) => {
    const bars = new Map();
    for (const [offset, n] of counts) {
      const hour = activity.first_hour + offset;
      if (hour < first) continue;
      const at = first + Math.floor((hour - first) / per) * per;
      bars.set(at, (bars.get(at) || 0) + n);
    }
    return bars;
  });
  const most = Math.max(1, ...sums.flatMap((bars) => [...bars.values()]));
  lanes.forEach((entry, n) => {
    const top = TOP + n * lane;
    const base = top + lane - 6;
    parts.push(s("line", { class: "base", x1: left, x2: width, y1: base, y2: base }));
    const label = `${entry.project || "(no project)"} · ${entry.device.name}`;
    const room = narrow ? 44 : 30;
    const cut = label.length > room ? `${label.slice(0, room - 1)}…` : label;
    parts.push(s("text", { class: "lane", x: 0, y: narrow ? top + 12 : base - 5 }, cut, s("title", {}, label)));
    for (const [hour, n] of sums[lanes.indexOf(entry)]) {
      const size = Math.max(3, Math.sqrt(n / most) * (LANE - 10));
      const from = new Date(hour * HOUR_MS);
      parts.push(s("rect", { class: `bar d${hue(entry.device.id)}`, x: x(hour), y: base - size, width: Math.max(2, x(hour + per) - x(hour) - 1), height: size, rx: 1.5 },
        s("title", {}, `${from.toLocaleString([], { weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" })}: ${count(n, "capture")} in ${label}`)));
    }
  });
  return s("svg", { class: "plot", role: "img", "aria-label": `Activity of the last ${days} days by project and machine; the table below says the same`, width, height, viewBox: `0 0 ${width} ${height}` }, parts);
}

export function timeline(activity, span, filter, width, all, more) {
  const days = DAYS[span] || DAYS.fortnight;
  const first = activity.hours - days * 24;
  const within = (lane) => lane.hours.reduce((sum, [offset, n]) => sum + (offset >= first ? n : 0), 0);
  const fitting = activity.lanes
    .filter((lane) => matches(filter, lane.project, lane.device.name))
    .map((lane) => ({ ...lane, within: within(lane) }))
    .filter((lane) => lane.within > 0)
    .sort((a, b) => b.within - a.within);
  // The lanes of a project stand together, those of the busiest first.
  const order = [...new Set(fitting.map((lane) => lane.project))];
  fitting.sort((a, b) => order.indexOf(a.project) - order.indexOf(b.project));
  const lanes = all ? fitting : fitting.slice(0, LANES_FIRST);
  const tab = (name, text) => h("a", { class: "tab", href: `#/timeline/${name}`, "aria-current": (DAYS[span] ? span : "fortnight") === name ? "page" : null }, text);
  const machines = new Map(lanes.map((lane) => [lane.device.id, lane.device]));
  return [
    h("h1", {}, "Timeline"),
    h("div", { class: "tabs", role: "group", "aria-label": "How far back" }, tab("two", "2 days"), tab("week", "7 days"), tab("fortnight", "14 days")),
    lanes.length === 0 ? empty(filter ? "No project fits the filter." : "There was no work in this time.") : [
      h("div", { class: "legend" }, [...machines.values()].map((d) => device(d))),
      h("div", { class: "plot-box" }, picture(activity, lanes, days, width)),
      (fitting.length > lanes.length) && h("p", {}, h("button", { type: "button", on: { click: more } }, `Show all ${fitting.length} lanes`)),
      h("details", { class: "group" }, h("summary", {}, "The same as a table"),
        h("table", {},
          h("thead", {}, h("tr", {}, ["Project", "Machine", "Captures"].map((t) => h("th", { scope: "col" }, t)))),
          h("tbody", {}, lanes.map((lane) => h("tr", {}, h("th", { scope: "row" }, foreign(lane.project || "(no project)")), h("td", {}, device(lane.device)), h("td", {}, lane.within)))))),
    ],
    h("p", { class: "muted" }, "A bar is captures of sessions: mostly one for each turn."),
    activity.more_lanes && h("p", { class: "muted" }, "The busiest ones only; there are more."),
  ];
}
