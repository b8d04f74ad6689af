// What stands around the map: the shard that is pointed at, the key, and the
// same in words for those who do not see it.

import { STATES, colourOf, stateIndex } from "./glyphs.js";
import { stateMark } from "./map.js";
import { byId, count, el, fill, number, ranges, rate, say, short, span } from "./text.js";

/** A square in the colour of an owner. */
export function swatch(colour) {
  return el("i", { class: `swatch owner-${colour}`, "aria-hidden": "true" });
}

/** The build of a slave, or what is known of it. */
export const buildOf = (fleet, slave) => fleet.slaves.get(slave)?.build ?? (slave ? short(slave) : "nobody");

/** Facts of one shard, as [name, text] pairs. */
function facts(fleet, shard) {
  const owner = fleet.slaves.get(shard.owner);
  const began = shard.session_began_unix_ms;
  const budget = shard.replay_budget_seconds;
  return [
    ["State", shard.state],
    ["Owner", shard.owner ? `${buildOf(fleet, shard.owner)} (${short(shard.owner)})` : "nobody"],
    ["Epoch", number(shard.epoch)],
    ["Handled", number(shard.handled)],
    ["Session", began ? `${span(fleet.sinceUnixMs(began))} old` : "not known"],
    ["Events", rate(shard.events_per_1000_s)],
    ["Lag of its owner", owner?.lag_ms == null ? "not known" : span(owner.lag_ms)],
    ["Replay budget", budget == null ? "no events" : span(budget * 1000)],
  ];
}

/** Shows a shard below the map; `aloud` if a person chose it. */
export function showShard(fleet, shard, aloud) {
  const box = byId("shard");
  const known = shard == null ? null : fleet.at(shard);
  box.dataset.shard = known ? shard : "";
  const why = byId("shard-reason");
  why.hidden = !known?.reason;
  say(why, known?.reason ?? "");
  byId("act-restart").hidden = !known;
  if (!known) {
    fill(box, "none", () => [el("p", { class: "faint" }, "Point at a shard, or move with the arrow keys, to see what it does.")]);
    if (aloud) say(byId("map-said"), "");
    return;
  }
  const list = facts(fleet, known);
  box.dataset.state = known.state;
  fill(box, JSON.stringify([shard, colourOf(known.owner), list]), () => [
    el("div", { class: "which" }, el("dt", {}, "Shard"), el("dd", {}, swatch(colourOf(known.owner)), String(shard))),
    ...list.map(([name, text]) => el("div", {}, el("dt", {}, name), el("dd", {}, text))),
  ]);
  if (aloud) say(byId("map-said"), `Shard ${shard}: ${list.map(([name, text]) => `${name} ${text}`).join(", ")}`);
}

/** The owners and the states with their counts. */
export function showKey(fleet, theme) {
  const counts = fleet.counts();
  const owners = new Map();
  for (const { owner } of fleet.shards) owners.set(owner, (owners.get(owner) ?? 0) + 1);
  const wanted = [...fleet.slaves.keys(), ...[...owners.keys()].filter((owner) => owner && !fleet.slaves.has(owner))];
  const lines = wanted.map((slave) => [slave, colourOf(slave), buildOf(fleet, slave), owners.get(slave) ?? 0]);
  fill(byId("owners"), JSON.stringify(lines), () =>
    lines.map(([slave, colour, build, held]) =>
      el("li", { data: { slave } }, swatch(colour), el("b", { title: build }, build), " ", el("span", { class: "faint" }, `${short(slave)} · ${count(held, "shard")}`)),
    ),
  );
  const states = byId("states");
  const known = STATES.map(({ name }, index) => ({ name, index, held: counts.get(name) ?? 0 }));
  for (const [name, held] of counts) {
    if (STATES[stateIndex(name)].name !== name) known.push({ name, index: stateIndex(name), held });
  }
  // The marks stay while the counts run: only texts change.
  fill(states, JSON.stringify([known.map(({ name }) => name), theme]), () =>
    known.map(({ name, index }) => el("li", { data: { state: name } }, stateMark(index, theme), name, " ", el("b", {}))),
  );
  known.forEach(({ held }, at) => {
    const item = states.children[at];
    item.classList.toggle("none", held === 0);
    item.dataset.count = held;
    say(item.querySelector("b"), held ? number(held) : "");
  });
}

/** No slave is known to serve such a shard; all other states end by themselves. */
const NOT_SERVED = new Set(["failed", "unreachable", "idle", "no session"]);

/** The map in words and figures. */
export function summary(fleet) {
  const counts = fleet.counts();
  const serving = counts.get("serving") ?? 0;
  let lost = 0;
  for (const [state, held] of counts) lost += NOT_SERVED.has(state) ? held : 0;
  counts.delete("serving");
  const others = [...counts].map(([state, held]) => `${number(held)} ${state}`);
  return { serving, lost, text: [`${number(serving)} of ${count(fleet.shards.length, "shard")} serving`, ...others].join(", ") };
}

/** `away`: no master answers, so this may be old. */
export function showSummary(fleet, away) {
  const { serving, text } = summary(fleet);
  const lost = fleet.shards.filter(({ state }) => NOT_SERVED.has(state));
  const where = lost.length ? ` Not served: ${ranges(lost.map(({ shard }) => shard))}.` : "";
  const rest = fleet.shards.length - serving;
  if (away) {
    say(byId("map-counts"), "as they were when the master answered last");
    say(byId("map-summary"), `Not known now. When the master answered last: ${text}.${where}`);
    return;
  }
  say(byId("map-counts"), rest ? `${number(serving)} of ${number(fleet.shards.length)} serving` : `all ${number(serving)} serving`);
  say(byId("map-summary"), `${text}.${where}`);
}
