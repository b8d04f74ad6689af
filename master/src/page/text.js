// Numbers and times as a person reads them, and elements made by hand.
//
// Spans and ranges look as they do in `baton-master status`, so that what is
// read here can be said to somebody who sits at a terminal.

/** A span in milliseconds, with as much of it as matters: `3.1 ms`, `4.2 s`, `2 h 05 min`. */
export function span(ms) {
  if (ms == null || !Number.isFinite(ms)) return "–";
  const whole = Math.max(0, Math.floor(ms));
  const seconds = Math.floor(whole / 1000);
  const minutes = Math.floor(whole / 60_000);
  const hours = Math.floor(whole / 3_600_000);
  if (ms < 10 && ms !== whole) return `${Math.max(0, ms).toFixed(1)} ms`;
  if (whole < 1_000) return `${whole} ms`;
  if (whole < 10_000) return `${seconds}.${Math.floor((whole % 1000) / 100)} s`;
  if (whole < 120_000) return `${seconds} s`;
  if (whole < 7_200_000) return `${minutes} min`;
  if (whole < 172_800_000) return `${hours} h ${String(minutes % 60).padStart(2, "0")} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** A span that is only ever some seconds old: no digits that flicker. */
export function age(ms) {
  return ms < 1_000 ? "less than 1 s" : span(Math.floor(ms / 1000) * 1000).replace(/\.0 s$/, " s");
}

const grouped = new Intl.NumberFormat("en");

/** `17,024` */
export const number = (value) => (value == null ? "–" : grouped.format(value));

/** `1 shard`, `2 shards`. */
export const count = (value, what) => `${number(value)} ${what}${value === 1 ? "" : "s"}`;

/** Events a second of a rate in 1000 s: `0.4/s`, `12/s`. */
export function rate(per1000) {
  const value = per1000 / 1000;
  return `${value < 10 && value > 0 ? value.toFixed(1) : number(Math.round(value))}/s`;
}

/** `212 MB` */
export function bytes(value) {
  if (value == null) return "–";
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${value < 10 && unit > 0 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

/** `0-3, 7` for 0, 1, 2, 3, 7; of more than `most` pieces it is said how many shards are left out. */
export function ranges(ascending, most = 12) {
  const pieces = [];
  for (const value of ascending) {
    const last = pieces.at(-1);
    if (last && last[1] + 1 === value) last[1] = value;
    else pieces.push([value, value]);
  }
  const size = (list) => list.reduce((sum, [first, last]) => sum + last - first + 1, 0);
  const shown = pieces.slice(0, most).map(([a, b]) => (a === b ? `${a}` : `${a}-${b}`));
  const rest = size(pieces.slice(most));
  return shown.join(", ") + (rest ? ` and ${number(rest)} more` : "");
}

/** The first of a slave's 32 hex digits: enough to tell two apart, and what `fence` takes. */
export const short = (slave) => (slave ? slave.slice(0, 8) : "–");

/** An element. Text goes in as text, never as markup: builds and reasons are strangers' words. */
export function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(props)) {
    if (value == null || value === false) continue;
    if (key === "class") node.className = value;
    else if (key === "data") Object.assign(node.dataset, value);
    else if (key in node && typeof value !== "string") node[key] = value;
    else node.setAttribute(key, value);
  }
  node.append(...children.filter((child) => child != null && child !== false));
  return node;
}

/** The same for drawings. */
export function svg(tag, props = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(props)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

/** Sets a text only where it changed: a screen reader hears, and a layout pays, for each write. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Rebuilds the children only where `key` changed, so that what is selected or focused stays. */
export function fill(node, key, children) {
  if (node.drawnKey === key) return;
  node.drawnKey = key;
  node.replaceChildren(...children());
}

/** Lines of a list, each as `[style, text]`. */
export function fillNotes(list, notes) {
  fill(list, JSON.stringify(notes), () => notes.map(([style, text]) => el("li", { class: style }, text)));
}

/** Rows of a table, each of cells as `[text, style]`; the first one names the row. */
export function fillRows(table, rows) {
  fill(table.tBodies[0], JSON.stringify(rows), () =>
    rows.map((row) => el("tr", {}, ...row.map(([text, style], at) =>
      at === 0 ? el("th", { scope: "row" }, text) : el("td", { class: style || null }, String(text))))),
  );
}

export const byId = (id) => document.getElementById(id);
