//! What a change and a look cost in a store, beside twilight's cache: in one process, with the
//! same events as they come from the gateway.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use baton_protocol::{Epoch, Sequence, ShardId};
use baton_store::{Dispatch, Options, Owner, Store, Writer};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use twilight_cache_inmemory::DefaultInMemoryCache;
use twilight_gateway::{Event, EventTypeFlags, parse};
use twilight_model::{
    gateway::payload::incoming::GuildCreate,
    id::{
        Id,
        marker::{GuildMarker, UserMarker},
    },
};

use super::{client::Client, place::Place};
use crate::{
    discord::{Discord, DiscordOptions},
    error::{Error, Result},
};

/// Members of a guild, and how many members are looked at.
const MEMBERS: u32 = 100;
const LOOKS: usize = 200_000;

/// Events of one wake-up, where there are many.
const AT_ONCE: usize = 16;

/// Events a second of the stream.
const RATE: f64 = 4000.0;

/// The session under whose name all is written.
const SESSION: &str = "session";

/// What something takes in both.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoreCost {
    /// What it is.
    pub of: String,
    /// Microseconds of a store.
    pub store_us: f64,
    /// Microseconds of twilight's cache.
    pub cache_us: f64,
}

/// An event as it came.
struct Came {
    kind: String,
    text: String,
}

#[derive(Deserialize)]
struct Head {
    t: String,
}

/// Measures both with so many guilds and so many events.
///
/// # Errors
/// Discord does not start, or an event does not fit.
pub async fn costs(guilds: u32, events: usize) -> Result<Vec<StoreCost>> {
    let (creates, updates) = stream(guilds, events).await?;
    let members = members(&creates)?;
    let place = Place::new()?;
    let failed = |error| Error::answer("the store", error);
    let store = Store::open(&place.path(), ShardId(0), Options::default()).map_err(failed)?;
    let (writer, _) = store.claim(Epoch(1), Owner([1; 16])).map_err(failed)?;
    let mut applied = Applied {
        writer,
        sequence: 1,
    };
    applied.apply(&[Came {
        kind: "READY".to_owned(),
        text: r#"{"d":{"user":{"id":"7"},"guilds":[]}}"#.to_owned(),
    }])?;
    let cache = DefaultInMemoryCache::new();

    let (singly, together) = updates.split_at(updates.len() / 2);
    let mut costs = Vec::new();
    for (of, events, at_once) in [
        ("GUILD_CREATE", &creates[..], 1),
        ("an update, a change each", singly, 1),
        ("an update, 16 in a change", together, AT_ONCE),
    ] {
        let store = timed(|| {
            let mut changes = events.chunks(at_once);
            changes.try_for_each(|change| applied.apply(change))
        })?;
        let cached = timed(|| {
            events.iter().try_for_each(|event| {
                if let Some(event) = parsed(event)? {
                    cache.update(&event);
                }
                Ok(())
            })
        })?;
        costs.push(StoreCost::of(of, events.len(), store, cached));
    }

    let looks = || members.iter().cycle().take(LOOKS);
    let cached = timed(|| {
        for (guild, user) in looks() {
            let member = cache.member(*guild, *user);
            black_box(member.map(|member| member.roles().len()));
        }
        Ok(())
    })?;
    let each = timed(|| {
        for (guild, user) in looks() {
            let view = store.view().map_err(failed)?;
            let member = view.member(*guild, *user);
            black_box(member.map(|member| member.ids("roles").count()));
        }
        Ok(())
    })?;
    let one = timed(|| {
        let view = store.view().map_err(failed)?;
        for (guild, user) in looks() {
            let member = view.member(*guild, *user);
            black_box(member.map(|member| member.ids("roles").count()));
        }
        Ok(())
    })?;
    for (of, store) in [
        ("a member and its roles, a view each", each),
        ("a member and its roles, one view", one),
    ] {
        costs.push(StoreCost::of(of, LOOKS, store, cached));
    }
    Ok(costs)
}

impl StoreCost {
    fn of(of: &str, times: usize, store: Duration, cache: Duration) -> Self {
        let micros = |all: Duration| all.as_secs_f64() * 1e6 / times as f64;
        Self {
            of: of.to_owned(),
            store_us: micros(store),
            cache_us: micros(cache),
        }
    }
}

/// A store and where it stands.
struct Applied {
    writer: Writer,
    sequence: u64,
}

impl Applied {
    /// Makes one change of these.
    fn apply(&mut self, events: &[Came]) -> Result<()> {
        let batch: Vec<_> = (self.sequence..)
            .zip(events)
            .map(|(sequence, event)| Dispatch {
                sequence: Sequence(sequence),
                kind: &event.kind,
                json: &event.text,
            })
            .collect();
        self.sequence += events.len() as u64;
        let applied = self.writer.apply(SESSION, &batch);
        let applied = applied.map_err(|error| Error::answer("the store", error))?;
        if applied.new != events.len() {
            return Err(Error::answer("the store", format!("{applied:?}")));
        }
        Ok(())
    }
}

/// As the library has it; `None`: it knows no such event.
fn parsed(event: &Came) -> Result<Option<Event>> {
    let parsed = parse(event.text.clone(), EventTypeFlags::all());
    let parsed = parsed.map_err(|error| Error::answer("an event", error))?;
    Ok(parsed.map(Event::from))
}

/// A member of a guild.
type Member = (Id<GuildMarker>, Id<UserMarker>);

/// The members of all guilds, in an order in which neighbours are of different guilds.
fn members(creates: &[Came]) -> Result<Vec<Member>> {
    let mut members = Vec::new();
    for create in creates {
        if let Some(Event::GuildCreate(guild)) = parsed(create)?
            && let GuildCreate::Available(guild) = *guild
        {
            let of = guild.members.iter().enumerate();
            members.extend(of.map(|(at, member)| (at, (guild.id, member.user.id))));
        }
    }
    members.sort_by_key(|(at, _)| *at);
    Ok(members.into_iter().map(|(_, member)| member).collect())
}

/// The guilds of a shard, and what comes behind them.
async fn stream(guilds: u32, events: usize) -> Result<(Vec<Came>, Vec<Came>)> {
    let options = DiscordOptions {
        shards: 1,
        guilds_per_shard: guilds,
        members_per_guild: MEMBERS,
        ..DiscordOptions::default()
    };
    let folder = TempDir::with_prefix("baton-").map_err(Error::io("make a folder"))?;
    let discord = Discord::start(folder.path(), folder.path(), &options).await?;
    let mut client = Client::dial(&discord.gateway_url).await?;
    client.identify(0, 1).await?;
    let creates = came(&mut client, guilds as usize).await?;
    discord.traffic(RATE).await?;
    let updates = came(&mut client, events).await?;
    Ok((creates, updates))
}

/// The next events.
async fn came(client: &mut Client, count: usize) -> Result<Vec<Came>> {
    let mut came = Vec::with_capacity(count);
    while came.len() < count {
        let text = client.next_text().await?;
        let head: Head =
            serde_json::from_str(&text).map_err(|error| Error::answer("the gateway", error))?;
        came.push(Came { kind: head.t, text });
    }
    Ok(came)
}

fn timed(work: impl FnOnce() -> Result<()>) -> Result<Duration> {
    let began = Instant::now();
    work()?;
    Ok(began.elapsed())
}

#[cfg(test)]
mod tests {
    use baton_discord::{Discord, DiscordConfig};

    use super::*;

    #[tokio::test]
    async fn guilds_come_with_all_of_their_members_and_neighbours_are_of_different_guilds() {
        let discord = Discord::start(DiscordConfig {
            guilds_per_shard: 3,
            members_per_guild: MEMBERS,
            ..DiscordConfig::quick()
        });
        let discord = discord.await.expect("a simulated Discord");
        let client = Client::dial(&discord.url()).await;
        let mut client = client.expect("a connection");
        client.identify(0, 1).await.expect("READY");
        let creates = came(&mut client, 3).await.expect("guilds");
        assert!(creates.iter().all(|event| event.kind == "GUILD_CREATE"));
        let members = members(&creates).expect("guilds");
        assert_eq!(members.len(), 3 * MEMBERS as usize);
        assert_ne!(members[0].0, members[1].0);
    }
}
