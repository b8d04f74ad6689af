// The other hosts of the fleet, where there are any: their agents, and what is there.

import { age, byId, fillNotes, fillRows, number, span } from "./text.js";

export function showHosts(status) {
  const hosts = status.hosts ?? [];
  byId("hosts").hidden = hosts.length === 0;
  fillRows(byId("host-rows"), hosts.map(rowOf));
  fillNotes(byId("host-notes"), hosts.flatMap(notesOf));
}

function rowOf({ host, connected, since_ms: since, program, slots, slaves, slaves_away: away }) {
  return [
    [host, ""],
    [connected ? "connected" : "away", connected ? "good" : "bad"],
    [program ?? "–", ""],
    [slots.join(", ") || "–", ""],
    [since == null ? "–" : age(since), "n"],
    [number(slaves), "n"],
    [number(away), `n ${away ? "bad" : ""}`],
  ];
}

/** What an operator may have to do something about. */
function notesOf({ host, connected, since_ms: since, slaves_away: away }) {
  if (connected) return [];
  const what = since == null ? "has not come" : `has been away for ${span(since)}`;
  const gone = away ? " If the host is gone, and only then: baton-master fence --host " + host : "";
  return [["bad", `The agent of host ${host} ${what}: nothing can be started there, and no death there is known.${gone}`]];
}
