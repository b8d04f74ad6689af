//! The state of a shard that stays where it is, as its owner has it: claimed before its
//! first event, brought up to each event before it is handed out, sealed with the shard.

use std::{
    future::{pending, ready},
    panic::resume_unwind,
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use baton_protocol::{Epoch, Sequence};
use tokio::{
    task::{JoinError, JoinHandle, spawn_blocking},
    time::Instant,
};
use tracing::Span;

use super::gateway::Incoming;
use crate::{
    bot::guild_of,
    state::{
        Copied, Exported,
        stays::{CURRENT_USER, Change, Claim, Owned, Refusal, Stays, Taken, key_on_its_way},
    },
    telemetry::HeldUp,
};

/// A change that was refused is tried again so often.
const AGAIN: Duration = Duration::from_millis(250);

/// It is said again so often that one is refused.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// A state that has no room is compacted so often at the most.
const COMPACT_EVERY: Duration = Duration::from_secs(60);

/// It is looked so often whether an operator asks for that.
const LOOK: Duration = Duration::from_secs(2);

/// So many bytes of events are applied on a thread that serves, where no disk is behind the
/// state: some hundred microseconds, as a cache takes for the same. One change has no more,
/// unless one event has: while a thousand guilds come, each shard holds as little as that.
pub(super) const QUICK: usize = 64 << 10;

/// See the module.
#[derive(Default)]
pub(super) struct Staying {
    owned: Option<Box<dyn Owned>>,
    /// The session under whose name events are written.
    session: Option<Arc<str>>,
    /// Whether it is known not to be whole, and no READY brought it back.
    lost: bool,
    claim: Option<Claiming>,
    /// A change was refused for now: when it is tried again.
    waits: Option<Instant>,
    /// While it is compacted, no event is applied.
    compacting: Option<JoinHandle<Compacting>>,
    compacted: Option<Instant>,
    look: Option<Instant>,
    coming: Coming,
    /// What of a replay it holds already, where it was copied.
    copied: Option<Copied>,
    /// When it was said last that there is no room.
    told: Option<Instant>,
    /// A READY that was refused for now.
    refused: Option<Incoming>,
    /// The shard takes nothing, because a change or a claim was refused for now.
    held_up: Option<HeldUp>,
}

/// What becomes of a claim.
type Claiming = Pin<Box<dyn Future<Output = Result<Taken, Refusal>> + Send>>;

/// A state that was compacted, and what came of it.
type Compacting = (Box<dyn Owned>, Result<String, Refusal>);

/// What other threads have done.
pub(super) enum News {
    Claimed(Result<Taken, Refusal>),
    Compacted(Result<String, Refusal>),
}

/// What comes of it while another process owns the shard.
#[derive(Debug, Default)]
enum Coming {
    #[default]
    Nothing,
    /// Its owner has it in the same place.
    Shared,
    /// Pieces are taken in.
    Pieces,
    Copied(Copied),
}

impl Staying {
    /// Claims it: at once if nothing is in the way, else on a thread that may block. With a
    /// thread each, the shards of a dead process would wait for as many threads to begin.
    pub(super) fn claim(&mut self, claim: Claim, place: Arc<dyn Stays>, span: Span) {
        // One that was refused is made again.
        let held_up = self.held_up.take();
        self.let_go();
        self.held_up = held_up;
        self.claim = Some(match place.claim_at_once(&claim) {
            Some(Ok(claimed)) if claim.is_fulfilled_by(&claimed) => {
                Box::pin(ready(claim.judge(claimed)))
            }
            claimed => {
                let thread = spawn_blocking(move || {
                    let _in = span.enter();
                    match claimed {
                        Some(claimed) => claim.judge(claimed?),
                        None => claim.take(&*place),
                    }
                });
                Box::pin(async { joined(thread.await).ok_or_else(ends)? })
            }
        });
    }

    /// What other threads have done for it; pending where there is nothing. Survives being
    /// cancelled.
    pub(super) async fn news(&mut self) -> News {
        if self.is_compacting() {
            return News::Compacted(self.is_compacted().await);
        }
        News::Claimed(self.claimed().await)
    }

    /// What became of a claim; pending where there is none. Survives being cancelled.
    async fn claimed(&mut self) -> Result<Taken, Refusal> {
        let Some(claim) = &mut self.claim else {
            return pending().await;
        };
        let claimed = claim.as_mut().await;
        self.claim = None;
        claimed
    }

    /// It is ours. Gives up to which event of the session it is whole, or why it is lost.
    pub(super) fn takes(&mut self, taken: Taken) -> Result<Sequence, String> {
        debug_assert!(self.owned.is_none(), "what is here is not claimed");
        let coming = std::mem::take(&mut self.coming);
        self.copied = match (coming, taken.received) {
            (Coming::Copied(copied), true) => Some(copied),
            (Coming::Nothing | Coming::Shared | Coming::Pieces | Coming::Copied(_), _) => None,
        };
        self.owned = Some(taken.owned);
        self.session = taken.session;
        self.lost = taken.whole.is_err();
        self.told = None;
        self.held_up = None;
        taken.whole
    }

    /// It cannot be kept here.
    pub(super) fn is_without(&mut self) {
        self.let_go();
        self.lost = true;
    }

    /// It is not ours, or not any more. What was claimed and is not here yet is let go of when
    /// it comes.
    pub(super) fn let_go(&mut self) {
        self.owned = None;
        self.session = None;
        self.claim = None;
        self.compacting = None;
        self.waits = None;
        self.copied = None;
        self.refused = None;
        self.held_up = None;
    }

    // ---- compacting ------------------------------------------------------------

    /// When it is to be looked after.
    pub(super) fn look_due(&self) -> Option<Instant> {
        self.owned.as_ref()?;
        Some(self.look.unwrap_or_else(Instant::now))
    }

    /// Whether it is time, and somebody asks for it to be compacted.
    pub(super) fn is_compact_asked(&mut self, now: Instant) -> bool {
        if self.look_due().is_none_or(|due| due > now) {
            return false;
        }
        self.look = Some(now + LOOK);
        self.owned
            .as_ref()
            .is_some_and(|owned| owned.is_compact_asked())
    }

    /// There is no room: whether compacting it may make some, as it was not done lately.
    pub(super) fn may_compact(&self) -> bool {
        let lately = self
            .compacted
            .is_some_and(|at| at.elapsed() < COMPACT_EVERY);
        self.owned.is_some() && !lately
    }

    /// Events wait until it is done. A seal does not: the next owner goes on in whichever of
    /// the two is claimed.
    pub(super) fn compact(&mut self, span: Span) {
        debug_assert!(self.owned.is_some(), "only what is here is compacted");
        debug_assert!(self.compacting.is_none(), "one at a time");
        let Some(mut owned) = self.owned.take() else {
            return;
        };
        self.compacted = Some(Instant::now());
        self.compacting = Some(spawn_blocking(move || {
            let _in = span.enter();
            let done = owned.compact();
            (owned, done)
        }));
        self.waits = Some(Instant::now() + COMPACT_EVERY);
    }

    /// Until it is compacted; pending where it is not. Survives being cancelled.
    pub(super) async fn is_compacted(&mut self) -> Result<String, Refusal> {
        let Some(compacting) = &mut self.compacting else {
            return pending().await;
        };
        let compacted = compacting.await;
        self.compacting = None;
        self.waits = Some(Instant::now());
        let (owned, done) = joined(compacted).ok_or_else(ends)?;
        self.owned = Some(owned);
        done
    }

    pub(super) const fn is_compacting(&self) -> bool {
        self.compacting.is_some()
    }

    // ---- on its way ------------------------------------------------------------

    /// A copy begins: what came of the one before is of no use.
    pub(super) fn comes_anew(&mut self) {
        self.coming = Coming::Nothing;
    }

    /// Its owner has it in the same place.
    pub(super) fn is_shared(&mut self) {
        self.coming = Coming::Shared;
    }

    pub(super) const fn comes_shared(&self) -> bool {
        matches!(self.coming, Coming::Shared)
    }

    /// Pieces are taken in from now on.
    pub(super) fn comes_in_pieces(&mut self) {
        self.coming = Coming::Pieces;
    }

    pub(super) const fn takes_pieces(&self) -> bool {
        matches!(self.coming, Coming::Pieces)
    }

    /// All of them were taken in.
    pub(super) fn has_come(&mut self, copied: Copied) {
        self.coming = Coming::Copied(copied);
    }

    /// Whether all of this session was taken in, from an owner before this epoch.
    pub(super) fn has_received(&self, tag: &str, epoch: Epoch) -> bool {
        match &self.coming {
            Coming::Copied(copied) => {
                copied.session.as_deref() == Some(tag) && copied.epoch < epoch
            }
            Coming::Nothing | Coming::Shared | Coming::Pieces => false,
        }
    }

    /// Whether it is here, and all of it.
    pub(super) const fn is_whole(&self) -> bool {
        self.owned.is_some() && self.session.is_some() && !self.lost
    }

    /// The keys of its pieces.
    pub(super) fn keys(&self) -> Vec<u64> {
        self.owned
            .as_ref()
            .map(|owned| owned.keys())
            .unwrap_or_default()
    }

    /// One of them.
    pub(super) fn piece(&self, key: u64) -> Option<Exported> {
        self.owned.as_ref()?.piece(key)
    }

    /// Which of these events are in its pieces already, though they are above where it stands
    /// as a whole.
    fn held(&self, batch: &[Incoming], beside: bool) -> Vec<bool> {
        let Some(copied) = &self.copied else {
            return Vec::new();
        };
        let is_held = |change: Change<'_>| {
            let key = || key_of_event(change.kind, change.json, beside);
            copied.holds(change.sequence, key)
        };
        let changes = batch.iter().map(Incoming::change);
        changes.map(|change| change.is_some_and(is_held)).collect()
    }

    /// Whether it is known not to be whole.
    pub(super) const fn is_lost(&self) -> bool {
        self.lost
    }

    /// The last change stands. Gives where, if all of the session is there.
    pub(super) fn seal(&mut self) -> Option<Sequence> {
        self.claim = None;
        self.compacting = None;
        self.waits = None;
        self.refused = None;
        self.held_up = None;
        let stands = self.owned.take()?.seal();
        (!self.lost && self.session.is_some()).then_some(stands)
    }

    /// Whether this event has to be applied before it is handed out.
    pub(super) fn wants(&self, sequence: Sequence, begins: bool) -> bool {
        let Some(owned) = &self.owned else {
            return false;
        };
        begins || (self.session.is_some() && sequence > owned.stands())
    }

    /// Brings it up to these events of a session; `begins`: the first of them is its READY.
    /// Gives the events back.
    pub(super) async fn apply(
        &mut self,
        batch: Vec<Incoming>,
        begins: Option<&str>,
        (in_memory, beside): (bool, bool),
    ) -> (Vec<Incoming>, Result<(), Refusal>) {
        let session = begins.map(Arc::from).or_else(|| self.session.clone());
        let Some(session) = session else {
            debug_assert!(self.owned.is_none(), "a change of no session");
            return (batch, Ok(()));
        };
        let Some(mut owned) = self.owned.take() else {
            return (batch, Ok(()));
        };
        // A READY is of another session than what was copied.
        let held = match begins {
            Some(_) => Vec::new(),
            None => self.held(&batch, beside),
        };
        let bytes: usize = batch.iter().map(Incoming::bytes).sum();
        let mut done = Err(Refusal::Busy(String::new()));
        if in_memory && bytes <= QUICK {
            done = owned.apply(&session, &changes(&batch, &held), false);
        }
        let mut batch = batch;
        if matches!(done, Err(Refusal::Busy(_))) {
            let of = Arc::clone(&session);
            let work = spawn_blocking(move || {
                let done = owned.apply(&of, &changes(&batch, &held), true);
                (owned, batch, done)
            });
            match joined(work.await) {
                Some(worked) => (owned, batch, done) = worked,
                // Nothing is handed out any more.
                None => return pending().await,
            }
        }
        let stands = owned.stands();
        self.owned = Some(owned);
        match &done {
            Ok(()) => {
                self.waits = None;
                self.told = None;
                self.refused = None;
                self.held_up = None;
                if begins.is_some() {
                    self.session = Some(session);
                    self.lost = false;
                    self.copied = None;
                }
                // Not before: what was refused comes again.
                self.copied.take_if(|copied| copied.is_behind(stands));
            }
            Err(Refusal::NoRoom(_) | Refusal::Busy(_)) => {
                self.waits = Some(Instant::now() + AGAIN);
                if begins.is_some() && self.refused.is_none() {
                    self.refused = batch.first().and_then(Incoming::again);
                }
            }
            Err(Refusal::Fenced(_) | Refusal::Gone(_) | Refusal::Unusable(_)) => self.let_go(),
        }
        (batch, done)
    }

    /// Whether a READY like the one that was refused would find room, if one was. It is
    /// written as two sessions, because the next one is written beside what is there; and
    /// what is there is of a session that is over.
    pub(super) async fn makes_room_for_a_session(&mut self) -> Result<(), Refusal> {
        if self.is_compacting() {
            return Err(Refusal::Busy("the state is compacted".to_owned()));
        }
        let Some(ready) = self.refused.take() else {
            return Ok(());
        };
        let mut batch = vec![ready];
        for name in ["none-1", "none-2"] {
            let tried = self.apply(batch, Some(name), (false, false)).await;
            batch = tried.0;
            if tried.1.is_err() {
                self.session = None;
                self.refused = batch.pop().filter(|_| self.owned.is_some());
                return tried.1;
            }
        }
        // Nothing of a session is there.
        self.session = None;
        self.waits = None;
        Ok(())
    }

    /// When the change that was refused is tried again; `None`: none was.
    pub(super) const fn waits_until(&self) -> Option<Instant> {
        self.waits
    }

    /// A connection begins: what was refused comes again.
    pub(super) const fn waits_no_more(&mut self) {
        self.waits = None;
    }

    /// The shard takes nothing from now on, if it did.
    pub(super) fn is_held_up(&mut self, begin: impl FnOnce() -> HeldUp) {
        if self.held_up.is_none() {
            self.held_up = Some(begin());
        }
    }

    /// Whether it is to be said that there is no room.
    pub(super) fn tells(&mut self) -> bool {
        let now = Instant::now();
        let is_due = self.told.is_none_or(|told| now >= told + TOLD_EVERY);
        if is_due {
            self.told = Some(now);
        }
        is_due
    }
}

/// What a thread did, whose panic is this one's too; `None`: the process ends.
fn joined<T>(done: Result<T, JoinError>) -> Option<T> {
    match done {
        Ok(done) => Some(done),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            Err(_) => None,
        },
    }
}

fn ends() -> Refusal {
    Refusal::Unusable("the process ends".to_owned())
}

/// What these events change; one that is held changes where the state stands, and nothing
/// else.
fn changes<'b>(batch: &'b [Incoming], held: &[bool]) -> Vec<Change<'b>> {
    let held = held.iter().copied().chain(std::iter::repeat(false));
    let changes = batch.iter().zip(held).filter_map(|(incoming, held)| {
        let change = incoming.change()?;
        Some(match held && !mutant!("piece-in-store-twice") {
            true => Change {
                sequence: change.sequence,
                kind: "",
                json: "{}",
            },
            false => change,
        })
    });
    changes.collect()
}

/// The key of the piece that an event changes.
pub(super) fn key_of_event(kind: &str, json: &str, beside: bool) -> Option<u64> {
    let key = match kind {
        "READY" | "USER_UPDATE" => CURRENT_USER,
        _ => guild_of(kind, json)?.get(),
    };
    Some(key_on_its_way(key, beside))
}

#[cfg(test)]
#[path = "staying_tests.rs"]
mod tests;
