// Local clients of slaves, where a slave serves some: who is there, who is behind, what is kept.

import { age, byId, bytes, count, fillNotes, fillRows, number, short, span } from "./text.js";

/** A client that restarts is back sooner. */
const SOON = 10_000;
/** Refusals of the last ten minutes are shown. */
const LATELY = 600_000;

const look = (share) => (share >= 75 ? "bad" : share >= 25 ? "busy" : "");
const share = (bytes, limit) => (limit ? Math.floor((100 * bytes) / limit) : 0);

export function showClients(status) {
  // A slave without shards serves nobody yet.
  const served = status.slaves.filter((slave) => slave.clients && slave.shards);
  const box = byId("clients");
  box.hidden = served.length === 0;
  fillRows(byId("client-rows"), served.map(rowOf));
  fillNotes(byId("client-notes"), served.flatMap(notesOf));
}

function rowOf({ slave, slot, clients }) {
  const { attended, unattended, libraries, behind, lost, passed_by: passed } = clients;
  const all = share(clients.kept_bytes, clients.kept_limit);
  const one = share(clients.fullest_bytes, clients.shard_limit);
  const most = behind[0] ? behind[0].unsent + behind[0].unacknowledged : 0;
  return [
    [`${slot} · ${short(slave)}`],
    [`${clients.passed ? "the master's " : ""}${clients.address}`, clients.listening ? "" : "bad"],
    [`${number(attended)} of ${number(attended + unattended)}`, `n ${unattended ? "busy" : ""}`],
    [libraries.map((library) => `${number(library.clients)} ${library.name}`).join(", ") || "none"],
    [number(most), "n"],
    [`${bytes(clients.kept_bytes)} of ${bytes(clients.kept_limit)}`, `n ${look(all)}`],
    [`${one} %`, `n ${look(one)}`],
    [span(clients.keep_ms), "n"],
    [number(clients.resumes), "n"],
    [number(clients.takeovers), "n"],
    [number(lost + passed), `n ${lost + passed ? "bad" : ""}`],
  ];
}

/** What an operator may have to do something about. */
function notesOf({ clients }) {
  const notes = [];
  if (!clients.listening) {
    notes.push(["bad", `Another process has ${clients.address}: no client can connect.`]);
  }
  for (const { shard, away_ms: away, waiting } of clients.absent) {
    if (away >= SOON) notes.push(["busy", `Shard ${shard} has had no client for ${age(away)}; ${count(waiting, "event")} wait.`]);
  }
  for (const { shard, events, bytes: size, oldest_ms: oldest, full_ms: full, gives_up_ms: soon } of clients.waiting ?? []) {
    if (soon == null && oldest < SOON) continue;
    const parts = [`Shard ${shard} keeps ${count(events, "event")} (${bytes(size)}), the oldest for ${age(oldest)}`];
    if (full != null) parts.push(`nothing is taken from Discord for ${age(full)}`);
    if (soon != null) parts.push(`given up in ${age(soon)}`);
    notes.push([full == null ? "busy" : "bad", `${parts.join("; ")}.`]);
  }
  for (const { shard, events, reason, ago_ms: ago } of clients.given_up ?? []) {
    notes.push(["bad", `${count(events, "event")} of shard ${shard} given up ${age(ago)} ago: ${reason}.`]);
  }
  for (const { code, count: times, reason, ago_ms: ago } of clients.refused) {
    if (ago < LATELY) notes.push(["busy", `Refused ${count(times, "time")} with ${code}, ${age(ago)} ago: ${reason}`]);
  }
  return notes;
}
