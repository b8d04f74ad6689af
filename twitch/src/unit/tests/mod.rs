//! A unit moves between processes: nothing is lost, and nothing is handed out twice.

// A test names the word that it waits for; the rest is of no interest.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm)]

mod radio;

use baton_protocol::{Epoch, SequenceRanges, Ticket, message::ResumeAfter};
use baton_slave::unit::{Order, Rehearsal, Word};
use tokio::time::{Duration, sleep, timeout};

use self::radio::{Handled, JITTER, Radio, Slowly, UNIT};
use super::{Cut, Limits, Units, life::Life};

const SECOND: Duration = Duration::from_secs(1);

/// One process with the unit.
struct Process {
    master: Rehearsal,
}

impl Process {
    fn new(radio: &Radio, handled: &Handled, takes: Duration) -> Self {
        let (seat, master) = Rehearsal::new(UNIT).unwrap();
        let bot = Slowly {
            handled: handled.clone(),
            takes,
        };
        let units = Units::new(radio.clone(), bot).limits(Limits {
            prepare: 60 * SECOND,
            ..Limits::default()
        });
        tokio::spawn(Life::new(units, seat).run());
        Self { master }
    }

    /// What it says, as far as `wanted` picks it.
    async fn says<T>(&mut self, mut wanted: impl FnMut(Word) -> Option<T>) -> T {
        let said = async {
            loop {
                let (_, word) = self.master.said().await.expect("it lives");
                if let Some(found) = wanted(word) {
                    return found;
                }
            }
        };
        timeout(600 * SECOND, said).await.expect("it is said")
    }

    async fn starts(&mut self, epoch: u64) {
        let epoch = Epoch(epoch);
        self.master.order(Order::Start { epoch }).await;
        let went_on = self.serves().await;
        assert!(!went_on, "it began anew");
    }

    async fn serves(&mut self) -> bool {
        self.says(|word| match word {
            Word::Serving(went_on) => Some(went_on),
            _ => None,
        })
        .await
    }

    async fn prepares(&mut self, owner: u64, ticket: &Ticket) -> Result<(), String> {
        let (epoch, ticket) = (Epoch(owner), Box::new(ticket.clone()));
        self.master.order(Order::Prepare { epoch, ticket }).await;
        self.says(|word| match word {
            Word::Prepared(outcome) => Some(outcome),
            _ => None,
        })
        .await
    }

    async fn seals(&mut self, epoch: u64) -> Ticket {
        let (epoch, drain) = (Epoch(epoch), 10 * SECOND);
        self.master.order(Order::Seal { epoch, drain }).await;
        self.says(|word| match word {
            Word::Sealed(ticket) => Some(*ticket),
            _ => None,
        })
        .await
    }

    async fn goes_live(&mut self, epoch: u64, ticket: &Ticket) {
        let (epoch, ticket) = (Epoch(epoch), Box::new(ticket.clone()));
        let after = ResumeAfter::Seal;
        let order = Order::GoLive {
            epoch,
            after,
            ticket,
        };
        self.master.order(order).await;
        assert!(self.serves().await, "it went on");
    }

    async fn settles(&mut self) -> Order {
        self.says(|word| match word {
            Word::Settled(unfinished, events) => Some(Order::Settled { unfinished, events }),
            _ => None,
        })
        .await
    }
}

/// Both receive the same, up to 3 s apart; joining takes a while.
const fn both() -> (Cut, Duration) {
    let settle = JITTER;
    (Cut::Both { settle }, Duration::from_secs(12))
}

/// Each event comes on one connection.
const fn one() -> (Cut, Duration) {
    (Cut::One, Duration::from_millis(100))
}

/// The unit goes from one process to another and back, while somebody talks. What was lost, and
/// what was handed out twice.
async fn there_and_back((cut, joins): (Cut, Duration), seed: u64) -> (u64, u64) {
    let radio = Radio::new(cut, joins, seed);
    let handled = Handled::default();
    let takes = Duration::from_millis(30);
    let mut here = Process::new(&radio, &handled, takes);
    let mut there = Process::new(&radio, &handled, takes);
    here.starts(1).await;
    let talks = {
        let radio = radio.clone();
        tokio::spawn(async move { radio.talks(60 * SECOND).await })
    };
    sleep(2 * SECOND).await;
    let nothing = Ticket::default();
    there.prepares(1, &nothing).await.unwrap();
    let ticket = here.seals(1).await;
    there.goes_live(2, &ticket).await;
    let settled = here.settles().await;
    there.master.order(settled).await;
    sleep(2 * SECOND).await;
    here.prepares(2, &nothing).await.unwrap();
    let ticket = there.seals(2).await;
    here.goes_live(3, &ticket).await;
    let settled = there.settles().await;
    here.master.order(settled).await;
    talks.await.unwrap();
    sleep(2 * JITTER).await;
    handled.judge(radio.said())
}

#[tokio::test(start_paused = true)]
async fn a_unit_that_two_connections_hear_moves_there_and_back_without_loss_and_repeats() {
    for seed in 0..40 {
        assert_eq!(there_and_back(both(), seed).await, (0, 0), "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_unit_that_one_connection_hears_moves_there_and_back_without_loss_and_repeats() {
    for seed in 0..40 {
        assert_eq!(there_and_back(one(), seed).await, (0, 0), "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_runs_at_the_seal_and_does_not_finish_goes_along_and_is_marked() {
    let (cut, joins) = one();
    let radio = Radio::new(cut, joins, 1);
    let handled = Handled::default();
    let mut here = Process::new(&radio, &handled, 3600 * SECOND);
    let mut there = Process::new(&radio, &handled, Duration::ZERO);
    here.starts(1).await;
    radio.talks(SECOND / 4).await;
    sleep(2 * JITTER).await;
    there.prepares(1, &Ticket::default()).await.unwrap();
    let ticket = here.seals(1).await;
    let said = radio.said();
    assert_eq!(ticket.in_doubt.count(), said, "all of them run");
    there.goes_live(2, &ticket).await;
    let settled = here.settles().await;
    there.master.order(settled).await;
    sleep(SECOND).await;
    let again = handled.0.lock().unwrap().clone();
    let again: Vec<_> = again.into_iter().filter(|(_, marked)| *marked).collect();
    assert_eq!(again.len() as u64, said);
    assert_eq!(handled.judge(said), (0, 0), "and nothing without a mark");
    let next = there.seals(2).await;
    assert_eq!(next.in_doubt, SequenceRanges::new(), "they are finished");
    assert_eq!(next.handled.get(), said);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_lost_is_opened_again_at_once_and_then_with_growing_pauses() {
    let (cut, joins) = one();
    let radio = Radio::new(cut, joins, 1);
    let handled = Handled::default();
    let mut here = Process::new(&radio, &handled, Duration::ZERO);
    here.starts(1).await;
    radio.refuses(4);
    radio.hangs_up();
    let begun = tokio::time::Instant::now();
    assert!(here.serves().await, "the same unit goes on");
    let took = begun.elapsed();
    assert_eq!(radio.opened(), 6);
    // At once, then behind 1, 2, 4 and 8 s; each dial takes 100 ms.
    assert!(took > 15 * SECOND && took < 17 * SECOND, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_service_that_takes_everybody_and_closes_at_once_is_asked_with_growing_pauses() {
    let (cut, joins) = one();
    let radio = Radio::new(cut, joins, 1);
    let handled = Handled::default();
    let mut here = Process::new(&radio, &handled, Duration::ZERO);
    here.starts(1).await;
    sleep(60 * SECOND).await;
    let begun = tokio::time::Instant::now();
    for _ in 0..6 {
        radio.hangs_up();
        here.serves().await;
    }
    let took = begun.elapsed();
    // At once, then behind 1, 2, 4, 8 and 16 s.
    assert!(took > 31 * SECOND && took < 34 * SECOND, "{took:?}");
    // One that held is opened again at once.
    sleep(60 * SECOND).await;
    let begun = tokio::time::Instant::now();
    radio.hangs_up();
    here.serves().await;
    assert!(begun.elapsed() < SECOND, "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_unit_that_cannot_be_prepared_says_why_and_its_owner_serves_on() {
    let (cut, joins) = both();
    let radio = Radio::new(cut, joins, 1);
    let handled = Handled::default();
    let mut here = Process::new(&radio, &handled, Duration::ZERO);
    let mut there = Process::new(&radio, &handled, Duration::ZERO);
    here.starts(1).await;
    radio.refuses(1);
    let failed = there.prepares(1, &Ticket::default()).await;
    assert_eq!(failed, Err("no channel was joined".to_owned()));
    there.prepares(1, &Ticket::default()).await.unwrap();
    radio.talks(SECOND).await;
    sleep(2 * JITTER).await;
    assert_eq!(handled.judge(radio.said()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_seal_that_is_asked_for_again_is_answered_with_the_same_ticket() {
    let (cut, joins) = one();
    let radio = Radio::new(cut, joins, 1);
    let handled = Handled::default();
    let mut here = Process::new(&radio, &handled, Duration::ZERO);
    here.starts(1).await;
    radio.talks(SECOND).await;
    let first = here.seals(1).await;
    here.settles().await;
    let again = here.seals(1).await;
    assert_eq!(first, again);
    here.settles().await;
}

/// A unit that moves is prepared with the channels that its owner has, and nobody else tells
/// them to whoever prepares it.
#[tokio::test(start_paused = true)]
async fn channels_that_a_unit_is_told_before_it_serves_travel_with_it() {
    let (cut, joins) = both();
    let radio = Radio::new(cut, joins, 1);
    let mut here = Process::new(&radio, &Handled::default(), Duration::ZERO);
    let start = Order::Start { epoch: Epoch(1) };
    here.master.order(start).await;
    let channels = r#"{"version":7,"account":"bot","channels":["somebody"]}"#;
    here.master.order(Order::Letter(channels.into())).await;
    let (mut told, mut serves) = (String::new(), false);
    while !serves {
        let word = here
            .says(|word| match word {
                Word::Session(_) | Word::Serving(_) => Some(word),
                _ => None,
            })
            .await;
        match word {
            Word::Session(ticket) => told = ticket.luggage,
            _ => serves = true,
        }
    }
    assert!(told.contains("somebody"), "{told}");
}
