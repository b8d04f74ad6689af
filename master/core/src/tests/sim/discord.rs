//! The simulated Discord: sessions, their events, and what became of each.

use std::collections::BTreeMap;

use super::*;

/// One session of one shard. Its events are numbered from 1, READY.
#[derive(Clone, Debug)]
pub(super) struct Session {
    pub(super) shard: ShardId,
    pub(super) events: Vec<Seen>,
    pub(super) connected: Option<SlaveId>,
    closed_at: Real,
    /// Ended by Discord.
    pub(super) over: bool,
    /// An owner died, or gave up, before everything that it did was known: what
    /// is replayed may have been handled.
    pub(super) crashed: bool,
    /// A journal lost what it had of it.
    pub(super) excused: bool,
    /// Whether the master knows it, or the journal does.
    pub(super) known: bool,
}

/// What became of one event.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    pub(super) handed: bool,
    pub(super) finished: bool,
    /// In doubt at a seal and not finished in time.
    pub(super) unsettled: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Discord {
    pub(super) sessions: Vec<Session>,
    /// The newest session of each shard.
    pub(super) newest: BTreeMap<ShardId, usize>,
    /// How long a session outlives its connection.
    window: Real,
    /// Takes no connection.
    pub(super) is_down: bool,
    pub(super) beside: Beside,
}

/// What a RESUME does while another connection of the session is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beside {
    /// The other one is closed.
    TakesOver,
    /// Op 9.
    Refused,
    /// Both are served.
    Both,
}

impl Discord {
    pub(super) const fn new(window: Real) -> Self {
        Self {
            sessions: Vec::new(),
            newest: BTreeMap::new(),
            window,
            is_down: false,
            beside: Beside::TakesOver,
        }
    }

    pub(super) fn is_resumable(&self, session: usize, now: Real) -> bool {
        let session = &self.sessions[session];
        !session.over && (session.connected.is_some() || now - session.closed_at <= self.window)
    }

    /// IDENTIFY: a new session.
    pub(super) fn identify(&mut self, shard: ShardId, by: SlaveId) -> usize {
        let ready = Seen {
            handed: true,
            finished: true,
            unsettled: false,
        };
        self.sessions.push(Session {
            shard,
            events: vec![ready],
            connected: Some(by),
            closed_at: Duration::ZERO,
            over: false,
            crashed: false,
            excused: false,
            known: false,
        });
        let session = self.sessions.len() - 1;
        self.newest.insert(shard, session);
        session
    }

    /// RESUME. `false`: op 9, `d: false`.
    pub(super) fn resume(&mut self, session: usize, from: u64, by: SlaveId, now: Real) -> bool {
        let good =
            self.is_resumable(session, now) && from <= self.sessions[session].events.len() as u64;
        if good {
            self.sessions[session].connected = Some(by);
        } else {
            self.end(session);
        }
        good
    }

    /// A RESUME by a slave that hands nothing out yet. What is wrong; nothing:
    /// empty.
    pub(super) fn overtake(&mut self, session: usize, by: SlaveId, now: Real) -> &'static str {
        if self.is_down || !self.is_resumable(session, now) {
            return "the session is over";
        }
        let session = &mut self.sessions[session];
        match (self.beside, session.connected) {
            (Beside::Refused, Some(_)) => return "op 9",
            (Beside::Both, Some(_)) => {}
            (Beside::TakesOver, _) | (Beside::Refused | Beside::Both, None) => {
                session.connected = Some(by);
            }
        }
        ""
    }

    pub(super) fn end(&mut self, session: usize) {
        let session = &mut self.sessions[session];
        session.over = true;
        session.connected = None;
    }

    /// The connection that `by` has ends.
    pub(super) fn close(&mut self, session: usize, by: SlaveId, now: Real) {
        let session = &mut self.sessions[session];
        if session.connected == Some(by) {
            session.connected = None;
            session.closed_at = now;
        }
    }

    /// Something happens in the newest session of a shard.
    pub(super) fn dispatch(&mut self, shard: ShardId) {
        if let Some(&session) = self.newest.get(&shard)
            && !self.sessions[session].over
        {
            self.sessions[session].events.push(Seen::default());
        }
    }

    pub(super) fn last(&self, session: usize) -> u64 {
        self.sessions[session].events.len() as u64
    }

    pub(super) fn seen(&mut self, session: usize, sequence: u64) -> &mut Seen {
        let index = usize::try_from(sequence - 1).unwrap();
        &mut self.sessions[session].events[index]
    }
}

/// The id of a session, as a ticket carries it.
pub(super) fn session_name(session: usize) -> String {
    format!("s{session}")
}

pub(super) fn session_of(ticket: &Ticket) -> Option<usize> {
    baton_protocol::discord::Session::id_of(&ticket.session)
        .strip_prefix('s')?
        .parse()
        .ok()
}
