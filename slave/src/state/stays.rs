//! State that stays where it is when its shard moves: what the slave asks of it.
//!
//! [`State`](crate::State) travels: its pieces are copied to the next owner. State that
//! stays is in a place that each owner of the shard can reach; whoever owns the shard
//! claims it there, and goes on where the owner before stopped. So a claim takes the place
//! of a copy: before the first event of an owner, and with the same question to answer,
//! which is up to which event of the session the state is whole.

#[cfg(test)]
pub(crate) mod fake;

use std::sync::Arc;

use baton_protocol::{Epoch, FleetId, Sequence, ShardId, message::StoreRoom};

use super::Exported;

/// Key of the piece that is the bot's own user, as of a `cache::Cache`.
pub(crate) const CURRENT_USER: u64 = 1;

/// Where a bot has state that travels too, the pieces of this one have this bit in their key:
/// ids of guilds do not reach it.
const BESIDE: u64 = 1 << 63;

/// The key of a piece on its way, beside others or not.
pub(crate) const fn key_on_its_way(key: u64, beside: bool) -> u64 {
    if beside { key | BESIDE } else { key }
}

/// The key of a piece that came; `None`: it is of the state that travels.
pub(crate) const fn key_of(on_its_way: u64, beside: bool) -> Option<u64> {
    match (beside, on_its_way & BESIDE != 0) {
        (true, true) => Some(on_its_way & !BESIDE),
        (true, false) => None,
        (false, _) => Some(on_its_way),
    }
}

/// One for all shards of a process. What gives a [`Refusal`] may block, and so may `stand_by`,
/// `tidy` and `room`.
pub(crate) trait Stays: Send + Sync + 'static {
    /// Becomes the owner of a shard's state. From now on no owner of a lower epoch can change
    /// it.
    fn claim(&self, claim: &Claim) -> Result<Claimed, Refusal>;

    /// The same if it takes no longer than a small change, on a thread that serves. `None`: it
    /// may take longer, and nothing was changed.
    fn claim_at_once(&self, _: &Claim) -> Option<Result<Claimed, Refusal>> {
        None
    }

    /// Whether the owner at this epoch has the state of this session in the same place, so
    /// that it need not be copied.
    fn is_shared(&self, of: Of, owner: Epoch, session: &str) -> Result<bool, Refusal>;

    /// Says so, in that place, to the owner that asked with this number.
    fn accept(&self, of: Of, offer: u64) -> Result<(), Refusal>;

    /// Whether somebody said so to this process.
    fn is_accepted(&self, of: Of, offer: u64) -> Result<bool, Refusal>;

    /// Takes pieces in from now on, while another process owns the shard at this epoch.
    fn receive(&self, of: Of, owner: Epoch) -> Result<(), Refusal>;

    /// Takes one piece in.
    fn import(&self, shard: ShardId, key: u64, piece: &[u8]) -> Result<(), String>;

    /// All pieces were taken in: of this session, at `lowest` as a whole, and all at one
    /// sequence from `whole_at` on.
    fn received(
        &self,
        shard: ShardId,
        session: &str,
        lowest: Sequence,
        whole_at: Sequence,
    ) -> Result<(), Refusal>;

    /// The process may be given any shard of this fleet soon: what takes long of a claim is done
    /// ahead, as far as it can be.
    fn stand_by(&self, _fleet: FleetId) {}

    /// Called every few seconds: lets go of what is not used just now.
    fn tidy(&self) {}

    /// How much room it takes and has; `None`: nothing is open.
    fn room(&self) -> Option<StoreRoom>;

    /// Whether a change never waits for a disk, so that it may be made on a thread that serves.
    fn is_in_memory(&self) -> bool;

    /// The shard is of no concern to this process any more.
    fn leave(&self, shard: ShardId);
}

/// The state of one shard, which this process owns. All that it does is one change each,
/// made as a whole or not at all.
pub(crate) trait Owned: Send {
    /// Every event of its session up to here is in it, and none above.
    fn stands(&self) -> Sequence;

    /// Brings it up to these events, and says in the same change that it stands at the last
    /// of them. Those that it holds change nothing. READY begins a session, and drops
    /// everything of the one before. Without `waits`, another process that is in the middle
    /// of a change is not waited for: [`Refusal::Busy`].
    fn apply(&mut self, session: &str, batch: &[Change<'_>], waits: bool) -> Result<(), Refusal>;

    /// Forgets everything, and goes on with the events of this session that are above.
    fn begin(&mut self, session: &str, above: Sequence) -> Result<(), Refusal>;

    /// The keys of its pieces, as they are copied where the next owner is somewhere else.
    fn keys(&self) -> Vec<u64>;

    /// One of them, and where it stands; `None`: it is gone.
    fn piece(&self, key: u64) -> Option<Exported>;

    /// Whether an operator asks for [`compact`](Self::compact).
    fn is_compact_asked(&self) -> bool;

    /// Writes it once more, without what no document needs. It takes the time of a copy. Gives
    /// what came of it, for a person.
    fn compact(&mut self) -> Result<String, Refusal>;

    /// The last change stands, and there is no other.
    fn seal(&mut self) -> Sequence;
}

/// One dispatch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change<'e> {
    pub(crate) sequence: Sequence,
    pub(crate) kind: &'e str,
    pub(crate) json: &'e str,
}

/// Whose state it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Of {
    pub(crate) shard: ShardId,
    /// Shards of the whole bot.
    pub(crate) shard_count: u32,
    pub(crate) fleet: FleetId,
}

/// What is claimed.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    pub(crate) of: Of,
    /// `None`: nobody counts the owners. Then whoever claims last is the owner.
    pub(crate) epoch: Option<Epoch>,
    /// The session that goes on; `None`: a new one will begin.
    pub(crate) session: Option<GoesOn>,
    /// Whether all of it was taken in by this process, and is to take the place of what is
    /// there.
    pub(crate) received: bool,
}

/// A session that goes on, and what of it the state must hold.
#[derive(Clone, Debug)]
pub(crate) struct GoesOn {
    pub(crate) tag: Arc<str>,
    /// Up to here it is handled, or need not be.
    pub(crate) from: Sequence,
    /// So many events before that are surely replayed.
    pub(crate) reach: u64,
}

/// What was found.
pub(crate) struct Claimed {
    pub(crate) owned: Box<dyn Owned>,
    /// Which session it is of; `None`: of none.
    pub(crate) session: Option<Box<str>>,
    /// What is wanted and was not kept; empty: nothing.
    pub(crate) missing: String,
    /// What was wrong with what was found, for a person; empty: nothing.
    pub(crate) trouble: String,
    /// Whether it is what this process had taken in.
    pub(crate) received: bool,
}

/// A claim that was granted.
pub(crate) struct Taken {
    pub(crate) owned: Box<dyn Owned>,
    /// The session under whose name events are written; `None`: none yet.
    pub(crate) session: Option<Arc<str>>,
    /// Where it stands; or why the state is lost, for a person.
    pub(crate) whole: Result<Sequence, String>,
    /// Whether it is what this process had taken in.
    pub(crate) received: bool,
}

/// Why the state cannot be changed or claimed. The text is for a person: what is wrong, where,
/// and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Another process owns the shard.
    Fenced(String),
    /// There is no room. The same may be tried again.
    NoRoom(String),
    /// Another process is in the middle of a change. The same may be tried again.
    Busy(String),
    /// It is damaged, or was taken away. A claim begins anew.
    Gone(String),
    /// It cannot be used by this process at all.
    Unusable(String),
}

impl Claim {
    /// Claims it, and makes sure that the next owner takes what is not whole for lost too.
    pub(crate) fn take(&self, place: &dyn Stays) -> Result<Taken, Refusal> {
        self.judge(place.claim(self)?)
    }

    /// Whether what was found is of the session that goes on, and a replay reaches it: then
    /// nothing of it has to be dropped.
    pub(crate) fn is_fulfilled_by(&self, claimed: &Claimed) -> bool {
        self.session.as_ref().is_none_or(|session| {
            let stands = claimed.owned.stands().get();
            claimed.session.as_deref() == Some(&session.tag)
                && stands.saturating_add(session.reach) >= session.from.get()
        })
    }

    /// Says what was found, and makes sure that the next owner takes what is not whole for lost
    /// too, which takes long where there is much to be dropped.
    pub(crate) fn judge(&self, claimed: Claimed) -> Result<Taken, Refusal> {
        let is_fulfilled = self.is_fulfilled_by(&claimed);
        let Claimed {
            mut owned,
            session,
            missing,
            trouble,
            received,
        } = claimed;
        let Some(GoesOn { tag, from, .. }) = &self.session else {
            return Ok(Taken {
                whole: Ok(owned.stands()),
                owned,
                session: None,
                received,
            });
        };
        let stands = owned.stands();
        if is_fulfilled {
            let whole = match missing.is_empty() {
                true => Ok(stands),
                false => Err(format!(
                    "the processes before did not keep {missing}, which comes with a new session only"
                )),
            };
            return Ok(Taken {
                owned,
                session: Some(tag.clone()),
                whole,
                received,
            });
        }
        let wrong = if session.as_deref() == Some(tag) {
            format!(
                "it stands at {stands}, too far behind {from} for a replay: a process without it \
                 served the shard"
            )
        } else {
            match trouble.is_empty() {
                true if session.is_none() => "there is none".to_owned(),
                true => "it is of another session".to_owned(),
                false => trouble,
            }
        };
        let lost = lost(tag);
        owned.begin(&lost, *from)?;
        Ok(Taken {
            owned,
            session: Some(lost),
            whole: Err(wrong),
            received: false,
        })
    }
}

/// The name of a session in a state that lacks what came before. No session is named so.
fn lost(tag: &str) -> Arc<str> {
    if mutant!("lost-store-named-whole") {
        return tag.into();
    }
    format!("lost-{tag}").into()
}

impl Refusal {
    /// For a person.
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Fenced(text)
            | Self::NoRoom(text)
            | Self::Busy(text)
            | Self::Gone(text)
            | Self::Unusable(text) => text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{fake::Fake, *};

    /// A place with this state in it.
    struct Place {
        session: Option<&'static str>,
        stands: u64,
        missing: &'static str,
    }

    impl Stays for Place {
        fn claim(&self, _: &Claim) -> Result<Claimed, Refusal> {
            Ok(Claimed {
                owned: Box::new(Fake::at(self.stands)),
                session: self.session.map(Into::into),
                missing: self.missing.to_owned(),
                trouble: String::new(),
                received: false,
            })
        }

        fn is_shared(&self, _: Of, _: Epoch, _: &str) -> Result<bool, Refusal> {
            Ok(false)
        }

        fn accept(&self, _: Of, _: u64) -> Result<(), Refusal> {
            Ok(())
        }

        fn is_accepted(&self, _: Of, _: u64) -> Result<bool, Refusal> {
            Ok(false)
        }

        fn receive(&self, _: Of, _: Epoch) -> Result<(), Refusal> {
            Ok(())
        }

        fn import(&self, _: ShardId, _: u64, _: &[u8]) -> Result<(), String> {
            Ok(())
        }

        fn received(&self, _: ShardId, _: &str, _: Sequence, _: Sequence) -> Result<(), Refusal> {
            Ok(())
        }

        fn room(&self) -> Option<StoreRoom> {
            None
        }

        fn is_in_memory(&self) -> bool {
            true
        }

        fn leave(&self, _: ShardId) {}
    }

    #[test]
    fn what_is_claimed_is_whole_only_if_it_is_of_the_session_and_a_replay_brings_the_rest() {
        // The session goes on from 1000, and 100 events before that are replayed.
        let claim = Claim {
            of: Of {
                shard: ShardId(0),
                shard_count: 1,
                fleet: FleetId::default(),
            },
            epoch: Some(Epoch(3)),
            received: false,
            session: Some(GoesOn {
                tag: "a".into(),
                from: Sequence(1000),
                reach: 100,
            }),
        };
        let cases = [
            (Some("a"), 1002, "", Some(1002), "a"),
            (Some("a"), 900, "", Some(900), "a"),
            (Some("a"), 899, "", None, "lost-a"),
            (Some("b"), 1002, "", None, "lost-a"),
            (Some("lost-a"), 1002, "", None, "lost-a"),
            (None, 0, "", None, "lost-a"),
            // What is there is kept.
            (Some("a"), 1002, "sticker", None, "a"),
        ];
        for (session, stands, missing, whole, named) in cases {
            let place = Place {
                session,
                stands,
                missing,
            };
            let claimed = place.claim(&claim).expect("granted");
            let is_lost = named != "a";
            assert_eq!(claim.is_fulfilled_by(&claimed), !is_lost, "{named}");
            let taken = claim.take(&place).expect("granted");
            let what = format!("{session:?} at {stands}");
            assert_eq!(taken.whole.ok(), whole.map(Sequence), "{what}");
            assert_eq!(taken.session.as_deref(), Some(named), "{what}");
            let stands = if named == "a" { stands } else { 1000 };
            assert_eq!(taken.owned.stands(), Sequence(stands), "{what}");
        }
    }
}
