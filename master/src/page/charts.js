// Drawings of one deploy: where its time went, and how its gaps are spread.

import { span, svg } from "./text.js";

/** As wide as there is room, so that its letters are as large as others. */
const fit = (width) => Math.max(260, Math.min(700, Math.round(width)));

/** 1, 2, 5, 10, 20, 50, ...: the largest that is at most `value`, or the next above. */
function round125(value, up) {
  const power = 10 ** Math.floor(Math.log10(value));
  const steps = [1, 2, 5, 10].map((step) => step * power);
  return up ? steps.find((step) => step >= value * 0.999) : steps.findLast((step) => step <= value * 1.001);
}

function ticks(low, high) {
  const all = [];
  for (let tick = low; tick <= high * 1.001; tick = round125(tick * 1.5, true)) all.push(tick);
  return all.length > 8 ? all.filter((tick) => Number.isInteger(Math.round(Math.log10(tick) * 1e6) / 1e6)) : all;
}

/** At the part of an ascending list. */
const part = (sorted, of) => sorted[Math.ceil((sorted.length - 1) * of)];

export function spread(gaps) {
  const sorted = [...gaps].sort((a, b) => a - b);
  return sorted.length ? { sorted, p50: part(sorted, 0.5), p99: part(sorted, 0.99), most: sorted.at(-1) } : null;
}

/** Bars on a logarithmic scale: one slow shard must not squeeze the others into one bar. */
export function histogram(gaps, room) {
  const width = fit(room);
  const known = spread(gaps);
  if (!known) return null;
  const { sorted, p50, p99, most } = known;
  const top = 22;
  const floor = 118;
  const low = round125(Math.max(0.1, sorted[0]), false);
  const high = Math.max(round125(Math.max(0.1, most), true), low * 10);
  const place = (ms) => (width * Math.log(Math.max(ms, low) / low)) / Math.log(high / low);
  const bins = new Array(width < 400 ? 28 : 44).fill(0);
  for (const gap of sorted) bins[Math.min(bins.length - 1, Math.floor((place(gap) / width) * bins.length))] += 1;
  const tallest = Math.max(...bins);
  const step = width / bins.length;
  const drawing = svg("svg", { viewBox: `0 0 ${width} 142`, class: "histogram", role: "img",
    "aria-label": `Gaps of ${sorted.length} shards: half of them at most ${span(p50)}, 99 of 100 at most ${span(p99)}, the slowest ${span(most)}` });
  for (const tick of ticks(low, high)) {
    const x = place(tick);
    const anchor = x < 12 ? "start" : x > width - 12 ? "end" : "middle";
    drawing.append(
      svg("line", { class: "grid", x1: x, x2: x, y1: top, y2: floor }),
      svg("text", { x, y: floor + 16, "text-anchor": anchor }, span(tick)),
    );
  }
  bins.forEach((held, at) => {
    if (!held) return;
    const height = Math.max(2, ((floor - top - 4) * held) / tallest);
    const bar = svg("rect", { class: "gap", x: at * step + 1, y: floor - height, width: step - 2, height, rx: 1.5 });
    const edge = (index) => low * (high / low) ** (index / bins.length);
    bar.append(svg("title", {}, `${held} with ${edge(at).toPrecision(2)} to ${edge(at + 1).toPrecision(2)} ms`));
    drawing.append(bar);
  });
  drawing.append(svg("line", { class: "floor", x1: 0, x2: width, y1: floor, y2: floor }));
  let taken = -Infinity;
  for (const [name, ms] of [["p50", p50], ["p99", p99]]) {
    const x = Math.min(place(ms), width - 1);
    const text = `${name} ${span(ms)}`;
    const wide = text.length * 6.4;
    const from = Math.max(Math.min(x - wide / 2, width - wide), 0, taken + 8);
    drawing.append(svg("line", { class: "mark", x1: x, x2: x, y1: top - 4, y2: floor }));
    if (from + wide <= width + 2) drawing.append(svg("text", { class: "mark", x: from, y: 11 }, text));
    taken = from + wide;
  }
  return drawing;
}

/** Which kind a step is, for its colour; steps of a later master get the neutral one. */
function kind(step) {
  if (/roll|back|fail|abort/.test(step)) return "back";
  if (/mov|canary/.test(step)) return "moving";
  if (/soak/.test(step)) return "soaking";
  return "other";
}

/** The steps of a deploy on one line, each as long as it took. */
export function timeline(deploy, room) {
  const width = fit(room);
  const steps = deploy.steps ?? [];
  const total = Math.max(deploy.took_ms, steps.at(-1)?.at_ms ?? 0, 1);
  // What took no time is still to be seen; the rest shares what is left.
  const least = 5;
  const spans = steps.map(({ step, at_ms }, at) => ({ step, ms: (steps[at + 1]?.at_ms ?? total) - at_ms }));
  const rest = width - least * spans.length;
  const drawing = svg("svg", { viewBox: `0 0 ${width} 18`, class: "timeline", role: "img",
    "aria-label": `${span(deploy.took_ms)}: ${spans.map(({ step, ms }) => `${step} ${span(ms)}`).join(", ")}` });
  let x = 0;
  for (const { step, ms } of spans) {
    const wide = least + (rest * ms) / total;
    drawing.append(svg("rect", { class: kind(step), x, y: 1, width: Math.max(1, wide - 2), height: 16, rx: 3 }, svg("title", {}, `${step}: ${span(ms)}`)));
    x += wide;
  }
  return { drawing, spans: spans.map((one) => ({ ...one, kind: kind(one.step) })) };
}
