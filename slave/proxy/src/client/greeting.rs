//! READY, the guilds, and the bot's voice: what a new client needs before its first event.
//!
//! The state may be ahead of the ring by a few events, and READY and the guilds are as they
//! were where the client's backlog begins. So each is held until the ring has what the state
//! has, and then made older by that ([`Undo`]).

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use baton_protocol::{Sequence, ShardId};
use serde_json::{json, value::RawValue};
use tokio::{
    task::{JoinHandle, spawn_blocking},
    time::Instant,
};

use super::{At, Connection, Phase};
use crate::{
    shard::{Event, Take, Undo},
    upstream::{Call, Guild, Guilds, Upstream},
    wire::end::End,
};

/// Bytes of guilds that are read at once, and guilds.
const BYTES: usize = 256 * 1024;
const GUILDS: usize = 64;
/// How long the ring may take to get what the state has already. Beyond it a member may
/// count twice.
const CATCH_UP: Duration = Duration::from_secs(1);

/// A client that is being greeted.
pub(super) struct Greeting {
    pub(super) at: At,
    undo: Undo,
    stage: Stage,
    /// Of its session, until READY says it.
    session_id: String,
    /// How many dispatches it was sent.
    sequence: u64,
    /// Guilds that are to come.
    ids: VecDeque<u64>,
    /// The next of them, which are read while those before are sent.
    reading: Option<JoinHandle<Read>>,
    /// Guilds that were read.
    read: VecDeque<(u64, Guild)>,
    patient_until: Option<Instant>,
    /// The ring had its time once. What the state has and the ring has not may be no event at
    /// all: RESUMED has a number too.
    has_waited: bool,
}

enum Stage {
    /// READY follows, with these guilds.
    Ready(Guilds),
    Guilds,
}

impl Greeting {
    /// When it goes on although the ring has not caught up.
    pub(super) const fn patient_until(&self) -> Option<Instant> {
        self.patient_until
    }

    /// Reads the next guilds, if there are more.
    fn reads(&mut self) -> Option<JoinHandle<Read>> {
        let ids = std::mem::take(&mut self.ids);
        let shard = &self.at.shard;
        let (upstream, shard) = (Arc::clone(&shard.upstream), shard.id);
        (!ids.is_empty()).then(|| spawn_blocking(move || read_some(&*upstream, shard, ids)))
    }
}

impl Connection {
    pub(super) async fn begin_greeting(
        &mut self,
        at: At,
        position: u64,
        session_id: String,
    ) -> Result<(), End> {
        let (upstream, shard) = (Arc::clone(&at.shard.upstream), at.shard.id);
        self.sight = at.shard.with(|core| core.sight(at.key));
        // Set before the first await: the end of the connection is the end of the session's.
        self.phase = Phase::Greeting(Box::new(Greeting {
            at,
            undo: Undo::above(position),
            stage: Stage::Ready(Guilds::default()),
            session_id,
            sequence: 0,
            ids: VecDeque::new(),
            reading: None,
            read: VecDeque::new(),
            patient_until: None,
            has_waited: false,
        }));
        let guilds = spawn_blocking(move || upstream.guilds(shard)).await;
        if let Phase::Greeting(greeting) = &mut self.phase {
            greeting.stage = Stage::Ready(guilds.map_err(|_| BROKEN)?);
        }
        self.more = true;
        Ok(())
    }

    /// One step of it.
    pub(super) async fn greet(&mut self, mut greeting: Box<Greeting>) -> Result<(), End> {
        let at = greeting.at.clone();
        // The phase holds the session while something is awaited here.
        self.phase = Phase::Live(at.clone());
        if let Take::Over(over) = at.shard.with(|core| core.take(at.key, self.id, 0)) {
            return self.is_over(over).await;
        }
        let done = match std::mem::replace(&mut greeting.stage, Stage::Guilds) {
            Stage::Ready(guilds) => {
                if self.caught_up(&mut greeting, guilds.at).is_none() {
                    greeting.stage = Stage::Ready(guilds);
                    self.phase = Phase::Greeting(greeting);
                    return Ok(());
                }
                self.ready(&mut greeting, guilds.ids).await?;
                false
            }
            Stage::Guilds => self.guilds(&mut greeting).await?,
        };
        if done {
            at.shard
                .with(|core| core.greeted(at.key, greeting.sequence));
            self.more = true;
            return Ok(());
        }
        self.more = greeting.patient_until.is_none();
        self.phase = Phase::Greeting(greeting);
        Ok(())
    }

    /// The number up to which a state at `at` has every event, if the ring has those too or
    /// had time enough. The backlog's changes are known then.
    fn caught_up(&self, greeting: &mut Greeting, at: Sequence) -> Option<u64> {
        let Greeting {
            at: here,
            undo,
            patient_until,
            has_waited,
            ..
        } = greeting;
        let (last, needed) = here.shard.with(|core| {
            if !core.extend_undo(undo) {
                // What follows would not fit to its guilds. It is told at the next step.
                core.is_lost(here.key);
            }
            (core.last(), core.number_at(at))
        });
        let now = Instant::now();
        if last >= needed || *has_waited {
            *patient_until = None;
            return Some(needed);
        }
        let until = *patient_until.get_or_insert(now + CATCH_UP);
        if now < until {
            return None;
        }
        tracing::warn!(
            shard = %here.shard.id, last, needed,
            "the state is ahead of the events: a client may count a member twice"
        );
        *patient_until = None;
        *has_waited = true;
        Some(needed)
    }

    async fn ready(&mut self, greeting: &mut Greeting, ids: Vec<u64>) -> Result<(), End> {
        let At { shard, .. } = greeting.at.clone();
        let Some(known) = shard.upstream.ready(shard.id) else {
            return Err(End::close(4000, "the shard's own READY is not known"));
        };
        let undo = &greeting.undo;
        let was_named = |id: u64| shard.with(|core| core.was_named(id));
        let there = ids
            .iter()
            .filter(|id| !undo.brings(**id) || was_named(**id));
        let gone = undo.taken().filter(|id| !ids.contains(id));
        let named: Vec<u64> = there.copied().chain(gone).collect();
        let has_guilds = self.sight.is_none_or(|(fewer, _)| fewer.has_guilds());
        let told = ids.into_iter().filter(|id| has_guilds && !undo.brings(*id));
        greeting.ids = told.collect();
        let version = *self.opening.version.as_ref().unwrap_or(&10);
        let shards = shard.upstream.fleet().shards;
        let own = Own {
            version,
            session_id: &greeting.session_id,
            resume_url: &self.opening.resume_url(),
            shard: (shard.id.get(), shards),
            guilds: &named,
        };
        let ready = own.ready(&known).ok_or(BROKEN)?;
        greeting.sequence = 1;
        let ready = self.dispatch("READY", 1, &ready)?;
        self.send(vec![ready]).await
    }

    /// Some guilds; `true`: everything is said.
    async fn guilds(&mut self, greeting: &mut Greeting) -> Result<bool, End> {
        if greeting.read.is_empty() {
            let reading = greeting.reading.take().or_else(|| greeting.reads());
            if let Some(reading) = reading {
                (greeting.read, greeting.ids) = reading.await.map_err(|_| BROKEN)?;
                greeting.reading = greeting.reads();
            }
        }
        let mut messages = Vec::new();
        while let Some((_, guild)) = greeting.read.front() {
            let at = guild.at;
            let Some(number) = self.caught_up(greeting, at) else {
                break;
            };
            let Some((id, guild)) = greeting.read.pop_front() else {
                break;
            };
            // The backlog brings it: the state was ahead when the guilds were named.
            if greeting.undo.brings(id) {
                continue;
            }
            let text = greeting.undo.apply(id, guild.json, number);
            greeting.sequence += 1;
            messages.push(self.dispatch_seen("GUILD_CREATE", greeting.sequence, &text)?);
        }
        let is_done = greeting.read.is_empty() && greeting.reading.is_none();
        if is_done {
            let shard = &greeting.at.shard;
            let (upstream, shard) = (Arc::clone(&shard.upstream), shard.id);
            let calls = spawn_blocking(move || upstream.calls(shard)).await;
            for event in calls.map_err(|_| BROKEN)?.into_iter().flat_map(again) {
                if self.gets(&event) {
                    greeting.sequence += 1;
                    messages.push(self.event(greeting.sequence, Some(&event))?);
                }
            }
        }
        self.send(messages).await?;
        Ok(is_done)
    }
}

const BROKEN: End = End::close(4000, "the proxy cannot read what it knows");

/// What a client needs to take a call over. What the bot's session is called comes with the
/// first.
fn again(call: Call) -> [Event; 2] {
    [
        Event::again("VOICE_STATE_UPDATE", call.state),
        Event::again("VOICE_SERVER_UPDATE", call.server),
    ]
}

type Read = (VecDeque<(u64, Guild)>, VecDeque<u64>);

/// Reads guilds up to a size, on a blocking thread. Those that are not here any more, or
/// have an outage, stay as READY named them.
fn read_some(upstream: &dyn Upstream, shard: ShardId, mut ids: VecDeque<u64>) -> Read {
    let (mut read, mut bytes, mut looked) = (VecDeque::new(), 0, 0);
    while bytes < BYTES
        && looked < GUILDS
        && let Some(id) = ids.pop_front()
    {
        looked += 1;
        if let Some(guild) = upstream.guild(shard, id) {
            bytes += guild.json.len();
            read.push_back((id, guild));
        }
    }
    (read, ids)
}

/// What of READY is a client's own.
struct Own<'a> {
    version: u8,
    session_id: &'a str,
    resume_url: &'a str,
    shard: (u32, u32),
    guilds: &'a [u64],
}

impl Own<'_> {
    /// The `d` of READY: what is known of the shard's, with what is the client's own, and
    /// what libraries look for where it is missing.
    fn ready(&self, known: &str) -> Option<String> {
        let mut ready: BTreeMap<String, Box<RawValue>> = serde_json::from_str(known).ok()?;
        let guilds = self.guilds.iter();
        let guilds: Vec<_> = guilds
            .map(|id| json!({"id": id.to_string(), "unavailable": true}))
            .collect();
        let own = [
            ("v", json!(self.version)),
            ("session_id", json!(self.session_id)),
            ("resume_gateway_url", json!(self.resume_url)),
            ("shard", json!([self.shard.0, self.shard.1])),
            ("guilds", json!(guilds)),
            ("_trace", json!([super::send::trace()])),
        ];
        let usual = [
            ("user_settings", json!({})),
            ("session_type", json!("normal")),
            ("relationships", json!([])),
            ("private_channels", json!([])),
            ("presences", json!([])),
            ("guild_join_requests", json!([])),
            ("geo_ordered_rtc_regions", json!([])),
            ("auth", json!({})),
        ];
        for (name, value) in own {
            ready.insert(
                name.to_owned(),
                serde_json::value::to_raw_value(&value).ok()?,
            );
        }
        for (name, value) in usual {
            if !ready.contains_key(name) {
                ready.insert(
                    name.to_owned(),
                    serde_json::value::to_raw_value(&value).ok()?,
                );
            }
        }
        serde_json::to_string(&ready).ok()
    }
}
