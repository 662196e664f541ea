// Building the page: elements and texts, never markup. What came from elsewhere
// gets into the page as text and in no other way.

const SVG = "http://www.w3.org/2000/svg";

// An element. `attrs` are attributes; `on` are its listeners. Only places within
// the page can be linked to.
export function h(tag, attrs = {}, ...children) {
  return fill(document.createElement(tag), attrs, children);
}

// The same in a picture.
export function s(tag, attrs = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attrs, children);
}

function fill(element, attrs, children) {
  for (const [name, value] of Object.entries(attrs)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "on") {
      for (const [event, call] of Object.entries(value)) element.addEventListener(event, call);
    } else if (name === "href" && !String(value).startsWith("#/")) {
      continue;
    } else {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
  put(element, children);
  return element;
}

// Adds children; a text is a text.
export function put(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child === undefined || child === null || child === false) continue;
    element.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}

// Replaces what is in an element.
export function show(element, ...children) {
  element.replaceChildren();
  put(element, children);
}

// A text of somebody else: its direction is its own and does not reach out.
export function foreign(text, attrs = {}) {
  return h("bdi", attrs, text);
}

const UNITS = [["y", 31536000], ["mo", 2592000], ["d", 86400], ["h", 3600], ["min", 60]];

// How long ago something was, in few characters.
export function ago(iso) {
  const at = Date.parse(iso);
  if (Number.isNaN(at)) return "";
  const seconds = Math.max(0, (Date.now() - at) / 1000);
  for (const [unit, length] of UNITS) {
    if (seconds >= length) return `${Math.floor(seconds / length)} ${unit}`;
  }
  return "now";
}

// A time with its age, and the whole of it for whoever asks.
export function time(iso) {
  const at = Date.parse(iso);
  if (Number.isNaN(at)) return h("span", { class: "time" }, "");
  return h("time", { class: "time", datetime: new Date(at).toISOString(), title: new Date(at).toLocaleString() }, ago(iso));
}

export function clock(iso) {
  const at = new Date(iso);
  if (Number.isNaN(at.getTime())) return "";
  return at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
}

export function day(iso) {
  const at = new Date(iso);
  if (Number.isNaN(at.getTime())) return "";
  return at.toLocaleDateString([], { weekday: "short", year: "numeric", month: "short", day: "numeric" });
}

export function bytes(n) {
  let value = n;
  for (const unit of ["B", "KiB", "MiB", "GiB"]) {
    if (value < 1024) return `${unit === "B" ? value : value.toFixed(value < 10 ? 1 : 0)} ${unit}`;
    value /= 1024;
  }
  return `${value.toFixed(1)} TiB`;
}

export function count(n, one, many = `${one}s`) {
  return `${n.toLocaleString("en")} ${n === 1 ? one : many}`;
}

// A colour for a device, the same everywhere on the page. Each has its own, as long
// as there are enough; one that was never heard of gets the next.
const hues = new Map();

export function hue(id) {
  if (!hues.has(id)) hues.set(id, hues.size % 8);
  return hues.get(id);
}

// Says something to everybody, also to whoever cannot see it.
let saying;
export function say(text) {
  const place = document.getElementById("said");
  show(place, text);
  place.classList.add("shown");
  clearTimeout(saying);
  saying = setTimeout(() => {
    place.classList.remove("shown");
    show(place);
  }, 2600);
}

export async function copy(command) {
  try {
    await navigator.clipboard.writeText(command);
    say(`Copied: ${command}`);
  } catch {
    // Not allowed here: it can be marked and copied by hand.
    say(`Copy by hand: ${command}`);
  }
}

// A command for a terminal, to be copied.
export function command(words, why) {
  return h("div", { class: "command" },
    h("code", {}, words),
    h("button", { type: "button", class: "copy", "aria-label": `Copy the command ${words}`, on: { click: () => copy(words) } }, "Copy"),
    why && h("span", { class: "why" }, why));
}

export function badge(text, kind) {
  return h("span", { class: `badge ${kind || ""}` }, text);
}

export function empty(text, ...more) {
  return h("div", { class: "empty" }, h("p", {}, text), more);
}
