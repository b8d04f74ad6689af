//! Copies of guilds for workers: what the store knows goes to Redis when an event has changed
//! it. No event waits for that. What of a guild is to be copied is kept once, so a server
//! that is away costs no more memory than there are guilds.

mod due;
mod touched;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use baton_sink::{Change, Changed, Documents, GuildCopies, Owned};
use baton_slave::{
    Ack, Bot, Epoch, Event, Settling, ShardHandle, ShardId, StateStatus,
    store::{Document, Guilds, Kind, Pages, View},
    twilight_model::id::{Id, marker::GuildMarker},
};
use tokio::{sync::Notify, task::spawn_blocking, time::sleep};

use self::{
    due::{Due, Work},
    touched::{KINDS, Touched, touched},
};

/// What changes within this time is copied together.
const GATHER: Duration = Duration::from_millis(50);
/// A server that is away is tried again after the first, then later, up to the last.
const AGAIN: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(5)];
/// Documents, and bytes of them, that go at once.
const PART: usize = 500;
const PART_BYTES: usize = 1 << 20;

/// A bot, and copies of the guilds of its shards.
pub(crate) struct Copied<B> {
    bot: B,
    copying: Arc<Copying>,
}

struct Copying {
    store: Guilds,
    copies: GuildCopies,
    due: Mutex<Due>,
    changed: Notify,
}

impl<B: Bot> Copied<B> {
    /// Copies what this store knows, from now on. Must be called inside tokio.
    pub(crate) fn start(bot: B, store: Guilds, copies: GuildCopies) -> Self {
        let copying = Arc::new(Copying {
            store,
            copies,
            due: Mutex::default(),
            changed: Notify::new(),
        });
        tokio::spawn(Arc::clone(&copying).run());
        Self { bot, copying }
    }
}

impl<B: Bot> Bot for Copied<B> {
    fn handle(&self, event: Event, ack: Ack, shard: &ShardHandle) {
        let of = (event.shard(), event.epoch());
        // At the beginning of a session the store knows of no guild yet.
        if event.kind() == "READY" {
            self.copying.tell(|due| due.compare(of.0, of.1));
        } else {
            // Most events touch nothing, and no guild is looked for in them.
            let touched = touched(event.kind(), event.json());
            if touched != Touched::Nothing
                && let Some(guild) = event.guild_id()
            {
                self.copying.tell(|due| due.touch(of, guild.get(), touched));
            }
        }
        self.bot.handle(event, ack, shard);
    }

    fn state_changed(&self, shard: &ShardHandle, status: StateStatus) {
        let of = (shard.shard(), shard.epoch());
        self.copying.tell(|due| due.compare(of.0, of.1));
        self.bot.state_changed(shard, status);
    }

    fn shard_leaves(&self, shard: &ShardHandle, settling: Settling) {
        self.bot.shard_leaves(shard, settling);
    }
}

/// Why a guild was not copied.
enum Stopped {
    Fenced,
    Failed(String),
}

impl From<String> for Stopped {
    fn from(error: String) -> Self {
        Self::Failed(error)
    }
}

impl Copying {
    fn tell(&self, word: impl FnOnce(&mut Due)) {
        word(&mut self.due());
        self.changed.notify_one();
    }

    // Nothing panics in here.
    fn due(&self) -> MutexGuard<'_, Due> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run(self: Arc<Self>) {
        let mut pause = AGAIN[0];
        let mut is_away = false;
        loop {
            let done = self.next().await;
            match done {
                Ok(true) => {
                    pause = AGAIN[0];
                    if std::mem::take(&mut is_away) {
                        let place = self.copies.place();
                        tracing::info!(place, "guilds are copied again");
                    }
                }
                Ok(false) => {
                    self.changed.notified().await;
                    sleep(GATHER).await;
                }
                Err(error) => {
                    if !std::mem::replace(&mut is_away, true) {
                        let place = self.copies.place();
                        tracing::warn!(place, error, "guilds are not copied: tried again");
                    }
                    sleep(pause).await;
                    pause = (pause * 2).min(AGAIN[1]);
                }
            }
        }
    }

    /// Does one thing; whether there was one.
    async fn next(&self) -> Result<bool, String> {
        let shard = self.due().shard();
        if let Some((shard, epoch)) = shard {
            let compared = self.compare(shard, epoch).await;
            return compared.map(|()| true).inspect_err(|_| {
                self.due().compare(shard, epoch);
            });
        }
        let guild = self.due().guild();
        let Some((shard, guild, work)) = guild else {
            return Ok(false);
        };
        match self.copy(shard, guild, &work).await {
            Ok(()) => Ok(true),
            Err(Stopped::Fenced) => {
                tracing::info!(%shard, epoch = %work.epoch, "a newer owner copies this shard's guilds");
                self.due().fenced(shard, work.epoch);
                Ok(true)
            }
            Err(Stopped::Failed(error)) => {
                self.due().give_back(shard, guild, work);
                Err(error)
            }
        }
    }

    /// Each guild that is here is copied as a whole, and what is none of the shard's is removed.
    async fn compare(&self, shard: ShardId, epoch: Epoch) -> Result<(), String> {
        let store = self.store.clone();
        let here = spawn_blocking(move || -> Option<BTreeMap<u64, bool>> {
            let view = store.shard(shard)?.view().ok()?;
            let guilds = view.guilds().map(|it| (it.id.get(), it.available));
            Some(guilds.collect())
        });
        let here = here.await.unwrap_or_default();
        // Before READY nobody knows which guilds there are.
        let Some(here) = here.filter(|here| !here.is_empty()) else {
            return Ok(());
        };
        let there = self.copies.guilds(shard).await?;
        let mut due = self.due();
        for (guild, available) in &here {
            if *available {
                due.touch((shard, epoch), *guild, Touched::Whole);
            }
        }
        for guild in there {
            if !here.contains_key(&guild) {
                due.touch((shard, epoch), guild, Touched::Gone);
            }
        }
        Ok(())
    }

    async fn copy(&self, shard: ShardId, guild: u64, work: &Work) -> Result<(), Stopped> {
        let epoch = work.epoch;
        let owned = Owned {
            shard,
            epoch,
            guild,
        };
        if work.is_gone {
            return self.change(owned, &Change::Gone(names(&KINDS))).await;
        }
        let Some(id) = Id::<GuildMarker>::new_checked(guild) else {
            return Ok(());
        };
        if work.is_whole {
            return self.renew(owned, id, &KINDS).await;
        }
        let store = self.store.clone();
        let wanted = work.documents.clone();
        let read = spawn_blocking(move || {
            let view = store.view(id)?;
            // One that is not available is left as it was.
            view.guild_place(id).filter(|place| place.available)?;
            Some(named(&view, id, &wanted))
        });
        let Ok(Some(documents)) = read.await else {
            return Ok(());
        };
        if !documents.is_empty() {
            self.change(owned, &Change::Some(documents)).await?;
        }
        let kinds: Vec<Kind> = work.kinds.iter().copied().collect();
        if !kinds.is_empty() {
            self.renew(owned, id, &kinds).await?;
        }
        Ok(())
    }

    /// All documents of these kinds take the place of what is there, at once.
    async fn renew(
        &self,
        owned: Owned,
        guild: Id<GuildMarker>,
        kinds: &[Kind],
    ) -> Result<(), Stopped> {
        let Some(store) = self.store.of(guild) else {
            return Ok(());
        };
        self.change(owned, &Change::Begin(names(kinds))).await?;
        for &kind in kinds {
            let mut pages = store.pages(guild, kind);
            loop {
                let read = spawn_blocking(move || {
                    let part = part(&mut pages);
                    (pages, part)
                });
                let Ok((rest, part)) = read.await else {
                    return Ok(());
                };
                pages = rest;
                if part.is_empty() {
                    break;
                }
                let documents = Documents::from([(kind.name(), part)]);
                self.change(owned, &Change::Part(documents)).await?;
            }
        }
        self.change(owned, &Change::End(names(kinds))).await
    }

    async fn change(&self, owned: Owned, change: &Change) -> Result<(), Stopped> {
        match self.copies.change(owned, change).await? {
            Changed::Done => Ok(()),
            Changed::Anew => {
                self.tell(|due| due.compare(owned.shard, owned.epoch));
                Ok(())
            }
            Changed::Fenced => Err(Stopped::Fenced),
        }
    }
}

fn names(kinds: &[Kind]) -> Vec<&'static str> {
    kinds.iter().map(|kind| kind.name()).collect()
}

/// The next documents.
fn part(pages: &mut Pages) -> BTreeMap<u64, Option<String>> {
    let mut part = BTreeMap::new();
    let mut bytes = 0;
    for document in pages.by_ref() {
        let document = document.get();
        let json = document.to_json();
        bytes += json.len();
        part.insert(document.id(), Some(json));
        if part.len() >= PART || bytes >= PART_BYTES {
            break;
        }
    }
    part
}

/// These documents as they are now; those that are not there any more, as none.
fn named(view: &View, guild: Id<GuildMarker>, wanted: &BTreeSet<(Kind, u64)>) -> Documents {
    let mut documents = Documents::new();
    for &(kind, id) in wanted {
        let (id, found) = match kind {
            Kind::Guild => (guild.get(), view.guild(guild)),
            Kind::Channel => (id, Id::new_checked(id).and_then(|id| view.channel(id))),
            Kind::Role => (id, Id::new_checked(id).and_then(|id| view.role(guild, id))),
            Kind::Member => (
                id,
                Id::new_checked(id).and_then(|id| view.member(guild, id)),
            ),
            Kind::VoiceState => (
                id,
                Id::new_checked(id).and_then(|id| view.voice_state(guild, id)),
            ),
            // Nobody names others one by one.
            Kind::Thread
            | Kind::Presence
            | Kind::Emoji
            | Kind::Sticker
            | Kind::StageInstance
            | Kind::ScheduledEvent
            | Kind::Sound
            | Kind::Integration
            | Kind::Message
            | Kind::User
            | _ => continue,
        };
        let json = found.map(Document::to_json);
        documents.entry(kind.name()).or_default().insert(id, json);
    }
    documents
}
