// Slaves that ended unexpectedly: how that is known, how they ended, after what
// time, and what they wrote last.

import { byId, el, fill, short, span } from "./text.js";

/** The newest first; older ones are in `baton-master events`. */
const MOST = 5;

/** Evidence of a death that is no end of a process. */
const BY_A_WORD = new Set(["operator", "lease"]);

export function showDeaths(fleet) {
  const deaths = (fleet.status.deaths ?? []).slice(-MOST).reverse();
  const box = byId("deaths");
  box.hidden = deaths.length === 0;
  const when = (death) => `${span(fleet.sinceUnixMs(death.at_unix_ms))} ago`;
  const key = JSON.stringify(deaths.map((death) => [death.at_unix_ms, death.pid, when(death)]));
  const list = box.querySelector("ol");
  const opened = new Set([...list.querySelectorAll("details[open]")].map((one) => one.dataset.pid));
  fill(list, key, () => deaths.map((death) => line(death, when(death), opened)));
}

function line(death, when, opened) {
  const { build, slave, slot, pid, evidence, ending, lived_ms: lived, last_lines: lines } = death;
  const known = BY_A_WORD.has(evidence) ? " (its process may live)" : "";
  const who = build ? `build ${build} (slave ${short(slave)}, pid ${pid})` : `process ${pid}, before it joined`;
  const text = `Slot ${slot}: ${who}: ${ending}${known}${lived == null ? "" : ` after ${span(lived)}`}`;
  const head = [el("span", { class: "when faint", title: new Date(death.at_unix_ms).toLocaleString() }, when), el("span", {}, text)];
  if (!lines?.length) return el("li", { data: { pid } }, el("div", { class: "line" }, ...head));
  return el("li", { data: { pid } },
    el("details", { data: { pid }, open: opened.has(String(pid)) },
      el("summary", {}, ...head),
      el("pre", { class: "code" }, lines.join("\n")),
    ),
  );
}
