// Brokers to which slaves publish, where a slave does: what waits, how confirms go, what is the matter.

import { age, byId, count, fillNotes, fillRows, number, short, span } from "./text.js";

/** For how long Discord keeps what waits: an operator has to hurry. */
const HURRY = 60_000;

const time = (micros) => (micros < 10_000 ? `${(micros / 1000).toFixed(1)} ms` : span(Math.round(micros / 1000)));

export function showSinks(status) {
  // One without shards publishes nothing, but for what its last ones left.
  const sinks = status.slaves.filter(({ sink, shards }) => sink && (shards || sink.waiting));
  byId("sinks").hidden = sinks.length === 0;
  fillRows(byId("sink-rows"), sinks.map(rowOf));
  fillNotes(byId("sink-notes"), sinks.flatMap(notesOf));
}

function rowOf({ slave, slot, sink }) {
  const troubled = sink.troubled_ms != null;
  return [
    [`${slot} · ${short(slave)}`],
    [sink.broker, troubled ? "bad" : ""],
    [number(sink.waiting), "n"],
    [number(sink.confirmed), "n"],
    [time(sink.confirm_p50_us), "n"],
    [time(sink.confirm_p99_us), `n ${sink.confirm_p99_us >= 1e6 ? "busy" : ""}`],
    [number(sink.retries), "n"],
    [number(sink.repeats), "n"],
    [troubled ? age(sink.troubled_ms) : "–", `n ${troubled ? "bad" : ""}`],
    [coverOf(sink), `n ${troubled && sink.covered_ms != null && sink.covered_ms < HURRY ? "bad" : ""}`],
  ];
}

function coverOf({ troubled_ms: troubled, covered_ms: covered }) {
  if (troubled == null) return "–";
  if (covered == null) return "not known";
  return covered ? span(covered) : "no more";
}

/** What an operator may have to do something about. */
function notesOf({ sink }) {
  if (sink.troubled_ms == null) return [];
  const since = new Date(Date.now() - sink.troubled_ms).toLocaleTimeString();
  return [["bad", `${sink.broker} has taken nothing since ${since}: ${sink.reason}. ${count(sink.waiting, "event")} wait, and go there by themselves.`]];
}
