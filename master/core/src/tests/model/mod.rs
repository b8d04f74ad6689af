//! Every way that one small fleet can go: two slaves and those that are started
//! for them, one shard, one session, a few events, one master with its journal.
//! Not some of the ways, as `sim` rolls them, but all of them, each state once.
//!
//! It is the core itself that is stepped here; what stands around it is small:
//! slaves that obey (`slave.rs`, `window.rs`), connections that keep the order
//! until they break (`links.rs`), a master's process with a journal that its
//! death does not touch (`master.rs`). `steps.rs` says what can come next,
//! `search.rs` goes everywhere.
//!
//! Time is no number here, so that it is not part of a state: the core's clock
//! stands still. Any deadline that runs may come next, also one that would be
//! later by its span, but only when nothing else is about to happen: no message
//! on its way, nobody about to dial, to resume, to die. What comes before that is
//! a slow process, and counted like a fault ([`Faults::early`]).
//!
//! `BATON_MODEL=whole` goes through the whole of each space below, for which the
//! last takes much memory; `BATON_MODEL="events=2 crashes=1 early=1"` through
//! another one, in the test `a_space_that_is_named`.

mod identity;
mod links;
mod master;
mod promises;
mod search;
mod slave;
mod steps;
mod window;

use std::collections::BTreeMap;

use self::{
    links::Link,
    master::{Journal, Master},
    search::{Searched, search},
    slave::Slave,
    steps::Step as Next,
    window::{Events, Receipt, Window},
};
use super::*;
use crate::timers::Timer;

const SHARD: ShardId = ShardId(0);

/// What may still go wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Faults {
    /// `kill -9` of a slave or of the master, which starts again with its journal.
    crashes: u8,
    /// Connections that end with what is on its way, from some point on.
    cuts: u8,
    /// Messages that are lost on a connection that goes on.
    lost: u8,
    /// Messages that come twice.
    doubled: u8,
    /// Deadlines that come although something else was about to happen.
    early: u8,
    /// The store forgets everything, and with that its master ends: the next one starts with
    /// an empty journal and with the slaves that the file beside it names.
    forgets: u8,
}

/// Everything there is.
#[derive(Clone, Debug)]
struct World {
    /// `None`: no master runs.
    master: Option<Master>,
    journal: Journal,
    slaves: BTreeMap<SlaveId, Slave>,
    links: Vec<Link>,
    /// Dead, and the running master was not told.
    dead: Vec<SlaveId>,
    /// Events that happened, and that still will.
    happened: u8,
    to_happen: u8,
    /// Whose connection Discord has.
    connected: Option<SlaveId>,
    /// Events that a bot was handed, that one finished, and that were given up
    /// after a seal.
    handed: Events,
    finished: Events,
    given_up: Events,
    /// The highest epoch at which events were handed out, and by whom.
    handing: (Epoch, SlaveId),
    faults: Faults,
    /// Whether anything went wrong so far.
    troubled: bool,
    next_slave: u128,
    /// Whether shards are sealed late.
    late: bool,
    /// Whether the shard moves to another slot, and no slot is deployed.
    moves: bool,
    /// The master dies before it carries out so many more actions.
    dies_in: Option<usize>,
    /// Actions of this step.
    actions: usize,
    /// The first promise that was broken.
    broken: Option<String>,
    /// `Some`: what happened, for a person.
    story: Option<Vec<String>>,
}

impl World {
    /// `A` serves the shard, everything is in the journal; `B`, the next build,
    /// was started and is about to dial.
    fn deploy(events: u8, faults: Faults, late: bool) -> Self {
        let mut world = Self::served(late, false);
        world.slaves.insert(B, Slave::new(B, Role::Candidate));
        world.to_happen = events;
        world.faults = faults;
        assert_eq!(world.broken, None);
        assert!(world.is_good(), "{world:#?}");
        world
    }

    /// `A` serves the shard, `B` fills another slot, and an operator has ordered the shard to
    /// be there.
    fn moved(events: u8, faults: Faults, late: bool) -> Self {
        let mut world = Self::served(late, true);
        let mut other = Slave::new(B, Role::Relaunch);
        other.fills("west");
        world.slaves.insert(B, other);
        world.settle_down();
        assert!(world.is_good(), "{world:#?}");
        world.input(Input::Arrange {
            request: RequestId(1),
            order: crate::event::Arranging::Move {
                shards: Members::range(0, 0),
                to: "west".to_owned(),
            },
        });
        world.to_happen = events;
        world.faults = faults;
        assert_eq!(world.broken, None);
        world
    }

    /// `A` serves the shard, and everything is in the journal.
    fn served(late: bool, moves: bool) -> Self {
        let mut world = Self {
            master: None,
            journal: Journal::default(),
            slaves: BTreeMap::new(),
            links: Vec::new(),
            dead: Vec::new(),
            happened: 0,
            to_happen: 0,
            connected: None,
            handed: 0,
            finished: 0,
            given_up: 0,
            handing: (Epoch(0), SlaveId(0)),
            faults: Faults::default(),
            troubled: false,
            next_slave: C.0,
            late,
            moves,
            dies_in: None,
            actions: 0,
            broken: None,
            story: None,
        };
        world.slaves.insert(A, Slave::new(A, Role::Relaunch));
        world.start_master();
        world.settle_down();
        world
    }

    /// Lets everything happen that is about to.
    fn settle_down(&mut self) {
        while let Some(&step) = self.steps().iter().find(|step| step.is_about_to_happen()) {
            *self = self.after(step);
            assert_eq!(self.broken, None);
        }
        for step in [Next::Deadline(Timer::Tickets), Next::WriteTickets] {
            *self = self.after(step);
        }
    }

    fn note(&mut self, what: impl FnOnce() -> String) {
        if let Some(story) = &mut self.story {
            story.push(what());
        }
    }

    fn breaks(&mut self, why: impl FnOnce() -> String) {
        if self.broken.is_none() {
            self.broken = Some(why());
        }
    }
}

/// States of a space that is not gone through as a whole: what a test may take.
const MOST: usize = 40_000;

#[test]
fn a_deploy_without_a_fault_keeps_every_promise_on_every_way() {
    let searched = check("no fault", 2, Faults::default(), usize::MAX);
    assert!(searched.complete);
}

#[test]
fn one_crash_at_any_moment_breaks_no_promise() {
    let faults = Faults {
        crashes: 1,
        ..Faults::default()
    };
    check("one crash", 1, faults, MOST);
}

#[test]
fn a_connection_that_ends_at_any_moment_breaks_no_promise() {
    let faults = Faults {
        cuts: 1,
        ..Faults::default()
    };
    check("one cut", 1, faults, MOST);
}

#[test]
fn a_deadline_that_comes_early_breaks_no_promise() {
    let faults = Faults {
        early: 1,
        ..Faults::default()
    };
    check("one early deadline", 1, faults, MOST);
}

#[test]
fn a_store_that_forgets_at_any_moment_breaks_no_promise() {
    let forgets = Faults {
        forgets: 1,
        ..Faults::default()
    };
    check("the store forgets", 1, forgets, MOST);
    check_moving("move, the store forgets", 1, forgets, false, MOST);
}

#[test]
fn a_message_that_is_lost_and_one_that_comes_twice_break_no_promise() {
    let faults = Faults {
        lost: 1,
        doubled: 1,
        ..Faults::default()
    };
    check("one lost, one doubled", 1, faults, MOST);
}

#[test]
fn a_late_seal_without_a_fault_keeps_every_promise_on_every_way() {
    let searched = check_sealing("late seal", 1, Faults::default(), true, usize::MAX);
    assert!(searched.complete);
}

#[test]
fn one_crash_or_cut_at_any_moment_of_a_late_seal_breaks_no_promise() {
    let crash = Faults {
        crashes: 1,
        ..Faults::default()
    };
    check_sealing("late seal, one crash", 1, crash, true, MOST);
    let cut = Faults {
        cuts: 1,
        ..Faults::default()
    };
    check_sealing("late seal, one cut", 1, cut, true, MOST);
}

#[test]
fn a_move_to_another_slot_keeps_every_promise_on_every_way() {
    let none = Faults::default();
    let searched = check_moving("move", 1, none, false, usize::MAX);
    assert!(searched.complete);
    check_moving("move, late seal", 1, none, true, MOST);
}

#[test]
fn one_fault_at_any_moment_of_a_move_to_another_slot_breaks_no_promise() {
    let one = |crashes, cuts, early| Faults {
        crashes,
        cuts,
        early,
        ..Faults::default()
    };
    check_moving("move, one crash", 1, one(1, 0, 0), false, MOST);
    check_moving("move, one cut", 1, one(0, 1, 0), false, MOST);
    check_moving("move, one early deadline", 1, one(0, 0, 1), false, MOST);
}

#[test]
fn a_space_that_is_named() {
    let asked = std::env::var("BATON_MODEL").unwrap_or_default();
    let (mut events, mut faults, mut late, mut moves) = (0, Faults::default(), 0, 0);
    for named in asked.split_whitespace().filter(|named| *named != "whole") {
        let (key, value) = named.split_once('=').expect("key=value");
        let value = value.parse().expect("a small number");
        match key {
            "events" => events = value,
            "crashes" => faults.crashes = value,
            "cuts" => faults.cuts = value,
            "lost" => faults.lost = value,
            "doubled" => faults.doubled = value,
            "early" => faults.early = value,
            "forgets" => faults.forgets = value,
            "late" => late = value,
            "moves" => moves = value,
            _ => panic!("{key} is nothing that a space has"),
        }
    }
    let check = if moves > 0 {
        check_moving
    } else {
        check_sealing
    };
    check(&asked, events, faults, late > 0, usize::MAX);
}

fn check(name: &str, events: u8, faults: Faults, most: usize) -> Searched {
    check_sealing(name, events, faults, false, most)
}

fn check_sealing(name: &str, events: u8, faults: Faults, late: bool, most: usize) -> Searched {
    check_from(name, &World::deploy(events, faults, late), most)
}

fn check_moving(name: &str, events: u8, faults: Faults, late: bool, most: usize) -> Searched {
    check_from(name, &World::moved(events, faults, late), most)
}

fn check_from(name: &str, first: &World, most: usize) -> Searched {
    let whole = std::env::var("BATON_MODEL").is_ok_and(|asked| asked == "whole");
    let most = if whole { usize::MAX } else { most };
    let began = std::time::Instant::now();
    let searched = search(first, most);
    let (states, edges, depth) = (searched.states, searched.edges, searched.depth);
    let how_far = if searched.complete {
        "complete"
    } else {
        "not complete: every path of this length"
    };
    let took = began.elapsed();
    eprintln!("{name}: {states} states, {edges} edges, depth {depth}, {how_far}, {took:.1?}");
    if let Some(story) = &searched.broken {
        panic!("{name}: a promise is broken\n{story}");
    }
    searched
}
