//! What the bot says: from the outbox to Helix, each message once.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use baton_slave::unit::Office;
use tokio::{
    sync::{Notify, mpsc, oneshot},
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    Shared, Speaks, may_block,
    writing::{ANSWER, Spoken, Standings, Utterance},
};
use crate::{
    helix::{Error, Helix, PERMIT, Sent},
    name::{Login, UserId},
    outbox::{
        Budgets, By, Fate, Lease, LeaseId, Leased, Message, Outbox, Put, Restriction, Said, UnixMs,
    },
    unit::Came,
};

/// Who leases: there is one, wherever the work runs.
const WHO: &str = "work";

/// See the module. Clones are the same.
#[derive(Clone)]
pub(super) struct Speech {
    outbox: Shared<Outbox>,
    speaks: Speaks,
    office: Office,
    standings: Standings,
    /// To units, over the desk.
    says: mpsc::Sender<Utterance>,
    put: Arc<Notify>,
    ended: Arc<Notify>,
}

impl Speech {
    /// Opens the outbox beside the list. What the process before was sending when it ended
    /// nobody knows: it is not sent again.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub(super) async fn open(
        path: PathBuf,
        speaks: Speaks,
        office: Office,
        standings: Standings,
        says: mpsc::Sender<Utterance>,
    ) -> Result<Self, String> {
        let opened = may_block(move || {
            let mut outbox = Outbox::open(&path, Budgets::default())?;
            outbox.died(WHO, now())?;
            Ok(outbox)
        });
        let opened: Result<Outbox, crate::outbox::Error> =
            opened.await.ok_or_else(|| "the process ends".to_owned())?;
        Ok(Self {
            outbox: Arc::new(Mutex::new(opened.map_err(|error| error.to_string())?)),
            speaks,
            office,
            standings,
            says,
            put: Arc::default(),
            ended: Arc::default(),
        })
    }

    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Outbox) -> Result<T, crate::outbox::Error> + Send + 'static,
    ) -> Result<T, String> {
        let outbox = Arc::clone(&self.outbox);
        let done = may_block(move || {
            let mut outbox = outbox.lock().unwrap_or_else(PoisonError::into_inner);
            work(&mut outbox)
        });
        let done = done.await.ok_or_else(|| "the process ends".to_owned())?;
        done.map_err(|error| error.to_string())
    }

    /// By which account.
    pub(super) fn account(&self) -> Login {
        self.speaks.account.clone()
    }

    /// How a message goes. `asked`: how it is to.
    ///
    /// # Errors
    /// There is no such way here.
    pub(super) fn way(&self, asked: Option<By>) -> Result<By, String> {
        match asked.unwrap_or(self.speaks.by) {
            By::Helix if self.speaks.helix.is_none() => {
                let why = "this bot does not speak by Helix: give baton-twitch --client-id and \
                           --account-id, or say it by irc";
                Err(why.to_owned())
            }
            by @ (By::Helix | By::Irc) => Ok(by),
        }
    }

    /// A message is to be said.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) async fn put(&self, message: Message) -> Result<Put, String> {
        let put = self
            .with(move |outbox| outbox.put(&message, Restriction::Nobody, now()))
            .await?;
        self.put.notify_one();
        Ok(put)
    }

    /// What is known of each of these messages.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) async fn fates(&self, ids: Vec<String>) -> Result<Vec<Option<Fate>>, String> {
        self.with(move |outbox| {
            outbox.sweep(now())?;
            ids.iter().map(|id| outbox.fate(id)).collect()
        })
        .await
    }

    /// Waits until a message has ended, or ended since the last time.
    pub(super) async fn ended(&self) {
        self.ended.notified().await;
    }

    /// Says what waits, until it is stopped.
    pub(super) async fn run(self, stop: CancellationToken, ids: Ids) {
        // Channels in which nothing can be said right now, and until when.
        let mut rest: BTreeMap<Login, Instant> = BTreeMap::new();
        while !stop.is_cancelled() {
            rest.retain(|_, until| *until > Instant::now());
            let (standings, resting) = (self.standings.clone(), rest.clone());
            let standing = move |account: &Login, channel: &Login| {
                let rests = resting.contains_key(channel);
                (!rests).then(|| standings.of(account, channel))
            };
            let leased = self
                .with(move |outbox| outbox.lease(WHO, standing, now()))
                .await;
            let wait = match leased {
                Ok(Leased::Message(lease)) => {
                    let channel = lease.message.channel.clone();
                    // Not interrupted: what was begun has an outcome.
                    let is_done = match lease.message.by {
                        By::Helix => self.say(*lease, &ids).await,
                        By::Irc => self.say_by_irc(*lease).await,
                    };
                    if !is_done {
                        rest.insert(channel, Instant::now() + AGAIN);
                    }
                    continue;
                }
                Ok(Leased::Nothing(at)) => at.map_or(LONGEST, |at| {
                    let ms = at.0.saturating_sub(now().0).max(1);
                    Duration::from_millis(ms.unsigned_abs()).min(LONGEST)
                }),
                Err(error) => {
                    tracing::error!(error, "the outbox cannot be read");
                    LONGEST
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.put.notified() => {}
                () = sleep(wait) => {}
            }
        }
    }

    /// By Helix. `false`: not now, and it was given back.
    async fn say(&self, lease: Lease, ids: &Ids) -> bool {
        let Lease {
            lease,
            message,
            begin_until,
        } = lease;
        let refused = |code: &str, why: String| Said::Refused {
            code: code.to_owned(),
            why,
        };
        let Some((helix, sender)) = &self.speaks.helix else {
            let why = "this bot does not speak by Helix any more".to_owned();
            self.done(lease, refused("helix", why)).await;
            return true;
        };
        let known = match ids.get(&message.channel) {
            Some(id) => Some(id),
            None => match self.ask_id(helix, &message.channel, ids).await {
                Ok(id) => id,
                Err(wait) => return self.later(lease, wait).await,
            },
        };
        let said = match known {
            None => refused("unknown_channel", "Twitch knows no such channel".to_owned()),
            Some(channel) => {
                if self.office.permit(PERMIT).await.is_err() {
                    return self.later(lease, LONGEST).await;
                }
                if now() >= begin_until {
                    return self.later(lease, Duration::ZERO).await;
                }
                let reply = message.reply_to.as_deref();
                match helix
                    .say(channel.as_str(), sender.as_str(), &message.text, reply)
                    .await
                {
                    Ok(Sent::Said { id }) => Said::Sent {
                        message_id: Some(id),
                    },
                    Ok(Sent::Dropped { code, why }) => refused(&code, why),
                    Err(Error::Unreachable(_)) => Said::Unknown,
                    // Nothing was said, and nothing would be, by anybody of the application.
                    Err(Error::TooMany { wait, .. }) => return self.later(lease, wait).await,
                    Err(error) => refused("helix", error.to_string()),
                }
            }
        };
        self.done(lease, said).await;
        true
    }

    /// By the unit that is in the channel. `false`: not now, and it was given back.
    async fn say_by_irc(&self, lease: Lease) -> bool {
        let Lease { lease, message, .. } = lease;
        let (came, comes) = oneshot::channel();
        let utterance = Utterance {
            lease,
            message,
            came,
        };
        // The desk takes it as long as this task runs.
        let spoken = match self.says.send(utterance).await {
            Ok(()) => timeout(ANSWER, comes).await,
            Err(_) => return self.later(lease, Duration::ZERO).await,
        };
        let said = match spoken {
            Ok(Ok(Spoken::Came(Came::Written))) => Said::Sent { message_id: None },
            Ok(Ok(Spoken::Came(Came::Not(why)))) => {
                tracing::debug!(why, "a message waits");
                return self.later(lease, Duration::ZERO).await;
            }
            Ok(Ok(Spoken::Refused(why))) => Said::Refused {
                code: "irc".to_owned(),
                why,
            },
            Ok(Ok(Spoken::Came(Came::Unknown)) | Err(_)) | Err(_) => {
                if mutant!("said-again") {
                    return self.later(lease, Duration::ZERO).await;
                }
                Said::Unknown
            }
        };
        self.done(lease, said).await;
        true
    }

    /// A unit says what became of a message of which nobody waits any more.
    pub(super) async fn late(&self, lease: LeaseId, came: Came) {
        // What certainly was not written has ended all the same: it was not said.
        if came == Came::Written {
            self.done(lease, Said::Sent { message_id: None }).await;
        }
    }

    /// It was not begun, and waits again.
    async fn later(&self, lease: LeaseId, wait: Duration) -> bool {
        self.give_back(lease).await;
        sleep(wait.min(LONGEST)).await;
        false
    }

    async fn done(&self, lease: LeaseId, said: Said) {
        let done = self
            .with(move |outbox| outbox.done(lease, said, now()))
            .await;
        self.ended.notify_one();
        if let Err(error) = done {
            tracing::error!(
                error,
                "what came of a message cannot be written: nobody knows it"
            );
        }
    }

    /// The id of a channel that nobody has learnt here: a new process knows none. `None`: Twitch
    /// knows no such channel. An error: nobody can say it now, and for so long.
    async fn ask_id(
        &self,
        helix: &Helix,
        channel: &Login,
        ids: &Ids,
    ) -> Result<Option<UserId>, Duration> {
        if self.office.permit(PERMIT).await.is_err() {
            return Err(LONGEST);
        }
        let users = helix.users(std::slice::from_ref(channel)).await;
        match users {
            Ok(users) => {
                let found = users.into_iter().find(|user| user.login == *channel);
                let id = found.map(|user| user.id);
                if let Some(id) = &id {
                    ids.learn(channel, id);
                }
                Ok(id)
            }
            Err(error) => Err(error.retry_after().unwrap_or(AGAIN).min(LONGEST)),
        }
    }

    async fn give_back(&self, lease: LeaseId) {
        let given = self
            .with(move |outbox| outbox.give_back(lease, now()))
            .await;
        if let Err(error) = given {
            tracing::error!(error, "the outbox cannot be written");
        }
    }
}

/// The ids of channels. Clones are the same.
#[derive(Clone, Default)]
pub(super) struct Ids(Shared<BTreeMap<Login, UserId>>);

impl Ids {
    fn get(&self, channel: &Login) -> Option<UserId> {
        let ids = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ids.get(channel).cloned()
    }

    pub(super) fn learn(&self, channel: &Login, id: &UserId) {
        let mut ids = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ids.insert(channel.clone(), id.clone());
    }
}

/// If Twitch cannot say whose a channel is, it is asked again after this time.
const AGAIN: Duration = Duration::from_secs(1);

/// The outbox is looked into at least so often: what waited for too long ends.
const LONGEST: Duration = Duration::from_secs(5);

fn now() -> UnixMs {
    SystemTime::now().into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
