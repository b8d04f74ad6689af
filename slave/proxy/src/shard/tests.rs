//! Random lives of a shard and its clients: whatever happens, each event is finished once,
//! not before a client received it, and each client sees every number once, in order.
//! Below them, what such a life does not come to.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use baton_protocol::{Sequence, ShardId};
use futures_util::FutureExt;
use tokio::{sync::Notify, time::Instant};

use super::{Asking, Attachment, Budget, Core, Event, Identified, Over, Resumed, Take, Undo, Wish};
use crate::{
    config::{Limits, ProxyConfig},
    status::{GivenUp, Reason},
    upstream::{Begin, Dispatch},
};

/// A client as a test plays it.
#[derive(Debug, Default)]
struct Client {
    connection: u64,
    key: u64,
    id: String,
    /// The last sequence that it received.
    sequence: u64,
    /// A session, whether it is connected or not.
    is_live: bool,
    is_connected: bool,
}

struct World {
    core: Core,
    random: u64,
    /// The last sequence of Discord's.
    last: u64,
    /// Those of them that were no event.
    holes: BTreeSet<u64>,
    /// What clients have received.
    received: BTreeSet<u64>,
    finished: BTreeSet<u64>,
    client: Client,
    connections: u64,
}

const FIRST: u64 = 1000;

/// A shard whose session goes on behind `FIRST`, as far as it is known since `now`.
fn core(now: Instant, change: impl FnOnce(&mut Limits)) -> Core {
    let config = ProxyConfig::default();
    let mut limits = config.limits;
    change(&mut limits);
    let budget = Budget::new(limits.rings);
    let mut core = Core::new(limits, config.timings, budget, now);
    let handled = Sequence(FIRST);
    core.begin(&Begin::Resumed { handled }, now);
    core
}

fn push(core: &mut Core, sequence: u64) {
    let dispatch = Dispatch {
        sequence: Sequence(sequence),
        kind: "E".to_owned(),
        json: format!(r#"{{"d":{sequence}}}"#).into(),
    };
    let event = Event::read(&dispatch);
    core.push(&dispatch, event, Instant::now());
}

fn attachment(connection: u64) -> Attachment {
    Attachment {
        connection,
        wake: Arc::new(Notify::new()),
    }
}

/// A client begins and is greeted by one dispatch. Its key; its id is that of the connection.
fn client(core: &mut Core, attachment: &Attachment, mirror: Option<&str>) -> u64 {
    let wish = Wish {
        mirror: mirror.map(str::to_owned),
        ..Wish::default()
    };
    let id = attachment.connection.to_string();
    let identified = core.identify(attachment, &wish, &id, false, false);
    let Identified::Begun { key, .. } = identified else {
        panic!("it does not begin: {identified:?}");
    };
    core.greeted(key, 1);
    key
}

/// What a connection takes, by its sequences, and the text of each.
fn taken(core: &mut Core, key: u64, connection: u64) -> Vec<(u64, Option<String>)> {
    let Take::Batch { dispatches, .. } = core.take(key, connection, usize::MAX) else {
        return Vec::new();
    };
    let text = |event: Arc<Event>| event.data().to_owned();
    dispatches
        .into_iter()
        .map(|(sequence, event)| (sequence, event.map(text)))
        .collect()
}

fn is_woken(attachment: &Attachment) -> bool {
    attachment.wake.notified().now_or_never().is_some()
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            core: core(Instant::now(), |limits| limits.history = 3000),
            random: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
            last: FIRST,
            holes: BTreeSet::new(),
            received: BTreeSet::new(),
            finished: BTreeSet::new(),
            client: Client::default(),
            connections: 0,
        }
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 16) % bound
    }

    fn step(&mut self) {
        match self.below(12) {
            0..=3 => self.event(),
            4..=6 => drop(self.take(false)),
            7 | 8 => self.acknowledge(),
            9 => self.drop_connection(),
            10 => self.resume(),
            _ => self.identify(),
        }
        self.hear_finished();
    }

    fn hear_finished(&mut self) {
        for (first, last) in self.core.take_finished() {
            for sequence in first.get()..=last.get() {
                assert!(
                    self.finished.insert(sequence),
                    "{sequence} is finished twice"
                );
                let is_there = self.received.contains(&sequence) || self.holes.contains(&sequence);
                assert!(is_there, "{sequence} is finished and nobody received it");
            }
        }
    }

    fn event(&mut self) {
        if self.below(10) == 0 {
            self.last += 1;
            self.holes.insert(self.last);
        }
        self.last += 1;
        push(&mut self.core, self.last);
    }

    fn attachment(&mut self) -> Attachment {
        self.connections += 1;
        attachment(self.connections)
    }

    /// Takes what there is, and receives all of it, or a part if the line breaks. `false`:
    /// there is nothing.
    fn take(&mut self, whole: bool) -> bool {
        if !self.client.is_connected {
            return false;
        }
        let bytes = 1 + usize::try_from(self.below(2000)).unwrap_or(1);
        let (key, connection) = (self.client.key, self.client.connection);
        match self.core.take(key, connection, bytes) {
            Take::Batch { dispatches, .. } => {
                let all = dispatches.len();
                let breaks = !whole && self.below(4) == 0;
                let part = usize::try_from(self.below(all as u64 + 1)).unwrap_or(all);
                let arrives = if breaks { part } else { all };
                for (sequence, event) in dispatches.into_iter().take(arrives) {
                    assert_eq!(sequence, self.client.sequence + 1, "no gap, nothing twice");
                    self.client.sequence = sequence;
                    if let Some(event) = event {
                        let own: Option<u64> = event.data().parse().ok();
                        self.received.extend(own);
                    }
                }
                if arrives < all {
                    // The rest was on the line when it broke.
                    self.drop_connection();
                }
            }
            Take::Resumed(sequence) => assert_eq!(sequence, self.client.sequence),
            Take::Nothing => return false,
            Take::Over(over) => panic!("it is over: {over:?}"),
        }
        true
    }

    /// Says what it has, or less.
    fn acknowledge(&mut self) {
        if self.client.is_connected {
            let less = self.below(4);
            let sequence = self.client.sequence.saturating_sub(less);
            let (key, connection) = (self.client.key, self.client.connection);
            self.core.heard(key, connection, sequence);
        }
    }

    fn drop_connection(&mut self) {
        if self.client.is_connected {
            let (key, connection) = (self.client.key, self.client.connection);
            self.core.detach(key, connection, false);
            self.client.is_connected = false;
        }
    }

    fn resume(&mut self) {
        if !self.client.is_live || self.client.is_connected {
            return;
        }
        let attachment = self.attachment();
        let (id, sequence) = (self.client.id.clone(), self.client.sequence);
        let resumed = self.core.resume(&attachment, &id, sequence);
        let Resumed::Here { key, .. } = resumed else {
            panic!("a client that missed nothing is refused: {resumed:?}");
        };
        self.client.key = key;
        self.client.connection = attachment.connection;
        self.client.is_connected = true;
    }

    /// A new client, also while one is here: that one answers or does not.
    fn identify(&mut self) {
        let attachment = self.attachment();
        let wish = Wish::default();
        let id = attachment.connection.to_string();
        let mut identified = self.core.identify(&attachment, &wish, &id, false, false);
        if matches!(identified, Identified::Settling) {
            let waited = self.below(2) == 0;
            if !waited {
                let (key, connection) = (self.client.key, self.client.connection);
                assert!(matches!(self.core.take(key, connection, 1), Take::Nothing));
                self.core.heard(key, connection, self.client.sequence);
            }
            identified = self.core.identify(&attachment, &wish, &id, true, waited);
        }
        let Identified::Begun { key, .. } = identified else {
            panic!("it does not begin: {identified:?}");
        };
        let greeting = 1 + self.below(5);
        self.core.greeted(key, greeting);
        self.client = Client {
            connection: attachment.connection,
            key,
            id,
            sequence: greeting,
            is_live: true,
            is_connected: true,
        };
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_happens_each_event_is_received_in_order_and_then_finished_once() {
    for seed in 1..=300 {
        let mut world = World::new(seed);
        for _ in 0..400 {
            world.step();
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        // One more client, which reads to the end.
        world.drop_connection();
        world.identify();
        while world.take(true) {}
        let Client {
            key,
            connection,
            sequence,
            ..
        } = world.client;
        world.core.heard(key, connection, sequence);
        world.hear_finished();
        let all: BTreeSet<u64> = (FIRST + 1..=world.last).collect();
        assert_eq!(world.finished, all, "seed {seed}");
    }
}

#[test]
fn the_first_client_is_expected_from_the_start_and_not_for_ever() {
    let now = Instant::now();
    let keep = ProxyConfig::default().timings.keep;
    let mut core = core(now, |_| {});
    push(&mut core, FIRST + 1);
    core.tick(now + keep - Duration::from_millis(1));
    assert_eq!(core.take_finished(), []);
    core.tick(now + keep);
    push(&mut core, FIRST + 2);
    let both = [1, 2].map(|next| (Sequence(FIRST + next), Sequence(FIRST + next)));
    assert_eq!(core.take_finished(), both);
    assert_eq!((core.counts.lost, core.counts.unattended), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_full_ring_is_given_up_although_its_client_says_again_what_it_said() {
    let now = Instant::now();
    let hold = ProxyConfig::default().timings.hold;
    let mut core = core(now, |limits| limits.ring = 1);
    let key = client(&mut core, &attachment(1), None);
    push(&mut core, FIRST + 1);
    assert_eq!(taken(&mut core, key, 1).len(), 1);
    let now = Instant::now();
    assert!(!core.has_room());
    // READY, which it has, and nothing behind it.
    core.heard(key, 1, 1);
    core.tick(now + hold - Duration::from_millis(1));
    assert!(!core.has_room());
    let status = core.status(ShardId(0), now + hold / 2);
    let half = Some(u64::try_from(hold.as_millis() / 2).unwrap_or(0));
    assert_eq!((status.oldest_ms, status.full_ms), (half, half));
    assert_eq!((status.gives_up_ms, status.given_up), (half, None));
    core.heard(key, 1, 1);
    core.tick(now + hold);
    assert!(core.has_room());
    assert_eq!(core.counts.lost, 1);
    let status = core.status(ShardId(0), now + hold + Duration::from_secs(1));
    let given_up = GivenUp {
        reason: Reason::Full,
        events: 1,
        bytes: 523,
        ago_ms: 1000,
    };
    assert_eq!(status.given_up, Some(given_up));
    assert_eq!((status.oldest_ms, status.gives_up_ms), (None, None));
}

#[test]
fn a_shard_that_has_left_gives_nothing_up() {
    let now = Instant::now();
    let timings = ProxyConfig::default().timings;
    let mut core = core(now, |limits| limits.ring = 1);
    push(&mut core, FIRST + 1);
    assert!(!core.has_room());
    core.leave();
    core.tick(now + timings.hold);
    core.tick(now + timings.keep);
    assert!(!core.has_room());
    assert_eq!(core.take_finished(), [], "its next owner has it");
    assert_eq!(core.counts.lost, 0);
}

#[test]
fn a_shard_that_comes_back_with_another_session_has_its_events_whatever_their_numbers() {
    let (now, settle) = (Instant::now(), ProxyConfig::default().timings.settle);
    let mut core = core(now, |_| {});
    let here = client(&mut core, &attachment(1), None);
    push(&mut core, FIRST + 1);
    let handled = Sequence(40);
    core.begin(&Begin::Other { handled }, now);
    push(&mut core, 41);
    assert_eq!(core.take_finished(), [(handled, handled)]);
    let before = || (2, Some((FIRST + 1).to_string()));
    assert_eq!(taken(&mut core, here, 1), [before()]);
    // It is asked what it has, and says nothing.
    assert!(matches!(core.take(here, 1, 1), Take::Nothing));
    assert_eq!(core.asking(here), Asking::Soon);
    core.tick(now);
    core.tick(now + settle / 2);
    assert!(matches!(core.take(here, 1, 1), Take::Nothing));
    core.tick(now + settle);
    assert!(matches!(
        core.take(here, 1, 1),
        Take::Over(Over::NewSession)
    ));
    // What it did not acknowledge, the new session, and the event of that.
    let again = client(&mut core, &attachment(2), None);
    let all = [before(), (3, None), (4, Some("41".to_owned()))];
    assert_eq!(taken(&mut core, again, 2), all);
    core.heard(again, 2, 4);
    assert_eq!(core.take_finished(), [(Sequence(41), Sequence(41))]);
}

#[test]
fn a_session_that_another_connection_could_not_resume_is_over_for_the_one_that_had_it() {
    for mirror in [None, Some("m")] {
        let mut core = core(Instant::now(), |_| {});
        let (had, other) = (attachment(1), attachment(2));
        let key = client(&mut core, &had, mirror);
        let resumed = core.resume(&other, "1", 5000);
        assert_eq!(resumed, Resumed::InvalidSequence);
        assert!(is_woken(&had), "{mirror:?}");
        let over = core.take(key, 1, 1);
        assert!(matches!(over, Take::Over(Over::Lost)), "{over:?}");
    }
}

#[test]
fn whoever_waits_to_take_over_comes_in_when_there_is_nobody_to_wait_for() {
    let mut core = core(Instant::now(), |_| {});
    let key = client(&mut core, &attachment(1), None);
    push(&mut core, FIRST + 1);
    taken(&mut core, key, 1);
    let next = attachment(2);
    let wish = Wish::default();
    let identified = core.identify(&next, &wish, "2", false, false);
    assert!(matches!(identified, Identified::Settling));
    assert_eq!(core.asking(key), Asking::Soon);
    assert!(!is_woken(&next));
    core.resume(&attachment(3), "1", 5000);
    assert!(is_woken(&next));
    let identified = core.identify(&next, &wish, "2", true, false);
    assert!(matches!(identified, Identified::Begun { .. }));
}

#[test]
fn whose_guilds_cannot_be_made_older_any_more_has_to_begin_anew() {
    let mut core = core(Instant::now(), |limits| limits.history = 0);
    let key = client(&mut core, &attachment(1), None);
    push(&mut core, FIRST + 1);
    taken(&mut core, key, 1);
    let here = attachment(2);
    let wish = Wish {
        mirror: Some("m".to_owned()),
        ..Wish::default()
    };
    let identified = core.identify(&here, &wish, "2", false, false);
    let Identified::Begun {
        key: mirror,
        position,
    } = identified
    else {
        panic!("it does not begin: {identified:?}");
    };
    let mut undo = Undo::above(position);
    push(&mut core, FIRST + 2);
    assert!(core.extend_undo(&mut undo));
    push(&mut core, FIRST + 3);
    push(&mut core, FIRST + 4);
    taken(&mut core, key, 1);
    core.heard(key, 1, 4);
    assert!(!core.extend_undo(&mut undo), "{} is gone", FIRST + 3);
    core.is_lost(mirror);
    assert!(is_woken(&here));
    assert!(matches!(core.take(mirror, 2, 1), Take::Over(Over::Lost)));
}

#[test]
fn a_shard_that_leaves_hears_that_a_client_says_nothing_more() {
    let (now, settle) = (Instant::now(), ProxyConfig::default().timings.settle);
    let mut core = core(now, |_| {});
    let key = client(&mut core, &attachment(1), None);
    push(&mut core, FIRST + 1);
    taken(&mut core, key, 1);
    let parting = attachment(2);
    core.parts(Arc::clone(&parting.wake));
    for after in [Duration::ZERO, settle / 2, settle] {
        assert!(!core.is_at_rest() && !is_woken(&parting), "{after:?}");
        core.tick(now + after);
    }
    assert!(core.is_at_rest() && is_woken(&parting));
}

#[test]
fn a_session_ends_once_and_nobody_s_end_is_forgotten_for_it() {
    let mut core = core(Instant::now(), |_| {});
    let first = client(&mut core, &attachment(1), None);
    core.is_lost(first);
    let second = client(&mut core, &attachment(2), None);
    core.has_new_clients();
    core.is_lost(second);
    assert!(core.has_new_clients());
    for _ in 0..100 {
        core.is_lost(second);
    }
    assert!(!core.has_new_clients(), "nothing changed");
    assert!(matches!(core.take(first, 1, 1), Take::Over(Over::Lost)));
}
