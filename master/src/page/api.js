// Requests to the master.
//
// A port with a token answers 401 without it. Then the operator is asked once,
// however many requests wait, and each of them is sent again. The token is kept
// in sessionStorage: it ends with the tab and no other page can read it.

import { byId } from "./text.js";

const KEY = "baton-token";

/** No answer for so long is no answer: the driver itself gives up after 10 s. */
const PATIENCE = 15_000;

/** An answer that is not 2xx, or none at all (`status` 0). */
export class Refused extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

// A link may bring the token along, behind the #: the browser never sends that part.
const brought = new URLSearchParams(location.hash.slice(1)).get("token");
if (brought) {
  sessionStorage.setItem(KEY, brought);
  history.replaceState(null, "", location.pathname);
}

let asking = null;

/** A token that did not open is told so in the dialog; `sent` is the one that was tried. */
function askToken(sent) {
  if (sent !== sessionStorage.getItem(KEY)) return Promise.resolve();
  asking ??= new Promise((resolve) => {
    const dialog = byId("login");
    const field = byId("login-token");
    const error = byId("login-error");
    error.hidden = sent == null;
    error.textContent = "The master does not take this token.";
    field.value = "";
    const submit = (event) => {
      event.preventDefault();
      const token = field.value.trim();
      if (!token) return;
      dialog.removeEventListener("submit", submit);
      dialog.removeEventListener("cancel", stay);
      sessionStorage.setItem(KEY, token);
      dialog.close();
      asking = null;
      resolve();
    };
    // Nothing can be shown without it.
    const stay = (event) => event.preventDefault();
    dialog.addEventListener("submit", submit);
    dialog.addEventListener("cancel", stay);
    if (!dialog.open) dialog.showModal();
    field.focus();
  });
  return asking;
}

/** `fetch` with the token; what is not 2xx is thrown with the words of the server. */
export async function request(path, options = {}) {
  for (;;) {
    const token = sessionStorage.getItem(KEY);
    const headers = { ...options.headers };
    if (token) headers.Authorization = `Bearer ${token}`;
    let answer;
    try {
      answer = await fetch(path, { cache: "no-store", credentials: "omit", ...options, headers });
    } catch (error) {
      if (error.name === "TimeoutError") throw new Refused(0, "the master does not answer");
      if (error.name === "AbortError") throw error;
      throw new Refused(0, "the master cannot be reached");
    }
    if (answer.status === 401) {
      await askToken(token);
      // The old time limit ran while the operator looked for the token.
      if (options.signal?.aborted) throw new Refused(401, "the token was asked for");
      continue;
    }
    if (!answer.ok) throw new Refused(answer.status, await reason(answer));
    return answer;
  }
}

async function reason(answer) {
  const text = await answer.text().catch(() => "");
  try {
    return JSON.parse(text).error ?? text;
  } catch {
    return text.trim() || `the master answered ${answer.status}`;
  }
}

/** The object that stands at `path`. */
export async function get(path) {
  const answer = await request(path, { signal: AbortSignal.timeout(PATIENCE) });
  return answer.json();
}

/** A text that stands at `path`. */
export async function getText(path) {
  const answer = await request(path, { signal: AbortSignal.timeout(PATIENCE) });
  return answer.text();
}

/** Orders something; without a body where the master wants none. */
export async function post(path, body) {
  const options = { method: "POST", signal: AbortSignal.timeout(PATIENCE) };
  if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers = { "Content-Type": "application/json" };
  }
  const answer = await request(path, options);
  return answer.json().catch(() => ({}));
}
