// Whose page this is: fleet, bot and host, in the header, the title and the icon, so
// that the right one of many tabs is found, and one with trouble looks different.

import { summary } from "./shards.js";
import { byId, number, say, short, span } from "./text.js";

const icon = byId("icon");
const calm = icon.href;
/** The same squares behind a red dot. */
const alarmed = calm.replace("%3C/svg%3E", "%3Ccircle cx='12' cy='4' r='4' fill='%23e0443a'/%3E%3C/svg%3E");

/** What is wrong, in the two or three words that a tab has room for; empty: nothing. */
function trouble(fleet, away) {
  if (away) return "no master";
  const { lost } = summary(fleet);
  if (lost) return `${number(lost)} not served`;
  const errors = (fleet.status.doctor ?? []).filter(({ level }) => level === "error").length;
  return errors ? `${number(errors)} error${errors === 1 ? "" : "s"}` : "";
}

/** What operators changed of where shards are, as far as it is not done or holds on. */
function arranged({ held, moves, cordoned }) {
  return [
    held ? "The fleet is held: no slave is launched, no standby steps in, no shard moves until baton-master hold --release." : "",
    moves?.left ? `${number(moves.left)} shard${moves.left === 1 ? "" : "s"} to move to another slot, ${number(moves.in_hand)} on the way.` : "",
    cordoned?.length ? `Cordoned: ${cordoned.join(", ")}.` : "",
  ].filter(Boolean).join(" ");
}

/** Who leads and who would, where masters share a store. */
function masters(leadership) {
  if (!leadership) return "";
  const { host, standbys } = leadership;
  const others = standbys.map((standby) => standby.host).join(", ");
  return `${host} leads, ${others ? `standby: ${others}` : "no standby master"}`;
}

/** What masters that share a store lack. */
function lacking(leadership) {
  if (!leadership) return "";
  const { store_away_ms: gone, standbys, store, trouble: why } = leadership;
  return [
    gone == null ? "" : `The store ${store} has not answered for ${span(gone)}: what serves goes on, nothing begins.`,
    standbys.length ? "" : "There is no standby master: nobody follows if this one is lost.",
    why ? `${why}.` : "",
  ].filter(Boolean).join(" ");
}

/** `away`: no master answers, and what is shown is old. */
export function showMaster(fleet, away) {
  const { status } = fleet;
  const wrong = status || away ? trouble(fleet, away) : "";
  const { master, adopting } = status ?? {};
  const name = master?.name || master?.host || "Baton";
  const title = name === "Baton" ? name : `${name} · Baton`;
  const whole = wrong ? `(${wrong}) ${title}` : title;
  if (document.title !== whole) document.title = whole;
  const href = wrong ? alarmed : calm;
  if (icon.href !== href) icon.href = href;
  if (!master) return;
  say(byId("fleet"), name);
  const facts = [
    master.name && master.host ? `on ${master.host}` : "",
    status.bot ? `bot ${status.bot}` : "",
    master.term ? `fleet ${short(master.term.fleet)}` : "",
    `master ${master.version}, start ${number(master.term?.counter)}, up ${span(master.uptime_ms)}`,
    masters(status.leadership),
  ];
  say(byId("master"), facts.filter(Boolean).join(" · "));
  byId("adopting").hidden = !adopting || away;
  const words = [lacking(status.leadership), arranged(status)].filter(Boolean).join(" ");
  say(byId("arranged"), words);
  byId("arranged").hidden = !words || away;
}
