// The deploy that runs, or what is left of the last one.

import { buildColour, colourOf } from "./glyphs.js";
import { buildOf, swatch } from "./shards.js";
import { age, byId, count, el, fill, number, say, short, span } from "./text.js";

/** Steps of a deploy in their order, as a person calls them. */
const STEPS = [
  ["starting", "Launched", "The new slave starts."],
  ["preparing", "Joined", "The new slave builds its bot."],
  ["canary", "Canary", "The first shards move alone."],
  ["moving", "Moving", "The other shards move."],
  ["work", "Work", "The once-per-bot work moves."],
  ["soaking", "Soaking", ""],
  ["retiring", "Retiring", "The old slave is told to leave."],
];

const OUTCOMES = {
  done: "done", aborted: "aborted", rolled_back: "rolled back", forced: "forced", handed_on: "handed on",
};

export const outcomeText = (outcome) => OUTCOMES[outcome] ?? outcome;

/** `done` is good; `forced` and `handed_on` left something to know; the rest failed. */
export const outcomeLook = (outcome) =>
  outcome === "done" ? "good" : outcome === "forced" || outcome === "handed_on" ? "busy" : "bad";

export function showDeploy(fleet) {
  const { status } = fleet;
  const box = byId("deploy");
  if (status.deploy) running(fleet, box, status.deploy);
  else if (status.last_deploy) ended(fleet, box, status.last_deploy);
  else none(box);
}

function frame(box, { stage, outcome = "", title, badge, look, note = "", bar = null }) {
  box.dataset.stage = stage;
  box.dataset.outcome = outcome;
  say(byId("deploy-title"), title);
  const mark = byId("deploy-stage");
  say(mark, badge);
  mark.className = `badge ${look}`;
  // Read aloud without the figures that run.
  say(byId("deploy-said"), stage === "none" ? `${title}: ${badge}` : `${title}: ${stage}`);
  say(byId("deploy-note"), note);
  byId("deploy-bar").hidden = bar == null;
}

function none(box) {
  frame(box, { stage: "none", title: "Deploy", badge: "none yet", look: "", note: "No deploy since this master started." });
  fill(byId("deploy-way"), "none", () => []);
  fill(byId("deploy-facts"), "none", () => []);
  fill(byId("deploy-steps"), "none", () => []);
  byId("deploy-reason").hidden = true;
}

function running(fleet, box, deploy) {
  const { run } = fleet;
  const back = deploy.step === "rolling back";
  const moved = movedNow(fleet, deploy);
  box.dataset.deploy = deploy.deploy;
  box.dataset.moved = moved;
  frame(box, {
    stage: deploy.step,
    title: `Deploy ${deploy.deploy}`,
    badge: badge(deploy, run, moved),
    look: back ? "bad" : deploy.step === "paused" ? "busy" : "on",
    note: note(deploy, run),
    bar: moved,
  });
  bar(fleet, deploy, moved);
  way(fleet, deploy);
  const slowest = run && [...run.gaps].reduce((worst, gap) => (worst && worst[1] >= gap[1] ? worst : gap), null);
  const lasted = run?.firstUs == null ? 0 : (run.lastUs ?? run.firstUs) - run.firstUs;
  const facts = [
    ["Moved", `${number(moved)} of ${number(deploy.total)}`],
    ["In hand", `${number(deploy.in_hand)}, at most ${number(deploy.at_once)}`],
    ["Pace", run && run.moved > 1 && lasted > 0 ? `${number(Math.round((run.moved * 1e6) / lasted))} shards/s` : "–"],
    ["Slowest gap", slowest ? `${span(slowest[1])} (shard ${slowest[0]})` : "–"],
    ["Slot", deploy.slot],
    ["Running for", run?.beganAt == null ? "–" : age(performance.now() - run.beganAt)],
  ];
  showFacts(facts);
  steps(run, deploy, moved);
  byId("deploy-reason").hidden = true;
}

/** The events are ahead of the status: the shards of the slot are counted. */
function movedNow(fleet, deploy) {
  if (!deploy.to) return 0;
  let moved = 0;
  for (const { owner, state } of fleet.shards) moved += owner === deploy.to && state === "serving" ? 1 : 0;
  return moved;
}

function badge(deploy, run, moved) {
  switch (deploy.step) {
    case "moving":
      return `moving ${number(moved)} of ${number(deploy.total)}`;
    case "soaking": {
      const left = soakLeft(deploy, run);
      return left == null ? "soaking" : `soaking, ${Math.ceil(left / 1000)} s left`;
    }
    default:
      return deploy.step;
  }
}

function soakLeft(deploy, run) {
  if (deploy.soak_left_ms != null) return deploy.soak_left_ms;
  if (run?.soakAt == null || deploy.soak_ms == null) return null;
  return Math.max(0, deploy.soak_ms - (performance.now() - run.soakAt));
}

function note(deploy, run) {
  if (deploy.step === "rolling back") return "What moved goes back to the old slave.";
  if (deploy.step === "paused") return "Held: shards in hand finish, no further one begins.";
  if (deploy.step !== "soaking") return STEPS.find(([step]) => step === deploy.step)?.[2] ?? "";
  if (deploy.soak_ms == null || deploy.soak_ms === deploy.soak_asked_ms) return "The old slave stays ready to take everything back.";
  return `The soak is ${span(deploy.soak_ms)} instead of ${span(deploy.soak_asked_ms)}: what Discord replays covers no more.`;
}

function bar(fleet, deploy, moved) {
  const box = byId("deploy-bar");
  const part = (value) => `${deploy.total ? (100 * value) / deploy.total : 0}%`;
  box.className = `bar from-${colourOf(deploy.from)} to-${colourOf(deploy.to)}`;
  box.setAttribute("aria-valuemax", deploy.total);
  box.setAttribute("aria-valuenow", moved);
  box.querySelector(".moved").style.width = part(moved);
  box.querySelector(".hand").style.width = part(Math.min(deploy.in_hand, deploy.total - moved));
}

function way(fleet, deploy) {
  const side = (slave, otherwise) =>
    slave
      ? el("span", { class: "side" }, swatch(colourOf(slave)), el("b", { title: buildOf(fleet, slave) }, buildOf(fleet, slave)), el("span", { class: "faint" }, short(slave)))
      : el("span", { class: "side faint" }, otherwise);
  const key = JSON.stringify([deploy.from, deploy.to, buildOf(fleet, deploy.from), buildOf(fleet, deploy.to), colourOf(deploy.to)]);
  fill(byId("deploy-way"), key, () => [
    side(deploy.from, "an empty slot"),
    el("span", { class: "arrow", "aria-label": "to" }, "→"),
    side(deploy.to, "not joined yet"),
  ]);
}

function showFacts(facts) {
  const box = byId("deploy-facts");
  fill(box, JSON.stringify(facts.map(([name]) => name)), () =>
    facts.map(([name]) => el("div", {}, el("dt", {}, name), el("dd", {}))),
  );
  facts.forEach(([, text], at) => say(box.children[at].lastChild, text));
}

function steps(run, deploy, moved) {
  const seen = new Map((run?.steps ?? []).map(({ step, atUs }) => [step, atUs]));
  const list = [...STEPS];
  if (seen.has("paused")) list.splice(4, 0, ["paused", "Paused", ""]);
  if (seen.has("rolling back")) list.push(["rolling back", "Rolling back", ""]);
  const at = list.findIndex(([step]) => step === deploy.step);
  const rows = list.map(([step, name], index) => {
    const reached = seen.get(step);
    const since = reached != null && run.beganUs != null ? span(Math.floor((reached - run.beganUs) / 1000)) : "";
    const how = index === at ? "now" : index < at && (seen.has(step) || !run?.beganUs) ? "past" : index < at ? "left-out" : "next";
    return [step, name, how, index === at && step === "moving" ? `${number(moved)} of ${number(deploy.total)}` : since];
  });
  fill(byId("deploy-steps"), JSON.stringify(rows), () =>
    rows.map(([step, name, how, text]) =>
      el("li", { class: how, data: { step }, "aria-current": how === "now" ? "step" : null }, el("span", {}, name), el("span", { class: "faint" }, text)),
    ),
  );
}

function ended(fleet, box, last) {
  const ago = last.ended_ms_ago + performance.now() - fleet.asOf;
  const reason = last.outcome === "done" ? "" : (last.text ?? "");
  box.dataset.deploy = last.deploy;
  box.dataset.moved = last.moved;
  frame(box, {
    stage: "none",
    outcome: last.outcome,
    title: `Last deploy: ${last.deploy}`,
    badge: outcomeText(last.outcome),
    look: outcomeLook(last.outcome),
    note: `Ended ${age(ago)} ago. No deploy runs.`,
  });
  const builds = fleet.lastBuilds?.(last.deploy);
  fill(byId("deploy-way"), JSON.stringify(["ended", builds]), () =>
    builds
      ? [
          el("span", { class: "side" }, swatch(buildColour(builds.from)), el("b", { title: builds.from }, builds.from ?? "nobody")),
          el("span", { class: "arrow", "aria-label": "to" }, "→"),
          el("span", { class: "side" }, swatch(buildColour(builds.to)), el("b", { title: builds.to }, builds.to ?? "never joined")),
        ]
      : [],
  );
  const gap = last.gap;
  showFacts([
    ["At the new build", count(last.moved, "shard")],
    ["Moving took", span(last.migrating_ms)],
    ["In all", span(last.total_ms)],
    ["Gap p50", gap ? span(gap.p50_ms) : "–"],
    ["Gap p99", gap ? span(gap.p99_ms) : "–"],
    ["Slowest gap", gap ? span(gap.max_ms) : "–"],
  ]);
  fill(byId("deploy-steps"), "ended", () => []);
  const why = byId("deploy-reason");
  why.hidden = !reason;
  say(why, reason);
}
