// The operator's page: asks the master how the fleet is, follows its events,
// and shows both. It decides nothing.
//
// The status is the truth and is read again and again; events only fill the
// time in between, so one that is missed is wrong for a second or two at most.

import { get, getText } from "./api.js";
import { showClients } from "./clients.js";
import { askAccess, showControls, startControls } from "./controls.js";
import { showDeaths } from "./deaths.js";
import { showDeploy } from "./deploy.js";
import { Fleet } from "./fleet.js";
import { assignColours } from "./glyphs.js";
import { buildsOf, showHistory, takeDeploys } from "./history.js";
import { ShardMap } from "./map.js";
import { lookBack, note, showNews } from "./news.js";
import { showKey, showShard, showSummary } from "./shards.js";
import { showHosts } from "./hosts.js";
import { showSinks } from "./sinks.js";
import { showMaster } from "./master.js";
import { readMemory, showDoctor, showSlaves, showTiles } from "./slaves.js";
import { follow } from "./stream.js";
import { age, byId, say } from "./text.js";

const CALM = 2_000;
const BUSY = 1_000;
const HIDDEN = 10_000;
const SLOWEST = 20_000;
/** A status that takes long to make costs the master too: ten times as long is waited. */
const SPACING = 10;
const SIDE = 10_000;
const PACE = 100;

const fleet = new Fleet();
fleet.lastBuilds = buildsOf;
let memory = new Map();
const link = { stream: false, status: false, away: false, why: "", since: performance.now() };

const map = new ShardMap(byId("map"), fleet, (shard, aloud) => showShard(fleet, shard, aloud));

/**
 * Draws everything but the cells, some ten times a second at most: no eye reads
 * figures faster, and a deploy of many shards brings hundreds of events.
 */
let due = 0;
let shown = 0;
function show() {
  due ||= setTimeout(() => {
    due = 0;
    shown = performance.now();
    showLink();
    if (!fleet.status) return;
    showTiles(fleet, link.away);
    showDoctor(fleet.status);
    showDeploy(fleet);
    showSlaves(fleet, memory);
    showDeaths(fleet);
    showClients(fleet.status);
    showHosts(fleet.status);
    showSinks(fleet.status);
    showHistory(fleet);
    showKey(fleet, map.theme);
    showSummary(fleet, link.away);
    showNews(fleet);
    if (map.chosen != null && byId("shard").dataset.shard === String(map.chosen)) showShard(fleet, map.chosen, false);
    byId("find").max = fleet.shards.at(-1)?.shard ?? 0;
  }, Math.max(0, shown + PACE - performance.now()));
}

/** Says what is wrong with the connection, and how old what is shown is. */
function showLink() {
  const now = performance.now();
  const connected = link.stream && link.status;
  if (connected) link.since = now;
  // A stream that ends and comes back at once is no news.
  const away = !connected && now - link.since > 700;
  link.away = away;
  document.body.dataset.link = connected ? "connected" : away ? "away" : "connecting";
  const banner = byId("banner");
  banner.hidden = !away;
  showMaster(fleet, away);
  if (away) {
    // The age runs: it is not read aloud each time.
    say(banner.firstChild, `Not connected: ${link.why || "the master has not answered yet"}. The slaves keep serving without the master.`);
    say(banner.querySelector(".age"), fleet.status ? `What is shown is ${age(now - fleet.asOf)} old.` : "");
  }
  showControls(!away && fleet.status != null);
}

let timer = 0;
let asked = false;
let again = false;

/** Reads the status now; while one is under way, once more behind it. */
async function look() {
  if (asked) {
    again = true;
    return;
  }
  asked = true;
  clearTimeout(timer);
  const began = performance.now();
  fleet.asking();
  try {
    const status = await get("/v1/status");
    assignColours(status.slaves);
    fleet.take(status, began);
    link.status = true;
    map.wake();
    show();
  } catch (error) {
    fleet.gaveUp();
    link.status = false;
    link.why = error.message;
  }
  asked = false;
  const took = performance.now() - began;
  const wanted = document.hidden ? HIDDEN : fleet.status?.deploy ? BUSY : CALM;
  const wait = again ? Math.min(wanted, took) : Math.max(wanted, Math.min(SPACING * took, SLOWEST));
  again = false;
  timer = setTimeout(look, wait);
}

/** What changes seldom. A master that does not know one of them is no reason to stop. */
async function lookAside() {
  const deploys = get("/v1/deploys").then((answer) => {
    takeDeploys(answer);
    fleet.catchUp(answer.running);
  });
  const slaves = fleet.status?.slaves ?? [];
  const known = slaves.length > 0 && slaves.every((slave) => "memory_bytes" in slave);
  const metrics = known ? null : getText("/metrics").then((text) => { memory = readMemory(text); });
  await Promise.allSettled([deploys, metrics, lookBack(fleet)]);
  show();
}

/** However much happens at once, one look is enough. */
let soon = 0;
function lookAsideSoon() {
  soon ||= setTimeout(() => {
    soon = 0;
    lookAside();
  }, 300);
}

follow("/v1/events", {
  opened() {
    link.stream = true;
    askAccess();
    look();
    lookAside();
  },
  closed(why) {
    // Without a seat the status alone shows the fleet.
    link.stream = why === "";
    link.why = why;
  },
  event(event) {
    const kept = note(event, fleet);
    if (fleet.event(event)) look();
    map.wake();
    show();
    if (kept) lookAsideSoon();
  },
});

startControls(fleet, look);
byId("find").addEventListener("input", (event) => {
  const shard = Number.parseInt(event.target.value, 10);
  if (fleet.at(shard)) map.choose(shard);
});
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) look();
});
setInterval(() => (fleet.status ? show() : showLink()), 500);
setInterval(() => document.hidden || lookAside(), SIDE);
showShard(fleet, null, false);
look();
