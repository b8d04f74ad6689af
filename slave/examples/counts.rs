//! Counts the messages of each guild, and counts on through deploys: state of its own, which
//! moves with the shards. With `BATON_SNAPSHOTS=DIR` it also counts on after a crash. A new
//! session begins with nothing.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use baton_slave::{
    Error, Event, ImportError, Intents, Sequence, ShardHandle, ShardId, Slave, SlaveConfig, State,
    from_fn_with,
};
use bytes::Bytes;

/// The first byte of a piece: a later build may write another form.
const FORM: u8 = 1;

/// How many messages came, by shard and guild.
#[derive(Default)]
struct Counts(Mutex<BTreeMap<(ShardId, u64), u64>>);

impl Counts {
    fn all(&self) -> MutexGuard<'_, BTreeMap<(ShardId, u64), u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State for Counts {
    // Each event once, in order, and before the handler has it. Nothing else changes a count.
    fn apply(&self, event: &Event) {
        if event.kind() == "MESSAGE_CREATE"
            && let Some(guild) = event.guild_id()
        {
            *self.all().entry((event.shard(), guild.get())).or_default() += 1;
        }
    }

    // Which pieces there are: one a guild.
    fn export(&self, shard: ShardId) -> Vec<u64> {
        let all = self.all();
        let guilds = all.range((shard, 0)..=(shard, u64::MAX));
        guilds.map(|((_, guild), _)| *guild).collect()
    }

    fn export_piece(&self, shard: ShardId, guild: u64) -> Option<Bytes> {
        let count = *self.all().get(&(shard, guild))?;
        Some([&[FORM][..], &count.to_le_bytes()].concat().into())
    }

    // The same piece may come twice: the last one counts.
    fn import_piece(
        &self,
        shard: ShardId,
        guild: u64,
        _sequence: Sequence,
        piece: Bytes,
    ) -> Result<(), ImportError> {
        let count = match piece.split_first() {
            Some((&FORM, count)) => count.try_into().ok().map(u64::from_le_bytes),
            Some(_) | None => None,
        };
        let unknown = || ImportError(format!("guild {guild}: a count of an unknown form"));
        self.all()
            .insert((shard, guild), count.ok_or_else(unknown)?);
        Ok(())
    }

    // Another process has the shard for good, or its session is new.
    fn drop_shard(&self, shard: ShardId) {
        self.all().retain(|(of, _), _| *of != shard);
    }
}

async fn say(counts: Arc<Counts>, event: Event, _shard: ShardHandle) {
    if event.kind() != "MESSAGE_CREATE" {
        return;
    }
    if let Some(guild) = event.guild_id() {
        // This message is among them.
        let count = counts.all().get(&(event.shard(), guild.get())).copied();
        tracing::info!(%guild, count, "a message");
    }
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let _log = baton_slave::log::start();
    let config = SlaveConfig::from_env()?.with_intents(Intents::GUILD_MESSAGES);
    let counts = Arc::new(Counts::default());
    let bot = from_fn_with(Arc::clone(&counts), say);
    Slave::builder(bot).state(counts).config(config).run().await
}
