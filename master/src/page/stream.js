// Server-sent events over fetch.
//
// `EventSource` cannot send the header with the token, and says nothing of a
// connection that is open and dead. The master says every 5 s that it is there,
// so a stream that is silent for longer than twice that is opened again.

import { request } from "./api.js";
import { seated, watchSeats } from "./seats.js";

const FIRST_WAIT = 500;
const LONGEST_WAIT = 5_000;
const SILENCE = 12_000;

/**
 * Follows `path` for ever, while this tab has a seat.
 *
 * `opened` is called after each (re)connect: events in between are lost, so the
 * caller reads the whole picture then. `closed` gets what is wrong; nothing is, when
 * other tabs have the seats.
 */
export async function follow(path, { opened, closed, event }) {
  let wait = FIRST_WAIT;
  let stop = new AbortController();
  let wake = () => {};
  watchSeats(() => (seated() ? wake() : stop.abort()));
  for (;;) {
    if (!seated()) {
      closed("");
      await new Promise((resolve) => (wake = resolve));
      continue;
    }
    stop = new AbortController();
    let watchdog = 0;
    const alive = () => {
      clearTimeout(watchdog);
      watchdog = setTimeout(() => stop.abort(), SILENCE);
    };
    let why = "the master closed the stream of events";
    try {
      // No watchdog yet: a request may wait for the operator's token.
      const answer = await request(path, { signal: stop.signal });
      alive();
      opened();
      wait = FIRST_WAIT;
      await read(answer.body, event, alive);
    } catch (error) {
      why = error.name === "AbortError" ? "the stream of events fell silent" : error.message;
    }
    clearTimeout(watchdog);
    stop.abort();
    if (!seated()) continue;
    closed(why);
    // Many pages must not dial a new master in step.
    await new Promise((resolve) => setTimeout(resolve, wait * (0.75 + Math.random() / 2)));
    wait = Math.min(wait * 2, LONGEST_WAIT);
  }
}

async function read(body, event, alive) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let data = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    alive();
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const raw of lines) {
      const line = raw.endsWith("\r") ? raw.slice(0, -1) : raw;
      if (line === "") {
        if (data) event(JSON.parse(data));
        data = "";
      } else if (line.startsWith("data:")) {
        data += line.slice(line[5] === " " ? 6 : 5);
      }
      // Other lines are comments: they only say that the master is there.
    }
  }
}
