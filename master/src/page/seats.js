// Who follows the events, of all tabs that show this master.
//
// A browser opens six connections to one host, and a stream keeps its one for good:
// with a stream in each tab the sixth would never get an answer. So only the tabs that
// were looked at last have one, and none that is hidden for long. The others read the
// status as ever, which shows the same a second or two later.

/** Tabs that follow the events at one time. */
const SEATS = 3;

/** A tab that is hidden for so long gives its stream up. */
const HIDDEN = 5_000;

const channel = "BroadcastChannel" in window ? new BroadcastChannel("baton-seats") : null;
const own = `${Date.now()}-${Math.random()}`;

/** When each of the other tabs was looked at last. */
const others = new Map();
let looked = Date.now();
let away = 0;
let gone = false;
let changed = () => {};

/** Whether this tab may follow the events. */
export function seated() {
  if (gone) return false;
  const later = [...others].filter(([tab, at]) => at > looked || (at === looked && tab > own));
  return later.length < SEATS;
}

/** Calls `then` whenever the answer of `seated` may have changed. */
export function watchSeats(then) {
  changed = then;
}

function say() {
  channel?.postMessage({ tab: own, looked: document.hidden || gone ? 0 : looked });
}

function look() {
  clearTimeout(away);
  if (document.hidden) {
    away = setTimeout(() => {
      gone = true;
      say();
      changed();
    }, HIDDEN);
    return;
  }
  gone = false;
  looked = Date.now();
  say();
  changed();
}

channel?.addEventListener("message", ({ data }) => {
  const known = others.has(data.tab);
  if (data.looked) others.set(data.tab, data.looked);
  else others.delete(data.tab);
  // A tab that is new does not know this one.
  if (!known && data.looked && !data.answer) say();
  changed();
});
document.addEventListener("visibilitychange", look);
addEventListener("focus", look);
addEventListener("pagehide", () => channel?.postMessage({ tab: own, looked: 0 }));
look();
