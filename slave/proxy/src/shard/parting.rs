//! A shard leaves, and its clients' sessions go along: what the next owner needs so that they
//! go on there. Part of [`Core`].
//!
//! ```text
//!  parts            at rest, or out of patience     departs
//!  ─────▶ sent nothing, asked what they have ──────────────▶ op 7
//! ```
//!
//! No event goes along. The next owner's ring begins where everything is finished, and
//! Discord's replay fills it; a client's sequence is a constant apart from Discord's, so it
//! means the same there.

use std::sync::Arc;

use baton_protocol::Sequence;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::{
    core::Core,
    intents::Fewer,
    session::{LastWord, Session, Wish},
};

/// Bytes that go along at most: what a ticket takes.
const MOST: usize = baton_protocol::Ticket::MAX_LUGGAGE;
/// How far above what is finished a client of a process that died may be. A window is no
/// larger.
const AHEAD: u64 = 1 << 16;

/// What goes along.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Along {
    /// The primary first.
    sessions: Vec<Kept>,
    /// Ids of sessions that were taken over from, the newest last.
    replaced: Vec<String>,
}

/// One session.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    id: String,
    #[serde(default)]
    library: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mirror: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    says_handled: bool,
    /// The intents that it asked for, where these are fewer than the shard's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fewer: Option<u64>,
    /// Its sequence less Discord's.
    lead: i64,
    /// How many dispatches greeted it.
    greeting: u64,
    /// The last of Discord's sequences that it was sent; `None`: that was not known yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sent: Option<u64>,
}

impl Core {
    /// From now on clients are sent nothing, and are asked what they have. `wake` rings when
    /// they have said it.
    pub(crate) fn parts(&mut self, wake: Arc<Notify>) {
        self.parting = Some(wake);
        for session in self.primary.iter_mut().chain(self.mirrors.values_mut()) {
            session.is_frozen = true;
            session.last_word = LastWord::Asked(None);
            session.wake();
        }
    }

    /// Whether nothing is to be waited for any more.
    pub(crate) fn is_at_rest(&self) -> bool {
        !self.has_to_settle()
    }

    /// The shard leaves with what its clients need.
    pub(crate) fn departs(&mut self) {
        self.clients_changed();
        self.leave();
    }

    /// What goes along has changed.
    pub(super) const fn clients_changed(&mut self) {
        if !self.has_left() {
            self.clients_version += 1;
            self.clients_are_new = true;
        }
    }

    /// Whether what goes along was changed since the last call.
    pub(crate) const fn has_new_clients(&mut self) -> bool {
        std::mem::replace(&mut self.clients_are_new, false)
    }

    /// What goes along, and the number of its change, if that is another than `known`.
    pub(crate) fn clients(&self, known: u64) -> Option<(u64, String)> {
        (self.clients_version != known).then(|| (self.clients_version, self.along()))
    }

    fn along(&self) -> String {
        let sessions = self.primary.iter().chain(self.mirrors.values());
        let mut along = Along {
            sessions: sessions.filter_map(|session| self.kept(session)).collect(),
            replaced: self.replaced.iter().cloned().collect(),
        };
        loop {
            let text = serde_json::to_string(&along).unwrap_or_default();
            if text.len() <= MOST {
                return text;
            }
            // Old names first, mirrors then. They begin anew.
            if along.replaced.is_empty() {
                let dropped = along.sessions.pop();
                let mirror = dropped.and_then(|session| session.mirror);
                tracing::warn!(?mirror, "a client's session does not go along: too many do");
            } else {
                along.replaced.remove(0);
            }
        }
    }

    /// `None`: it cannot go on with the shard's session.
    fn kept(&self, session: &Session) -> Option<Kept> {
        let (shift, greeting) = (self.shift?, session.greeting?);
        if session.began_at < self.barrier {
            return None;
        }
        let lead = i128::from(greeting) - i128::from(session.position) + shift;
        let sent = self.parting.as_ref().and_then(|_| {
            let sent = i128::from(session.most.max(session.sent)) - shift;
            u64::try_from(sent).ok()
        });
        Some(Kept {
            id: session.id.clone(),
            library: session.wish.library.clone(),
            mirror: session.wish.mirror.clone(),
            says_handled: session.wish.says_handled,
            fewer: session.wish.fewer.map(|fewer| fewer.0),
            lead: i64::try_from(lead).ok()?,
            greeting,
            sent,
        })
    }

    /// The clients that the owner before had go on here, where everything up to `handled` is
    /// finished.
    pub(super) fn take_clients_over(&mut self, handled: Sequence, clients: &str) {
        let along: Along = match serde_json::from_str(clients) {
            Ok(along) => along,
            Err(_) if clients.is_empty() => return,
            Err(error) => {
                tracing::warn!(%error, "the sessions of clients cannot be read: they begin anew");
                return;
            }
        };
        let handled = handled.get();
        for kept in along.sessions {
            let session = Session {
                key: self.next_key(),
                id: kept.id,
                wish: Wish {
                    mirror: kept.mirror.clone(),
                    says_handled: kept.says_handled,
                    library: kept.library,
                    fewer: kept.fewer.map(Fewer),
                },
                attached: None,
                began_at: handled,
                position: i64::try_from(kept.greeting)
                    .unwrap_or(i64::MAX)
                    .saturating_sub(kept.lead)
                    .saturating_add(i64::from(mutant!("offset-lost"))),
                greeting: Some(kept.greeting),
                sent: handled,
                heard: handled,
                most: kept.sent.unwrap_or(handled.saturating_add(AHEAD)),
                is_frozen: false,
                last_word: LastWord::Unasked,
                resumed_at: None,
            };
            match kept.mirror {
                Some(name) => drop(self.mirrors.insert(name, session)),
                None => self.primary = Some(session),
            }
        }
        self.replaced = along.replaced.into();
        self.clients_changed();
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::{
        super::{
            budget::Budget,
            session::Attachment,
            sessions::{Identified, Resumed, Take},
        },
        *,
    };
    use crate::{
        config::ProxyConfig,
        upstream::{Begin, Dispatch},
    };

    fn core(begin: &Begin) -> Core {
        let ProxyConfig {
            limits, timings, ..
        } = ProxyConfig::default();
        let mut core = Core::new(limits, timings, Budget::new(1 << 30), Instant::now());
        core.begin(begin, Instant::now());
        core
    }

    fn at(connection: u64) -> Attachment {
        Attachment {
            connection,
            wake: Arc::new(Notify::new()),
        }
    }

    fn push(core: &mut Core, sequence: u64) {
        let dispatch = Dispatch {
            sequence: Sequence(sequence),
            kind: "E".to_owned(),
            json: format!(r#"{{"d":{sequence}}}"#).into(),
        };
        let event = super::super::Event::read(&dispatch);
        core.push(&dispatch, event, Instant::now());
    }

    /// A client with three dispatches of greeting.
    fn client(core: &mut Core, connection: u64, wish: &Wish) -> u64 {
        let id = format!("session {connection}");
        let begun = core.identify(&at(connection), wish, &id, false, false);
        let Identified::Begun { key, .. } = begun else {
            panic!("{begun:?}");
        };
        core.greeted(key, 3);
        key
    }

    fn taken(core: &mut Core, key: u64, connection: u64) -> Vec<u64> {
        match core.take(key, connection, usize::MAX) {
            Take::Batch { dispatches, .. } => dispatches.into_iter().map(|(at, _)| at).collect(),
            Take::Resumed(at) => vec![at],
            Take::Nothing => Vec::new(),
            Take::Over(over) => panic!("{over:?}"),
        }
    }

    fn gone(core: &Core) -> String {
        core.clients(0).expect("there is something").1
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_goes_on_at_the_next_owner_with_its_sequences_and_without_a_repeat() {
        let mut old = core(&Begin::Resumed {
            handled: Sequence(1000),
        });
        let key = client(&mut old, 1, &Wish::default());
        (1001..=1010).for_each(|sequence| push(&mut old, sequence));
        assert_eq!(taken(&mut old, key, 1), (4..=13).collect::<Vec<_>>());
        old.heard(key, 1, 9);
        old.parts(Arc::new(Notify::new()));
        assert!(!old.is_at_rest(), "it has more than it said");
        push(&mut old, 1011);
        assert!(
            taken(&mut old, key, 1).is_empty(),
            "it is sent nothing more"
        );
        old.departs();
        assert!(!old.is_ready());

        // It had received two more than it said, and comes before the replay does.
        let mut new = core(&Begin::TakenOver {
            handled: Sequence(1006),
            clients: gone(&old),
        });
        let resumed = new.resume(&at(2), "session 1", 11);
        let Resumed::Here { key, .. } = resumed else {
            panic!("{resumed:?}");
        };
        assert_eq!(taken(&mut new, key, 2), [11], "RESUMED");
        (1007..=1012).for_each(|sequence| push(&mut new, sequence));
        assert_eq!(taken(&mut new, key, 2), (12..=15).collect::<Vec<_>>());
        let finished = new.take_finished();
        assert_eq!(finished.first(), Some(&(Sequence(1007), Sequence(1007))));
        assert_eq!(finished.last(), Some(&(Sequence(1008), Sequence(1008))));
        assert_eq!(
            new.resume(&at(3), "session 1", 99),
            Resumed::InvalidSequence
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_client_handled_out_of_order_counts_when_the_replay_brings_it() {
        let wish = Wish {
            says_handled: true,
            ..Wish::default()
        };
        let mut old = core(&Begin::Resumed {
            handled: Sequence(100),
        });
        let key = client(&mut old, 1, &wish);
        (101..=105).for_each(|sequence| push(&mut old, sequence));
        taken(&mut old, key, 1);
        old.parts(Arc::new(Notify::new()));
        old.departs();
        let mut new = core(&Begin::TakenOver {
            handled: Sequence(100),
            clients: gone(&old),
        });
        let Resumed::Here { key, .. } = new.resume(&at(2), "session 1", 8) else {
            panic!("it goes on");
        };
        new.says_handled(key, 2, 6, 7);
        (101..=105).for_each(|sequence| push(&mut new, sequence));
        let mut finished = new.take_finished();
        finished.sort_unstable();
        assert_eq!(
            finished,
            [
                (Sequence(103), Sequence(103)),
                (Sequence(104), Sequence(104))
            ]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn sessions_are_told_as_they_begin_so_that_they_outlive_a_kill() {
        let mut old = core(&Begin::Resumed {
            handled: Sequence(100),
        });
        assert!(old.clients(0).is_none());
        let wish = Wish {
            mirror: Some("test".to_owned()),
            ..Wish::default()
        };
        client(&mut old, 1, &Wish::default());
        client(&mut old, 2, &wish);
        let told = gone(&old);
        // It is killed; the checkpoint stands a little behind.
        let mut new = core(&Begin::TakenOver {
            handled: Sequence(150),
            clients: told,
        });
        let resumed = new.resume(&at(3), "session 1", 3 + 60);
        assert!(matches!(resumed, Resumed::Here { .. }), "{resumed:?}");
        // The mirror is ahead of the replay.
        let resumed = new.resume(&at(4), "session 2", 3 + 52);
        let Resumed::Here { key, .. } = resumed else {
            panic!("{resumed:?}");
        };
        assert_eq!(taken(&mut new, key, 4), [3 + 52], "RESUMED");
        (151..=153).for_each(|sequence| push(&mut new, sequence));
        assert_eq!(taken(&mut new, key, 4), [3 + 53]);
        assert_eq!(
            new.resume(&at(5), "session 1", 3 + 40),
            Resumed::Gone("what it needs is not kept any more"),
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_of_a_former_session_of_the_shard_does_not_go_along() {
        let mut old = core(&Begin::Resumed {
            handled: Sequence(100),
        });
        client(&mut old, 1, &Wish::default());
        let begin = Begin::New {
            ready: Sequence(1),
            guilds: Vec::new(),
        };
        old.begin(&begin, Instant::now());
        assert!(!gone(&old).contains("session 1"), "{}", gone(&old));
    }

    #[tokio::test(start_paused = true)]
    async fn what_goes_along_is_bounded_and_what_cannot_be_read_is_nothing() {
        let mut old = core(&Begin::Resumed {
            handled: Sequence(100),
        });
        client(&mut old, 1, &Wish::default());
        for mirror in 0..200 {
            let wish = Wish {
                mirror: Some(format!("mirror-{mirror}")),
                ..Wish::default()
            };
            client(&mut old, 10 + mirror, &wish);
        }
        let along = gone(&old);
        assert!(along.len() <= MOST && along.contains("session 1"));
        for odd in ["", "odd", "[]", r#"{"sessions":[{}]}"#] {
            let mut new = core(&Begin::TakenOver {
                handled: Sequence(100),
                clients: odd.to_owned(),
            });
            assert!(new.is_ready());
            assert_eq!(
                new.resume(&at(1), "session 1", 3),
                Resumed::Gone("no such session")
            );
        }
    }
}
