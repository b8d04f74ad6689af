// The four buttons. Each asks first, and shows what the master says against it.

import { get, post } from "./api.js";
import { byId, count, el, short } from "./text.js";

const dialog = byId("ask");

/** What was asked for, while the dialog is open: sends it. */
let send = null;
/** Which way the dialog's order goes: `on`, `back`, or neither. */
let way = null;
let busy = false;
let fleet = null;

/** Steps in which everything moved: nothing is left to hold. */
const MOVED = new Set(["work", "soaking", "retiring"]);

/** What this page may do at this port: only look, without the operators' token. */
let access = { operate: true };

/** Asks that; a master that does not know the question lets everything be asked. */
export async function askAccess() {
  access = await get("/v1/access").catch(() => ({ operate: true }));
  byId("access").hidden = access.operate;
  byId("access").textContent = access.operate ? "" : `You can look here and change nothing: ${access.why}.`;
}

/** Why each makes no sense now; an empty text: it does. */
function objections(connected) {
  if (!connected || !fleet.status) {
    const why = "not connected to the master";
    return { deploy: why, pause: why, abort: why, rollback: why };
  }
  if (!access.operate) {
    const { why } = access;
    return { deploy: why, pause: why, abort: why, rollback: why };
  }
  const { deploy, adopting } = fleet.status;
  const step = deploy?.step;
  const runs = deploy ? `deploy ${deploy.deploy} runs` : "";
  const young = adopting ? "the master has just started and collects reports" : "";
  const none = deploy ? "" : "no deploy runs";
  const back = step === "rolling back" ? "the deploy is rolling back already" : "";
  return {
    deploy: runs || young,
    rollback: (runs && `${runs}: abort sends it back`) || young,
    pause: none || back || (MOVED.has(step) ? "every shard has moved: there is nothing to hold" : ""),
    abort: none || back || (step === "retiring" ? "everything moved, and the old slave is leaving" : ""),
  };
}

export function showControls(connected) {
  const why = objections(connected);
  const paused = fleet.status?.deploy?.step === "paused";
  for (const [name, text] of Object.entries(why)) {
    const button = byId(`act-${name}`);
    button.disabled = text !== "";
    button.title = text;
  }
  // Where nothing may be changed, the other orders are no better than these.
  document.body.dataset.orders = connected && access.operate ? "taken" : "refused";
  const pause = byId("act-pause");
  const label = paused ? "Continue" : "Pause";
  if (pause.textContent !== label) pause.textContent = label;
  pause.dataset.action = paused ? "continue" : "pause";
}

/** What the chosen slot runs, and what it would run. */
function fillIn() {
  const slots = fleet.status.slots;
  const slot = slots.find(({ name }) => name === byId("ask-slot").value) ?? slots[0];
  const box = byId("ask-builds");
  const lines = [];
  if (way) lines.push(["Runs now", fleet.slaves.get(slot?.slave)?.build, slot?.command]);
  if (way === "back") lines.push(["Would run", null, slot?.command_before]);
  const known = lines.filter(([, build, command]) => build || command?.length);
  box.hidden = known.length === 0;
  box.replaceChildren(...known.flatMap(([name, build, command]) => [
    el("dt", {}, name),
    el("dd", {}, build && el("b", {}, build), command?.length ? el("code", {}, command.join(" ")) : null),
  ]));
  if (way === "on") byId("ask-command").value = (slot?.command ?? []).join("\n");
}

function ask({ title, text, yes, danger = false, fields = false, rollback = false, slot = false, order }) {
  const { slots } = fleet.status;
  byId("ask-slot-row").hidden = !slot || slots.length < 2;
  byId("ask-slot").replaceChildren(...slots.map(({ name }) => el("option", { value: name }, name)));
  byId("ask-title").textContent = title;
  byId("ask-text").textContent = text;
  byId("ask-yes").textContent = yes;
  byId("ask-yes").className = danger ? "danger" : "first";
  byId("ask-fields").hidden = !fields;
  byId("ask-error").hidden = true;
  send = order;
  way = rollback ? "back" : fields ? "on" : null;
  fillIn();
  dialog.showModal();
  // A return key that was meant for something else must not deploy.
  byId("ask-no").focus();
}

/** Which slot, where there is a choice; else the master takes the first. */
const slotBody = () => (fleet.status.slots.length > 1 ? { slot: byId("ask-slot").value } : {});

/** Body of a deploy: only what was filled in; the rest is as configured. */
function deployBody() {
  const body = slotBody();
  const command = byId("ask-command").value.split("\n").map((line) => line.trim()).filter(Boolean);
  if (command.length) body.command = command;
  const whole = (id, key, times = 1) => {
    const field = byId(id);
    if (field.value !== "" || field.validity.badInput) {
      if (!field.validity.valid) throw new Error(`${field.labels[0].firstChild.textContent.trim()}: ${field.validationMessage}`);
      body[key] = Math.round(Number(field.value) * times);
    }
  };
  whole("ask-canary", "canary");
  whole("ask-width", "width");
  whole("ask-soak", "soak_ms", 1000);
  const late = byId("ask-late").value;
  if (late) body.late_seal = late === "true";
  return body;
}

function askRestart(shard) {
  const known = fleet.at(shard);
  if (!known) return;
  ask({
    title: `Restart shard ${shard}?`,
    text: "Its owner seals it and resumes it on a new connection. No event is lost, and no IDENTIFY is spent while its session lives.",
    yes: "Restart",
    order: () => post("/v1/restart-shard", { shard }),
  });
}

function askFence(slave) {
  const known = fleet.slaves.get(slave);
  ask({
    title: `Is slave ${short(slave)} dead?`,
    text: `Say so only if you know that its process${known ? ` (build ${known.build}, pid ${known.pid})` : ""} has ended or can never come back. Its ${count(known?.shards ?? 0, "shard")} will be resumed elsewhere; if it lives after all, their events are handled twice.`,
    yes: "It is dead",
    danger: true,
    order: () => post("/v1/fence", { slave }),
  });
}

const ASKS = {
  deploy() {
    const { slots } = fleet.status;
    const held = count(fleet.shards.length, "shard");
    ask({
      title: "Deploy a new build?",
      text: slots.length < 2
        ? `A new slave is launched, and ${held} move to it, a canary first. If it is not right, everything stays with the old slave or goes back.`
        : "A new slave is launched into the slot, and its shards move to it, a canary first. If it is not right, everything stays with the old slave or goes back.",
      yes: "Deploy",
      fields: true,
      slot: true,
      order: () => post("/v1/deploy", deployBody()),
    });
  },
  pause() {
    if (byId("act-pause").dataset.action === "continue") {
      ask({ title: "Continue the deploy?", text: "Further shards begin to move.", yes: "Continue", order: () => post("/v1/continue") });
      return;
    }
    ask({
      title: "Pause the deploy?",
      text: "Shards in hand finish, no further one begins, and everything serves where it is.",
      yes: "Pause",
      order: () => post("/v1/pause"),
    });
  },
  abort() {
    const { deploy } = fleet.status;
    ask({
      title: `Abort deploy ${deploy.deploy}?`,
      text: "What moved goes back to the old slave, without an IDENTIFY. The new slave is told to leave.",
      yes: "Abort",
      danger: true,
      order: () => post("/v1/abort"),
    });
  },
  rollback() {
    ask({
      title: "Roll back to the build before?",
      text: "The slot's previous command is deployed like any other: a new slave of it is launched, and the shards move to it.",
      yes: "Roll back",
      danger: true,
      slot: true,
      rollback: true,
      order: () => post("/v1/rollback", slotBody()),
    });
  },
};

/** `done` is called after an order was taken. */
export function startControls(of, done) {
  fleet = of;
  byId("act-restart").addEventListener("click", () => askRestart(Number(byId("shard").dataset.shard)));
  byId("slaves").addEventListener("click", ({ target }) => target.dataset.fence && askFence(target.dataset.fence));
  byId("ask-slot").addEventListener("change", fillIn);
  for (const [name, open] of Object.entries(ASKS)) byId(`act-${name}`).addEventListener("click", open);
  byId("ask-no").addEventListener("click", () => dialog.close());
  dialog.addEventListener("submit", async (event) => {
    event.preventDefault();
    // Twice pressed is once ordered.
    if (busy || !send) return;
    busy = true;
    byId("ask-yes").disabled = true;
    const error = byId("ask-error");
    error.hidden = true;
    try {
      await send();
      dialog.close();
      done();
    } catch (refused) {
      error.textContent = refused.message;
      error.hidden = false;
    } finally {
      busy = false;
      byId("ask-yes").disabled = false;
    }
  });
}
