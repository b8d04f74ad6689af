//! Events that kill the process that has them.

use baton_protocol::message::{CarriedEvent, SetAside, Trying};

use super::*;

fn trying(epoch: u64, sequence: u64) -> ToMaster {
    ToMaster::Trying(Trying {
        shard: ShardId(0),
        epoch: Epoch(epoch),
        sequence: Sequence(sequence),
        kind: "MESSAGE_CREATE".to_owned(),
        guild: 41,
    })
}

fn aside(epoch: u64, sequence: u64, handed_out: bool) -> ToMaster {
    ToMaster::SetAside(Box::new(SetAside {
        shard: ShardId(0),
        epoch: Epoch(epoch),
        guild: 41,
        handed_out,
        event: CarriedEvent {
            sequence: Sequence(sequence),
            kind: "MESSAGE_CREATE".to_owned(),
            json: "{}".to_owned(),
        },
    }))
}

/// A fleet in which one slave after the other dies, each before it finished anything.
struct Dying {
    rig: Rig,
    next: u128,
    epoch: u64,
}

impl Dying {
    fn new() -> Self {
        let mut rig = Rig::new(settings(1));
        rig.join_speaking(A, Role::Relaunch, Version::NEWEST);
        rig.ready(A, 0, 1);
        let (next, epoch) = (0x100, 1);
        Self { rig, next, epoch }
    }

    fn owner(&self) -> SlaveId {
        SlaveId(self.next - 1)
    }

    /// The owner dies, and the next one comes; the news, and its orders.
    fn dies(&mut self, owner: SlaveId) -> (Vec<Action>, Vec<Action>) {
        let death = self.rig.die(owner);
        self.rig.wait(20 * SECOND);
        let next = SlaveId(self.next);
        let order = self
            .rig
            .join_speaking(next, Role::Relaunch, Version::NEWEST);
        (self.next, self.epoch) = (self.next + 1, self.epoch + 1);
        (death, order)
    }

    /// Three have died.
    fn suspected() -> (Self, Vec<Action>) {
        let mut dying = Self::new();
        dying.dies(A);
        dying.dies(dying.owner());
        let (_, order) = dying.dies(dying.owner());
        (dying, order)
    }
}

fn said(actions: &[Action], what: &str) -> bool {
    let told = |action: &Action| matches!(action, Action::Tell(News::Alarm { detail }) if detail.contains(what));
    actions.iter().any(told)
}

#[test]
fn after_three_deaths_over_the_same_events_they_are_handed_out_alone() {
    let mut dying = Dying::new();
    let (_, order) = dying.dies(A);
    assert!(!resume_of(&order).alone);
    let (_, order) = dying.dies(dying.owner());
    assert!(!resume_of(&order).alone);
    let (death, order) = dying.dies(dying.owner());
    assert!(resume_of(&order).alone);
    assert!(said(&death, "one event at a time"), "{death:?}");
}

#[test]
fn a_death_after_which_more_was_finished_begins_the_count_anew() {
    let mut dying = Dying::new();
    for round in 0..6 {
        let owner = if round == 0 { A } else { dying.owner() };
        dying
            .rig
            .say(owner, checkpoint(0, dying.epoch, 101 + round));
        let (_, order) = dying.dies(owner);
        assert!(!resume_of(&order).alone);
    }
}

#[test]
fn an_event_that_killed_twice_while_it_was_alone_is_set_aside_kept_and_named() {
    let (mut dying, _) = Dying::suspected();
    for deaths in 1..=2 {
        let owner = dying.owner();
        let actions = dying.rig.say(owner, trying(dying.epoch, 105));
        assert_eq!(orders(&actions).len(), 1, "it is answered: {actions:?}");
        let (death, order) = dying.dies(owner);
        let deadly = &resume_of(&order).deadly;
        assert_eq!(*deadly == ranges(&[105]), deaths == 2, "{deadly}");
        assert_eq!(
            said(&death, "event 105 of shard 0 (MESSAGE_CREATE, guild 41)"),
            deaths == 2
        );
    }
    let owner = dying.owner();
    let actions = dying.rig.say(owner, aside(dying.epoch, 105, false));
    assert_eq!(orders(&actions), ["keep 105"]);
    let again = dying.rig.say(owner, aside(dying.epoch, 105, false));
    assert_eq!(orders(&again), [""; 0], "once");
    let other = dying.rig.say(owner, aside(dying.epoch, 106, false));
    assert_eq!(orders(&other), [""; 0], "nobody asked for that");
}

#[test]
fn an_event_that_was_finished_before_its_slave_died_is_not_the_cause() {
    let (mut dying, _) = Dying::suspected();
    for _ in 0..4 {
        let owner = dying.owner();
        dying.rig.say(owner, trying(dying.epoch, 105));
        let entry = CheckpointEntry {
            shard: ShardId(0),
            epoch: Epoch(dying.epoch),
            handled: Sequence(100),
            finished_above: ranges(&[105]),
            session: Some(ticket(0, 100)),
            ..CheckpointEntry::default()
        };
        let shards = vec![entry];
        dying
            .rig
            .say(owner, ToMaster::Checkpoint(Checkpoint { shards }));
        let (_, order) = dying.dies(owner);
        assert!(resume_of(&order).deadly.is_empty());
    }
}

#[test]
fn a_deadly_event_that_the_bot_wanted_all_the_same_is_skipped_when_it_kills_again() {
    let (mut dying, _) = Dying::suspected();
    for _ in 0..2 {
        let owner = dying.owner();
        dying.rig.say(owner, trying(dying.epoch, 105));
        dying.dies(owner);
    }
    let owner = dying.owner();
    dying.rig.say(owner, aside(dying.epoch, 105, true));
    let (_, order) = dying.dies(owner);
    assert_eq!(resume_of(&order).skipped, ranges(&[105]));
}

#[test]
fn a_slave_of_an_older_version_is_not_told_what_it_does_not_know() {
    let (mut dying, _) = Dying::suspected();
    dying.rig.die(dying.owner());
    dying.rig.wait(20 * SECOND);
    let order = dying
        .rig
        .join_speaking(SlaveId(0x999), Role::Relaunch, Version(5));
    assert!(!resume_of(&order).alone);
}

#[test]
fn slaves_that_die_one_after_the_other_are_replaced_ever_more_slowly_by_standbys_too() {
    let settings = Settings {
        standbys: 1,
        ..settings(1)
    };
    let mut rig = Rig::serving_with(settings);
    let (mut owner, mut deaths) = (A, 0);
    let began = rig.now;
    while rig.now.since(began) < 60 * SECOND {
        let standby = SlaveId(0x100 + deaths);
        rig.wait(SECOND);
        rig.join_speaking(standby, Role::Standby, Version::NEWEST);
        rig.say(standby, ToMaster::SoftStartComplete);
        let actions = rig.die(owner);
        deaths += 1;
        assert_eq!(
            said(&actions, "died soon after they filled it"),
            deaths >= 3
        );
        while rig.shard(0).0 != Some(standby.to_string()) {
            rig.wait(SECOND / 10);
        }
        owner = standby;
    }
    assert!((5..12).contains(&deaths), "{deaths} deaths in a minute");
}
