// node page.mjs URL SHARDS [FOLDER]: the master's page in a real browser, against a
// fleet at rest under traffic (`scripts/demo --page`). Each line is something that
// was seen; ends with 1 at the first thing that is wrong. FOLDER gets screenshots.
import { browser, sleep } from "./browser.mjs";

const [url, shards, folder] = process.argv.slice(2);
const chromium = await browser();
let code = 0;

try {
  const page = await chromium.page(url);

  const until = async (what, expression, seconds = 10, on = page) => {
    for (const end = Date.now() + seconds * 1000; Date.now() < end; await sleep(50)) {
      if (await on.evaluate(expression)) return console.log(`seen  ${what}`);
    }
    throw new Error(`${what}: not within ${seconds} s: ${expression}`);
  };
  const element = (id) => `document.getElementById("${id}")`;
  const shot = async (name) => folder && page.screenshot(`${folder}/${name}.png`);
  /** Presses a button and says yes. */
  const press = async (button) => {
    await page.evaluate(`${element(button)}.click()`);
    await until(`${button} asks first`, `${element("ask")}.open`);
    await page.evaluate(`${element("ask-yes")}.click()`);
    await until(`${button} is taken`, `!${element("ask")}.open`);
  };
  const stage = (name) => `${element("deploy")}.dataset.stage === "${name}"`;
  const ended = (outcome) => `${stage("none")} && ${element("deploy")}.dataset.outcome === "${outcome}"`;

  await until("it is connected", `document.body?.dataset.link === "connected" && ${element("banner")}.hidden`);
  await until("it says whose page it is", `document.title === "demo · Baton" && ${element("fleet")}.textContent === "demo"
    && /on \\S+ · bot \\d+ · fleet [0-9a-f]{8} · master/.test(${element("master")}.textContent)`);
  await until("every shard is on the map and serves",
    `${element("map")}.dataset.shards === "${shards}" && ${element("map")}.dataset.serving === "${shards}"`);
  await until("and in words for who cannot see it", `${element("map-summary")}.textContent.replaceAll(",", "").includes("${shards}")`);
  await until("the map is drawn", `(() => {
    const canvas = document.querySelector("#map canvas");
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    let opaque = 0;
    for (let at = 3; at < data.length; at += 4) opaque += data[at] > 200;
    return opaque > 1000;
  })()`);
  await until("the slave that owns them is listed",
    `document.querySelectorAll("#slaves tbody tr[data-role=owner][data-connected=true]").length === 1`);
  await until("nothing can be paused", `${element("act-pause")}.disabled`);
  await page.evaluate(`${element("map")}.focus()`);
  await page.key("End", 35);
  await until("a key chooses the last shard",
    `${element("shard")}.dataset.shard === "${shards - 1}" && ${element("map-said")}.textContent.includes("serving")`);
  await until("and can be restarted where it is", `!${element("act-restart")}.hidden`);
  await until("slaves and deploys are a click away", `["map", "slaves", "history", "news"]
    .every((part) => document.querySelector('.places a[href="#' + part + '-title"]') && document.getElementById(part + "-title"))`);
  await until("the deploy before is told, with its gaps",
    `${element("history")}.dataset.deploys >= 1 && document.querySelector("#chosen svg.histogram")`);

  // Time between frames, and tasks that hold the page up, while shards move.
  await page.evaluate(`(() => {
    window.frames_ = []; window.long_ = 0; let last = performance.now();
    new PerformanceObserver((list) => { window.long_ += list.getEntries().length; }).observe({ entryTypes: ["longtask"] });
    (function frame(now) { window.frames_.push(now - last); last = now; requestAnimationFrame(frame); })(last);
  })()`);
  await press("act-deploy");
  await until("shards move", `Number(${element("deploy-bar")}.getAttribute("aria-valuenow")) > 0`, 60);
  await shot("moving-dark");
  await until("it soaks", stage("soaking"), 120);
  const smooth = await page.evaluate(`(() => {
    const sorted = window.frames_.slice(1).sort((a, b) => a - b);
    const at = (part) => Math.round(sorted[Math.floor((sorted.length - 1) * part)]);
    return { frames: sorted.length, p50: at(0.5), p99: at(0.99), max: at(1), long: window.long_ };
  })()`);
  console.log(`      ${smooth.frames} frames: p50 ${smooth.p50} ms, p99 ${smooth.p99} ms, longest ${smooth.max} ms; ${smooth.long} long tasks`);
  const late = await chromium.page(url);
  await until("a page that is opened now knows the whole deploy", `(() => {
    const facts = [...document.querySelectorAll("#deploy-facts dd")].map((fact) => fact.textContent);
    return facts.length === 6 && !facts.includes("–") && ${stage("soaking")};
  })()`, 10, late);
  await until("it is done", ended("done"), 60);
  await until("and told", `document.querySelector("#deploys tr[data-outcome=done]")`);

  await page.evaluate(`${element("act-deploy")}.click()`);
  await until("the dialog has the present command", `${element("ask-command")}.value.includes("baton-slave")`);
  await page.evaluate(`${element("ask-no")}.click()`);
  await press("act-rollback");
  await until("the command before comes back", `!(${stage("none")})`, 30);
  await until("it can be aborted", `!${element("act-abort")}.disabled`, 30);
  await press("act-abort");
  await until("what moved went back", `${stage("none")} && ${element("deploy")}.dataset.outcome !== "done"`, 60);
  await until("every shard serves", `${element("map")}.dataset.serving === "${shards}"`, 30);

  // A browser opens six connections to one host, and a stream of events keeps one.
  const tabs = [];
  for (let count = 0; count < 8; count += 1) tabs.push(await chromium.page(url));
  for (const [at, tab] of tabs.entries()) {
    // A map is drawn where it is seen: all of these tabs but one are in the background.
    await until(`tab ${at + 3} of one browser shows the fleet`,
      `document.body?.dataset.link === "connected" && ${element("tile-shards")}.textContent.replaceAll(",", "").includes("${shards} of ${shards}")`, 20, tab);
  }
  await until("and none of them asks in vain", `fetch("/healthz").then((answer) => answer.ok)`, 5, tabs[0]);
  // What is in the background is not drawn anew for another width.
  await page.send("Page.bringToFront");

  if (folder) {
    await shot("rest-dark");
    await page.theme("light");
    await shot("rest-light");
    await page.size(360, 780, 2);
    await sleep(300);
    await shot("phone-light");
  }
  await page.size(360, 780);
  await until("a phone needs no scrolling sideways",
    "document.documentElement.scrollWidth <= document.documentElement.clientWidth");
  // A refusal is an answer of the master, not a fault of the page.
  const complaints = [page, late, ...tabs].flatMap((tab) => tab.complaints).filter((complaint) => !complaint.includes("status of 409"));
  if (complaints.length) throw new Error(`the page complained: ${complaints.join("; ")}`);
} catch (error) {
  console.log(`WRONG ${error.message}`);
  code = 1;
}
await chromium.close();
process.exit(code);
