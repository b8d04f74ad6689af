//! Events that are with their handlers: what they are, and for how long.
//!
//! One that never ends keeps everything behind it from being forgotten: a RESUME goes
//! back to it, and Discord replays only so much. So the oldest one is named to the
//! master long before, and where Discord does not replay it any more its payload goes to
//! the next owner from here.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use baton_protocol::Sequence;
use tokio::time::Instant;

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

    pub(super) fn into_events(self) -> impl Iterator<Item = (Sequence, Event)> {
        let event = |(sequence, (event, _))| (sequence, event);
        self.events.into_iter().map(event)
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(super) fn event(&self, sequence: Sequence) -> Option<&Event> {
        self.events.get(&sequence).map(|(event, _)| event)
    }

    /// When the oldest one is worth a look for its age alone, if it was not named yet: on a
    /// quiet shard nothing else happens by then.
    pub(super) fn worth_a_look_at(&self) -> Option<Instant> {
        let (&sequence, (_, since)) = self.events.first_key_value()?;
        let named = self.named.as_ref();
        let is_named = named.is_some_and(|named| named.sequence == sequence);
        (!is_named && !mutant!("quiet-unnamed")).then(|| *since + WORTH_A_LOOK.0)
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
