// What happened, also before this page was opened and under earlier masters: alarms,
// slaves that came and went, sessions that were lost, deploys. Migrations are left
// out: the map shows them.

import { get } from "./api.js";
import { age, byId, el, fill, short, span } from "./text.js";

const MOST = 60;
const BACK = 24 * 3_600_000;

/** What the master keeps, oldest first. */
let kept = [];
/** What it does not keep and this page saw. */
const seen = [];

/** How a death is known; of a process that ended `slave_ended` says more. */
const DEAD_BY = { lease: ": its lease ran out", operator: " by the operator's word" };

const STORIES = {
  alarm: ({ detail, left_out: more }) => ["bad", `${detail}${more ? ` (and ${more} more like it)` : ""}`],
  disbelieved: ({ slave, detail }) => ["bad", `Slave ${short(slave)} is not believed: ${detail}`],
  session_lost: ({ shard, slave }) => ["bad", `Discord ended the session of shard ${shard} at slave ${short(slave)}: a span of its events is lost`],
  state_lost: ({ shard, slave }) => ["bad", `The state of shard ${shard} was lost: slave ${short(slave)} asks for a new session`],
  event_given_up: ({ shard, sequence, kind, guild }) => ["bad", `Event ${sequence} (${kind ?? "of an unknown type"}, guild ${guild ?? "unknown"}) of shard ${shard} was given up: nobody finished it in time`],
  slave_joined: ({ slave, build, slot, back, host }) => ["", `Slave ${short(slave)} (build ${build}) ${back ? "is back" : "joined"} in slot ${slot}${host ? `, host ${host}` : ""}`],
  slave_gone: ({ slave, dead, evidence }) => ["", `Slave ${short(slave)} ${dead ? `is dead${DEAD_BY[evidence] ?? ""}` : "is not connected any more"}`],
  agent_joined: ({ host, program }) => ["", `The agent of host ${host} (version ${program}) joined`],
  agent_gone: ({ host }) => ["bad", `The agent of host ${host} is away: nothing can be started there`],
  // One that was told to leave ends well.
  slave_ended: ({ slot, build, pid, ending, lived_ms: lived }) => [ending === "exit code 0" ? "" : "bad", `Slot ${slot}: ${build ? `build ${build}, process ${pid}` : `process ${pid}, before it joined`}: ${ending}${lived == null ? "" : ` after ${span(lived)}`}`],
  fenced: ({ slave }) => ["busy", `Slave ${short(slave)} is dead by the operator's word`],
  rollout_ended: ({ reason, done, left }) => reason ? ["bad", `The deploy of all slots stopped: ${reason}; done: ${done.join(", ") || "none"}; not begun: ${left.join(", ") || "none"}`] : ["good", `Every slot has the new build: ${done.join(", ")}`],
  arranged: ({ order, hosts, moves }) => ["", `An operator ordered: ${order} ${[hosts.join(" "), moves.map((it) => `shards ${it.shards} to ${it.to}`).join(", ")].filter(Boolean).join(": ")}`],
  launching: ({ slot, attempt, backoff_ms }) => [attempt ? "busy" : "", `A slave is started into slot ${slot}${attempt ? `, ${attempt} failed in a row; the next attempt waits ${span(backoff_ms)}` : ""}`],
  soak_shortened: ({ deploy, shard, per_second, soak_ms, asked_ms }) => ["busy", `The soak of deploy ${deploy} is ${span(soak_ms)} instead of ${span(asked_ms)}: shard ${shard} gets ${per_second} events/s, and what Discord replays covers no more`],
  deploy_accepted: ({ deploy }) => ["", `Deploy ${deploy} began`],
  deploy_ended: ({ deploy, outcome, text }) => [outcome === "done" ? "good" : "bad", `Deploy ${deploy}: ${text}`],
  deploy_cut_off: ({ deploy }) => ["bad", `Deploy ${deploy} has no end: its master was killed. What had moved stays, and the rest follows in another deploy`],
  master_started: () => ["", "The master started"],
  master_left: () => ["", "The master left, as it was asked to"],
};

/** These alone are only seen here. */
const PASSING = new Set(["launching"]);

/** Whether it is something that the master keeps: then the history is worth a look. */
export function note(event, fleet) {
  if (!(event.type in STORIES)) return false;
  if (!PASSING.has(event.type)) return true;
  seen.push({ ...event, at_unix_ms: fleet.nowUnixMs() });
  if (seen.length > MOST) seen.shift();
  return false;
}

/** Reads what happened of late. A master that does not know is no reason to stop. */
export async function lookBack(fleet) {
  const answer = await get(`/v1/history?since=${Math.max(0, Math.floor(fleet.nowUnixMs() - BACK))}`);
  kept = answer.events ?? [];
}

export function showNews(fleet) {
  const events = [...kept, ...seen].filter(({ type }) => type in STORIES);
  events.sort((a, b) => b.at_unix_ms - a.at_unix_ms);
  const shown = events.slice(0, MOST).map((event) => {
    const [style, text] = STORIES[event.type](event);
    const ms = fleet.sinceUnixMs(event.at_unix_ms);
    return [event.type, style, text, ms < 5000 ? "now" : `${age(ms)} ago`, event.at_unix_ms];
  });
  byId("news").hidden = shown.length === 0;
  fill(byId("news").querySelector("ul"), JSON.stringify(shown), () =>
    shown.map(([type, style, text, when, at]) =>
      el("li", { class: style, data: { type } }, el("span", { class: "when faint", title: new Date(at).toLocaleString() }, when), el("span", {}, text))),
  );
}
