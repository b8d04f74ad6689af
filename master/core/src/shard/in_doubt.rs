//! What was in doubt at a seal: handed out by an owner and not finished.
//!
//! ```text
//! sealed ─▶ waits ──the sealer says Settled──────────────▶ known ─▶ told to the next owner
//!             └────the sealer dies, or does not say it ───▶ known: nothing is finished
//! ```
//!
//! The next owner holds these events back until the master says what became of them. A shard
//! may be sealed again before that: a deploy goes back, or the next one begins, while
//! handlers run for seconds. The events that the next owner held back are in doubt at its
//! seal too, and never ran there. So the master waits for the words of all slaves that
//! sealed, and an event is unfinished only if none of them finished it. A slave that gets
//! its shard back needs no word of its own: it knows what runs in it.

use std::time::Duration;

use baton_protocol::{
    Epoch, Sequence, SequenceRanges, ShardId, SlaveId, ToSlave,
    message::{CarriedEvent, Held, Holding, ResumeAfter, Settled},
};

use crate::{
    fleet::Fleet,
    out::Out,
    shard::{Kept, Shard},
    timers::Timer,
};

/// Seals of one shard whose words are waited for at the same time; of more the
/// oldest is given up.
const MOST_WORDS: usize = 16;

/// What was in doubt at the last seal, until its outcome reached the next owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Doubt {
    /// `None`: unknown.
    pub(crate) sealer: Option<SlaveId>,
    pub(crate) epoch: Epoch,
    in_doubt: SequenceRanges,
    /// The part of it that some slave is known to have finished.
    finished: SequenceRanges,
    /// Whether the seal before was not settled when it was made.
    chained: bool,
    /// Those whose word is waited for, the oldest seal first.
    words: Vec<Word>,
    /// What of it came with its payload.
    events: Vec<CarriedEvent>,
    /// Whether it was judged what of it is given up.
    judged: bool,
}

/// One who had events in hand when it sealed, and has not said what became of them.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Word {
    /// `None`: unknown.
    sealer: Option<SlaveId>,
    epoch: Epoch,
    in_doubt: SequenceRanges,
}

impl Fleet {
    /// A shard was sealed with these events in doubt. Its sealer has said what became of
    /// them after `drained`, or never does.
    pub(crate) fn doubt(
        &mut self,
        id: ShardId,
        sealer: SlaveId,
        epoch: Epoch,
        in_doubt: SequenceRanges,
        drained: Duration,
        out: &mut Out,
    ) {
        let before = self.shards[id].doubt.take();
        let (mut words, finished, events) = match before {
            Some(before) if !cfg!(mutant = "first-word-dropped") => {
                let finished = in_doubt.common(&before.finished);
                (before.words, finished, before.events)
            }
            Some(_) | None => (Vec::new(), SequenceRanges::new(), Vec::new()),
        };
        words.retain(|word| word.sealer.is_some_and(|other| other != sealer));
        let given_up = words.len().saturating_sub(MOST_WORDS - 1);
        for word in words.drain(..given_up) {
            self.waits_no_more(id, word.sealer, out);
        }
        let chained = !words.is_empty();
        words.push(Word {
            sealer: Some(sealer),
            epoch,
            in_doubt: in_doubt.clone(),
        });
        let shard = &mut self.shards[id];
        shard.doubt = Some(Doubt {
            sealer: Some(sealer),
            epoch,
            in_doubt,
            finished,
            chained,
            words,
            events,
            judged: false,
        });
        shard.began = Sequence(0);
        shard.take_finished();
        if let Some(slave) = self.slaves.get_mut(&sealer) {
            slave.unsettled.insert(id);
        }
        out.start(Timer::Settle(id), drained);
    }

    /// An owner that resumed may hold events back until it hears how a seal was
    /// settled, and no process remembers the seal: the master that knew is no more, or
    /// its word was lost with a connection. The slave that sealed it says so in time, or
    /// nothing of it is known to be finished.
    pub(crate) fn may_wait_for_settled(&mut self, held: &Held, drained: Duration, out: &mut Out) {
        let id = held.ticket.shard;
        let resumed = matches!(held.holding, Holding::Resuming | Holding::Serving);
        if !resumed || held.ticket.in_doubt.is_empty() {
            return;
        }
        let shard = &mut self.shards[id];
        if shard.doubt.is_none() {
            let epoch = Epoch(held.epoch.get().saturating_sub(1));
            shard.doubt = Some(Doubt::of_nobody(epoch, &held.ticket.in_doubt));
            shard.began = held.ticket.replay_from;
            out.start(Timer::Settle(id), drained);
        }
    }

    /// The ticket of a seal that only the journal remembers: what it has in doubt
    /// is not settled by any slave.
    pub(crate) fn doubt_of_ticket(&mut self, id: ShardId, drained: Duration, out: &mut Out) {
        let shard = &mut self.shards[id];
        if shard.doubt.is_none()
            && let Some(kept) = &shard.ticket
            && !kept.ticket.in_doubt.is_empty()
        {
            shard.doubt = Some(Doubt::of_nobody(kept.epoch, &kept.ticket.in_doubt));
            out.start(Timer::Settle(id), drained);
        }
    }

    /// A sealer says what it could not finish. Once every sealer has, the next owner is
    /// told. Discord replays `at_most` so many events of a shard.
    pub(crate) fn settled(
        &mut self,
        from: SlaveId,
        mut settled: Settled,
        at_most: u64,
        out: &mut Out,
    ) {
        let id = settled.shard;
        let shard = &mut self.shards[id];
        let (highest, replays) = (shard.highest(), shard.replayed(at_most));
        let Some(doubt) = &mut shard.doubt else {
            return;
        };
        let is_it = |word: &Word| (word.sealer, word.epoch) == (Some(from), settled.epoch);
        let Some(place) = doubt.words.iter().position(is_it) else {
            return;
        };
        let word = doubt.words.remove(place);
        let finished = word.in_doubt.without(&settled.unfinished);
        doubt.finished.insert_all(&doubt.in_doubt.common(&finished));
        // What Discord replays needs no carrying.
        bound(&mut settled, highest, replays);
        doubt.carry(std::mem::take(&mut settled.events));
        if shard.take_finished() {
            out.ticket_changed(id);
        }
        self.waits_no_more(id, Some(from), out);
        self.give_up_unfinished(id, out);
        self.tell_settled(id, out);
    }

    /// A sealer died, or its word did not come in time: nothing that it had in hand
    /// is known to be finished by it.
    pub(crate) fn sealer_gone(&mut self, sealer: Option<SlaveId>, id: ShardId, out: &mut Out) {
        if let Some(doubt) = &mut self.shards[id].doubt
            && !cfg!(mutant = "doubt-unsettled")
        {
            let waited = doubt.words.len();
            doubt.words.retain(|word| word.sealer != sealer);
            if doubt.words.len() < waited {
                self.waits_no_more(id, sealer, out);
                self.give_up_unfinished(id, out);
                self.tell_settled(id, out);
            }
        }
    }

    /// Nobody's word comes any more.
    pub(crate) fn settle_due(&mut self, id: ShardId, out: &mut Out) {
        let words = self.shards[id].doubt.iter().flat_map(|doubt| &doubt.words);
        let sealers: Vec<_> = words.map(|word| word.sealer).collect();
        for sealer in sealers {
            self.sealer_gone(sealer, id, out);
        }
    }

    /// The word of this sealer came, or is given up.
    fn waits_no_more(&mut self, id: ShardId, sealer: Option<SlaveId>, out: &mut Out) {
        let doubt = self.shards[id].doubt.as_ref();
        if doubt.is_none_or(|doubt| doubt.words.is_empty()) {
            out.stop(Timer::Settle(id));
        }
        if let Some(slave) = sealer.and_then(|sealer| self.slaves.get_mut(&sealer)) {
            slave.unsettled.remove(&id);
        }
    }

    /// What was in doubt is of no interest any more.
    pub(crate) fn drop_doubt(&mut self, id: ShardId, out: &mut Out) {
        if let Some(doubt) = self.shards[id].doubt.take() {
            out.stop(Timer::Settle(id));
            for word in doubt.words {
                self.waits_no_more(id, word.sealer, out);
            }
        }
    }

    /// Tells the owner that resumed after a seal how it was settled, if that is
    /// known. Said again when it joins again.
    pub(crate) fn tell_settled(&self, id: ShardId, out: &mut Out) {
        let shard = &self.shards[id];
        if let Some(doubt) = &shard.doubt
            && let Some((owner, epoch)) = shard.phase.claimant()
            && epoch > doubt.epoch
            && doubt.is_settled_for(owner)
        {
            let settled = Settled {
                shard: id,
                epoch: doubt.epoch,
                unfinished: doubt.unfinished(),
                events: doubt.carried(),
            };
            out.send(owner, ToSlave::Settled(settled));
        }
    }

    /// What was settled in a deploy needs not be said again.
    pub(crate) fn forget_settled(&mut self, slot: usize) {
        for id in self.slots[slot].members.iter() {
            let shard = &mut self.shards[id];
            if shard.phase.serves() {
                shard.doubt.take_if(|doubt| doubt.words.is_empty());
            }
        }
    }

    /// What its sealer did not finish, what no slave carries and what is not replayed is
    /// given up: said once it is known to be so.
    pub(crate) fn give_up_unfinished(&mut self, id: ShardId, out: &mut Out) {
        let shard = &mut self.shards[id];
        let (began, claimant) = (shard.began, shard.phase.claimant());
        let Some(doubt) = &mut shard.doubt else {
            return;
        };
        // Who takes back what it sealed itself has it, and it may still run; after more
        // seals than one only the owner can tell.
        let Some((owner, epoch)) = claimant.filter(|(owner, _)| Some(*owner) != doubt.sealer)
        else {
            return;
        };
        if epoch <= doubt.epoch || doubt.chained || !doubt.is_settled_for(owner) {
            return;
        }
        if std::mem::replace(&mut doubt.judged, true) {
            return;
        }
        let carried: SequenceRanges = doubt.events.iter().map(|event| event.sequence).collect();
        let mut gone = doubt.unfinished().through(began);
        if self.is_newer(Some(owner)) {
            gone = gone.without(&carried);
        }
        self.events_given_up(id, &gone, out);
    }
}

impl Shard {
    /// An event in doubt that is known to be finished is finished for the slave that goes on
    /// with the ticket of that seal. Whether that is news.
    fn take_finished(&mut self) -> bool {
        match (&mut self.ticket, &self.doubt) {
            (Some(kept), Some(doubt))
                if (kept.after, kept.epoch) == (ResumeAfter::Seal, doubt.epoch) =>
            {
                kept.settle(&doubt.finished);
                true
            }
            (_, _) => false,
        }
    }
}

impl Doubt {
    /// Of a seal that no process remembers: its word may still come.
    fn of_nobody(epoch: Epoch, in_doubt: &SequenceRanges) -> Self {
        Self {
            sealer: None,
            epoch,
            in_doubt: in_doubt.clone(),
            finished: SequenceRanges::new(),
            chained: false,
            words: vec![Word {
                sealer: None,
                epoch,
                in_doubt: in_doubt.clone(),
            }],
            events: Vec::new(),
            judged: false,
        }
    }

    /// Takes payloads, as many as one message may carry.
    fn carry(&mut self, events: Vec<CarriedEvent>) {
        let mut bytes: usize = self.events.iter().map(|event| event.json.len()).sum();
        for event in events {
            bytes = bytes.saturating_add(event.json.len());
            let is_known = self
                .events
                .iter()
                .any(|known| known.sequence == event.sequence);
            let fits = self.events.len() < Settled::MAX_EVENTS && bytes <= Settled::MAX_BYTES;
            if fits && !is_known && self.in_doubt.contains(event.sequence) {
                self.events.push(event);
            }
        }
    }

    /// The payloads of what is not finished.
    fn carried(&self) -> Vec<CarriedEvent> {
        let unfinished = self
            .events
            .iter()
            .filter(|event| !self.finished.contains(event.sequence));
        unfinished.cloned().collect()
    }

    /// Whether this slave's word is waited for, about its seal at this epoch.
    pub(crate) fn waits_for(&self, sealer: SlaveId, epoch: Epoch) -> bool {
        let mut words = self.words.iter();
        words.any(|word| (word.sealer, word.epoch) == (Some(sealer), epoch))
    }

    /// Whether `owner` may be told what became of everything that was in doubt, and
    /// does not know it by itself.
    pub(crate) fn is_settled_for(&self, owner: SlaveId) -> bool {
        let mut others = self.words.iter();
        self.words.is_empty() || (self.chained && others.all(|word| word.sealer == Some(owner)))
    }

    /// What none of them finished.
    pub(crate) fn unfinished(&self) -> SequenceRanges {
        self.in_doubt.without(&self.finished)
    }
}

impl Kept {
    fn settle(&mut self, finished: &SequenceRanges) {
        let finished = self.ticket.in_doubt.common(finished);
        self.ticket.in_doubt = self.ticket.in_doubt.without(&finished);
        self.ticket.finished_above.insert_all(&finished);
    }
}

/// Of the payloads that came with the word of a sealer, only those that can be needed
/// are kept, and no more than a message may carry.
fn bound(settled: &mut Settled, highest: Sequence, replays: u64) {
    let near = Sequence(highest.get().saturating_sub(replays / 8));
    let mut room = Settled::MAX_BYTES;
    let unfinished = &settled.unfinished;
    settled.events.retain(|event| {
        let is_needed = event.sequence <= near && unfinished.contains(event.sequence);
        let left = room.checked_sub(event.json.len() + event.kind.len());
        room = left.filter(|_| is_needed).unwrap_or(room);
        is_needed && left.is_some()
    });
    settled.events.truncate(Settled::MAX_EVENTS);
}
