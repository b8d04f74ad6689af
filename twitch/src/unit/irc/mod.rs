//! A unit that is a connection of IRC, in up to 90 channels of one account.
//!
//! ```text
//! channels ─▶ login ─▶ joins, each with a permit of the account ─▶ ready ─Take─▶ live
//!                                 │                                   ▲
//!                                 └── over the cap: tried again once the unit is live
//! ```
//!
//! Two connections in the same channels hear the same, so a unit moves by overlap, and so does
//! a connection that Twitch wants to end (RECONNECT): the next one joins while this one is
//! heard on.
//!
//! Which channels it has the once-per-bot work says. They travel with the unit; where they
//! did not come along, the unit asks for them until they come.

mod opening;
mod party;
mod report;
mod speech;

use std::{collections::BTreeMap, convert::Infallible, sync::Arc, time::Duration};

use baton_slave::unit::Office;
use bytes::Bytes;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use self::{
    opening::{Opens, Renewal},
    party::{Party, Step},
    report::Report,
};
pub(crate) use self::{
    report::FromUnit,
    speech::{Came, ToIrc},
};
use super::transport::{Channels, Cut, Item, Link, Opened, Order, Transport};
use crate::{
    event::Event,
    irc::{Address, is_moderator},
    name::Login,
};

/// A unit without channels asks for them so often.
const ASKS: Duration = Duration::from_secs(2);

/// What became of joins is told to the work at once, and no more often than this.
const TELLS: Duration = Duration::from_millis(500);

/// Items that wait for the unit. Behind them, the socket waits.
const WAITING: usize = 256;

/// The bot's accounts: their logins and tokens.
pub type Accounts = BTreeMap<Login, String>;

/// Connections of IRC, as units.
#[derive(Clone)]
pub struct Irc(Arc<Inner>);

struct Inner {
    opens: Opens,
    accounts: Accounts,
    settle: Duration,
    office: Office,
}

impl Irc {
    /// At this host, by these accounts. `settle`: how late one connection may be behind another.
    #[must_use]
    pub fn new(address: Address, accounts: Accounts, settle: Duration, office: Office) -> Self {
        Self::of(opening::at(address), accounts, settle, office)
    }

    fn of(opens: Opens, accounts: Accounts, settle: Duration, office: Office) -> Self {
        Self(Arc::new(Inner {
            opens,
            accounts,
            settle,
            office,
        }))
    }
}

impl std::fmt::Debug for Irc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Irc").finish_non_exhaustive()
    }
}

impl Transport for Irc {
    fn cut(&self) -> Cut {
        Cut::Both {
            settle: self.0.settle,
        }
    }

    fn declines(&self, letter: &[u8]) -> Option<Bytes> {
        ToIrc::declined(letter, "the unit does not serve here")
    }

    fn open(&self, opened: Opened) -> Link {
        let (items, heard) = mpsc::channel(WAITING);
        let (orders, told) = mpsc::channel(64);
        let unit = Unit {
            inner: Arc::clone(&self.0),
            items,
            told,
            channels: opened.channels,
            is_ready: false,
            is_live: false,
        };
        let task = tokio::spawn(unit.run());
        Link::new(heard, orders, task)
    }
}

/// One link of a unit.
struct Unit {
    inner: Arc<Inner>,
    items: mpsc::Sender<Item>,
    told: mpsc::Receiver<Order>,
    channels: Option<Channels>,
    is_ready: bool,
    is_live: bool,
}

/// Why a link is over.
struct Over {
    why: String,
    fatal: bool,
}

fn over(why: impl ToString, fatal: bool) -> Over {
    Over {
        why: why.to_string(),
        fatal,
    }
}

/// The unit listens no more: it has another link, or is gone.
fn gone() -> Over {
    over("the unit is gone", false)
}

impl Unit {
    async fn run(mut self) {
        let Err(Over { why, fatal }) = self.lives().await;
        let _ = self.items.send(Item::Ended { why, fatal }).await;
    }

    async fn lives(&mut self) -> Result<Infallible, Over> {
        let mut channels = self.asks_for_channels().await?;
        loop {
            // Without channels there is nothing to connect for.
            while channels.channels.is_empty() {
                self.may_be_ready().await?;
                channels = self.other_channels().await?;
            }
            channels = self.connected(channels).await?;
        }
    }

    async fn asks_for_channels(&mut self) -> Result<Channels, Over> {
        loop {
            if let Some(channels) = self.channels.take() {
                return Ok(channels);
            }
            self.says(Item::Letter(Report::asks())).await?;
            let until = Instant::now() + ASKS;
            tokio::select! {
                order = self.told.recv() => {
                    if let Some(letter) = self.obeys(order.ok_or_else(gone)?).await? {
                        self.declines(&letter).await?;
                    }
                }
                () = sleep_until(until) => {}
            }
        }
    }

    async fn other_channels(&mut self) -> Result<Channels, Over> {
        loop {
            let order = self.told.recv().await.ok_or_else(gone)?;
            if let Some(letter) = self.obeys(order).await? {
                self.declines(&letter).await?;
            }
            if let Some(channels) = self.channels.take() {
                return Ok(channels);
            }
        }
    }

    /// A letter is the caller's to answer.
    async fn obeys(&mut self, order: Order) -> Result<Option<ToIrc>, Over> {
        match order {
            Order::Take => {
                self.is_live = true;
                if self.is_ready {
                    self.says(Item::Live).await?;
                }
            }
            Order::Channels(channels) => self.channels = Some(channels),
            // One that is of a later build is no letter.
            Order::Letter(letter) => return Ok(serde_json::from_slice(&letter).ok()),
        }
        Ok(None)
    }

    async fn may_be_ready(&mut self) -> Result<(), Over> {
        if !self.is_ready {
            self.is_ready = true;
            self.says(Item::Ready).await?;
            if self.is_live {
                self.says(Item::Live).await?;
            }
        }
        Ok(())
    }

    /// Is in channels, until there are none: then, which ones there are.
    async fn connected(&mut self, channels: Channels) -> Result<Channels, Over> {
        let account = channels.account.clone();
        let mut report = Report::new(channels.version);
        let mut wanted = channels;
        let mut party = self.open(&wanted).await?;
        // The one in whose place another one comes.
        let mut old: Option<(Party, Instant)> = None;
        // The next one, while it is opened: this one is read on meanwhile, for any time if there
        // is no master who gives leave for a login.
        let mut renewal = Renewal::default();
        loop {
            if party.is_complete() {
                self.may_be_ready().await?;
            }
            let tells = report.due();
            let old_ends = old.as_ref().map(|(_, until)| *until);
            tokio::select! {
                order = self.told.recv() => {
                    let was_live = self.is_live;
                    match self.obeys(order.ok_or_else(gone)?).await? {
                        Some(ToIrc::Standings) => report.tells_standings(),
                        Some(letter) => {
                            let old = old.as_mut().map(|(old, _)| old);
                            self.writes(letter, account.as_ref(), &mut party, old).await?;
                        }
                        None => {}
                    }
                    if self.is_live && !was_live {
                        party.tries_again();
                        // What was told while it prepared nobody has heard.
                        report.tells_standings();
                    }
                    if let Some(next) = self.channels.take() {
                        if next.channels.is_empty() || next.account != account {
                            return Ok(next);
                        }
                        party.wants(&next.channels);
                        if let Some((old, _)) = &mut old {
                            old.leaves_all_but(&next.channels);
                        }
                        report.is_of(next.version);
                        wanted = next;
                    }
                }
                step = party.step() => match step {
                    Step::Event(event) => {
                        if let Some((channel, is_moderator)) = standing(&event) {
                            report.stands(channel, is_moderator);
                        }
                        self.says(Item::Event(event)).await?;
                    }
                    Step::Joined { channel, id } => {
                        report.joined(channel, id);
                        self.further().await?;
                    }
                    Step::Failed { channel, why } => {
                        report.failed(channel, why);
                        self.further().await?;
                    }
                    Step::Waits => self.further().await?,
                    Step::Reconnect => {
                        tracing::info!("Twitch wants another connection in this one's place");
                        renewal.begins(|pause| self.opening(&wanted, pause))?;
                    }
                    Step::Ended(why) => match old.take() {
                        // The one before is still there.
                        Some((before, _)) => {
                            tracing::warn!(why, "the connection in its place ended");
                            party = before;
                            renewal.fails(|pause| self.opening(&wanted, pause))?;
                        }
                        None => return Err(over(why, false)),
                    },
                    Step::NoPermit(why) => return Err(over(why, true)),
                },
                heard = heard(old.as_mut()) => match heard {
                    Some(event) => self.says(Item::Event(event)).await?,
                    None => old = None,
                },
                () = sleep_until(old_ends.unwrap_or_else(Instant::now)), if old_ends.is_some() => {
                    old = None;
                }
                opened = renewal.opened() => match opened {
                    Ok(mut next) => {
                        next.wants(&wanted.channels);
                        let left = std::mem::replace(&mut party, next);
                        // One that had not joined yet has nothing to be heard on for.
                        if left.is_complete() || old.is_none() {
                            old = Some((left, Instant::now() + OLD));
                        }
                    }
                    // This one goes on for a while; behind its end another one comes.
                    Err(over) => {
                        tracing::warn!(why = over.why, "there is none yet");
                        renewal.fails(|pause| self.opening(&wanted, pause))?;
                    }
                },
                () = sleep_until(tells.unwrap_or_else(Instant::now)), if tells.is_some() => {
                    for letter in report.told() {
                        self.says(Item::Letter(letter)).await?;
                    }
                }
            }
        }
    }

    async fn further(&self) -> Result<(), Over> {
        match self.is_ready {
            true => Ok(()),
            false => self.says(Item::Further).await,
        }
    }

    async fn says(&self, item: Item) -> Result<(), Over> {
        self.items.send(item).await.map_err(|_| gone())
    }
}

/// What the account is in a channel, if that is what Twitch says.
fn standing(event: &Event) -> Option<(Login, bool)> {
    let is_state = &*event.kind == "USERSTATE";
    let channel = event.channel.as_ref().filter(|_| is_state)?;
    Some((channel.clone(), is_moderator(&event.text)))
}

/// A connection in whose place another one came is heard for so long at most: Twitch ends it
/// sooner.
const OLD: Duration = Duration::from_secs(60);

/// What is still heard there; `None`: its end.
async fn heard(old: Option<&mut (Party, Instant)>) -> Option<Event> {
    let Some((party, _)) = old else {
        return std::future::pending().await;
    };
    loop {
        match party.step().await {
            Step::Event(event) => return Some(event),
            Step::Ended(_) | Step::NoPermit(_) => return None,
            Step::Joined { .. } | Step::Failed { .. } | Step::Waits | Step::Reconnect => {}
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm)]
mod tests;
