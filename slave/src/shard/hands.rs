//! Events that are with their handlers: what they are, and for how long.
//!
//! One that never ends keeps everything behind it from being forgotten: a RESUME goes
//! back to it, and Discord replays only so much. So the oldest one is named to the
//! master long before, and where Discord does not replay it any more its payload goes to
//! the next owner from here.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use baton_protocol::{
    Sequence, SequenceRanges,
    message::{CarriedEvent, Settled},
};
use tokio::time::Instant;

use super::Shard;
use crate::{bot::Event, telemetry::Oldest};

/// The oldest event is named once it has been here for so long, or has so many behind it.
const WORTH_A_LOOK: (Duration, u64) = (Duration::from_secs(2), 64);

/// The events of one session that were handed out and are not finished. Bounded by the
/// window.
#[derive(Debug, Default)]
pub(super) struct Hands {
    events: BTreeMap<Sequence, (Event, Instant)>,
    /// The oldest one, once it was named: its payload is read only once.
    named: Option<Arc<Oldest>>,
}

impl Hands {
    pub(super) fn take(&mut self, event: Event) {
        let since = Instant::now();
        self.events.insert(event.sequence(), (event, since));
    }

    pub(super) fn done(&mut self, sequence: Sequence) {
        self.events.remove(&sequence);
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    fn event(&self, sequence: Sequence) -> Option<&Event> {
        self.events.get(&sequence).map(|(event, _)| event)
    }

    /// The oldest one, where it is worth a look. Everything up to `received` came.
    pub(super) fn oldest(&mut self, received: Sequence) -> Option<Arc<Oldest>> {
        let (&sequence, (event, since)) = self.events.first_key_value()?;
        let (age, behind) = WORTH_A_LOOK;
        let is_far = received.get().saturating_sub(sequence.get()) >= behind;
        if !is_far && since.elapsed() < age {
            return None;
        }
        let known = self.named.as_ref();
        if known.is_none_or(|named| named.sequence != sequence) {
            self.named = Some(Arc::new(Oldest {
                sequence,
                kind: event.kind().to_owned(),
                guild: event.guild_id().map_or(0, |guild| guild.get()),
                since: *since,
            }));
        }
        self.named.clone()
    }
}

impl Shard {
    /// The payloads of what is not finished, for the next owner, the oldest first: as
    /// many as go into one message.
    pub(super) fn carried(&self, unfinished: &SequenceRanges) -> Vec<CarriedEvent> {
        let mut room = Settled::MAX_BYTES;
        let mut carried = Vec::new();
        for sequence in unfinished.iter() {
            let given_back = || {
                let retries = self.retries.iter().map(|retry| &retry.event);
                retries
                    .into_iter()
                    .find(|event| event.sequence() == sequence)
            };
            let event = self.hands.event(sequence).or_else(given_back);
            let Some(event) = event.or_else(|| self.held.get(&sequence)) else {
                continue;
            };
            let Some(left) = room.checked_sub(event.json().len()) else {
                break;
            };
            room = left;
            carried.push(carry(event));
            if carried.len() == Settled::MAX_EVENTS {
                break;
            }
        }
        carried
    }

    /// The former owner settled: what it did not finish is handed out, marked. What of
    /// that neither Discord nor the former owner brings is given up, loudly: it would
    /// hold back everything behind it for ever.
    pub(super) fn settled(&mut self, unfinished: &SequenceRanges, events: Vec<CarriedEvent>) {
        let session = self.session.as_ref().map(|session| session.tag.clone());
        let mut carried: BTreeMap<Sequence, CarriedEvent> = events
            .into_iter()
            .map(|event| (event.sequence, event))
            .collect();
        let mut at_hand = Vec::new();
        for sequence in self.window.held() {
            let carried = carried.remove(&sequence).zip(session.clone());
            let event = self.held.remove(&sequence).or_else(|| {
                let (event, tag) = carried?;
                Some(Event::new(
                    self.id,
                    self.epoch,
                    sequence,
                    tag,
                    &event.kind,
                    event.json,
                ))
            });
            if !unfinished.contains(sequence) {
                self.window.finish(sequence);
            } else if event.is_none() && self.window.is_before_replay(sequence) {
                self.context.counters.given_up.add();
                tracing::error!(
                    %sequence,
                    "an event is given up: its former owner did not finish it, and Discord does not replay it any more"
                );
                self.window.finish(sequence);
            } else if self.window.give_back(sequence, crate::bot::Mark::MayRepeat) {
                at_hand.extend(event);
            }
        }
        self.hand_out_first(at_hand);
        self.touch();
    }
}

pub(super) fn carry(event: &Event) -> CarriedEvent {
    CarriedEvent {
        sequence: event.sequence(),
        kind: event.kind().to_owned(),
        json: event.json().to_owned(),
    }
}
