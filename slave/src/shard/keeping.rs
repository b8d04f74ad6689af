//! What is here of a shard's state: whose it is, how far it goes, and the copies of it
//! that come in and go out. The pieces themselves are with the bot.
//!
//! ```text
//!            Seal                    Resume (taken back)
//!  served ─────────▶ frozen, ours ───────────────────────▶ served
//!                        │ a copy begins ahead of every replay, or it is too old
//!                        ▼
//!                     given up ──copy──▶ copied ──Resume──▶ served
//! ```

use baton_protocol::{Epoch, Sequence, discord::LEAST_REPLAYED, state::StateFrame};

use crate::state::{Copied, CopyOut, Exported, Heartbeat, Import, StateChannel, Taken};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Keeping {
    /// What it is while the shard is sealed.
    frozen: Frozen,
    /// Whether the bot was told that it is lost, and no READY brought it back.
    lost: bool,
    /// What of a replay it holds already.
    copied: Option<Copied>,
    import: Import,
    copy_out: Option<CopyOut>,
    /// Where the frames of that copy go.
    channel: Option<StateChannel>,
    /// Bytes that were taken in and are not acknowledged yet, and of which owner's copy.
    taken_in: Option<(Epoch, u64)>,
}

/// What there is of the state of a shard that this process had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Frozen {
    /// It is not sealed.
    #[default]
    No,
    /// As it was at the seal: the shard can be taken back with it.
    Own,
    /// Too old, or dropped for a newer copy.
    GivenUp,
}

impl Keeping {
    /// A session begins, or nothing is known of the one that goes on.
    pub(super) fn forget_session(&mut self) {
        self.copied = None;
        self.copy_out = None;
        self.frozen = Frozen::No;
    }

    /// The shard is sealed: what is here stays as it is.
    pub(super) fn freeze(&mut self) {
        self.copy_out = None;
        self.frozen = if self.lost {
            Frozen::GivenUp
        } else {
            Frozen::Own
        };
    }

    /// What is here is too old to be gone on from.
    pub(super) fn give_up(&mut self) {
        self.copied = None;
        self.frozen = Frozen::GivenUp;
    }

    /// The session that `tag` names goes on here at `epoch`, from what was copied or, for
    /// one that is taken back, from what is frozen at `own`. Gives how far that goes;
    /// `None`: nothing of it is here.
    pub(super) fn resume(
        &mut self,
        tag: &str,
        epoch: Epoch,
        own: Option<Sequence>,
    ) -> Option<Sequence> {
        let frozen = std::mem::take(&mut self.frozen);
        let own = own.filter(|_| !self.lost && frozen != Frozen::GivenUp);
        let copied = self.copied.take();
        self.copied = match own {
            Some(at) => Some(Copied::own(at)),
            None => copied
                .filter(|copied| copied.session.as_deref() == Some(tag) && copied.epoch < epoch),
        };
        self.copied.as_ref().map(|copied| copied.lowest)
    }

    /// The bot keeps no state: whatever came here of it is of no use.
    pub(super) fn resume_without(&mut self) {
        self.frozen = Frozen::No;
        self.copied = None;
    }

    /// Everything up to its end is in this copy: of an owner, or of a snapshot.
    pub(super) fn is_as(&mut self, copied: Copied) {
        self.copied = Some(copied);
    }

    /// Whether the bot was told that it is lost.
    pub(super) const fn is_lost(&self) -> bool {
        self.lost
    }

    pub(super) const fn set_lost(&mut self, lost: bool) {
        self.lost = lost;
    }

    /// Whether the event at `sequence`, which changes `piece`, is in it already.
    pub(super) fn holds(
        &mut self,
        sequence: Sequence,
        piece: impl FnOnce() -> Option<u64>,
    ) -> bool {
        if self
            .copied
            .as_ref()
            .is_some_and(|copied| copied.is_behind(sequence))
        {
            self.copied = None;
        }
        let copied = self.copied.as_ref();
        copied.is_some_and(|copied| copied.holds(sequence, piece))
    }

    /// A copy of it goes out from now on.
    pub(super) fn copy_out(&mut self, copy: CopyOut, channel: StateChannel) {
        self.copy_out = Some(copy);
        self.channel = Some(channel);
    }

    pub(super) const fn copies_out(&self) -> bool {
        self.copy_out.is_some()
    }

    pub(super) const fn copying_out(&mut self) -> Option<&mut CopyOut> {
        self.copy_out.as_mut()
    }

    /// The copy is of no use any more.
    pub(super) fn stop_copy(&mut self) {
        self.copy_out = None;
    }

    /// An event changed a piece.
    pub(super) fn changed(&mut self, key: u64, sequence: Sequence) {
        if let Some(copy) = &mut self.copy_out {
            copy.changed(key, sequence);
        }
    }

    /// One step of the copy: a frame is sent, or one more piece is exported.
    pub(super) fn copy_step(
        &mut self,
        heartbeat: Option<Heartbeat>,
        at: Sequence,
        owner: Epoch,
        export: impl FnOnce(u64) -> Option<Exported>,
    ) {
        debug_assert!(self.channel.is_some(), "it goes to somebody");
        let Some(copy) = &mut self.copy_out else {
            debug_assert!(false, "a step of no copy");
            return;
        };
        if copy.outlasts(heartbeat) {
            return;
        }
        let frame = copy.step(at, export);
        let is_over = copy.is_over() || copy.epoch() != owner;
        if let Some((frame, channel)) = frame.zip(self.channel.as_ref()) {
            channel.send(frame);
        }
        if is_over {
            self.copy_out = None;
        }
    }

    /// Reads a frame of a copy that comes in.
    pub(super) fn read(&mut self, frame: &StateFrame) -> Taken {
        let taken = self.import.take(frame);
        if matches!(taken, Taken::Begins(_)) {
            self.copied = None;
        }
        taken
    }

    /// It was ours. What is here, frozen, is as good as any copy of it, unless the
    /// copy begins further ahead than every replay reaches back from `own`: then it
    /// makes room.
    pub(super) fn prefers_own(&mut self, frame: &StateFrame, epoch: Epoch, own: Sequence) -> bool {
        let (header, own) = (frame.header(), own.get());
        let reached = header.sequence.get() <= own.saturating_add(LEAST_REPLAYED);
        let begins = header.chunk == 0 && header.epoch > epoch;
        if self.frozen == Frozen::Own && begins && !reached && !mutant!("frozen-preferred") {
            tracing::info!(own, copy = %header.sequence, "the frozen state makes room for a copy");
            self.frozen = Frozen::GivenUp;
        }
        self.frozen != Frozen::GivenUp
    }

    /// Bytes of a copy were taken in. Gives how many wait for an acknowledgement.
    pub(super) fn took_in(&mut self, copied: Epoch, bytes: u64) -> u64 {
        let (of, taken_in) = self.taken_in.get_or_insert((copied, 0));
        debug_assert_eq!(*of, copied, "another copy's bytes were acknowledged");
        *taken_in += bytes;
        *taken_in
    }

    /// Whether bytes of another copy than this wait for an acknowledgement.
    pub(super) fn owes_another(&self, copied: Epoch) -> bool {
        self.taken_in.is_some_and(|(epoch, _)| epoch != copied)
    }

    /// What is to be acknowledged, in one word.
    pub(super) const fn acknowledge(&mut self) -> Option<(Epoch, u64)> {
        self.taken_in.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an owner at `epoch` copied of this session, up to 50.
    fn copied(session: &str, epoch: u64) -> Copied {
        let mut copied = Copied::own(Sequence(50));
        copied.session = Some(session.into());
        copied.epoch = Epoch(epoch);
        copied
    }

    #[test]
    fn a_session_goes_on_from_its_own_state_else_from_a_copy_of_it_and_from_nothing_else() {
        let (ours, at_50, nothing) = (Some(Sequence(70)), Some(Sequence(50)), None);
        type Change = fn(&mut Keeping);
        let cases: [(&str, Change, Option<Sequence>, Option<Sequence>); 8] = [
            ("taken back", |keeping| keeping.freeze(), ours, ours),
            (
                "taken over",
                |keeping| keeping.is_as(copied("a", 2)),
                None,
                at_50,
            ),
            ("nobody copied it", |_| {}, None, nothing),
            (
                "a copy of another session",
                |keeping| keeping.is_as(copied("b", 2)),
                None,
                nothing,
            ),
            (
                "a copy of a later owner",
                |keeping| keeping.is_as(copied("a", 3)),
                None,
                nothing,
            ),
            (
                "lost before it was sealed",
                |keeping| {
                    keeping.set_lost(true);
                    keeping.freeze();
                },
                ours,
                nothing,
            ),
            (
                "too old, and copied anew",
                |keeping| {
                    keeping.freeze();
                    keeping.give_up();
                    keeping.is_as(copied("a", 2));
                },
                ours,
                at_50,
            ),
            (
                "another session began meanwhile",
                |keeping| {
                    keeping.is_as(copied("a", 2));
                    keeping.forget_session();
                },
                None,
                nothing,
            ),
        ];
        for (what, change, own, from) in cases {
            let mut keeping = Keeping::default();
            change(&mut keeping);
            assert_eq!(keeping.resume("a", Epoch(3), own), from, "{what}");
        }
    }

    #[test]
    fn an_event_is_in_a_copy_up_to_its_end_and_behind_it_nothing_is_kept() {
        let mut keeping = Keeping::default();
        keeping.is_as(copied("a", 2));
        assert!(keeping.holds(Sequence(50), || None));
        assert!(!keeping.holds(Sequence(51), || None));
        assert!(
            !keeping.holds(Sequence(50), || None),
            "the replay is behind it"
        );
    }
}
