//! The desk: letters come in, and everything is looked after from time to time.

use std::{
    cmp::Ordering,
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, SystemTime},
};

use baton_protocol::message::Correspondent;
use baton_slave::unit::Office;
use bytes::Bytes;
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    PageConfig, Way, WorkConfig,
    conduit::ConduitWay,
    consumers::Ears,
    door::{self, Page},
    irc::IrcWay,
    list::List,
    question::{Question, Verb, refused},
    resizing::Resizing,
    saying::Saying,
    shards::Shards,
    speech::{Ids, Speech},
    starting::Starter,
    state::State,
    tidings::Tidings,
    writing::{Asker, Standings, Writing},
};
use crate::{
    channels::{Revision, STALE_AFTER, Unix, Wanted, cleaning},
    eventsub::Revoked,
    invite::Invite,
    name::{Login, UserId},
    notices::Kind,
    unit::FromUnit,
};

/// Everything is looked at so often.
const LOOK: Duration = Duration::from_secs(1);

/// Whether consumers that begin have what they want is looked at so often.
const SOON: Duration = Duration::from_millis(200);

/// After something failed, so long later.
const AFTER_TROUBLE: Duration = Duration::from_secs(5);

/// See the module.
pub(super) struct Desk {
    config: WorkConfig,
    office: Office,
}

/// What is open.
pub(super) struct Open {
    pub(super) list: List,
    /// Whether broadcasters are asked.
    pub(super) manages: bool,
    pub(super) ways: Ways,
    pub(super) speech: Option<Speech>,
    pub(super) office: Office,
    /// What units are to write.
    pub(super) writing: Writing,
    /// Consumers that wait until what they want is so.
    pub(super) starters: Vec<Starter>,
    /// What consumers have said, and has not ended.
    pub(super) sayings: Vec<Saying>,
    /// The list as it was when everything was brought to where it is to be.
    seen: Option<Revision>,
    goal: Vec<Wanted>,
    cleans: Unix,
    /// The ids of channels, for what the bot says.
    ids: Ids,
    pub(super) tidings: Tidings,
    /// What waits for units that change.
    pub(super) resizing: Resizing,
}

pub(super) enum Ways {
    Irc(Box<IrcWay>),
    Conduit(Box<ConduitWay>),
}

impl Desk {
    pub(super) const fn new(config: WorkConfig, office: Office) -> Self {
        Self { config, office }
    }

    /// Until it is stopped. What cannot be opened is tried again: the channels that there are
    /// go on.
    pub(super) async fn run(self, stop: CancellationToken) {
        loop {
            match self.open().await {
                Ok(open) => return self.works(open, stop).await,
                Err(error) => tracing::error!(error, "the once-per-bot work cannot begin"),
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(AFTER_TROUBLE) => {}
            }
        }
    }

    async fn open(&self) -> Result<Open, String> {
        let list = List::open(&self.config).await?;
        let now = unix();
        let office = self.office.clone();
        let standings = Standings::default();
        let (says, writing) = Writing::new();
        let ways = match self.config.way.clone() {
            Way::Irc {
                account,
                cap,
                rules,
            } => {
                let path = State::path(&self.config.list);
                Ways::Irc(Box::new(
                    IrcWay::open(
                        account,
                        cap,
                        rules,
                        office.clone(),
                        path,
                        standings.clone(),
                        now,
                    )
                    .await?,
                ))
            }
            Way::Conduit {
                helix,
                conduit,
                reader,
                rules,
            } => {
                let path = State::path(&self.config.list);
                let shards = Shards::open(rules, path).await?;
                let office = office.clone();
                Ways::Conduit(Box::new(ConduitWay::new(
                    helix, conduit, reader, office, shards,
                )))
            }
        };
        let speech = match self.config.speaks.clone() {
            Some(speaks) => {
                let mut name = self.config.list.file_name().unwrap_or_default().to_owned();
                name.push(".outbox");
                let path = self.config.list.with_file_name(name);
                Some(Speech::open(path, speaks, office, standings, says).await?)
            }
            None => None,
        };
        Ok(Open {
            list,
            manages: !self.config.anybody,
            ways,
            speech,
            office: self.office.clone(),
            writing,
            starters: Vec::new(),
            sayings: Vec::new(),
            seen: None,
            goal: Vec::new(),
            cleans: cleaning::next(now, chance()),
            ids: Ids::default(),
            tidings: Tidings::new(self.config.hook.clone()),
            resizing: Resizing::default(),
        })
    }

    async fn works(&self, mut open: Open, stop: CancellationToken) {
        tracing::info!(list = %self.config.list.display(), "the once-per-bot work runs here");
        let speaking = open
            .speech
            .clone()
            .map(|speech| tokio::spawn(speech.run(stop.clone(), open.ids.clone())));
        let tidings = tokio::spawn(open.tidings.clone().run());
        let page = self
            .config
            .page
            .clone()
            .and_then(|page| open.page(page, &stop));
        let mut ears = Ears::open(self.config.consumers.as_ref());
        let mut look = Instant::now();
        let mut welcome = Instant::now();
        loop {
            while let Some((from, body)) = open.resizing.next() {
                self.letter(&mut open, from, &body).await;
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                (from, body) = self.office.letter() => {
                    self.letter(&mut open, from, &body).await;
                    look = Instant::now();
                }
                (queue, asked) = ears.next() => {
                    open.asked(queue, asked).await;
                    look = Instant::now();
                }
                utterance = open.writing.next() => open.utters(utterance),
                () = sleep_until(welcome), if !open.starters.is_empty() => {
                    welcome = Instant::now() + SOON;
                    open.welcomes();
                }
                () = ended(open.speech.as_ref()) => open.tell_said().await,
                () = sleep_until(look) => {
                    open.tell_said().await;
                    open.gives_up_lines();
                    look = Instant::now() + match open.look_after().await {
                        Ok(true) => Duration::ZERO,
                        Ok(false) => LOOK,
                        Err(error) => {
                            tracing::warn!(error, "channels cannot be looked after");
                            AFTER_TROUBLE
                        }
                    };
                }
            }
        }
        tidings.abort();
        if let Some(page) = page {
            // Its address is free for the next process.
            let _ = page.await;
        }
        if let Some(mut speaking) = speaking {
            // It ends behind the message that it is sending, which may be a unit's to write.
            loop {
                tokio::select! {
                    _ = &mut speaking => break,
                    (from, body) = self.office.letter() => self.letter(&mut open, from, &body).await,
                    utterance = open.writing.next() => open.utters(utterance),
                }
            }
        }
        open.tell_said().await;
        drop((open.starters, open.sayings));
        ears.leave().await;
    }

    async fn letter(&self, open: &mut Open, from: Correspondent, body: &Bytes) {
        match from {
            Correspondent::Operator(_) => {
                let answer = match Question::read(body) {
                    Ok((question, channels)) if question.verb == Verb::Write => {
                        return open.writes(question, &channels, Asker::Operator(from));
                    }
                    Ok((question, channels)) => open
                        .answer(question, channels)
                        .await
                        .unwrap_or_else(refused),
                    Err(why) => refused(why),
                };
                self.office.write(from, answer.to_string().into());
            }
            Correspondent::Unit(unit) => open.hears(unit.get(), body).await,
            Correspondent::Work => {}
        }
    }
}

impl Open {
    /// Begins to serve the invite page.
    fn page(&self, config: PageConfig, stop: &CancellationToken) -> Option<JoinHandle<()>> {
        let invite = match Invite::new(config.settings) {
            Ok(invite) => invite,
            Err(error) => {
                tracing::error!(%error, "there is no invite page");
                return None;
            }
        };
        let page = Page {
            invite,
            helix: config.helix,
            list: self.list.clone(),
            manages: self.manages,
        };
        let serves = door::serve(Arc::new(page), config.listen, stop.clone());
        Some(tokio::spawn(serves))
    }

    /// Whether there is more to do at once.
    pub(super) async fn look_after(&mut self) -> Result<bool, String> {
        let now = unix();
        if now >= self.cleans {
            self.cleans = cleaning::next(now, chance());
            let cleaned = self
                .list
                .with(move |list| list.clean(now, STALE_AFTER))
                .await?;
            for channel in cleaned {
                tracing::info!(%channel, "nobody acknowledged this channel for a week: it is left");
            }
        }
        self.look_at_list().await?;
        match &mut self.ways {
            Ways::Irc(way) => {
                let before = way.units().len();
                way.reconcile(&self.goal, now).await;
                way.say_again();
                let after = way.units().len();
                let kind = match before.cmp(&after) {
                    Ordering::Less => Some(Kind::ScaledOut),
                    Ordering::Greater => Some(Kind::ScaledIn),
                    Ordering::Equal => None,
                };
                if let Some(kind) = kind {
                    self.tidings
                        .note(kind, &format!("{after} units instead of {before}"));
                }
                Ok(false)
            }
            Ways::Conduit(way) => {
                let more = way.reconcile(&self.goal, &self.list, now).await?;
                for wanted in &self.goal {
                    if let Some(id) = way.id_of(&wanted.login) {
                        self.ids.learn(&wanted.login, &id);
                    }
                }
                Ok(self.resizes(self.goal.len()).await || more)
            }
        }
    }

    /// Reads which channels the bot is to be in, if the list has changed.
    pub(super) async fn look_at_list(&mut self) -> Result<(), String> {
        let revision = self.list.with(|list| list.revision()).await?;
        if self.seen != Some(revision) {
            self.goal = self.list.with(|list| list.goal()).await?;
            self.seen = Some(revision);
        }
        Ok(())
    }

    /// Those of these channels that the bot is to be in.
    pub(super) fn of_goal<'a>(&self, channels: &'a [Login]) -> BTreeSet<&'a Login> {
        let asked: BTreeSet<&Login> = channels.iter().collect();
        let goal = self.goal.iter();
        goal.filter_map(|wanted| asked.get(&wanted.login).copied())
            .collect()
    }

    /// A unit says something.
    pub(super) async fn hears(&mut self, unit: u32, body: &[u8]) {
        let now = unix();
        if let Ok(letter) = serde_json::from_slice::<FromUnit>(body) {
            if let FromUnit::Channels { failed, .. } = &letter
                && let Some((channel, why)) = failed.first_key_value()
            {
                let what = format!("{channel}: {why}, and {} more", failed.len() - 1);
                self.tidings.note(Kind::JoinFailed, &what);
            }
            if let FromUnit::Channels { joined, .. } = &letter {
                for (channel, id) in joined {
                    if let Some(id) = id {
                        self.ids.learn(channel, id);
                    }
                }
            }
            match (&mut self.ways, letter) {
                (_, FromUnit::Serves(serves)) => self.is_there(unit, serves),
                (_, FromUnit::Said { lease, came }) => self.is_said(lease, came).await,
                (_, FromUnit::Wrote { number, came }) => self.is_written(number, came),
                (Ways::Irc(way), letter) => way.heard(unit, letter, now),
                (Ways::Conduit(_), _) => {}
            }
        } else if let Ok(revoked) = serde_json::from_slice::<Revoked>(body)
            && let Ways::Conduit(way) = &mut self.ways
            && let Some(channel) = revoked.condition.get("broadcaster_user_id")
            && let Some(login) = way.revoked(&UserId::from(channel.as_str()), &revoked.status, now)
            && revoked.status == "authorization_revoked"
        {
            self.tidings.note(Kind::Revoked, login.as_str());
            let taken_back = self.list.with(move |list| list.revoke(&login, now)).await;
            if let Err(error) = taken_back {
                tracing::error!(error, "that a broadcaster revoked cannot be written");
            }
        }
    }
}

async fn ended(speech: Option<&Speech>) {
    match speech {
        Some(speech) => speech.ended().await,
        None => std::future::pending().await,
    }
}

pub(super) fn unix() -> Unix {
    SystemTime::now().into()
}

/// From 0 to 1.
fn chance() -> f64 {
    let mut bytes = [0; 2];
    // Without random numbers it is 0.
    let _ = getrandom::fill(&mut bytes);
    f64::from(u16::from_ne_bytes(bytes)) / f64::from(u16::MAX)
}
