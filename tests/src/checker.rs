//! The one checker of every suite: what was sent against what was handled.

use std::{collections::BTreeMap, sync::Arc};

use baton_brokers::Kind;
use serde::Serialize;

use crate::records::{Handled, Sent, by_key};

/// How exactly a run was handled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Exactness {
    /// Dispatches sent.
    pub events_sent: u64,
    /// Dispatches that were finished at least once.
    pub events_handled: u64,
    /// Sent and never finished (P1).
    pub lost: u64,
    /// Finished more than once, beyond the first time and without a mark (P2).
    pub duplicated: u64,
    /// Finished with a mark (P2).
    pub marked: u64,
    /// Handed out after a higher sequence of the same session (P7), or by an
    /// older epoch after a newer one had begun (P3).
    pub out_of_order: u64,
    /// Finished without ever having been sent.
    pub invented: u64,
    /// Some of the dispatches above, for a person.
    pub examples: Vec<String>,
}

/// Whose events come in the order of their sequences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// All of a shard's.
    Shards,
    /// Those of each guild, and those of a shard that are of none.
    Guilds,
}

impl Order {
    /// The order in which a broker of this kind gives events to a worker.
    #[must_use]
    pub const fn behind(kind: Kind) -> Self {
        match kind {
            Kind::Nats | Kind::Rabbit => Self::Guilds,
            Kind::Redis => Self::Shards,
        }
    }
}

/// Examples beyond these are counted, not listed.
const EXAMPLES: usize = 20;

impl Exactness {
    /// Compares. `handled` is in any order.
    #[must_use]
    pub fn of(sent: &[Sent], handled: &[Handled]) -> Self {
        Self::in_order_of(Order::Shards, sent, handled)
    }

    /// The same, where this order is kept.
    #[must_use]
    pub fn in_order_of(order: Order, sent: &[Sent], handled: &[Handled]) -> Self {
        let mut verdict = Self {
            events_sent: sent.len() as u64,
            ..Self::default()
        };
        let sent = by_key(sent);
        let mut times: BTreeMap<(Arc<str>, u64), Vec<&Handled>> = BTreeMap::new();
        for event in handled {
            times.entry(event.key()).or_default().push(event);
            if event.mark.is_some() {
                verdict.marked += 1;
                verdict.example("marked", event);
            }
            if !sent.contains_key(&event.key()) {
                verdict.invented += 1;
                verdict.example("never sent", event);
            }
        }
        for (key, dispatch) in &sent {
            match times.get(key) {
                None => {
                    verdict.lost += 1;
                    verdict.note(format!(
                        "lost: shard {} session {} sequence {} {}",
                        dispatch.shard, dispatch.session, dispatch.seq, dispatch.kind
                    ));
                }
                Some(times) => {
                    verdict.events_handled += 1;
                    let unmarked = times.iter().filter(|event| event.mark.is_none()).count();
                    verdict.duplicated += unmarked.saturating_sub(1) as u64;
                    if unmarked > 1 {
                        verdict.example("handled twice", times[1]);
                    }
                }
            }
        }
        let guild = |event: &Handled| match order {
            Order::Shards => None,
            Order::Guilds => sent.get(&event.key()).map(|sent| Arc::clone(&sent.guild)),
        };
        verdict.check_order(handled, guild);
        verdict
    }

    /// Whether a planned deploy kept P1, P2, P3 and P7.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.lost == 0
            && self.duplicated == 0
            && self.marked == 0
            && self.out_of_order == 0
            && self.invented == 0
    }

    /// In each session, or of each of its guilds, the owners come one after the other, and each hands out
    /// in the order of the sequence. What is marked was handed out before.
    fn check_order(&mut self, handled: &[Handled], guild: impl Fn(&Handled) -> Option<Arc<str>>) {
        let mut lines: BTreeMap<_, Vec<&Handled>> = BTreeMap::new();
        for event in handled.iter().filter(|event| event.mark.is_none()) {
            let line = lines.entry((&event.session, guild(event)));
            line.or_default().push(event);
        }
        for mut events in lines.into_values() {
            events.sort_by_key(|event| (event.epoch, event.n));
            for pair in events.windows(2) {
                let [before, after] = pair else { continue };
                let turned = after.seq < before.seq;
                let overlaps = after.epoch > before.epoch && after.handed_us < before.handed_us;
                if turned || overlaps {
                    self.out_of_order += 1;
                    self.example("out of order", after);
                }
            }
        }
    }

    fn example(&mut self, what: &str, event: &Handled) {
        self.note(format!(
            "{what}: shard {} epoch {} session {} sequence {} {}",
            event.shard, event.epoch, event.session, event.seq, event.kind
        ));
    }

    fn note(&mut self, text: String) {
        if self.examples.len() < EXAMPLES {
            self.examples.push(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_in_which_each_dispatch_is_handled_once_in_order_is_exact() {
        let verdict = Exactness::of(
            &sent(1..5),
            &[
                handled(1, 1, 1),
                handled(1, 2, 2),
                handled(2, 1, 3),
                handled(2, 2, 4),
            ],
        );
        assert!(verdict.is_exact(), "{verdict:?}");
        assert_eq!((verdict.events_sent, verdict.events_handled), (4, 4));
    }

    #[test]
    fn each_fault_is_counted_where_it_belongs() {
        let exact = [handled(1, 1, 1), handled(1, 2, 2), handled(2, 1, 3)];
        let run = |change: &dyn Fn(&mut Vec<Handled>)| {
            let mut handled = exact.to_vec();
            change(&mut handled);
            Exactness::of(&sent(1..4), &handled)
        };
        assert_eq!(run(&|h| drop(h.remove(1))).lost, 1);
        assert_eq!(run(&|h| h.push(handled(2, 9, 3))).duplicated, 1);
        assert_eq!(run(&|h| h.push(handled(2, 9, 7))).invented, 1);
        assert_eq!(run(&|h| h[2].mark = Some("may_repeat".into())).marked, 1);
        assert_eq!(run(&|h| h[0].n = 5).out_of_order, 1);
        assert_eq!(run(&|h| h[2].handed_us = 0).out_of_order, 1);
        let marked_repeat = run(&|h| {
            let mut again = handled(2, 0, 2);
            again.mark = Some("may_repeat".into());
            h.push(again);
        });
        assert_eq!((marked_repeat.duplicated, marked_repeat.marked), (0, 1));
    }

    fn sent(sequences: std::ops::Range<u64>) -> Vec<Sent> {
        sequences
            .map(|seq| Sent {
                shard: 0,
                session: "s".into(),
                seq,
                kind: "MESSAGE_CREATE".into(),
                created_us: seq,
                guild: "0".into(),
            })
            .collect()
    }

    fn handled(epoch: u64, n: u64, seq: u64) -> Handled {
        Handled {
            pid: 1,
            shard: 0,
            epoch,
            session: "s".into(),
            seq,
            kind: "MESSAGE_CREATE".into(),
            n,
            handed_us: 100 * epoch + n,
            finished_us: 100 * epoch + n,
            mark: None,
        }
    }
}
