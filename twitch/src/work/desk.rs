//! The desk: letters come in, and everything is looked after from time to time.

use std::{
    cmp::Ordering,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use baton_protocol::message::Correspondent;
use baton_slave::unit::Office;
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    PageConfig, Way, WorkConfig,
    conduit::ConduitWay,
    door::{self, Page},
    irc::IrcWay,
    list::List,
    question::{Answer, Question, Verb, refused, row, rows},
    speech::{Ids, Speech},
    state::State,
    tidings::Tidings,
};
use crate::{
    channels::{Change, Grant, Reconnect, Revision, STALE_AFTER, Unix, Want, Wanted, cleaning},
    eventsub::Revoked,
    invite::Invite,
    name::{Login, UserId},
    notices::Kind,
    outbox::{Message, Put},
    unit::FromUnit,
};

/// Everything is looked at so often.
const LOOK: Duration = Duration::from_secs(1);

/// After something failed, so long later.
const AFTER_TROUBLE: Duration = Duration::from_secs(5);

/// Rows of one answer.
const A_PAGE: usize = 1000;

/// See the module.
pub(super) struct Desk {
    config: WorkConfig,
    office: Office,
}

/// What is open.
struct Open {
    list: List,
    /// Whether broadcasters are asked.
    manages: bool,
    ways: Ways,
    speech: Option<Speech>,
    /// The list as it was when everything was brought to where it is to be.
    seen: Option<Revision>,
    goal: Vec<Wanted>,
    cleans: Unix,
    /// The ids of channels, for what the bot says.
    ids: Ids,
    tidings: Tidings,
}

enum Ways {
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
        let ways = match self.config.way.clone() {
            Way::Irc {
                account,
                cap,
                rules,
            } => {
                let path = State::path(&self.config.list);
                Ways::Irc(Box::new(
                    IrcWay::open(account, cap, rules, office.clone(), path, now).await?,
                ))
            }
            Way::Conduit {
                helix,
                conduit,
                reader,
            } => Ways::Conduit(Box::new(ConduitWay::new(
                helix,
                conduit,
                reader,
                office.clone(),
            ))),
        };
        let speech = match self.config.speaks.clone() {
            Some(speaks) => {
                let mut name = self.config.list.file_name().unwrap_or_default().to_owned();
                name.push(".outbox");
                let path = self.config.list.with_file_name(name);
                Some(Speech::open(path, speaks, office).await?)
            }
            None => None,
        };
        Ok(Open {
            list,
            manages: !self.config.anybody,
            ways,
            speech,
            seen: None,
            goal: Vec::new(),
            cleans: cleaning::next(now, chance()),
            ids: Ids::default(),
            tidings: Tidings::new(self.config.hook.clone()),
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
        let mut look = Instant::now();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                (from, body) = self.office.letter() => {
                    self.letter(&mut open, from, &body).await;
                    look = Instant::now();
                }
                () = sleep_until(look) => {
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
        if let Some(speaking) = speaking {
            // It ends behind the message that it is sending.
            let _ = speaking.await;
        }
    }

    async fn letter(&self, open: &mut Open, from: Correspondent, body: &Bytes) {
        match from {
            Correspondent::Operator(_) => {
                let answer = match Question::read(body) {
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
    async fn look_after(&mut self) -> Result<bool, String> {
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
        let revision = self.list.with(|list| list.revision()).await?;
        if self.seen != Some(revision) {
            self.goal = self.list.with(|list| list.goal()).await?;
            self.seen = Some(revision);
        }
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
                Ok(more)
            }
        }
    }

    /// A unit says something.
    async fn hears(&mut self, unit: u32, body: &[u8]) {
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
            if let Ways::Irc(way) = &mut self.ways {
                way.heard(unit, letter, now);
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

    // ---- questions -----------------------------------------------------------

    async fn answer(&mut self, question: Question, channels: Vec<Login>) -> Result<Value, String> {
        match question.verb {
            Verb::List => self.lists(question.after).await,
            Verb::Where => Ok(rows(
                channels.iter().map(|name| self.row_of(name)).collect(),
            )),
            Verb::Join => self.joins(channels, question.account).await,
            Verb::Part => self.parts(channels).await,
            Verb::Authorise => self.authorises(channels).await,
            Verb::Revoke => self.revokes(channels).await,
            Verb::Acknowledge => self.acknowledges(channels).await,
            Verb::Say => self.says(question, &channels).await,
            Verb::Units => self.units(question.units).await,
        }
    }

    async fn lists(&self, after: Option<Login>) -> Result<Value, String> {
        let all = self
            .list
            .with(move |list| list.list(after.as_ref(), A_PAGE))
            .await?;
        let more = (all.len() == A_PAGE).then(|| all.last().map(|last| last.login.clone()));
        let shown = all.iter().map(|channel| {
            let mut shown = self.row_of(&channel.login);
            if !channel.wanted {
                shown["state"] = json!("left");
                shown["why"] = Value::Null;
            }
            shown["authorised"] = json!(channel.is_authorised());
            shown["account"] = json!(channel.account);
            shown["acknowledged_unix"] = json!(channel.acknowledged_at.0);
            shown
        });
        let mut answer = rows(shown.collect());
        answer["after"] = json!(more.flatten());
        Ok(answer)
    }

    fn row_of(&self, channel: &Login) -> Value {
        let (state, unit, why) = match &self.ways {
            Ways::Irc(way) => way.find(channel),
            Ways::Conduit(way) => {
                let (state, why) = way.find(channel);
                (state, None, why)
            }
        };
        json!({ "channel": channel, "state": state, "unit": unit, "why": why })
    }

    fn again(&mut self, channel: &Login) {
        match &mut self.ways {
            Ways::Irc(way) => way.again(channel),
            Ways::Conduit(way) => way.again(channel),
        }
    }

    async fn joins(
        &mut self,
        channels: Vec<Login>,
        account: Option<Login>,
    ) -> Result<Value, String> {
        let now = unix();
        let wanted: Vec<Wanted> = channels
            .iter()
            .map(|login| Wanted {
                account: account.clone(),
                ..Wanted::new(login.clone())
            })
            .collect();
        let wants = self.list.with(move |list| list.want(&wanted, now)).await?;
        let mut answers = Vec::new();
        for channel in &channels {
            let (answer, why) = match wants.get(channel) {
                Some(Want::New) => (Answer::Resolved, None),
                Some(Want::Already) => (Answer::Ignored, None),
                Some(Want::Unauthorised) => (
                    Answer::Unauthorised,
                    Some("its broadcaster has not let the bot in"),
                ),
                Some(Want::Full) | None => (Answer::Rejected, Some("the list is full")),
            };
            // Whoever asks for it wants it tried now.
            self.again(channel);
            answers.push(row(channel, answer, why));
        }
        self.look_after().await?;
        // What has no room is known only now.
        for answer in &mut answers {
            let Some(Ok(channel)) = answer["channel"].as_str().map(str::parse::<Login>) else {
                continue;
            };
            let found = self.row_of(&channel);
            if answer["answer"] == "resolved" && found["state"] == "waiting" {
                let why = found["why"].as_str();
                *answer = row(
                    &channel,
                    Answer::Rejected,
                    Some(why.unwrap_or("it waits for room")),
                );
            }
        }
        Ok(rows(answers))
    }

    async fn parts(&mut self, channels: Vec<Login>) -> Result<Value, String> {
        let named = channels.clone();
        let left = self.list.with(move |list| list.unwant(&named)).await?;
        self.look_after().await?;
        let answers = channels.iter().map(|channel| {
            let answer = match left.contains(channel) {
                true => Answer::Resolved,
                false => Answer::Ignored,
            };
            row(channel, answer, None)
        });
        Ok(rows(answers.collect()))
    }

    async fn authorises(&mut self, channels: Vec<Login>) -> Result<Value, String> {
        let now = unix();
        let mut answers = Vec::new();
        for channel in channels {
            let grant = Grant {
                login: channel.clone(),
                id: None,
                reconnect: Reconnect::Yes,
            };
            let change = self
                .list
                .with(move |list| list.authorise(&grant, now))
                .await?;
            self.again(&channel);
            answers.push(changed(&channel, change));
        }
        self.look_after().await?;
        Ok(rows(answers))
    }

    async fn revokes(&mut self, channels: Vec<Login>) -> Result<Value, String> {
        let now = unix();
        let mut answers = Vec::new();
        for channel in channels {
            let name = channel.clone();
            let change = self.list.with(move |list| list.revoke(&name, now)).await?;
            answers.push(changed(&channel, change));
        }
        self.look_after().await?;
        Ok(rows(answers))
    }

    async fn acknowledges(&mut self, channels: Vec<Login>) -> Result<Value, String> {
        let now = unix();
        let mut answers = Vec::new();
        for channel in channels {
            let name = channel.clone();
            let known = self
                .list
                .with(move |list| list.acknowledge(&name, now))
                .await?;
            let (answer, why) = match known {
                true => (Answer::Resolved, None),
                false => (Answer::Rejected, Some("the list does not have it")),
            };
            answers.push(row(&channel, answer, why));
        }
        Ok(rows(answers))
    }

    /// The bot is to say something in channels.
    async fn says(&mut self, question: Question, channels: &[Login]) -> Result<Value, String> {
        let Some(speech) = self.speech.clone() else {
            return Err("this bot does not speak: give baton-twitch --account".to_owned());
        };
        let id = question
            .id
            .ok_or("give an id: what is asked twice is said once")?;
        let text = question.text.unwrap_or_default();
        let mut answers = Vec::new();
        for channel in channels {
            let name = channel.clone();
            let may = self
                .list
                .with(move |list| list.is_authorised(&name))
                .await?;
            if !may {
                let why = "its broadcaster has not let the bot in";
                answers.push(row(channel, Answer::Unauthorised, Some(why)));
                continue;
            }
            let message = Message {
                id: format!("{id}/{channel}"),
                account: speech.account(),
                channel: channel.clone(),
                text: text.clone(),
                reply_to: question.reply_to.clone(),
                ttl: None,
            };
            answers.push(match speech.put(message).await? {
                Put::Taken => row(channel, Answer::Resolved, None),
                Put::Known => row(channel, Answer::Ignored, None),
                Put::Refused(refusal) => row(channel, Answer::Rejected, Some(&refusal.to_string())),
            });
        }
        Ok(rows(answers))
    }

    /// Shows the units, or has the conduit have another number of them.
    async fn units(&mut self, number: Option<u32>) -> Result<Value, String> {
        match (&mut self.ways, number) {
            (Ways::Irc(way), None) => {
                let units = way.units().into_iter().map(|(unit, account, channels)| {
                    json!({ "unit": unit, "account": account, "channels": channels })
                });
                Ok(json!({ "units": units.collect::<Vec<_>>() }))
            }
            (Ways::Irc(_), Some(_)) => {
                Err("over IRC the number of units follows the channels".to_owned())
            }
            (Ways::Conduit(way), None) => Ok(json!({ "units": way.shards().await? })),
            (Ways::Conduit(way), Some(number)) => {
                way.resize(number).await?;
                Ok(json!({ "units": number }))
            }
        }
    }
}

fn changed(channel: &Login, change: Change) -> Value {
    match change {
        Change::Made => row(channel, Answer::Resolved, None),
        Change::Already => row(channel, Answer::Ignored, None),
        Change::NotManaged => row(
            channel,
            Answer::Rejected,
            Some("this bot may be in every channel: see --anybody"),
        ),
        Change::Full => row(channel, Answer::Rejected, Some("the list is full")),
    }
}

fn unix() -> Unix {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    Unix(now.map_or(0, |now| now.as_secs().cast_signed()))
}

/// From 0 to 1.
fn chance() -> f64 {
    let mut bytes = [0; 2];
    // Without random numbers it is 0.
    let _ = getrandom::fill(&mut bytes);
    f64::from(u16::from_ne_bytes(bytes)) / f64::from(u16::MAX)
}
