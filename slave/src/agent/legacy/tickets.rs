//! Shards that leave. A ticket of this wire is a session and one sequence, so it
//! is given when the shard is drained: what is finished by then is not repeated,
//! and what is not is replayed to the next owner.

use baton_protocol::{
    Sequence, SequenceRanges, ShardId, Ticket, discord,
    go::{Session, ToMaster},
    message::{Holding, ResumeAfter, Seal},
};
use tokio::time::Instant;

use super::{LegacyAgent, Part};
use crate::{agent::table::Entry, shard::Care};

impl LegacyAgent {
    /// What is owned here and not given away.
    pub(super) fn owned(&self) -> impl Iterator<Item = (ShardId, &Entry)> {
        self.base
            .table
            .entries()
            .filter(|(shard, entry)| entry.is_owned() && !self.given.contains(shard))
    }

    /// Seals a shard; its ticket follows. A repeated order gets the same ticket.
    pub(super) fn seal(&mut self, shard: ShardId) {
        let drain = self.base.context.config.timings.drain;
        match self
            .base
            .table
            .get(shard)
            .map(|entry| (entry.holding(), entry.epoch()))
        {
            Some((Some(Holding::Sealed), _)) => {}
            Some((Some(_), epoch)) => self.base.table.seal(Seal {
                shard,
                epoch,
                drain,
                begins: None,
            }),
            Some((None, _)) | None => {
                tracing::error!(%shard, "not here: its next owner starts a new session for it");
                self.say(&stop_answer(shard, &Ticket::default(), Sequence(0)));
                return;
            }
        }
        self.asked.insert(shard, Instant::now() + drain);
        if self
            .owned()
            .all(|(shard, _)| self.asked.contains_key(&shard))
        {
            // The next slave begins it when the last shard serves there.
            self.stop_work();
        }
    }

    /// Gives the tickets of shards that are drained. The last one waits for the
    /// end of the once-per-bot work, so that it never runs twice.
    pub(super) fn give_tickets(&mut self) {
        let drained: Vec<ShardId> = self
            .asked
            .keys()
            .copied()
            .filter(|shard| {
                let entry = self.base.table.get(*shard);
                entry.is_some_and(|entry| entry.settled().is_some())
            })
            .collect();
        for shard in drained {
            // A lost connection takes the question with it.
            let Some(until) = self.asked.get(&shard).copied() else {
                return;
            };
            let is_last = self.owned().all(|(owned, _)| owned == shard);
            if is_last && self.works_yet() {
                if Instant::now() < until {
                    continue;
                }
                tracing::error!("the once-per-bot work does not end: it may run twice for a while");
            }
            self.asked.remove(&shard);
            self.give_ticket(shard);
        }
    }

    fn give_ticket(&mut self, shard: ShardId) {
        let Some(entry) = self.base.table.get(shard) else {
            return;
        };
        let nothing = SequenceRanges::new();
        let unfinished = entry
            .settled()
            .map_or(&nothing, |settled| &settled.unfinished);
        let handled = handled(entry.ticket(), unfinished);
        if !unfinished.is_empty() {
            tracing::warn!(
                %shard, unfinished = unfinished.count(), %handled,
                "handlers were too slow: the next owner is handed everything behind again, unmarked"
            );
        }
        tracing::info!(%shard, %handled, "ticket given");
        let answer = stop_answer(shard, entry.ticket(), handled);
        self.given.insert(shard);
        self.in_hand = Some(shard);
        self.moves_on(self.part);
        self.say(&answer);
    }

    /// The connection is lost. What was sealed for it and not told is served
    /// again; a ticket that was given may be another slave's by now.
    pub(super) fn part_ends(&mut self) {
        let part = std::mem::replace(&mut self.part, Part::Bystander);
        for shard in std::mem::take(&mut self.asked).into_keys() {
            self.take_back.insert(shard);
            self.serve_again(shard);
        }
        if part != Part::Source {
            return;
        }
        if let Some(shard) = self.in_hand.take() {
            tracing::error!(
                %shard,
                "the master was lost behind this shard's ticket: if no other slave serves the shard, deploy again"
            );
        }
        if !self.given.is_empty() && !self.owns() {
            tracing::warn!("all shards were given away: nothing is left to do here");
            self.leave(false);
        }
    }

    /// Takes a shard back whose seal was not needed.
    pub(super) fn serve_again(&mut self, shard: ShardId) {
        let Some(entry) = self.base.table.get(shard) else {
            return;
        };
        // It may still be about to say that it is sealed.
        if !entry.is(Holding::Sealed) || !self.take_back.remove(&shard) {
            return;
        }
        if self.base.is_leaving() {
            return;
        }
        let (epoch, ticket) = (entry.epoch().next(), entry.ticket().clone());
        tracing::info!(%shard, "served again");
        if let Err(why) =
            self.base
                .table
                .resume(shard, epoch, ResumeAfter::Seal, ticket, Care::default())
        {
            tracing::error!(%shard, why, "cannot serve this shard");
        }
    }
}

/// The sequence behind which nothing is finished: with everything settled, the
/// last one received.
fn handled(ticket: &Ticket, unfinished: &SequenceRanges) -> Sequence {
    // What was given back is no slave's either.
    let open = [unfinished.first(), ticket.given_back.first()];
    let first = open.into_iter().flatten().min();
    let bound = first.map_or(Sequence(u64::MAX), |first| {
        Sequence(first.get().saturating_sub(1))
    });
    let finished = |ranges: &SequenceRanges| {
        let below = ranges.ranges().take_while(|(first, _)| *first <= bound);
        below.last().map(|(_, last)| last.min(bound))
    };
    // What was in doubt at the seal and is not unfinished was finished since.
    [finished(&ticket.finished_above), finished(&ticket.in_doubt)]
        .into_iter()
        .flatten()
        .fold(ticket.handled, Sequence::max)
}

fn stop_answer(shard: ShardId, ticket: &Ticket, handled: Sequence) -> ToMaster {
    let has_session = ticket.has_session();
    ToMaster::StopShard(Session {
        shard: shard.get(),
        session_id: discord::Session::id_of(&ticket.session).to_owned(),
        sequence: if has_session { handled.get() } else { 0 },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(sequences: &[u64]) -> SequenceRanges {
        sequences.iter().copied().map(Sequence).collect()
    }

    #[test]
    fn a_ticket_stands_behind_what_is_finished_and_before_what_is_not() {
        // 5 to 9 received; 6 and 8 were running at the seal, 7 and 9 finished.
        let ticket = Ticket {
            handled: Sequence(5),
            finished_above: ranges(&[7, 9]),
            in_doubt: ranges(&[6, 8]),
            ..Ticket::default()
        };
        assert_eq!(handled(&ticket, &ranges(&[])), Sequence(9));
        assert_eq!(handled(&ticket, &ranges(&[8])), Sequence(7));
        assert_eq!(handled(&ticket, &ranges(&[6])), Sequence(5));
        assert_eq!(handled(&ticket, &ranges(&[6, 8])), Sequence(5));
        let given_back = Ticket {
            given_back: ranges(&[8]),
            in_doubt: ranges(&[6]),
            ..ticket.clone()
        };
        assert_eq!(handled(&given_back, &ranges(&[])), Sequence(7));
        assert_eq!(handled(&given_back, &ranges(&[6])), Sequence(5));
        // Numbers need not be contiguous: none is named that was never sent.
        let gap = Ticket {
            handled: Sequence(5),
            in_doubt: ranges(&[40]),
            ..Ticket::default()
        };
        assert_eq!(handled(&gap, &ranges(&[40])), Sequence(5));
        assert_eq!(handled(&gap, &ranges(&[])), Sequence(40));
    }
}
