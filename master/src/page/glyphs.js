// What a shard looks like: the colour says who owns it, the shape what it does.
//
// The shape alone is enough. A full cell is served; a cell with a corner is
// served while its next owner gets ready; a hollow one has no owner at this
// moment; a cross needs an operator.

/** States in the order of the key; `short` is the idea in a few words. */
export const STATES = [
  { name: "serving", shape: "full" },
  { name: "copying", shape: "corner" },
  { name: "dialling", shape: "half" },
  { name: "sealing", shape: "dot" },
  { name: "resuming", shape: "inner" },
  { name: "taking back", shape: "back" },
  { name: "starting", shape: "plus" },
  { name: "reconnecting", shape: "slit" },
  { name: "no session", shape: "bar" },
  { name: "idle", shape: "faint" },
  { name: "unreachable", shape: "hatch" },
  { name: "failed", shape: "cross" },
];

const INDEX = new Map(STATES.map((state, index) => [state.name, index]));

/** A state of a later master is drawn as one that needs a look. */
export const stateIndex = (name) => INDEX.get(name) ?? INDEX.get("unreachable");

/** No owner. */
export const NOBODY = 15;

const COLOURS = 6;
const taken = new Map();

/**
 * One colour a slave, by its build's name, so that every operator sees the same
 * one and v7 never looks like v8. Neighbours in the palette differ in lightness
 * too. Two slaves of one build are told apart; the owner comes first.
 */
export function assignColours(slaves) {
  const alive = new Set(slaves.map((slave) => slave.slave));
  for (const id of taken.keys()) if (!alive.has(id)) taken.delete(id);
  const fresh = slaves.filter((slave) => !taken.has(slave.slave));
  fresh.sort((a, b) => b.shards - a.shards || (a.slave < b.slave ? -1 : 1));
  for (const { slave, build } of fresh) {
    let colour = buildColour(build);
    const used = new Set(taken.values());
    for (let step = 0; step < COLOURS && used.has(colour); step += 1) colour = (colour + 1) % COLOURS;
    taken.set(slave, colour);
  }
}

export const colourOf = (slave) => taken.get(slave) ?? NOBODY;

/** The colour of a build where no slave of it is known (any more). */
export function buildColour(build) {
  if (build == null) return NOBODY;
  let sum = 1;
  for (const letter of build) sum += letter.codePointAt(0);
  return sum % COLOURS;
}

/** Colours of the theme that is on, from the style sheet: one place defines them. */
export function readTheme() {
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue(name).trim();
  const owners = Array.from({ length: COLOURS }, (_, index) => of(`--owner-${index}`));
  owners[NOBODY] = of("--nobody");
  return { owners, ground: of("--card"), bad: of("--bad"), text: of("--faint"), nobody: of("--nobody") };
}

/** Draws one cell of `size` at `x`, `y`, all in pixels of the canvas. */
export function drawCell(ctx, x, y, size, state, owner, next, theme) {
  const { shape } = STATES[state];
  const own = theme.owners[owner] ?? theme.nobody;
  const to = theme.owners[next === NOBODY ? owner : next] ?? own;
  const radius = size >= 8 ? size / 6 : 0;
  const line = Math.max(1, Math.round(size / 10));
  const box = (inset) => {
    ctx.beginPath();
    ctx.roundRect(x + inset, y + inset, size - 2 * inset, size - 2 * inset, Math.max(0, radius - inset));
  };
  const full = (colour) => {
    ctx.fillStyle = colour;
    // Paths are what costs with 20,000 cells.
    if (!radius) return ctx.fillRect(x, y, size, size);
    box(0);
    ctx.fill();
  };
  const hollow = (colour) => {
    ctx.strokeStyle = colour;
    ctx.lineWidth = line;
    box(line / 2);
    ctx.stroke();
  };
  // What is cut out of a full cell, in the colour of the ground and then of the next owner.
  const corner = (part) => {
    const reach = size * part;
    for (const [colour, grow] of [[theme.ground, line], [to, 0]]) {
      ctx.save();
      box(0);
      ctx.clip();
      ctx.fillStyle = colour;
      ctx.beginPath();
      ctx.moveTo(x + size, y + size - reach - grow);
      ctx.lineTo(x + size, y + size);
      ctx.lineTo(x + size - reach - grow, y + size);
      ctx.fill();
      ctx.restore();
    }
  };
  ctx.clearRect(x, y, size, size);
  switch (shape) {
    case "full":
      full(own);
      break;
    case "corner":
      full(own);
      corner(0.5);
      break;
    case "half":
      full(own);
      corner(0.95);
      break;
    case "dot":
      hollow(own);
      if (size >= 7) {
        ctx.fillStyle = own;
        ctx.beginPath();
        ctx.arc(x + size / 2, y + size / 2, size / 7, 0, Math.PI * 2);
        ctx.fill();
      }
      break;
    case "inner":
      hollow(to);
      ctx.fillStyle = to;
      ctx.fillRect(x + size * 0.3, y + size * 0.3, size * 0.4, size * 0.4);
      break;
    case "back":
      hollow(to);
      ctx.fillStyle = to;
      ctx.beginPath();
      ctx.moveTo(x + size * 0.68, y + size * 0.25);
      ctx.lineTo(x + size * 0.26, y + size * 0.5);
      ctx.lineTo(x + size * 0.68, y + size * 0.75);
      ctx.fill();
      break;
    case "plus":
      hollow(own);
      ctx.fillStyle = own;
      ctx.fillRect(x + (size - line) / 2, y + size * 0.28, line, size * 0.44);
      ctx.fillRect(x + size * 0.28, y + (size - line) / 2, size * 0.44, line);
      break;
    case "bar":
      hollow(theme.bad);
      ctx.fillStyle = theme.bad;
      ctx.fillRect(x + size * 0.28, y + size * 0.4, size * 0.44, Math.max(1, size * 0.2));
      break;
    case "slit":
      full(own);
      ctx.clearRect(x, y + size * 0.4, size, Math.max(1, size * 0.2));
      break;
    case "faint":
      ctx.globalAlpha = 0.55;
      hollow(theme.nobody);
      ctx.globalAlpha = 1;
      break;
    case "hatch":
      hollow(own);
      ctx.save();
      box(0);
      ctx.clip();
      ctx.strokeStyle = own;
      ctx.lineWidth = line;
      ctx.beginPath();
      for (let at = -size; at < size; at += Math.max(3, size / 3)) {
        ctx.moveTo(x + at, y + size);
        ctx.lineTo(x + at + size, y);
      }
      ctx.stroke();
      ctx.restore();
      break;
    case "cross":
      ctx.strokeStyle = theme.bad;
      ctx.lineWidth = Math.max(1.5, size / 6);
      ctx.beginPath();
      ctx.moveTo(x + size * 0.15, y + size * 0.15);
      ctx.lineTo(x + size * 0.85, y + size * 0.85);
      ctx.moveTo(x + size * 0.85, y + size * 0.15);
      ctx.lineTo(x + size * 0.15, y + size * 0.85);
      ctx.stroke();
      break;
  }
}
