// What an operator may want to read back: slaves that came and went, sessions
// that were lost, alarms. Migrations are left out: the map shows them.

import { age, byId, el, fill, short, span } from "./text.js";

const MOST = 30;
const list = [];

const STORIES = {
  alarm: ({ detail }) => ["bad", detail],
  session_lost: ({ shard, slave }) => ["bad", `Discord ended the session of shard ${shard} at slave ${short(slave)}: a span of its events is lost`],
  slave_joined: ({ slave, build, slot, back }) => ["", `Slave ${short(slave)} (build ${build}) ${back ? "is back" : "joined"} in slot ${slot}`],
  slave_gone: ({ slave, dead }) => [dead ? "" : "busy", `Slave ${short(slave)} ${dead ? "is dead" : "is not connected any more"}`],
  fenced: ({ slave }) => ["busy", `Slave ${short(slave)} is dead by the operator's word`],
  launching: ({ slot, attempt, backoff_ms }) => [attempt ? "busy" : "", `A slave is started into slot ${slot}${attempt ? `, ${attempt} failed in a row; the next attempt waits ${span(backoff_ms)}` : ""}`],
  soak_shortened: ({ deploy, shard, per_second, soak_ms, asked_ms }) => ["busy", `The soak of deploy ${deploy} is ${span(soak_ms)} instead of ${span(asked_ms)}: shard ${shard} gets ${per_second} events/s, and what Discord replays covers no more`],
  deploy_accepted: ({ deploy }) => ["", `Deploy ${deploy} began`],
  deploy_ended: ({ deploy, outcome, text }) => [outcome === "done" ? "good" : "bad", `Deploy ${deploy}: ${text}`],
};

/** Whether it is something to tell. */
export function note(event) {
  const story = STORIES[event.type]?.(event);
  if (!story) return;
  list.unshift({ type: event.type, at: performance.now(), style: story[0], text: story[1] });
  list.length = Math.min(list.length, MOST);
}

export function showNews() {
  byId("news").hidden = list.length === 0;
  const now = performance.now();
  const shown = list.map((one) => [one.type, one.style, one.text, now - one.at < 5000 ? "now" : `${age(now - one.at)} ago`]);
  fill(byId("news").querySelector("ul"), JSON.stringify(shown), () =>
    shown.map(([type, style, text, when]) => el("li", { class: style, data: { type } }, el("span", { class: "when faint" }, when), el("span", {}, text))),
  );
}
