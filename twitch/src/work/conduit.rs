//! Over a conduit: which channels it is subscribed to.
//!
//! The subscriptions are Twitch's, and outlive every process: what is there already costs a
//! list and nothing else, however many channels there are. Each request has a permit.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use baton_slave::unit::Office;
use tokio::time::Instant;

use super::{irc::words, list::List, shards::Shards, write_to};
use crate::{
    channels::{Reconciler, Unix, Wanted, Why},
    helix::{Condition, Error, Helix, PERMIT},
    name::{Login, UserId},
    unit::ToUnit,
};

/// What chat is.
const KIND: &str = "channel.chat.message";

/// Channels that are subscribed or ended in one turn: in between, questions are answered.
const A_TURN: usize = 50;

/// A unit that has not said whether it serves is asked again after this time.
const AGAIN: Duration = Duration::from_secs(1);

/// See the module.
pub(super) struct ConduitWay {
    helix: Helix,
    conduit: String,
    reader: UserId,
    office: Office,
    reconciler: Reconciler,
    /// The subscription of each channel's id; `None`: Twitch was not asked yet.
    subscribed: Option<BTreeMap<UserId, String>>,
    /// Channels by their ids.
    ids: BTreeMap<Login, UserId>,
    shards: Option<u32>,
    /// Units that have said whether they serve or rest.
    there: BTreeMap<u32, bool>,
    /// When they were last asked.
    asked: Option<Instant>,
    /// How many there are to be.
    count: Shards,
}

impl ConduitWay {
    pub(super) fn new(
        helix: Helix,
        conduit: String,
        reader: UserId,
        office: Office,
        count: Shards,
    ) -> Self {
        Self {
            helix,
            conduit,
            reader,
            office,
            reconciler: Reconciler::new(),
            subscribed: None,
            ids: BTreeMap::new(),
            shards: None,
            there: BTreeMap::new(),
            asked: None,
            count,
        }
    }

    /// How many units the fleet has, of which some may rest.
    pub(super) fn units(&self) -> u32 {
        self.office.units()
    }

    /// Has these units say whether they serve, unless they were asked just now.
    pub(super) fn asks(&mut self, units: BTreeSet<u32>) {
        let is_time = self.asked.is_none_or(|at| at.elapsed() >= AGAIN);
        if units.is_empty() || !is_time {
            return;
        }
        self.asked = Some(Instant::now());
        for unit in units {
            write_to(&self.office, unit, &ToUnit::Tell);
        }
    }

    /// A unit says that it serves, or rests.
    pub(super) fn is_there(&mut self, unit: u32, serves: bool) {
        self.there.insert(unit, serves);
    }

    /// Whether each unit has said so.
    pub(super) fn all_are_there(&self) -> bool {
        self.there.len() >= self.units() as usize
    }

    async fn permit(&self) -> Result<(), String> {
        let permit = self.office.permit(PERMIT).await;
        permit.map_err(|error| error.to_string())
    }

    /// Brings the conduit nearer to where it is to be. Whether there is more to do at once.
    ///
    /// # Errors
    /// Twitch cannot be asked, for a person.
    pub(super) async fn reconcile(
        &mut self,
        goal: &[Wanted],
        list: &List,
        now: Unix,
    ) -> Result<bool, String> {
        if self.subscribed.is_none() {
            self.permit().await?;
            let all = self.helix.subscriptions(KIND).await;
            let all = all.map_err(|error| error.to_string())?;
            let own = all.into_iter().filter(|one| {
                one.status == "enabled"
                    && one.condition.get("user_id").map(String::as_str)
                        == Some(self.reader.as_str())
            });
            let own = own.filter_map(|one| {
                let channel = one.condition.get("broadcaster_user_id")?;
                Some((UserId::from(channel.as_str()), one.id))
            });
            self.subscribed = Some(own.collect());
        }
        self.learn_ids(goal, list, now).await?;
        let (have, known) = self.have();
        let nobody = || "nobody".parse::<Login>();
        let Ok(default) = nobody() else {
            return Ok(false);
        };
        // One application reads all: whose account a channel is, is of no concern here.
        let goal: Vec<Wanted> = goal
            .iter()
            .map(|wanted| Wanted {
                account: None,
                ..wanted.clone()
            })
            .collect();
        let have = have
            .into_iter()
            .map(|channel| (channel, default.clone()))
            .collect();
        let todo = self.reconciler.compare(&goal, &have, &default, now);
        for wanted in todo.add.iter().take(A_TURN) {
            self.subscribe(&wanted.login, now).await?;
        }
        for channel in todo.remove.iter().take(A_TURN) {
            if let Some(id) = known.get(channel) {
                self.unsubscribe(id).await?;
            }
        }
        Ok(todo.add.len() > A_TURN || todo.remove.len() > A_TURN)
    }

    /// Channels of the list that are subscribed, and the ids of those.
    fn have(&self) -> (BTreeSet<Login>, BTreeMap<Login, UserId>) {
        let subscribed = self.subscribed.as_ref();
        let is_there = |id: &UserId| subscribed.is_some_and(|all| all.contains_key(id));
        let known = self.ids.iter().filter(|(_, id)| is_there(id));
        let known: BTreeMap<Login, UserId> = known
            .map(|(channel, id)| (channel.clone(), id.clone()))
            .collect();
        (known.keys().cloned().collect(), known)
    }

    /// Logins change, ids do not: Twitch is asked once for each channel that is new.
    async fn learn_ids(&mut self, goal: &[Wanted], list: &List, now: Unix) -> Result<(), String> {
        for wanted in goal {
            if let Some(id) = &wanted.id {
                self.ids.insert(wanted.login.clone(), id.clone());
            }
        }
        let unknown: Vec<Login> = goal
            .iter()
            .map(|wanted| wanted.login.clone())
            .filter(|login| !self.ids.contains_key(login))
            .filter(|login| {
                !self
                    .reconciler
                    .failures()
                    .any(|(failed, _)| failed == login)
            })
            .take(100)
            .collect();
        if unknown.is_empty() {
            return Ok(());
        }
        self.permit().await?;
        let users = self.helix.users(&unknown).await;
        let users = users.map_err(|error| error.to_string())?;
        let mut missing: BTreeSet<Login> = unknown.into_iter().collect();
        for user in users {
            missing.remove(&user.login);
            self.ids.insert(user.login.clone(), user.id.clone());
            let (login, id) = (user.login, user.id);
            list.with(move |list| list.named(&login, &id)).await?;
        }
        for channel in missing {
            self.reconciler.failed(&channel, Why::Suspended, now);
        }
        Ok(())
    }

    async fn subscribe(&mut self, channel: &Login, now: Unix) -> Result<(), String> {
        // Its id is learnt first.
        let Some(id) = self.ids.get(channel).cloned() else {
            return Ok(());
        };
        self.permit().await?;
        let condition = Condition::from([
            ("broadcaster_user_id".to_owned(), id.to_string()),
            ("user_id".to_owned(), self.reader.to_string()),
        ]);
        let made = self
            .helix
            .subscribe(&self.conduit, KIND, "1", &condition)
            .await;
        let why = match made {
            Ok(made) => {
                if let Some(subscribed) = &mut self.subscribed {
                    subscribed.insert(id, made.id);
                }
                self.reconciler.confirmed(channel);
                return Ok(());
            }
            // Somebody else made it: what there is is asked anew.
            Err(Error::Conflict(_)) => {
                self.subscribed = None;
                return Ok(());
            }
            Err(Error::Forbidden(why)) if why.contains("too many") => Why::Cap,
            Err(Error::Forbidden(_)) => Why::Unauthorised,
            Err(error @ Error::TooMany { .. }) if error.to_string().contains("cost") => Why::Cap,
            Err(error) if !error.is_final() => return Err(error.to_string()),
            Err(error) => Why::other(&error.to_string()),
        };
        self.reconciler.failed(channel, why, now);
        Ok(())
    }

    async fn unsubscribe(&mut self, channel: &UserId) -> Result<(), String> {
        let subscribed = self.subscribed.as_ref();
        let Some(id) = subscribed.and_then(|all| all.get(channel)).cloned() else {
            return Ok(());
        };
        self.permit().await?;
        let ended = self.helix.unsubscribe(&id).await;
        ended.map_err(|error| error.to_string())?;
        if let Some(subscribed) = &mut self.subscribed {
            subscribed.remove(channel);
        }
        Ok(())
    }

    /// Twitch says that a subscription is over: which channel it was of.
    pub(super) fn revoked(&mut self, channel: &UserId, status: &str, now: Unix) -> Option<Login> {
        if let Some(subscribed) = &mut self.subscribed {
            subscribed.remove(channel);
        }
        let login = self.ids.iter().find(|(_, id)| *id == channel)?.0.clone();
        let why = match status {
            "authorization_revoked" => Why::Unauthorised,
            "user_removed" => Why::Suspended,
            other => Why::other(other),
        };
        self.reconciler.failed(&login, why, now);
        Some(login)
    }

    pub(super) fn again(&mut self, channel: &Login) {
        self.reconciler.again(channel);
    }

    pub(super) fn id_of(&self, channel: &Login) -> Option<UserId> {
        self.ids.get(channel).cloned()
    }

    /// State and reason of a channel, for a person.
    pub(super) fn find(&self, channel: &Login) -> (&'static str, Option<String>) {
        let id = self.ids.get(channel);
        let subscribed = self.subscribed.as_ref();
        if id.is_some_and(|id| subscribed.is_some_and(|all| all.contains_key(id))) {
            return ("joined", None);
        }
        let mut failures = self.reconciler.failures();
        match failures.find(|(failed, _)| *failed == channel) {
            Some((_, failure)) => ("failed", Some(words(&failure.why))),
            None => ("joining", None),
        }
    }

    /// How many shards the conduit has.
    ///
    /// # Errors
    /// Twitch cannot be asked, or knows no such conduit.
    pub(super) async fn shards(&mut self) -> Result<u32, String> {
        if let Some(shards) = self.shards {
            return Ok(shards);
        }
        self.permit().await?;
        let all = self
            .helix
            .conduits()
            .await
            .map_err(|error| error.to_string())?;
        let own = all.into_iter().find(|one| one.id == self.conduit);
        let own = own.ok_or_else(|| format!("Twitch knows no conduit {}", self.conduit))?;
        self.shards = Some(own.shard_count);
        Ok(own.shard_count)
    }

    /// How many shards the conduit has, and how many it is to have for so many channels.
    ///
    /// # Errors
    /// Twitch cannot be asked, or the disk does not take a new number.
    pub(super) async fn wanted(&mut self, channels: u64, now: Unix) -> Result<(u32, u32), String> {
        let (has, most) = (self.shards().await?, self.office.units());
        Ok((has, self.count.wanted(channels, has, most, now).await?))
    }

    /// An operator's number holds.
    ///
    /// # Errors
    /// The disk's.
    pub(super) async fn hold(&mut self, units: u32, now: Unix) -> Result<(), String> {
        self.count.hold(units, now).await
    }

    /// The number follows the channels again.
    ///
    /// # Errors
    /// Twitch cannot be asked, or the disk's.
    pub(super) async fn follow(&mut self, now: Unix) -> Result<(), String> {
        let has = self.shards().await?;
        self.count.follow(has, now).await
    }

    pub(super) fn is_held(&self) -> bool {
        self.count.is_held()
    }

    pub(super) const fn office(&self) -> &Office {
        &self.office
    }

    /// Gives the conduit another number of shards. New ones come one by one, each with its
    /// session: a message for a shard without one is tried on one other, so a single shard
    /// without a session loses nothing, and two may.
    ///
    /// # Errors
    /// Twitch refuses it. The conduit has as many shards as it says next.
    pub(super) async fn resize(
        &mut self,
        shards: u32,
        sessions: &BTreeMap<u32, String>,
    ) -> Result<(), String> {
        let before = self.shards().await?;
        for step in before.min(shards - 1) + 1..=shards {
            // Both are here before the first is used.
            self.permit().await?;
            self.permit().await?;
            let resized = self.helix.resize_conduit(&self.conduit, step).await;
            let resized = resized.map_err(|error| error.to_string())?;
            self.shards = Some(resized.shard_count);
            let unit = step - 1;
            let taken = match sessions.get(&unit) {
                Some(session) => self.assign(unit, session).await,
                None => Ok(()),
            };
            for unit in 0..self.office.units() {
                write_to(&self.office, unit, &ToUnit::Are(resized.shard_count));
            }
            taken?;
        }
        Ok(())
    }

    /// Gives a shard to a session.
    async fn assign(&self, unit: u32, session: &str) -> Result<(), String> {
        let refused = self.helix.assign(&self.conduit, &[(unit, session)]).await;
        match refused.map_err(|error| error.to_string())?.first() {
            Some(refused) => Err(format!("unit {unit} tries it again itself: {refused}")),
            None => Ok(()),
        }
    }

    /// Has the units that come open their sessions.
    pub(super) fn announces(&self, units: std::ops::Range<u32>) {
        let shards = units.end;
        for unit in units {
            write_to(&self.office, unit, &ToUnit::WillBe(shards));
        }
    }
}
