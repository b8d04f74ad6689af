// What is known of the fleet: the last status, and the events that came since.
//
// A status is true at the moment when the master drew it. Events may overtake
// it on its way here, so those that came after it was asked for are applied to
// it once more. An event that was in it already does no harm: the ones behind
// it in the stream lead to the same end.

/** Which state a shard is in after a phase of its migration; its owner then. */
const PHASES = {
  copying: ["copying", "from"],
  dialling: ["dialling", "from"],
  sealing: ["sealing", "from"],
  resuming: ["resuming", "to"],
  moved: ["serving", "to"],
  "taking back": ["taking back", null],
  back: ["serving", "to"],
};

export class Fleet {
  status = null;
  /** The shards of the status, ascending. Also: `next`, who gets it. */
  shards = [];
  slaves = new Map();
  /** When the shown status was drawn, at the latest (performance.now). */
  asOf = 0;
  /** What this page saw of the running deploy, or of the one that ended. */
  run = null;
  /** Positions that changed since the map was drawn; `null`: all. */
  changed = null;
  /** Events since the last request for a status, while one is under way. */
  #since = null;
  #positions = new Map();
  #before = null;
  /** How much later the master's wall clock is than the clock of this page. */
  #wall = Date.now() - performance.now();

  /**
   * Milliseconds since a time of the master's wall clock. The clock of the host that
   * shows the page may be wrong by hours, and is not asked.
   */
  sinceUnixMs(then) {
    return this.nowUnixMs() - then;
  }

  nowUnixMs() {
    return this.#wall + performance.now();
  }

  /** A status is asked for now. */
  asking() {
    this.#since = [];
  }

  /** It did not come. */
  gaveUp() {
    this.#since = null;
  }

  take(status, asked) {
    const { deploy } = status;
    const since = this.#since ?? [];
    this.#since = null;
    this.status = status;
    this.asOf = asked;
    if (status.master?.now_unix_ms) this.#wall = status.master.now_unix_ms - asked;
    this.shards = status.shards;
    this.slaves = new Map(status.slaves.map((slave) => [slave.slave, slave]));
    if (this.#positions.size !== this.shards.length || this.#positionIsOff()) {
      this.#positions = new Map(this.shards.map((shard, at) => [shard.shard, at]));
    }
    if (deploy) {
      if (this.run?.deploy !== deploy.deploy) this.run = newRun(deploy.deploy);
      this.run.slot = deploy.slot;
      this.#fillIn();
      this.#step(deploy.step, null);
      // Until it says `copying` a shard has no next owner.
      const moving = new Set(["copying", "dialling", "sealing"]);
      const to = deploy.step === "rolling back" ? deploy.from : deploy.to;
      for (const shard of this.shards) if (moving.has(shard.state) && shard.owner !== to) shard.next = to;
    } else if (this.run && !this.run.ended) {
      // Its end was missed.
      this.run.ended = status.last_deploy ?? {};
    }
    for (const event of since) this.#apply(event);
    this.changed = null;
  }

  #positionIsOff() {
    const last = this.shards.length - 1;
    return last >= 0 && this.#positions.get(this.shards[last].shard) !== last;
  }

  at(shard) {
    return this.shards[this.#positions.get(shard)];
  }

  position(shard) {
    return this.#positions.get(shard);
  }

  /** Whether the status is to be read at once: the event tells less than changed. */
  event(event) {
    this.#since?.push(event);
    if (!this.status) return true;
    this.#apply(event);
    return event.type !== "migration" && event.type !== "shard_serving";
  }

  #apply(event) {
    switch (event.type) {
      case "migration":
        this.#migration(event);
        break;
      case "shard_serving":
        this.#change(event.shard, { state: "serving", owner: event.slave, epoch: event.epoch, next: null });
        break;
      case "deploy_accepted":
        if (this.run?.deploy !== event.deploy) this.run = newRun(event.deploy);
        this.run.beganUs = event.at_us;
        this.run.beganAt = performance.now();
        break;
      case "deploy_step":
        if (this.run?.deploy !== event.deploy) this.run = newRun(event.deploy);
        this.#step(event.step, event.at_us);
        if (this.status.deploy) this.status.deploy.step = event.step;
        break;
      case "deploy_ended":
        this.#ended(event);
        break;
      case "slave_gone": {
        const slave = this.slaves.get(event.slave);
        if (slave) slave.connected = false;
        break;
      }
    }
  }

  #migration({ deploy, shard, from, to, epoch, phase, at_us }) {
    const [state, owner] = PHASES[phase] ?? [];
    if (!state) return;
    const serves = state === "serving";
    const change = { state, next: serves ? null : to };
    if (owner) change.owner = owner === "to" ? to : from;
    if (owner === "to") change.epoch = epoch;
    this.#change(shard, change);
    const run = this.run;
    if (run?.deploy !== deploy) return;
    if (phase === "sealing" || phase === "taking back") {
      run.firstUs ??= at_us;
      if (!run.sealed.has(shard)) run.sealed.set(shard, at_us);
    } else if (serves) {
      run.lastUs = at_us;
      if (phase === "moved") run.moved += run.seen.has(`${shard}.${epoch}`) ? 0 : 1;
      run.seen.add(`${shard}.${epoch}`);
      const sealed = run.sealed.get(shard);
      run.sealed.delete(shard);
      if (sealed != null) run.gaps.set(shard, Math.max(run.gaps.get(shard) ?? 0, (at_us - sealed) / 1000));
    }
  }

  #change(shard, change) {
    const known = this.at(shard);
    if (!known) return;
    Object.assign(known, change);
    this.changed?.add(this.#positions.get(shard));
  }

  #step(step, atUs) {
    const { run } = this;
    run.step = step;
    // A status does not say when, and a step may come twice, around a pause:
    // the first time that is known counts.
    const known = run.steps.find((one) => one.step === step);
    if (known) {
      known.atUs ??= atUs;
      return;
    }
    run.steps.push({ step, atUs });
    // If the page was opened in the middle of a soak, its start is unknown.
    if (step === "soaking") run.soakAt = atUs == null ? null : performance.now();
  }

  /** What happened before this page was opened, of the deploy that runs. */
  catchUp(running) {
    this.#before = running && { ...running, beganAt: performance.now() - running.took_ms };
    this.#fillIn();
  }

  /** Status and deploys come in any order. */
  #fillIn() {
    const { run } = this;
    const before = this.#before;
    if (!before || run?.deploy !== before.deploy || run.beganAt != null) return;
    const { began_us, beganAt, steps, slowest, handed_over, migrates_us } = before;
    run.beganUs = began_us;
    run.beganAt = beganAt;
    for (const { step, at_ms } of steps) {
      const known = run.steps.find((one) => one.step === step);
      const atUs = began_us + at_ms * 1000;
      if (known) known.atUs ??= atUs;
      else run.steps.push({ step, atUs });
      if (step === "soaking") run.soakAt ??= beganAt + at_ms;
    }
    if (slowest && !run.gaps.has(slowest.shard)) run.gaps.set(slowest.shard, slowest.ms);
    if (run.firstUs == null && handed_over) {
      [run.firstUs, run.lastUs] = migrates_us;
      run.moved = handed_over;
    }
  }

  #ended(event) {
    const gaps = this.run?.deploy === event.deploy ? [...this.run.gaps.values()].sort((a, b) => a - b) : [];
    const at = (part) => gaps[Math.ceil((gaps.length - 1) * part)];
    const { deploy, outcome, text, moved, migrating_ms, total_ms } = event;
    const gap = gaps.length ? { shards: gaps.length, p50_ms: at(0.5), p99_ms: at(0.99), max_ms: at(1) } : null;
    const ended = { deploy, slot: this.run?.slot, outcome, text, moved, migrating_ms, total_ms, gap, ended_ms_ago: 0 };
    if (this.run?.deploy === deploy) this.run.ended = ended;
    this.status.deploy = null;
    this.status.last_deploy = ended;
    this.asOf = performance.now();
  }

  /** Shards by state. */
  counts() {
    const counts = new Map();
    for (const { state } of this.shards) counts.set(state, (counts.get(state) ?? 0) + 1);
    return counts;
  }

  /** Events a second each owner's shards get, in 1000 s. */
  rates() {
    const rates = new Map();
    for (const { owner, events_per_1000_s } of this.shards) {
      if (owner) rates.set(owner, (rates.get(owner) ?? 0) + events_per_1000_s);
    }
    return rates;
  }
}

function newRun(deploy) {
  return {
    deploy, slot: null, step: null, steps: [], beganUs: null, beganAt: null, soakAt: null, ended: null,
    firstUs: null, lastUs: null, moved: 0, sealed: new Map(), gaps: new Map(), seen: new Set(),
  };
}
