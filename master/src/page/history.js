// The last deploys: a line each, and one of them in full.

import { histogram, spread, timeline } from "./charts.js";
import { outcomeLook, outcomeText } from "./deploy.js";
import { buildColour } from "./glyphs.js";
import { swatch } from "./shards.js";
import { byId, count, el, fill, number, span } from "./text.js";

/** Which one is shown in full; `null`: the newest. */
let chosen = null;
let known = [];
let fleet = null;

/** What `GET /v1/deploys` says, newest last there and first here. */
export function takeDeploys(answer) {
  known = [...(answer.deploys ?? [])].reverse();
  // A deploy that began is news: show it, not the one that was looked at before.
  if (known[0] && chosen != null && !known.some(({ deploy }) => deploy === chosen)) chosen = null;
}

/** From which build to which a deploy went. */
export const buildsOf = (deploy) => known.find((one) => one.deploy === deploy);

export function showHistory(of) {
  fleet = of;
  byId("history").hidden = known.length === 0;
  byId("history").dataset.deploys = known.length;
  if (!known.length) return;
  const current = known.find(({ deploy }) => deploy === chosen) ?? known[0];
  // Ages are as coarse as they are shown.
  const key = JSON.stringify([current.deploy, known.map((one) => [one.deploy, one.outcome, span(fleet.sinceUnixMs(one.began_unix_ms))])]);
  const body = byId("deploys").tBodies[0];
  const focused = body.contains(document.activeElement) ? document.activeElement.dataset.choose : null;
  const before = body.drawnKey;
  fill(body, key, () => known.map((one) => row(one, one === current)));
  if (focused && before !== key) body.querySelector(`[data-choose="${focused}"]`)?.focus();
  const room = byId("chosen").clientWidth;
  fill(byId("chosen"), JSON.stringify([room, current]), () => inFull(current, room));
  byId("chosen").dataset.deploy = current.deploy;
}

function builds(one) {
  return el("span", { class: "builds" },
    swatch(buildColour(one.from)), el("b", { class: "build", title: one.from }, one.from ?? "–"),
    el("span", { class: "arrow", "aria-label": "to" }, "→"),
    swatch(buildColour(one.to)), el("b", { class: "build", title: one.to }, one.to ?? "–"),
  );
}

function row(one, isChosen) {
  const gaps = spread(one.gaps_ms ?? []);
  const choose = el("button", { type: "button", class: "plain", data: { choose: one.deploy }, "aria-pressed": String(isChosen) }, String(one.deploy));
  const line = el("tr", { class: isChosen ? "chosen-row" : null, data: { deploy: one.deploy, outcome: one.outcome } },
    el("th", { scope: "row" }, choose),
    el("td", {}, builds(one)),
    el("td", {}, el("span", { class: `badge ${outcomeLook(one.outcome)}`, title: one.reason }, outcomeText(one.outcome))),
    el("td", { class: "n" }, number(one.shards)),
    el("td", { class: "n" }, gaps ? span(gaps.p50) : "–"),
    el("td", { class: "n" }, gaps ? span(gaps.most) : "–"),
    el("td", { class: "n" }, span(one.took_ms)),
    el("td", { class: "n", title: new Date(one.began_unix_ms).toLocaleString() }, `${span(fleet.sinceUnixMs(one.began_unix_ms))} ago`),
  );
  line.addEventListener("click", () => {
    chosen = one.deploy;
    showHistory(fleet);
  });
  return line;
}

function inFull(one, room) {
  const gaps = one.gaps_ms ?? [];
  const { drawing, spans } = timeline(one, room);
  const bars = histogram(gaps, room);
  return [
    el("h3", {}, `Deploy ${one.deploy} `, el("span", { class: "faint" }, `slot ${one.slot}, ${span(one.took_ms)}`)),
    one.reason && el("p", { class: "reason" }, one.reason),
    drawing,
    el("ol", { class: "spans" }, ...spans.map(({ step, ms, kind }) =>
      el("li", {}, el("i", { class: `swatch ${kind}`, "aria-hidden": "true" }), step, " ", el("span", { class: "faint" }, span(ms))))),
    bars && el("h3", {}, "Gaps ", el("span", { class: "faint" }, `${count(gaps.length, "shard")}; for how long each was nobody's`)),
    bars ?? el("p", { class: "faint" }, "No shard was sealed: no gap."),
  ].filter(Boolean);
}
