// Slaves, slots, the tiles, and what the doctor found.

import { colourOf } from "./glyphs.js";
import { summary, swatch } from "./shards.js";
import { age, byId, bytes, count, el, fill, fillNotes, number, rate, say, short, span } from "./text.js";

// Why shards take nothing; windows are what the column means without a word.
const full = ({ full_because: why }) => (why && why !== "window" ? ` ${why}` : "");

const look = (value, busy, bad) => (value >= bad ? "bad" : value >= busy ? "busy" : "");

export function showSlaves(fleet, memory) {
  const { status } = fleet;
  const rates = fleet.rates();
  // Who fills the slot comes first: lines that change places in a deploy cannot be read.
  const filling = new Set(status.slots.map(({ slave }) => slave));
  const slaves = [...status.slaves].sort((a, b) => a.slot.localeCompare(b.slot) || filling.has(b.slave) - filling.has(a.slave));
  // Counted on the map, which the events keep ahead of the status.
  const owned = new Map();
  for (const { owner } of fleet.shards) owned.set(owner, (owned.get(owner) ?? 0) + 1);
  const held = (slave) => owned.get(slave.slave) ?? 0;
  const rows = slaves.map((slave) => {
    const failed = slave.finished ? (1000 * slave.failed) / slave.finished : null;
    return [
      [slave.build, "", colourOf(slave.slave)],
      [short(slave.slave), "code", slave.slave],
      [slave.host ? `${slave.slot}@${slave.host}` : slave.slot, ""],
      [slave.role + (status.work === slave.slave ? " · work" : ""), ""],
      [number(held(slave)), "n"],
      [rate(rates.get(slave.slave) ?? 0), "n"],
      [slave.lag_ms == null ? "–" : span(slave.lag_ms), `n ${look(slave.lag_ms, 1000, 5000)}`],
      [slave.full_percent == null ? "–" : `${slave.full_percent} %${full(slave)}`, `n ${look(slave.full_percent, 10, 50)}`],
      [failed == null ? "–" : `${(failed / 10).toFixed(1)} %`, `n ${look(failed, 10, 100)}`],
      [bytes(slave.memory_bytes ?? memory.get(slave.slave)), "n"],
      [slave.pid, "n"],
      linkOf(slave),
    ];
  });
  const body = byId("slaves").tBodies[0];
  const heads = [...byId("slaves").tHead.rows[0].cells].map((cell) => cell.textContent);
  fill(body, JSON.stringify(rows), () =>
    rows.length ? rows.map((row, at) => slaveRow(row, slaves[at], heads, held(slaves[at]))) : [el("tr", {}, el("td", { colSpan: 12, class: "faint" }, "No slave is known."))],
  );
  slots(status);
}

function slaveRow(row, slave, heads, shards) {
  const data = { slave: slave.slave, role: slave.role, connected: slave.connected, build: slave.build, shards };
  return el("tr", { data }, ...row.map(([text, style, extra], at) => {
    const props = { class: style || null, data: { head: heads[at] } };
    if (at === 0) return el("th", { scope: "row", ...props, title: text }, swatch(extra), el("span", { class: "build" }, text));
    const fence = at === heads.length - 1 && !slave.connected && el("button", { type: "button", class: "small", data: { fence: slave.slave } }, "Fence");
    return el("td", { ...props, title: at === 1 ? extra : null }, el("span", {}, String(text)), fence && " ", fence);
  }));
}

/** A slave that has not answered for so long is not shown as if it were well. */
const QUIET = 5_000;

function linkOf({ connected, answered_ms_ago: quiet, lease_left_ms: left }) {
  if (!connected) return [left == null ? "unreachable" : `unreachable, lease ${span(left)}`, "bad"];
  return quiet > QUIET ? [`no answer for ${age(quiet)}`, "busy"] : ["connected", ""];
}

/** What a slot lacks, and an unreachable slave. */
function slots(status) {
  const notes = [];
  for (const slot of status.slots) {
    if (!slot.slave) {
      const failed = slot.failed_launches;
      const last = (status.deaths || []).filter((death) => death.slot === slot.name).at(-1);
      const why = last ? ` The last one: ${[last.ending, ...last.last_lines.slice(-1)].join("; ")}` : "";
      notes.push(["bad", `Slot ${slot.name} is empty: ${failed ? `${count(failed, "start")} failed in a row.${why}` : "it waits for a slave."}`]);
    }
    if (slot.lease_ms != null) {
      notes.push(["faint", `Slot ${slot.name}: lease of ${span(slot.lease_ms)}. Its slaves stop by themselves so long after a master's last word.`]);
    }
    const store = status.slaves.find(({ slave }) => slave === slot.slave)?.store;
    if (store) {
      const held = store.held_up ? `; ${count(store.held_up, "shard")} held up` : "";
      notes.push([store.held_up ? "bad" : "faint", `Slot ${slot.name}: store of ${bytes(store.bytes)}, ${bytes(store.fullest_used)} in the fullest shard (${Math.floor((100 * store.fullest_used) / (store.limit || 1))} % of its limit), ${bytes(store.free)} free${held}.`]);
    }
    if (slot.standbys_built < slot.standbys_wanted) {
      notes.push(["busy", `Slot ${slot.name}: ${slot.standbys_built} of ${count(slot.standbys_wanted, "standby")} ready.`]);
    }
  }
  for (const slave of status.slaves) {
    if ((!slave.connected || slave.hangs) && slave.shards && slave.lease_left_ms != null) {
      notes.push(["bad", `Slave ${short(slave.slave)} is silent and may serve ${count(slave.shards, "shard")}: if it stays silent for ${span(slave.lease_left_ms)} still, its lease is over, and they go on elsewhere.`]);
    } else if (!slave.connected && slave.shards) {
      notes.push(["bad", `Slave ${short(slave.slave)} cannot be reached and may serve ${count(slave.shards, "shard")}: it redials by itself. If you know that it is dead: baton-master fence ${short(slave.slave)}`]);
    }
  }
  fillNotes(byId("slots"), notes);
}

/** How old the tiles are; empty while the master answers. */
let stale = "";

function tile(id, big, small, style = "") {
  // This may be old.
  if (stale) [small, style] = [stale, "stale"];
  const box = byId(id);
  box.dataset.look = style;
  say(box.querySelector(".big"), big);
  say(box.querySelector("p.faint"), small);
}

/** `away`: no master answers, and the figures are the last ones that are known. */
export function showTiles(fleet, away) {
  const { status, shards } = fleet;
  stale = away ? `${age(performance.now() - fleet.asOf)} ago; not known now` : "";
  const { serving, lost } = summary(fleet);
  const moving = shards.length - serving - lost;
  const others = [moving && `${number(moving)} on their way`, lost && `${number(lost)} not served`].filter(Boolean).join(", ");
  tile("tile-shards", `${number(serving)} of ${number(shards.length)}`, others ? `serving; ${others}` : "all serving", lost ? "bad" : others ? "busy" : "good");
  let events = 0;
  let least = null;
  for (const shard of shards) {
    events += shard.events_per_1000_s;
    const budget = shard.replay_budget_seconds;
    if (budget != null && (least == null || budget < least.replay_budget_seconds)) least = shard;
  }
  const connected = status.slaves.filter((slave) => slave.connected).length;
  tile("tile-events", rate(events), `${count(status.slaves.length, "slave")}, ${connected === status.slaves.length ? "all connected" : `${connected} connected`}`,
    connected === status.slaves.length ? "" : "bad");
  const low = least && least.replay_budget_seconds < 10;
  tile("tile-replay", least ? span(least.replay_budget_seconds * 1000) : "–",
    least ? `at least: shard ${least.shard}, ${rate(least.events_per_1000_s)}` : "no shard gets events", low ? "busy" : "");
  identify(status);
}

/** What Discord allows, against what a cold start of the fleet would cost. */
function identify(status) {
  const left = status.identifies_left;
  const limit = status.identifies_limit ?? status.identifies_total;
  const meter = byId("tile-identify").querySelector(".meter");
  meter.hidden = left == null || !limit;
  if (left == null) return tile("tile-identify", "–", "not known: Discord was not asked, or did not answer");
  const few = left < status.shard_count;
  const reset = `resets in ${span(status.identifies_reset_ms)}`;
  const { identifies_waiting: waiting, identifies_refused: refused } = status;
  const storm = status.identifies_held;
  const held = waiting && (storm || refused || left <= (status.identifies_reserve ?? 0));
  const why = storm ? `held up: ${storm}` : refused ? `refused ${count(refused, "time")} in a row` : "the rest is kept: baton-master identify";
  tile("tile-identify", limit ? `${number(left)} of ${number(limit)}` : `${number(left)} left`,
    held ? `${count(waiting, "shard")} waiting, ${why}; ${reset}` : few ? `fewer than shards; ${reset}` : reset,
    held ? "bad" : few ? "busy" : "");
  if (limit) meter.firstChild.style.width = `${Math.min(100, (100 * left) / limit)}%`;
}

/** Findings that are not ok, errors first. */
export function showDoctor(status) {
  const found = (status.doctor ?? []).filter(({ level }) => level !== "ok");
  found.sort((a, b) => (a.level === "error" ? 0 : 1) - (b.level === "error" ? 0 : 1));
  const box = byId("doctor");
  box.hidden = found.length === 0;
  box.dataset.findings = found.length;
  fill(box.querySelector("ul"), JSON.stringify(found), () =>
    found.map(({ check, level, shard, detail, next }) =>
      el("li", { class: level === "error" ? "bad" : "busy", data: { check, level } },
        el("span", { class: "level" }, level),
        el("div", {}, el("b", {}, shard == null ? check : `${check}, shard ${shard}`), el("p", {}, detail), next && el("p", { class: "faint" }, `Next: ${next}`)),
      ),
    ),
  );
}

/** Resident memory by slave, out of the text for Prometheus: the status has none. */
export function readMemory(text) {
  const memory = new Map();
  for (const line of text.split("\n")) {
    if (!line.startsWith("baton_slave_resident_memory_bytes{")) continue;
    const slave = /[{,]slave="([0-9a-f]+)"/.exec(line)?.[1];
    const value = Number(line.slice(line.lastIndexOf("}") + 1).trim().split(" ")[0]);
    if (slave && Number.isFinite(value)) memory.set(slave, value);
  }
  return memory;
}
