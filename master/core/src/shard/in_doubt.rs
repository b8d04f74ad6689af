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

use baton_protocol::{
    Epoch, Sequence, SequenceRanges, ShardId, SlaveId, Ticket,
    message::{CarriedEvent, Settled},
};

/// Seals of one shard whose words are waited for at the same time; of more the
/// oldest is given up.
const MOST_WORDS: usize = 16;

/// What was in doubt at the last seal, until its outcome reached the next owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Doubt {
    /// `None`: unknown.
    sealer: Option<SlaveId>,
    epoch: Epoch,
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

impl Doubt {
    /// Of a seal, with what was in doubt before it. Gives back whose words are not waited
    /// for any more.
    pub(crate) fn of_seal(
        before: Option<Self>,
        sealer: SlaveId,
        epoch: Epoch,
        in_doubt: SequenceRanges,
    ) -> (Self, Vec<Option<SlaveId>>) {
        let (mut words, finished, events) = match before {
            Some(before) if !mutant!("first-word-dropped") => {
                let finished = in_doubt.common(&before.finished);
                (before.words, finished, before.events)
            }
            Some(_) | None => (Vec::new(), SequenceRanges::new(), Vec::new()),
        };
        words.retain(|word| word.sealer.is_some_and(|other| other != sealer));
        let given_up = words.len().saturating_sub(MOST_WORDS - 1);
        let given_up = words.drain(..given_up).map(|word| word.sealer).collect();
        let chained = !words.is_empty();
        words.push(Word {
            sealer: Some(sealer),
            epoch,
            in_doubt: in_doubt.clone(),
        });
        let doubt = Self {
            sealer: Some(sealer),
            epoch,
            in_doubt,
            finished,
            chained,
            words,
            events,
            judged: false,
        };
        (doubt, given_up)
    }

    /// Of a seal that no process remembers: its word may still come.
    pub(crate) fn of_nobody(epoch: Epoch, in_doubt: &SequenceRanges) -> Self {
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

    pub(crate) const fn sealer(&self) -> Option<SlaveId> {
        self.sealer
    }

    /// The epoch of the seal.
    pub(crate) const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Takes the word of a sealer. Whether it was waited for. `near`: what the service replays
    /// needs no payload.
    pub(crate) fn hears(&mut self, from: SlaveId, mut settled: Settled, near: Sequence) -> bool {
        let is_it = |word: &Word| (word.sealer, word.epoch) == (Some(from), settled.epoch);
        let Some(place) = self.words.iter().position(is_it) else {
            return false;
        };
        let word = self.words.remove(place);
        let finished = word.in_doubt.without(&settled.unfinished);
        self.finished.insert_all(&self.in_doubt.common(&finished));
        bound(&mut settled, near);
        self.carry(settled.events);
        true
    }

    /// A sealer seals again what was not its own any more: it could not serve it, or another
    /// has it. What it finished since is finished, and its word is that of the later seal.
    /// Whether that is news.
    pub(crate) fn seals_again(&mut self, from: SlaveId, epoch: Epoch, ticket: &Ticket) -> bool {
        let is_it = |word: &&mut Word| word.sealer == Some(from) && word.epoch < epoch;
        let Some(word) = self.words.iter_mut().find(is_it) else {
            return false;
        };
        let mut finished = word.in_doubt.through(ticket.handled);
        finished.insert_all(&word.in_doubt.common(&ticket.finished_above));
        word.epoch = epoch;
        word.in_doubt = word.in_doubt.common(&ticket.in_doubt);
        self.finished.insert_all(&self.in_doubt.common(&finished));
        true
    }

    /// The word of a sealer is given up. Whether it was waited for.
    pub(crate) fn waits_no_more_for(&mut self, sealer: Option<SlaveId>) -> bool {
        let waited = self.words.len();
        self.words.retain(|word| word.sealer != sealer);
        self.words.len() < waited
    }

    /// What of it some slave is known to have finished.
    pub(super) const fn finished(&self) -> &SequenceRanges {
        &self.finished
    }

    /// Whose words are waited for.
    pub(crate) fn awaited(&self) -> impl Iterator<Item = Option<SlaveId>> {
        self.words.iter().map(|word| word.sealer)
    }

    /// Whether nobody's word is waited for.
    pub(crate) const fn is_over(&self) -> bool {
        self.words.is_empty()
    }

    /// Whether this slave's word is waited for, about its seal at this epoch.
    pub(crate) fn waits_for(&self, sealer: SlaveId, epoch: Epoch) -> bool {
        let mut words = self.words.iter();
        words.any(|word| (word.sealer, word.epoch) == (Some(sealer), epoch))
    }

    /// Whether `owner` may be told what became of everything that was in doubt, and
    /// does not know it by itself.
    fn is_settled_for(&self, owner: SlaveId) -> bool {
        let mut others = self.words.iter();
        self.words.is_empty() || (self.chained && others.all(|word| word.sealer == Some(owner)))
    }

    /// What the slave that has the shard now is told, once it may be.
    pub(crate) fn word_for(&self, shard: ShardId, owner: SlaveId, at: Epoch) -> Option<Settled> {
        (at > self.epoch && self.is_settled_for(owner)).then(|| Settled {
            shard,
            epoch: self.epoch,
            unfinished: self.unfinished(),
            events: self.carried(),
        })
    }

    /// What is not finished, not replayed to the owner, as it is at or below `began`, and
    /// comes to it without its payload: known once, when the last word came. Payloads come
    /// to a `newer` owner.
    pub(crate) fn judge(
        &mut self,
        owner: SlaveId,
        at: Epoch,
        began: Sequence,
        newer: bool,
    ) -> Option<SequenceRanges> {
        // Who takes back what it sealed itself has it, and it may still run; after more
        // seals than one no slave but the owner can tell.
        if Some(owner) == self.sealer
            || at <= self.epoch
            || self.chained
            || !self.is_settled_for(owner)
            || std::mem::replace(&mut self.judged, true)
        {
            return None;
        }
        let gone = self.unfinished().through(began);
        let carried = self.events.iter().map(|event| event.sequence);
        Some(if newer {
            gone.without(&carried.collect())
        } else {
            gone
        })
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

    /// What each of those that sealed has in hand still, as far as they have said.
    pub(crate) fn in_hands(&self) -> Vec<(SlaveId, SequenceRanges)> {
        let last = self.sealer.map(|sealer| (sealer, self.unfinished()));
        let others = self.words.iter().filter(|word| word.sealer != self.sealer);
        let others =
            others.filter_map(|word| Some((word.sealer?, word.in_doubt.without(&self.finished))));
        last.into_iter().chain(others).collect()
    }

    /// What none of them finished.
    fn unfinished(&self) -> SequenceRanges {
        self.in_doubt.without(&self.finished)
    }
}

/// Of the payloads that came with the word of a sealer, only those that can be needed
/// are kept, and no more than a message may carry.
fn bound(settled: &mut Settled, near: Sequence) {
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
