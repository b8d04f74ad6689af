//! Sessions that do not last: a storm of op 9, a build that loses each one. And what of the
//! day the next master knows.

use std::collections::BTreeMap;

use super::*;
use crate::event::{Identifies, IdentifyBudget};

const DAY: Duration = Duration::from_secs(24 * 3600);

fn budget(remaining: u32, at_once: u32) -> Input {
    Input::Budget(IdentifyBudget {
        total: 1000,
        remaining,
        reset_after: DAY,
        at_once,
    })
}

/// A fleet whose sessions end again: what was spent, and what was said.
struct Stormy {
    rig: Rig,
    slave: SlaveId,
    epoch: u64,
    spent: u32,
    alarms: Vec<String>,
    /// When each session ends.
    ends: BTreeMap<u32, Time>,
    /// What the journal has.
    kept: Option<Identifies>,
}

impl Stormy {
    /// `A` serves all of them, and the whole day is left.
    fn new(shards: u32, at_once: u32) -> Self {
        let mut settings = settings(shards);
        settings.permits_at_once = at_once;
        let mut stormy = Self {
            rig: Rig::serving_with(settings),
            slave: A,
            epoch: 1,
            spent: 0,
            alarms: Vec::new(),
            ends: BTreeMap::new(),
            kept: None,
        };
        stormy.input(budget(1000, at_once));
        stormy
    }

    /// The shards to which a permit was given, and whatever else came of it.
    fn note(&mut self, actions: &[Action]) -> Vec<u32> {
        let mut given = Vec::new();
        for action in actions {
            match action {
                Action::Send(_, ToSlave::IdentifyPermit(unit)) => given.push(unit.shard.get()),
                Action::Tell(News::Alarm { detail }) => self.alarms.push(detail.clone()),
                Action::Save(entries, _) => {
                    for entry in entries {
                        if let Entry::Identifies(known) = entry {
                            self.kept = Some(known.clone());
                        }
                    }
                }
                _ => {}
            }
        }
        self.spent += u32::try_from(given.len()).unwrap();
        given
    }

    fn input(&mut self, input: Input) -> Vec<u32> {
        let actions = self.rig.input(input);
        self.note(&actions)
    }

    fn say(&mut self, message: ToMaster) -> Vec<u32> {
        let slave = self.slave;
        let actions = self.rig.say(slave, message);
        self.note(&actions)
    }

    fn wait(&mut self, span: Duration) -> Vec<u32> {
        let actions = self.rig.wait(span);
        self.note(&actions)
    }

    /// op 9, `d: false`.
    fn loses(&mut self, shard: u32) -> Vec<u32> {
        let epoch = self.epoch;
        let mut given = self.say(progress(shard, epoch, Step::SessionLost));
        given.extend(self.say(wants_permit(shard, epoch, IdentifyCause::SessionLost)));
        given
    }

    fn ready(&mut self, shard: u32) -> Vec<u32> {
        let epoch = self.epoch;
        let mut given = self.say(progress(shard, epoch, Step::Hello));
        given.extend(self.say(checkpoint(shard, epoch, 100)));
        given.extend(self.say(progress(shard, epoch, Step::Serving)));
        given
    }

    /// Every session ends at once.
    fn all_lose(&mut self, shards: u32) -> Vec<u32> {
        (0..shards).flat_map(|shard| self.loses(shard)).collect()
    }

    /// Each permit is used at once, and each session ends so much later.
    fn live(&mut self, span: Duration, lasts: Duration) {
        let end = self.rig.now.after(span);
        let mut given = Vec::new();
        while self.rig.now < end {
            given.extend(self.wait(SECOND));
            let now = self.rig.now;
            while let Some(shard) = given.pop() {
                self.ends.insert(shard, now.after(lasts));
                let more = self.ready(shard);
                given.extend(more);
            }
            let over: Vec<_> = self.ends.iter().filter(|(_, at)| **at <= now).collect();
            let over: Vec<u32> = over.into_iter().map(|(shard, _)| *shard).collect();
            for shard in over {
                self.ends.remove(&shard);
                let more = self.loses(shard);
                given.extend(more);
            }
        }
    }
}

#[test]
fn after_a_storm_one_shard_tries_and_the_others_follow_when_its_session_lasted() {
    let mut stormy = Stormy::new(64, 16);
    let given = stormy.all_lose(64);
    assert!(
        given.len() < 16,
        "those before the storm was one: {given:?}"
    );
    let began = given.len();
    assert_eq!(stormy.alarms.len(), 1, "{:?}", stormy.alarms);
    assert!(stormy.alarms[0].contains("16 of 64 shards lost their sessions"));
    for shard in given {
        assert_eq!(stormy.ready(shard), [0; 0]);
    }
    let trial = stormy.wait(5 * SECOND);
    let [shard] = trial[..] else {
        panic!("{trial:?}");
    };
    let view = stormy.rig.core.view(stormy.rig.now);
    let held = view.identifies_held.clone().unwrap_or_default();
    assert!(held.contains("16 of 64"), "{held}");
    assert_eq!(view.identifies_trial, Some(shard));
    let waits = view
        .shards
        .iter()
        .find(|other| other.state == "no session" && other.shard != shard);
    let reason = waits
        .and_then(|waits| waits.reason.clone())
        .unwrap_or_default();
    assert!(reason.contains("tries for all"), "{reason}");
    assert_eq!(stormy.ready(shard), [0; 0], "READY proves nothing yet");
    assert_eq!(stormy.wait(5 * SECOND - SECOND / 10), [0; 0]);
    assert_eq!(stormy.wait(SECOND / 10).len(), 16, "it lasted");
    assert_eq!(stormy.rig.core.view(stormy.rig.now).identifies_held, None);
    let mut rounds = 0;
    while stormy.spent < 64 {
        let waiting: Vec<u32> = (stormy.rig.core.view(stormy.rig.now).shards.iter())
            .filter(|shard| shard.state == "no session")
            .map(|shard| shard.shard)
            .collect();
        for shard in waiting {
            if !stormy.rig.core.permits.waits(ShardId(shard)) {
                stormy.ready(shard);
            }
        }
        stormy.wait(5 * SECOND);
        rounds += 1;
        assert!(rounds < 10, "{} of {began} and more", stormy.spent);
    }
    assert_eq!(stormy.alarms.len(), 1);
}

#[test]
fn a_day_of_storms_leaves_most_of_the_day() {
    for (shards, lasts) in [(16, 1), (16, 40), (16, 400), (150, 900), (16, 2000)] {
        let mut stormy = Stormy::new(shards, 1);
        let given = stormy.all_lose(shards);
        for shard in given {
            stormy
                .ends
                .insert(shard, stormy.rig.now.after(lasts * SECOND));
            stormy.ready(shard);
        }
        stormy.live(DAY - SECOND * 60, lasts * SECOND);
        let (spent, alarms) = (stormy.spent, stormy.alarms.len());
        assert!(
            spent < 850,
            "{shards} shards, {lasts} s: {spent} were spent"
        );
        assert!(
            (1..=24).contains(&alarms),
            "{shards}, {lasts} s: {:?}",
            stormy.alarms
        );
    }
}

#[test]
fn a_build_that_dies_after_each_session_spends_no_day() {
    let mut stormy = Stormy::new(64, 16);
    let mut given = stormy.all_lose(64);
    let end = stormy.rig.now.after(DAY - SECOND * 60);
    let (mut slave, mut turns) = (A, 0_u128);
    while stormy.rig.now < end {
        let Some(shard) = given.pop() else {
            given = stormy.wait(SECOND);
            continue;
        };
        // One session is there, and the process dies with whatever others are permitted.
        let more = stormy.ready(shard);
        given.extend(more);
        let actions = stormy.rig.die(slave);
        stormy.note(&actions);
        given.clear();
        turns += 1;
        slave = SlaveId(0x100 + turns);
        stormy.slave = slave;
        stormy.wait(10 * SECOND);
        let mut hello = hello(A, Role::Relaunch);
        hello.slave = slave;
        hello.process.pid = 0x100 + u32::try_from(turns).unwrap();
        let actions = stormy.rig.comes(hello, Report::default());
        given.extend(stormy.note(&actions));
        stormy.epoch = stormy.rig.core.view(stormy.rig.now).shards[0].epoch;
        for shard in 0..64 {
            let epoch = stormy.rig.core.view(stormy.rig.now).shards[shard as usize].epoch;
            stormy.epoch = epoch;
            given.extend(stormy.loses(shard));
        }
    }
    assert!(turns > 20, "{turns} processes");
    assert!(stormy.spent < 850, "{} were spent", stormy.spent);
    let said = stormy.alarms.join("\n");
    assert!(said.contains("IDENTIFYs are held up"), "{said}");
}

#[test]
fn a_deploy_does_not_wait_for_a_storm() {
    let mut stormy = Stormy::new(16, 1);
    for shard in 0..8 {
        stormy.loses(shard);
    }
    assert!(
        stormy
            .rig
            .core
            .view(stormy.rig.now)
            .identifies_held
            .is_some()
    );
    let request = RequestId(1);
    let order = order(Some("v2"));
    stormy.input(Input::Deploy { request, order });
    stormy.rig.join(B, Role::Candidate);
    stormy.rig.say(A, prepared(true));
    stormy.rig.say(B, prepared(false));
    for shard in 0..16 {
        // Those with a session by their state and its ticket, the others without.
        stormy.rig.say(B, state_ready(shard, 1, 90));
        stormy.rig.say(A, sealed_or_not(shard));
        stormy.rig.say(A, settled(shard, 1, &[]));
        if shard >= 8 {
            stormy.rig.say(B, resumed(shard, 2));
        }
    }
    let moved = (stormy.rig.core.view(stormy.rig.now).shards.iter())
        .filter(|shard| shard.owner == Some(B.to_string()))
        .count();
    assert_eq!(moved, 16, "{:?}", stormy.rig.step());
    assert_eq!(stormy.spent, 1, "the one before the storm was one");
}

/// The ticket of a shard that has a session, or of one that has none.
fn sealed_or_not(shard: u32) -> ToMaster {
    if shard >= 8 {
        return sealed(shard, 1, 100);
    }
    let without = Ticket {
        shard: ShardId(shard),
        ..Ticket::default()
    };
    sealed_with(1, without)
}

#[test]
fn an_operators_word_ends_it_at_once_and_a_deploy_has_one_shard_try() {
    let mut stormy = Stormy::new(16, 16);
    stormy.all_lose(16);
    // Trials fail until the pauses are long.
    for _ in 0..8 {
        for shard in stormy.wait(300 * SECOND) {
            stormy.ready(shard);
            stormy.wait(SECOND);
            stormy.loses(shard);
        }
    }
    stormy.wait(20 * SECOND);
    let request = RequestId(1);
    let order = order(Some("v2"));
    let tries = stormy.input(Input::Deploy { request, order });
    assert_eq!(
        tries.len(),
        1,
        "what kept sessions from lasting may be mended"
    );
    let shard = tries[0];
    stormy.ready(shard);
    stormy.loses(shard);
    let word = Input::Identify { request };
    assert!(stormy.input(word).len() > 8, "all of them");
    assert_eq!(stormy.rig.core.view(stormy.rig.now).identifies_held, None);
}

#[test]
fn a_master_that_comes_back_knows_what_was_spent_and_what_is_held_up() {
    let mut stormy = Stormy::new(16, 1);
    stormy.input(budget(60, 1));
    stormy.all_lose(16);
    let spent = stormy.spent;
    let known = stormy.kept.clone().unwrap();
    assert_eq!((known.total, known.remaining), (1000, 60 - spent));
    assert!(known.trips > 0 && !known.held.is_empty());
    // Discord cannot be asked, and it is an hour later.
    for _ in 0..2 {
        let recovered = Recovered {
            identifies: Some(known.clone().older(3600 * SECOND)),
            ..Recovered::default()
        };
        let next = Rig::restarted(settings(16), recovered);
        let view = next.core.view(next.now);
        assert_eq!(view.identifies_left, Some(60 - spent));
        let resets = view.identifies_reset_ms.unwrap_or_default();
        assert!(resets <= 23 * 3_600_000, "{resets}");
        assert!(view.identifies_held.is_some());
    }
    // The day is over.
    let recovered = Recovered {
        identifies: Some(known.older(DAY)),
        ..Recovered::default()
    };
    let next = Rig::restarted(settings(16), recovered);
    let view = next.core.view(next.now);
    assert_eq!(view.identifies_left, Some(1000));
    assert_eq!(view.identifies_held, None);
}

#[test]
fn a_permit_is_counted_on_the_disk_before_it_is_sent_and_is_given_where_none_can_be_written() {
    let mut rig = Rig::new(settings(1));
    rig.input(budget(1000, 1));
    rig.join(A, Role::Relaunch);
    let actions = rig.say(A, wants_permit(0, 1, IdentifyCause::Cold));
    let saved = actions.iter().position(|action| {
        matches!(action, Action::Save(entries, _) if entries.iter().any(
            |entry| matches!(entry, Entry::Identifies(known) if known.remaining == 999),
        ))
    });
    let sent = (actions.iter())
        .position(|action| matches!(action, Action::Send(_, ToSlave::IdentifyPermit(_))));
    assert!(saved.is_some() && saved < sent, "{saved:?} {sent:?}");

    let mut rig = Rig::new(settings(1));
    rig.input(budget(1000, 1));
    rig.join(A, Role::Relaunch);
    let asks = Input::Said {
        slave: A,
        message: wants_permit(0, 1, IdentifyCause::Cold),
    };
    rig.core.handle(rig.now, asks);
    let mut done = Vec::new();
    while let Some(action) = rig.core.poll_action() {
        if matches!(action, Action::Save(..)) {
            let reason = "no space left".to_owned();
            rig.core.handle(rig.now, Input::SaveFailed { reason });
        } else {
            done.push(action);
        }
    }
    assert_eq!(orders(&done), ["a IdentifyPermit 0@1"]);
}
