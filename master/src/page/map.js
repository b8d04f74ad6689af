// The map: one cell a shard, on a canvas.
//
// Elements would do for 64 shards and not for 20,000. A cell is drawn when what
// it shows changed and at no other time; what a hand or a key points at is an
// element above the canvas, so that moving it draws nothing.

import { NOBODY, colourOf, drawCell, readTheme, stateIndex } from "./glyphs.js";

/** Columns that people can count by. */
const COLUMNS = [4, 8, 10, 16, 20, 24, 32, 40, 48, 50, 64, 80, 96, 100, 128, 160, 200, 256, 320];
const LARGEST = 56;
const SMALLEST = 5;

export class ShardMap {
  #box;
  #canvas;
  #ctx;
  #ring;
  #fleet;
  #picked;
  #theme = readTheme();
  /** What each cell shows. */
  #drawn = new Uint16Array(0);
  #plan = { columns: 1, pitch: 10, size: 8, left: 0, ratio: 1, width: 0 };
  #frame = 0;
  /** The shard that was chosen to stay, and the one under the hand. */
  chosen = null;
  #under = null;
  /** How long drawing took, for measurements: `document.getElementById("map").map.frames`. */
  frames = [];

  /** `picked(shard, chosen)` is told what is pointed at; `chosen`: on purpose. */
  constructor(box, fleet, picked) {
    this.#box = box;
    this.#canvas = box.querySelector("canvas");
    this.#ctx = this.#canvas.getContext("2d");
    this.#ring = box.querySelector(".ring");
    this.#fleet = fleet;
    this.#picked = picked;
    box.map = this;
    // Its height is ours: only another width is another layout.
    new ResizeObserver(() => this.#plan.width === box.clientWidth || this.anew()).observe(box);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      this.#theme = readTheme();
      this.anew();
    });
    box.addEventListener("pointermove", (event) => this.#point(event));
    box.addEventListener("pointerleave", () => this.#point(null));
    box.addEventListener("click", (event) => this.choose(this.#hit(event)));
    box.addEventListener("keydown", (event) => this.#key(event));
    box.addEventListener("focus", () => this.#outline());
    box.addEventListener("blur", () => this.#outline());
  }

  get theme() {
    return this.#theme;
  }

  /** Everything is laid out and drawn again: another width, theme or count. */
  anew() {
    this.#plan.width = 0;
    this.#fleet.changed = null;
    this.wake();
  }

  /** Draws what changed, once, with the next frame. */
  wake() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      const began = performance.now();
      this.#draw();
      this.frames.push(performance.now() - began);
      if (this.frames.length > 600) this.frames.splice(0, 300);
    });
  }

  #draw() {
    const { shards } = this.#fleet;
    const width = this.#box.clientWidth;
    if (!shards.length || !width) return;
    if (this.#plan.width !== width || this.#drawn.length !== shards.length) this.#layout(width, shards.length);
    const { changed } = this.#fleet;
    if (changed) for (const at of changed) this.#cell(at, shards[at]);
    else for (let at = 0; at < shards.length; at += 1) this.#cell(at, shards[at]);
    this.#fleet.changed = new Set();
    let serving = 0;
    for (const shard of shards) serving += shard.state === "serving" ? 1 : 0;
    if (Number(this.#box.dataset.serving) !== serving) this.#box.dataset.serving = serving;
    if (Number(this.#box.dataset.shards) !== shards.length) this.#box.dataset.shards = shards.length;
  }

  #cell(at, shard) {
    const state = stateIndex(shard.state);
    const owner = shard.owner ? colourOf(shard.owner) : NOBODY;
    const next = shard.next ? colourOf(shard.next) : NOBODY;
    const shown = 1 + state + (owner << 4) + (next << 8);
    if (this.#drawn[at] === shown) return;
    this.#drawn[at] = shown;
    const { columns, pitch, size, left } = this.#plan;
    const x = left + (at % columns) * pitch;
    const y = Math.floor(at / columns) * pitch;
    drawCell(this.#ctx, x, y, size, state, owner, next, this.#theme);
  }

  /** Cells as large as the width and a calm height allow, on whole pixels of the screen. */
  #layout(width, count) {
    const ratio = Math.min(devicePixelRatio || 1, 3);
    const digits = String(count).length;
    const left = Math.round(ratio * (width < 480 ? 0 : digits * 7 + 10));
    const room = width * ratio - left;
    // Slaves and deploys are reached without scrolling past the map of a large bot.
    const part = count > 256 ? 0.36 : 0.6;
    const tall = Math.max(280, Math.min(500, innerHeight * part)) * ratio;
    let best = null;
    for (const columns of COLUMNS) {
      const pitch = Math.min(Math.floor(room / columns), LARGEST * ratio);
      if (best && pitch < SMALLEST * ratio) break;
      const height = Math.ceil(count / columns) * pitch;
      // A count that divides leaves no ragged row, a wide map no empty half; where nothing
      // fits, the lowest is best.
      const filled = Math.cbrt((columns * pitch) / room);
      const worth = height <= tall ? pitch * filled * (count % columns ? 1 : 1.15) : -height;
      if (!best || worth > best.worth) best = { columns, pitch, worth };
    }
    const { columns, pitch } = best;
    const between = pitch / ratio >= 26 ? 5 : pitch / ratio >= 16 ? 3 : pitch / ratio >= 10 ? 2 : 1;
    const size = pitch - Math.max(1, Math.round(between * ratio));
    const rows = Math.ceil(count / columns);
    this.#plan = { columns, pitch, size, left, ratio, width, rows };
    this.#canvas.width = left + columns * pitch;
    this.#canvas.height = rows * pitch;
    this.#canvas.style.width = `${this.#canvas.width / ratio}px`;
    this.#canvas.style.height = `${this.#canvas.height / ratio}px`;
    this.#drawn = new Uint16Array(count);
    this.#fleet.changed = null;
    if (left) this.#numbers(rows);
    this.#outline();
  }

  /** The first shard of a row beside it; of small rows, of every few. */
  #numbers(rows) {
    const { columns, pitch, size, left, ratio } = this.#plan;
    const each = Math.max(1, 2 ** Math.ceil(Math.log2((15 * ratio) / pitch)));
    this.#ctx.font = `${11 * ratio}px ${getComputedStyle(this.#box).fontFamily}`;
    this.#ctx.fillStyle = this.#theme.text;
    this.#ctx.textAlign = "right";
    this.#ctx.textBaseline = "middle";
    for (let row = 0; row < rows; row += each) {
      const shard = this.#fleet.shards[row * columns].shard;
      this.#ctx.fillText(shard, left - 8 * ratio, Math.max(row * pitch + size / 2, 6 * ratio));
    }
  }

  #hit(event) {
    const { columns, pitch, left, ratio } = this.#plan;
    const at = this.#canvas.getBoundingClientRect();
    const column = Math.floor(((event.clientX - at.left) * ratio - left) / pitch);
    const row = Math.floor(((event.clientY - at.top) * ratio) / pitch);
    if (column < 0 || column >= columns || row < 0) return null;
    return this.#fleet.shards[row * columns + column]?.shard ?? null;
  }

  #point(event) {
    const under = event && this.#hit(event);
    if (under === this.#under) return;
    this.#under = under;
    this.#outline();
    this.#picked(under ?? this.chosen, false);
  }

  /** `null` lets go. */
  choose(shard) {
    this.chosen = shard;
    this.#outline();
    this.#picked(shard, true);
  }

  #key(event) {
    const { columns } = this.#plan;
    const steps = {
      ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns,
      PageUp: -10 * columns, PageDown: 10 * columns, Home: -Infinity, End: Infinity,
    };
    if (event.key === "Escape") return this.choose(null);
    const step = steps[event.key];
    if (step === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    const last = this.#fleet.shards.length - 1;
    if (last < 0) return;
    const from = this.#fleet.position(this.chosen);
    let to = from === undefined && step !== Infinity ? 0 : (from ?? 0) + step;
    // Up and down stay in the column; the ends go all the way.
    if (Math.abs(step) === columns && (to < 0 || to > last)) to = from ?? 0;
    const at = Math.max(0, Math.min(last, to));
    this.choose(this.#fleet.shards[at].shard);
    this.#ring.scrollIntoView({ block: "nearest" });
  }

  #outline() {
    const at = this.#fleet.position(this.#under ?? this.chosen);
    this.#ring.hidden = at === undefined;
    if (at === undefined) return;
    const { columns, pitch, size, left, ratio } = this.#plan;
    const around = 2;
    const { style } = this.#ring;
    style.left = `${(left + (at % columns) * pitch) / ratio - around}px`;
    style.top = `${(Math.floor(at / columns) * pitch) / ratio - around}px`;
    style.width = style.height = `${size / ratio + 2 * around}px`;
  }
}

/** The key: how each state looks, drawn as on the map. */
export function stateMark(index, theme) {
  const canvas = document.createElement("canvas");
  const ratio = Math.min(devicePixelRatio || 1, 3);
  canvas.width = canvas.height = Math.round(14 * ratio);
  canvas.setAttribute("aria-hidden", "true");
  const neutral = { ...theme, owners: theme.owners.map(() => theme.text), nobody: theme.text };
  drawCell(canvas.getContext("2d"), 0, 0, canvas.width, index, 0, NOBODY, neutral);
  return canvas;
}
