//! A connection and the channels that it is to be in.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    pin::Pin,
    time::Duration,
};

use baton_slave::unit::{NoSuchPermit, Office};
use tokio::time::{Instant, sleep_until};

use super::opening::Opens;
use crate::{
    event::Event,
    irc::{Connection, Error, Heard, Reason},
    name::{Login, UserId},
};

/// A channel that Twitch did not answer for is joined once more after this time.
const AGAIN: Duration = Duration::from_secs(30);

/// Who waits for permits says so this often: it gets further.
const WAITS: Duration = Duration::from_secs(2);

/// See the module.
pub(super) struct Party {
    connection: Connection,
    office: Office,
    /// The permit that a JOIN costs.
    permit: String,
    wanted: BTreeSet<Login>,
    /// To be joined, in this order.
    queue: VecDeque<Login>,
    /// Asked, and not answered.
    asked: BTreeSet<Login>,
    joined: BTreeSet<Login>,
    /// Not joined, and when they are tried again; `None`: when the unit is live, or the work
    /// says so.
    failed: BTreeMap<Login, Option<Instant>>,
    waits: Option<Pin<Box<Waiting>>>,
    says: Instant,
}

type Waiting = dyn Future<Output = Result<(), NoSuchPermit>> + Send;

/// What happens next.
pub(super) enum Step {
    Event(Event),
    Joined {
        channel: Login,
        id: Option<UserId>,
    },
    Failed {
        channel: Login,
        why: Reason,
    },
    /// It waits for permits.
    Waits,
    Reconnect,
    Ended(String),
    NoPermit(String),
}

/// Why there is no connection.
pub(super) struct Refused {
    pub(super) why: String,
    pub(super) is_final: bool,
}

impl Party {
    pub(super) async fn open(
        opens: &Opens,
        account: Option<(Login, String)>,
        channels: &[Login],
        office: &Office,
    ) -> Result<Self, Refused> {
        let login = account.as_ref().map(|(login, _)| login.clone());
        let name = login.as_ref().map_or("anonymous", Login::as_str);
        let permit = office.permit(&format!("auth/{name}")).await;
        permit.map_err(|error| Refused {
            why: error.to_string(),
            is_final: true,
        })?;
        let connection = opens(account).await;
        let connection = connection.map_err(|error| Refused {
            is_final: matches!(error, Error::Refused { .. }),
            why: error.to_string(),
        })?;
        Ok(Self {
            connection,
            office: office.clone(),
            permit: format!("join/{name}"),
            wanted: channels.iter().cloned().collect(),
            queue: channels.iter().cloned().collect(),
            asked: BTreeSet::new(),
            joined: BTreeSet::new(),
            failed: BTreeMap::new(),
            waits: None,
            says: Instant::now() + WAITS,
        })
    }

    pub(super) const fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Whether Twitch has confirmed that it is in a channel.
    pub(super) fn is_in(&self, channel: &Login) -> bool {
        self.joined.contains(channel)
    }

    /// Whether it is where it can be.
    pub(super) fn is_complete(&self) -> bool {
        self.queue.is_empty() && self.asked.is_empty()
    }

    /// These are its channels from now on: only what differs is joined or left.
    pub(super) fn wants(&mut self, channels: &[Login]) {
        let next: BTreeSet<Login> = channels.iter().cloned().collect();
        self.leaves_all_but(channels);
        for channel in next.difference(&self.wanted) {
            self.queue.push_back(channel.clone());
        }
        self.wanted = next;
    }

    pub(super) fn leaves_all_but(&mut self, channels: &[Login]) {
        let next: BTreeSet<&Login> = channels.iter().collect();
        let left = self.wanted.iter().filter(|channel| !next.contains(channel));
        let left: Vec<Login> = left.cloned().collect();
        for channel in left {
            self.wanted.remove(&channel);
            self.queue.retain(|queued| *queued != channel);
            self.failed.remove(&channel);
            if self.asked.remove(&channel) | self.joined.remove(&channel) {
                self.connection.part(&channel);
            }
        }
    }

    /// What was refused is tried again: the owner before has left.
    pub(super) fn tries_again(&mut self) {
        let failed = std::mem::take(&mut self.failed);
        self.queue.extend(failed.into_keys());
    }

    /// What happens next. Survives being cancelled.
    pub(super) async fn step(&mut self) -> Step {
        loop {
            self.joins_again(Instant::now());
            if self.waits.is_none() && !self.queue.is_empty() {
                let (office, permit) = (self.office.clone(), self.permit.clone());
                self.waits = Some(Box::pin(async move { office.permit(&permit).await }));
                self.says = Instant::now() + WAITS;
            }
            let again = self.failed.values().flatten().min().copied();
            let is_waiting = self.waits.is_some();
            tokio::select! {
                heard = self.connection.next() => {
                    if let Some(step) = self.heard(heard) {
                        return step;
                    }
                }
                permit = waiting(self.waits.as_mut()) => {
                    self.waits = None;
                    match permit {
                        Ok(()) => self.join(),
                        Err(error) => return Step::NoPermit(error.to_string()),
                    }
                }
                () = sleep_until(again.unwrap_or_else(Instant::now)), if again.is_some() => {}
                () = sleep_until(self.says), if is_waiting => {
                    self.says = Instant::now() + WAITS;
                    return Step::Waits;
                }
            }
        }
    }

    fn join(&mut self) {
        if let Some(channel) = self.queue.pop_front() {
            self.connection.join(&channel);
            self.asked.insert(channel);
        }
    }

    fn joins_again(&mut self, now: Instant) {
        let due = self
            .failed
            .iter()
            .filter(|(_, at)| at.is_some_and(|at| at <= now));
        let due: Vec<Login> = due.map(|(channel, _)| channel.clone()).collect();
        for channel in due {
            self.failed.remove(&channel);
            self.queue.push_back(channel);
        }
    }

    fn heard(&mut self, heard: Heard) -> Option<Step> {
        Some(match heard {
            Heard::Event(event) => Step::Event(event),
            Heard::Joined { channel, id } => {
                self.asked.remove(&channel);
                self.joined.insert(channel.clone());
                Step::Joined { channel, id }
            }
            Heard::JoinFailed { channel, why } => {
                self.asked.remove(&channel);
                if !self.wanted.contains(&channel) {
                    return None;
                }
                let again = match why {
                    Reason::Cap | Reason::Unanswered => Some(Instant::now() + AGAIN),
                    // Nothing changes by itself: the work says when.
                    Reason::Banned | Reason::Suspended => None,
                };
                self.failed.insert(channel.clone(), again);
                Step::Failed { channel, why }
            }
            Heard::Reconnect => Step::Reconnect,
            Heard::Ended(why) => Step::Ended(why),
        })
    }
}

async fn waiting(waits: Option<&mut Pin<Box<Waiting>>>) -> Result<(), NoSuchPermit> {
    match waits {
        Some(waits) => waits.await,
        None => std::future::pending().await,
    }
}
