//! A cell owns the guilds of one shard of the world: it changes them, says so
//! to every session that may know, and writes it into the ledger, all in one
//! step under one lock. A session of another shard count is served by several
//! cells, or by a part of one.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::{
    clock,
    config::DiscordConfig,
    kind::{EventKind, intents},
    ledger::Ledger,
    rng::Rng,
    session::{Outgoing, Session},
    world::{
        guild::{Guild, guild_id},
        odd, render,
    },
};

/// Messages that later events can refer to.
const REMEMBERED: usize = 64;
/// Milliseconds of Discord's epoch, 2015-01-01, after Unix's.
const DISCORD_EPOCH: u64 = 1_420_070_400_000;

/// A message that was sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    pub(crate) guild: u64,
    pub(crate) channel: u64,
    pub(crate) message: u64,
    pub(crate) author: u64,
}

/// See the module.
pub(crate) struct Cell {
    pub(crate) index: u32,
    pub(crate) guilds: BTreeMap<u64, Guild>,
    pub(crate) order: Vec<u64>,
    pub(crate) rng: Rng,
    pub(crate) sent: VecDeque<Sent>,
    /// Probes so far.
    pub(crate) probes: usize,
    /// Members each guild began with.
    pub(crate) initial_members: usize,
    sessions: Vec<Arc<Session>>,
    ids: Arc<Ids>,
    ledger: Arc<Ledger>,
    /// See [`DiscordConfig::repeat_every`] and [`DiscordConfig::odd_every`].
    repeat_every: u64,
    odd_every: u64,
    /// Dispatches so far.
    dispatches: u64,
}

/// One event before it is numbered for each session.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) kind: EventKind,
    /// 0 = no guild.
    pub(crate) guild: u64,
    pub(crate) body: String,
    /// What a session without `MESSAGE_CONTENT` gets instead.
    pub(crate) without_content: Option<String>,
    pub(crate) probe: bool,
}

impl Event {
    pub(crate) fn new(kind: EventKind, guild: u64, body: String) -> Self {
        Self {
            kind,
            guild,
            body,
            without_content: None,
            probe: false,
        }
    }
}

/// Hands out snowflakes; no two are the same.
#[derive(Debug, Default)]
pub(crate) struct Ids(AtomicU64);

impl Ids {
    pub(crate) fn next(&self) -> u64 {
        let counter = self.0.fetch_add(1, Ordering::Relaxed);
        ((clock::unix_ms() - DISCORD_EPOCH) << 22) | (counter & 0x3f_ffff)
    }
}

impl Cell {
    pub(crate) fn new(
        index: u32,
        config: &DiscordConfig,
        ids: Arc<Ids>,
        ledger: Arc<Ledger>,
    ) -> Self {
        let order: Vec<u64> = (0..config.guilds_per_shard)
            .map(|nth| guild_id(index, nth, config.shards))
            .collect();
        let guilds = order
            .iter()
            .map(|id| {
                let guild = Guild::new(
                    *id,
                    config.members_per_guild,
                    config.state_bytes_per_guild,
                    config.seed,
                );
                (*id, guild)
            })
            .collect();
        Self {
            index,
            guilds,
            order,
            rng: Rng::new(config.seed, u64::from(index) << 32),
            sent: VecDeque::new(),
            probes: 0,
            initial_members: config.members_per_guild as usize,
            sessions: Vec::new(),
            ids,
            ledger,
            repeat_every: u64::from(config.repeat_every),
            odd_every: u64::from(config.odd_every),
            dispatches: 0,
        }
    }

    /// A new snowflake.
    pub(crate) fn id(&self) -> u64 {
        self.ids.next()
    }

    /// Whether anybody would get an event.
    pub(crate) fn has_sessions(&self) -> bool {
        !self.sessions.is_empty()
    }

    /// Events go to this session from now on.
    pub(crate) fn subscribe(&mut self, session: Arc<Session>) {
        self.sessions.push(session);
    }

    /// A session can never be resumed: no more events for it, and what was bound to it ends.
    pub(crate) fn forget(&mut self, gone: &Session) {
        self.sessions.retain(|session| session.id != gone.id);
        self.leave_voice(gone);
    }

    /// The sessions that get events about this guild.
    pub(crate) fn sessions_of(&self, guild: u64) -> impl Iterator<Item = &Arc<Session>> {
        self.sessions
            .iter()
            .filter(move |s| s.params.has_guild(guild))
    }

    /// Numbers the event for every session that may know of it; now and then, where
    /// that is switched on, twice or with something odd in it.
    pub(crate) fn dispatch(&mut self, mut event: Event) {
        self.dispatches += 1;
        let nth = self.dispatches;
        if self.odd_every > 0
            && nth.is_multiple_of(self.odd_every)
            && event.without_content.is_none()
        {
            event.body = odd::twist(event.kind, event.body, nth / self.odd_every);
        }
        let again = self.repeat_every > 0 && nth.is_multiple_of(self.repeat_every);
        let body: Arc<str> = event.body.as_str().into();
        let without_content = event.without_content.take().map(Arc::<str>::from);
        for _ in 0..=usize::from(again) {
            self.dispatch_once(&event, &body, without_content.as_ref());
        }
    }

    fn dispatch_once(&mut self, event: &Event, body: &Arc<str>, reduced: Option<&Arc<str>>) {
        let created_us = clock::monotonic_us();
        let needed = event.kind.needs(event.guild != 0);
        let mut ended = false;
        for session in &self.sessions {
            let params = &session.params;
            let here = if event.guild == 0 {
                params.shard == 0
            } else {
                params.has_guild(event.guild)
            };
            if !here || (needed != 0 && params.intents & needed == 0) {
                continue;
            }
            let body = match reduced {
                Some(reduced) if params.intents & intents::MESSAGE_CONTENT == 0 => reduced,
                Some(_) | None => body,
            };
            let outgoing = Outgoing {
                kind: event.kind,
                guild: event.guild,
                body: Arc::clone(body),
                created_us,
                probe: event.probe,
                only: None,
            };
            ended |= !session.push(outgoing, &self.ledger);
        }
        if ended {
            let window = Duration::MAX;
            self.sessions.retain(|session| !session.is_gone(window));
        }
    }

    /// Sends an event to one session only: the answer to one of its requests.
    pub(crate) fn answer(&self, session: &Session, event: Event) {
        let outgoing = Outgoing {
            kind: event.kind,
            guild: event.guild,
            body: event.body.into(),
            created_us: clock::monotonic_us(),
            probe: false,
            only: None,
        };
        session.push(outgoing, &self.ledger);
    }

    /// The `GUILD_CREATE`s that follow READY.
    pub(crate) fn introduce(&self, session: &Session) {
        if session.params.intents & intents::GUILDS == 0 {
            return;
        }
        for id in &self.order {
            let Some(guild) = self.guilds.get(id) else {
                continue;
            };
            if !guild.available || !session.params.has_guild(*id) {
                continue;
            }
            let mut body = String::new();
            render::guild_create(&mut body, guild, session.params.view());
            let nth = (*id >> 22) / u64::from(session.params.count);
            if self.odd_every > 0 && nth.is_multiple_of(self.odd_every) {
                body = odd::twist(EventKind::GuildCreate, body, nth / self.odd_every);
            }
            self.answer(session, Event::new(EventKind::GuildCreate, *id, body));
        }
    }

    /// Remembers a message for later edits, reactions and deletions.
    pub(crate) fn remember(&mut self, sent: Sent) {
        if self.sent.len() == REMEMBERED {
            self.sent.pop_front();
        }
        self.sent.push_back(sent);
    }

    /// A guild that is available, if there is one.
    pub(crate) fn any_guild(&mut self) -> Option<u64> {
        let nth = self.rng.below(self.order.len());
        let (before, after) = self.order.split_at(nth.min(self.order.len()));
        after
            .iter()
            .chain(before)
            .find(|id| self.guilds.get(id).is_some_and(|g| g.available))
            .copied()
    }
}
