// A real Chromium without a window, driven over a pipe by its DevTools protocol:
// no package is needed.
import { spawn } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";

const FLAGS = [
  "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run",
  "--disable-extensions", "--disable-background-networking", "--remote-debugging-pipe",
];

export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

/** Starts a browser; `close` ends it and deletes its profile. */
export async function browser() {
  const profile = fs.mkdtempSync(path.join(os.tmpdir(), "baton-browser-"));
  const child = spawn("chromium", [...FLAGS, `--user-data-dir=${profile}`, "about:blank"], {
    stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"],
  });
  const pipe = new Pipe(child.stdio[3], child.stdio[4]);
  const ended = new Promise((done) => child.once("exit", done));
  return {
    page: (url, looks) => Page.open(pipe, url, looks),
    close: async () => {
      pipe.send("Browser.close").catch(() => {});
      await Promise.race([ended, sleep(3000)]);
      child.kill("SIGKILL");
      fs.rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}

/** Messages end with a zero byte; answers come by number. */
class Pipe {
  constructor(input, output) {
    this.input = input;
    this.last = 0;
    this.waiting = new Map();
    this.listeners = [];
    let text = "";
    output.setEncoding("utf8").on("data", (data) => {
      const parts = (text + data).split("\0");
      text = parts.pop();
      parts.forEach((part) => this.take(JSON.parse(part)));
    });
  }

  take(message) {
    const waiting = this.waiting.get(message.id);
    if (!waiting) return this.listeners.forEach((listener) => listener(message));
    this.waiting.delete(message.id);
    if (message.error) waiting.fail(new Error(message.error.message));
    else waiting.done(message.result);
  }

  send(method, params = {}, sessionId = undefined) {
    const id = ++this.last;
    this.input.write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
    return new Promise((done, fail) => this.waiting.set(id, { done, fail }));
  }
}

/** One tab. */
class Page {
  static async open(pipe, url, { width = 1440, height = 1010, scale = 1, theme = "dark" } = {}) {
    const { targetId } = await pipe.send("Target.createTarget", { url: "about:blank" });
    const attached = { targetId, flatten: true };
    const { sessionId } = await pipe.send("Target.attachToTarget", attached);
    const page = new Page();
    page.send = (method, params) => pipe.send(method, params, sessionId);
    /** What the page threw, or the browser refused. */
    page.complaints = [];
    pipe.listeners.push((message) => {
      if (message.sessionId !== sessionId) return;
      if (message.method === "Runtime.exceptionThrown") {
        const { exceptionDetails: thrown } = message.params;
        page.complaints.push(thrown.exception?.description ?? thrown.text);
      }
      if (message.method === "Log.entryAdded" && message.params.entry.level === "error") {
        page.complaints.push(message.params.entry.text);
      }
    });
    for (const domain of ["Runtime", "Log", "Page"]) await page.send(`${domain}.enable`);
    await page.size(width, height, scale);
    await page.theme(theme);
    await page.send("Page.navigate", { url });
    return page;
  }

  size(width, height, deviceScaleFactor = 1) {
    const metrics = { width, height, deviceScaleFactor, mobile: false };
    return this.send("Emulation.setDeviceMetricsOverride", metrics);
  }

  theme(value) {
    const features = [{ name: "prefers-color-scheme", value }];
    return this.send("Emulation.setEmulatedMedia", { features });
  }

  async evaluate(expression) {
    const asked = { expression, awaitPromise: true, returnByValue: true };
    const { result, exceptionDetails } = await this.send("Runtime.evaluate", asked);
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description);
    return result.value;
  }

  async key(key, windowsVirtualKeyCode) {
    for (const type of ["keyDown", "keyUp"]) {
      await this.send("Input.dispatchKeyEvent", { type, key, code: key, windowsVirtualKeyCode });
    }
  }

  async screenshot(file) {
    const { data } = await this.send("Page.captureScreenshot", { format: "png" });
    fs.writeFileSync(file, Buffer.from(data, "base64"));
  }
}
