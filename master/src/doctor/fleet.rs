//! What the fleet's own picture shows.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use baton_core::view::{ShardView, SlaveView, View};
use baton_protocol::text;

use super::{Finding, store::store};
use crate::clock::millis;

/// Discord answers a heartbeat in a fraction of this.
const SLOW_HEARTBEAT_MS: u64 = 1000;

/// Longer than Discord lets pass between two heartbeats, and so their answers
/// (`heartbeat_interval`: 41.25 s).
const SILENT_MS: u64 = 60_000;

/// Clocks of one host, or of hosts that ask the time, are closer than this.
const CLOCK_MS: u64 = 5000;

/// A handler that has taken so long may never end.
const OLD_EVENT_S: u64 = 60;

/// Handlers that fail more often than one time in so many are worth a look.
const FAILING: u64 = 100;

pub(super) fn examine(view: &View, unix_ms: u64) -> Vec<Finding> {
    let mut findings = vec![shards(view)];
    findings.extend(each_slave(
        view,
        "link",
        link,
        "every slave's connections answer",
    ));
    findings.extend(lag(view));
    findings.extend(unfinished(view));
    findings.extend(each_slave(
        view,
        "handlers",
        handlers,
        "handlers finish their events",
    ));
    findings.extend(store(view));
    findings.extend(late_seal(view));
    findings.extend(leases(view));
    findings.extend([
        builds(view),
        clock(view, unix_ms),
        identify(view),
        journal(view),
    ]);
    findings
}

fn shards(view: &View) -> Finding {
    let total = view.shards.len();
    // In a deploy each of them is on its way, one after the other.
    let moves = view.deploy.is_some();
    let away: Vec<&ShardView> = view
        .shards
        .iter()
        .filter(|shard| match shard.state {
            "serving" => false,
            "failed" | "unreachable" | "no session" => true,
            _ => !moves,
        })
        .collect();
    let Some(first) = away.first() else {
        return Finding::ok("shards", format!("{total} of {total} serve"));
    };
    let next = match first.state {
        "unreachable" => "its slave is not connected: if it is dead, baton-master fence SLAVE",
        "no session" => {
            "Discord ended its session, and it waits to IDENTIFY: the check `identify` says for what"
        }
        "failed" => "repair what refuses it, and deploy a build that works",
        _ => {
            "the master sees to it; if it stays so, baton-master status and the slave's log say why"
        }
    };
    let shard = first.shard;
    let verb = match first.state {
        "no session" => "has",
        _ => "is",
    };
    let state = match &first.reason {
        Some(reason) => format!("{verb} {}: {reason}", first.state),
        None => format!("{verb} {}", first.state),
    };
    let finding = match away.len() {
        1 => Finding::error("shards", format!("shard {shard} {state}"), next),
        more => Finding::error(
            "shards",
            format!("{more} of {total} shards do not serve; shard {shard} {state}"),
            next,
        ),
    };
    finding.of_shard(shard)
}

/// One finding for each slave that is not well, or one for all.
fn each_slave(
    view: &View,
    check: &'static str,
    look: fn(&SlaveView) -> Option<Finding>,
    well: &str,
) -> Vec<Finding> {
    let found: Vec<_> = view
        .slaves
        .iter()
        .filter(|slave| slave.connected)
        .filter_map(|slave| look(slave).map(|finding| finding.of_slave(&slave.slave)))
        .collect();
    if found.is_empty() {
        return vec![Finding::ok(check, well)];
    }
    found
}

fn link(slave: &SlaveView) -> Option<Finding> {
    if slave.hangs {
        let detail = format!(
            "slave {:.8} is connected and has answered nothing for {} s: it hangs",
            slave.slave,
            slave.answered_ms_ago.unwrap_or(0) / 1000
        );
        let next =
            "the master kills it after limits.hang; at once: baton-master fence --kill SLAVE";
        return Some(Finding::error("link", detail, next));
    }
    let named = |shard: Option<u32>, finding: Finding| match shard {
        Some(shard) => finding.of_shard(shard),
        None => finding,
    };
    if let Some(silent) = slave.silent_ms.filter(|ms| *ms > SILENT_MS) {
        let shard = slave.silent_shard.unwrap_or(0);
        let detail = format!(
            "shard {shard} has heard nothing from Discord for {} s on an open connection",
            silent / 1000
        );
        let next = "the master restarts it by RESUME (limits.silent); at once: baton-master \
                    restart-shard SHARD";
        let finding = Finding::error("link", detail, next);
        return Some(named(slave.silent_shard, finding));
    }
    let slow = slave.heartbeat_ms.filter(|ms| *ms > SLOW_HEARTBEAT_MS)?;
    let shard = slave.heartbeat_shard.unwrap_or(0);
    let detail = format!("Discord answers a heartbeat of shard {shard} after {slow} ms");
    let next = "look at the host's network, and whether the process gets processor time";
    let finding = Finding::warning("link", detail, next);
    Some(named(slave.heartbeat_shard, finding))
}

/// A deploy that was committed within this time may be the cause of what is wrong now.
const RECENT_MS: u64 = 60 * 60 * 1000;

/// So much older than before the deploy is unexpected.
const FAR_MORE_MS: u64 = 10_000;

/// No user waits so long for what a bot does, no matter what Discord would replay.
const LATE: Duration = Duration::from_secs(30);

/// Where clients handle the events, they are finished when a client has them.
const WAITS_FOR_CLIENTS: &str = "its clients are away, or do not acknowledge what they get: the \
                                 check `clients` says which";

/// The same, where a broker has to have them.
const WAITS_FOR_BROKER: &str = "its broker has not confirmed it: the check `sink` says why";

/// Whether its events are finished when somebody else has them, of whom another check says
/// how he does.
const fn hands_on(slave: &SlaveView) -> bool {
    slave.clients.is_some() || slave.sink.is_some()
}

/// Handlers that are late, or behind by more than Discord would replay: a death now would
/// cost a session.
fn lag(view: &View) -> Vec<Finding> {
    let mut findings = Vec::new();
    for slave in view.slaves.iter().filter(|slave| slave.connected) {
        let Some(lag) = slave.lag_ms else {
            continue;
        };
        // The check of the sink says it, by what came before the window was full.
        if slave
            .sink
            .as_ref()
            .is_some_and(|sink| sink.troubled_ms.is_some())
        {
            continue;
        }
        let of_slave = view
            .shards
            .iter()
            .filter(|shard| shard.owner.as_deref() == Some(&*slave.slave));
        let budgets =
            of_slave.filter_map(|shard| Some((shard.replay_budget_seconds?, shard.shard)));
        let tightest = budgets.min();
        let budget = tightest.map_or(u64::MAX, |(seconds, _)| seconds.saturating_mul(1000));
        let replays = tightest.map_or_else(String::new, |(seconds, shard)| {
            format!(", and Discord replays {seconds} s of its busiest shard ({shard})")
        });
        let detail = format!(
            "the oldest unfinished event of build {} is {} old{replays}",
            slave.build,
            text::span(Duration::from_millis(lag))
        );
        let after_deploy = after_deploy(slave, lag);
        let next = match &after_deploy {
            Some(since) => format!(
                "{since}: if the new build is the cause, go back to the one before: baton-master \
                 rollback"
            ),
            None if slave.clients.is_some() => WAITS_FOR_CLIENTS.to_owned(),
            None if slave.sink.is_some() => WAITS_FOR_BROKER.to_owned(),
            None => "look for a handler that hangs, or give the slots more processes".to_owned(),
        };
        let finding = if lag > budget {
            Finding::error("lag", detail, &next)
        } else if lag > budget / 2 || lag > millis(LATE) || after_deploy.is_some() {
            Finding::warning("lag", detail, &next)
        } else {
            continue;
        };
        let finding = finding.of_slave(&slave.slave);
        findings.push(match tightest {
            Some((_, shard)) => finding.of_shard(shard),
            None => finding,
        });
    }
    if findings.is_empty() {
        let detail = "handlers are not late, nor behind what Discord replays";
        findings.push(Finding::ok("lag", detail));
    }
    findings
}

/// How this lag came with the deploy of its slave: not long after it, and far more than
/// before.
fn after_deploy(slave: &SlaveView, lag: u64) -> Option<String> {
    let ago = slave.deployed_ms_ago.filter(|ms| *ms < RECENT_MS)?;
    let before = slave.lag_before_ms?;
    let minutes = ago / 60_000;
    (lag > before.saturating_add(FAR_MORE_MS))
        .then(|| format!("it was {before} ms before the deploy {minutes} min ago"))
}

/// An event that is not finished is what a RESUME after a death begins at, and Discord
/// replays only so much behind it.
fn unfinished(view: &View) -> Vec<Finding> {
    let mut findings = Vec::new();
    for shard in &view.shards {
        let (behind, most) = (shard.behind, shard.replayed_at_most);
        // Where nothing is named it is a window that is being worked through.
        let Some(event) = shard.unfinished.as_ref() else {
            continue;
        };
        // Where they are handed on, the check of those who get them says it.
        let is_owner = |slave: &&SlaveView| shard.owner.as_deref() == Some(&*slave.slave);
        let owner = view.slaves.iter().find(is_owner);
        if owner.is_some_and(hands_on) {
            continue;
        }
        let age = event.age_ms / 1000;
        if behind < most / 4 && age < OLD_EVENT_S {
            continue;
        }
        let detail = format!(
            "event {} ({}, guild {}) of shard {} is unfinished since {age} s, {behind} events are \
             behind it, and Discord replays {most}",
            event.sequence, event.kind, event.guild, shard.shard
        );
        let next = "look for a handler of that type that hangs or keeps its Ack, and give it a time \
                    limit; a deploy takes the event along, a death gives it up";
        let finding = if behind >= most / 4 * 3 {
            Finding::error("unfinished", detail, next)
        } else {
            Finding::warning("unfinished", detail, next)
        };
        findings.push(match &shard.owner {
            Some(owner) => finding.of_shard(shard.shard).of_slave(owner),
            None => finding.of_shard(shard.shard),
        });
    }
    if findings.is_empty() {
        let detail = "no event is unfinished for long";
        findings.push(Finding::ok("unfinished", detail));
    }
    findings
}

fn handlers(slave: &SlaveView) -> Option<Finding> {
    let build = &slave.build;
    if slave.full_percent > 0 {
        let because = slave.full_because.unwrap_or_default();
        let detail = format!(
            "shards of build {build} take nothing from Discord {} % of the time, because of \
             {because}",
            slave.full_percent
        );
        return Some(Finding::warning("handlers", detail, because.next()));
    }
    if slave.failed.saturating_mul(FAILING) > slave.finished {
        let (failed, finished) = (slave.failed, slave.finished);
        let detail = format!("{failed} of {finished} events of build {build} failed");
        let next = "the bot's log says why; baton-master rollback brings the build before back";
        return Some(Finding::warning("handlers", detail, next));
    }
    None
}

fn builds(view: &View) -> Finding {
    if view.deploy.is_some() {
        return Finding::ok("builds", "a deploy is under way");
    }
    let mut builds: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for slave in view.slaves.iter().filter(|slave| slave.role != "leaving") {
        builds.entry(&slave.slot).or_default().insert(&slave.build);
    }
    match builds.iter().find(|(_, builds)| builds.len() > 1) {
        Some((slot, builds)) => {
            let builds = builds.iter().copied().collect::<Vec<_>>().join(" and ");
            Finding::warning(
                "builds",
                format!("slaves of slot {slot} are of builds {builds}"),
                "a death would change the build: deploy once more, standbys follow",
            )
        }
        None => Finding::ok("builds", "every slave of a slot is of one build"),
    }
}

fn clock(view: &View, unix_ms: u64) -> Finding {
    let began = view
        .shards
        .iter()
        .filter_map(|shard| shard.session_began_unix_ms);
    match began.max() {
        Some(began) if began > unix_ms.saturating_add(CLOCK_MS) => Finding::warning(
            "clock",
            format!(
                "a session began {} s in the future",
                (began - unix_ms) / 1000
            ),
            "the clocks of the hosts differ, or this one was set back: ages of sessions are wrong \
             after a restart of the master. Let the hosts ask for the time (NTP)",
        ),
        Some(_) | None => Finding::ok("clock", "no session began in the future"),
    }
}

/// Against what a cold start of the fleet would cost.
fn identify(view: &View) -> Finding {
    let shards = view.shard_count;
    let minutes = view.identifies_reset_ms.unwrap_or(0) / 60_000;
    let (hours, minutes) = (minutes / 60, minutes % 60);
    let (waiting, refused) = (view.identifies_waiting, view.identifies_refused);
    let reserve = view.identifies_reserve.unwrap_or(0);
    if refused > 1 {
        let pause = view.identify_pause_ms.unwrap_or(0) / 1000;
        return Finding::error(
            "identify",
            format!(
                "{refused} times in a row an IDENTIFY failed; {waiting} shards wait, and \
                 one tries in {pause} s"
            ),
            "is Discord up (discordstatus.com)? If it is well again: baton-master identify. If only \
             this bot is refused, the slave's log says how; keep the bot running",
        );
    }
    if let Some(why) = &view.identifies_held {
        let minutes = view.identifies_held_ms.unwrap_or(0) / 60_000;
        return Finding::error(
            "identify",
            format!(
                "IDENTIFYs are held up, for {minutes} min now: {why}; {waiting} shards wait, and \
                 one tries for all"
            ),
            "is Discord up (discordstatus.com)? If sessions last again: baton-master identify. If \
             only this bot loses them, the slave's log says how; a deploy of another build is not \
             held up, and has one shard try at once",
        );
    }
    match view.identifies_left {
        Some(left) if waiting > 0 && left <= reserve => Finding::error(
            "identify",
            format!(
                "{waiting} shards wait for an IDENTIFY, and {left} are left, {reserve} of them in \
                 reserve; more in {hours} h {minutes:02} min"
            ),
            "find what ends sessions, then spend the reserve: baton-master identify; do not restart \
             the bot",
        ),
        None => Finding::ok("identify", "not known: Discord was not asked"),
        Some(left) if left < shards => Finding::warning(
            "identify",
            format!(
                "{left} IDENTIFYs are left, and {shards} shards; more in {hours} h {minutes:02} min"
            ),
            "a deploy by RESUME costs none; avoid what ends sessions (other intents, a pause of \
             the whole fleet) until then",
        ),
        Some(left) => Finding::ok(
            "identify",
            format!("{left} IDENTIFYs are left for {shards} shards"),
        ),
    }
}

/// An operator who asks for late seals must see why there are none.
fn late_seal(view: &View) -> Option<Finding> {
    view.late_seal_refused.then(|| {
        Finding::warning(
            "late_seal",
            "Discord refused to resume a session while its old connection was open: every shard is sealed strictly",
            "set late_seal = false and leave --late-seal out; to have it tried again: baton-master retry-late-seal",
        )
    })
}

/// Slaves that serve on whatever their slot says.
fn leases(view: &View) -> Vec<Finding> {
    let refuse = view.slaves.iter().filter(|slave| slave.lease_refused);
    let findings = refuse.map(|slave| {
        Finding::warning(
            "lease",
            format!(
                "slave {:.8} (build {}, slot {}) knows no lease: if it cannot be reached, its shards \
                 wait for it",
                slave.slave, slave.build, slave.slot
            ),
            "deploy a build with this version of Baton into its slot, or take on_silence out of it",
        )
    });
    findings.collect()
}

fn journal(view: &View) -> Finding {
    if view.journal_fails {
        return Finding::error(
            "journal",
            "the journal cannot be written: nothing moves",
            "free space on its disk, or repair it; the master tries again by itself",
        );
    }
    Finding::ok("journal", "the journal is written")
}

#[cfg(test)]
mod tests;
