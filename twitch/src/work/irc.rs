//! Over IRC: which unit has which channel.
//!
//! The layout decides, the units are told their whole list each time, and say what became of it.
//! A word that is lost is said again until the unit has answered it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::Duration,
};

use baton_slave::unit::Office;
use tokio::time::Instant;

use super::{may_block, state::State, write_to, writing::Standings};
use crate::{
    channels::{Deltas, Found, Layout, Placed, Reconciler, Unit, Unix, Wanted, Why},
    name::Login,
    scale::{Rules, Scale, Step},
    unit::{Channels, FromUnit, ToIrc},
};

/// A unit that has not answered is told again after this time.
const AGAIN: Duration = Duration::from_secs(5);

/// What stands for no account.
const NOBODY: &str = "anonymous";

/// See the module.
pub(super) struct IrcWay {
    account: Login,
    is_nobody: bool,
    rules: Rules,
    office: Office,
    path: PathBuf,
    layout: Layout,
    reconciler: Reconciler,
    state: State,
    /// Which of its words each unit has answered.
    answered: BTreeMap<u32, u64>,
    /// Units that have said where their account is moderator, and when the others were asked.
    stood: BTreeSet<u32>,
    asked: Option<Instant>,
    standings: Standings,
    said: BTreeMap<u32, Instant>,
}

impl IrcWay {
    /// As the process before left it.
    ///
    /// # Errors
    /// The file of that cannot be read.
    pub(super) async fn open(
        account: Option<Login>,
        cap: Option<usize>,
        rules: Rules,
        office: Office,
        path: PathBuf,
        standings: Standings,
        now: Unix,
    ) -> Result<Self, String> {
        let file = path.clone();
        let read = may_block(move || State::read(&file)).await;
        let state = read
            .ok_or_else(|| "the process ends".to_owned())?
            .map_err(|error| format!("{}: {error}", path.display()))?;
        let nobody = || NOBODY.parse().unwrap_or_else(|_| unreachable!("a login"));
        let mut way = Self {
            is_nobody: account.is_none(),
            account: account.unwrap_or_else(nobody),
            rules,
            office,
            path,
            layout: Layout::new(cap),
            reconciler: Reconciler::new(),
            state,
            answered: BTreeMap::new(),
            stood: BTreeSet::new(),
            asked: None,
            standings,
            said: BTreeMap::new(),
        };
        for (number, told) in &way.state.told {
            let account = told.account.clone().unwrap_or_else(|| way.account.clone());
            let unit = Unit::new(account, *number);
            way.layout.add_unit(&unit, way.rules.limit as usize, true);
            let channels: BTreeSet<Login> = told.channels.iter().cloned().collect();
            way.layout.adopt(&unit, &channels, now, &mut Deltas::new());
        }
        Ok(way)
    }

    /// Which account reads it.
    fn reads<'a>(&'a self, wanted: &'a Wanted) -> &'a Login {
        wanted.account.as_ref().unwrap_or(&self.account)
    }

    /// Brings everything to where it is to be. Only what differs is done.
    pub(super) async fn reconcile(&mut self, goal: &[Wanted], now: Unix) {
        let mut deltas = Deltas::new();
        let have = self
            .layout
            .places()
            .map(|(channel, place)| (channel.clone(), place.unit.account.clone()))
            .collect();
        let todo = self.reconciler.compare(goal, &have, &self.account, now);
        for channel in &todo.remove {
            self.layout.part(channel, &mut deltas);
        }
        self.scales(goal, now, &mut deltas);
        for wanted in todo.add.iter().chain(&todo.change) {
            let account = self.reads(wanted).clone();
            match self.layout.join(&wanted.login, &account, now, &mut deltas) {
                Placed::New(_) | Placed::Already(_) => {}
                Placed::NoRoom => {
                    let why = Why::other("no unit of its account has room");
                    self.reconciler.failed(&wanted.login, why, now);
                }
                Placed::Cap => self.reconciler.failed(&wanted.login, Why::Cap, now),
            }
        }
        self.tell().await;
    }

    /// How many units each account has.
    fn scales(&mut self, goal: &[Wanted], now: Unix, deltas: &mut Deltas) {
        let mut channels: BTreeMap<Login, u64> = BTreeMap::new();
        for wanted in goal {
            *channels.entry(self.reads(wanted).clone()).or_default() += 1;
        }
        let known: BTreeSet<Login> = self
            .state
            .scales
            .keys()
            .chain(channels.keys())
            .cloned()
            .collect();
        for account in known {
            let wants = channels.get(&account).copied().unwrap_or(0);
            let scale = self.state.scales.entry(account.clone());
            let scale = scale.or_insert_with(|| Scale::new(0));
            let step = scale.step(wants, &self.rules, now);
            if step != Step::Stay {
                tracing::info!(%account, channels = wants, ?step, "the number of units changes");
                scale.take(step, now);
            }
            let units = scale.units();
            self.has_units(&account, units, now, deltas);
        }
    }

    /// Adds units, or takes away those with the fewest channels.
    fn has_units(&mut self, account: &Login, units: u32, now: Unix, deltas: &mut Deltas) {
        let mut own: Vec<(Unit, usize)> = self
            .layout
            .loads()
            .filter(|(unit, _)| unit.account == *account)
            .collect();
        let taken: BTreeSet<u32> = self.layout.loads().map(|(unit, _)| unit.index).collect();
        let mut free = (0..self.office.units()).filter(|number| !taken.contains(number));
        let before = own.len();
        while own.len() < units as usize
            && let Some(number) = free.next()
        {
            let unit = Unit::new(account.clone(), number);
            self.layout.add_unit(&unit, self.rules.limit as usize, true);
            own.push((unit, 0));
        }
        if own.len() > before && before > 0 {
            self.layout.rebalance(account, now, deltas);
        }
        while own.len() > units as usize
            && let Some(unit) = crate::scale::victim(own.iter().cloned())
        {
            own.retain(|(other, _)| *other != unit);
            self.layout.remove_unit(&unit, now, deltas);
        }
    }

    /// Tells each unit its channels, where that is news to it. What a unit leaves and another
    /// one joins, the first one leaves when the other has it: nobody is deaf there meanwhile.
    async fn tell(&mut self) {
        let units: BTreeSet<u32> = (0..self.office.units()).collect();
        let mut wanted: BTreeMap<u32, Channels> = BTreeMap::new();
        for (unit, _) in self.layout.loads() {
            let account = Some(unit.account.clone());
            let channels = self.layout.channels(&unit).cloned().collect();
            let channels = Channels {
                version: 0,
                account: account.filter(|account| !(self.is_nobody && *account == self.account)),
                channels,
            };
            wanted.insert(unit.index, channels);
        }
        let mut changed = false;
        for number in &units {
            let mut next = wanted.remove(number).unwrap_or_default();
            let told = self.state.told.get(number);
            if let Some(told) = told {
                let here: BTreeSet<&Login> = next.channels.iter().collect();
                let leaves = told
                    .channels
                    .iter()
                    .filter(|channel| !here.contains(channel));
                let stays: Vec<Login> = leaves
                    .filter(|channel| self.is_on_its_way(channel))
                    .cloned()
                    .collect();
                next.channels.extend(stays);
                if next.account.is_none() && next.channels.is_empty() {
                    next.account.clone_from(&told.account);
                }
            }
            let is_same = told.is_some_and(|told| {
                (&told.account, &told.channels) == (&next.account, &next.channels)
            });
            if is_same || (told.is_none() && next.channels.is_empty()) {
                continue;
            }
            next.version = told.map_or(0, |told| told.version + 1).max(unix_ms());
            self.state.told.insert(*number, next);
            self.said.remove(number);
            changed = true;
        }
        if changed && !self.write().await {
            return;
        }
        self.say_again();
    }

    /// Whether another unit was asked to join a channel, and has not.
    fn is_on_its_way(&self, channel: &Login) -> bool {
        match self.layout.find(channel) {
            Found::At(place) => matches!(place.state, crate::channels::State::Asked(_)),
            Found::Failed(_) | Found::Nowhere => false,
        }
    }

    async fn write(&self) -> bool {
        let (state, path) = (self.state.clone(), self.path.clone());
        let written = may_block(move || state.write(&path)).await;
        match written {
            Some(Ok(())) => true,
            Some(Err(error)) => {
                tracing::error!(%error, path = %self.path.display(), "where channels are cannot be written: no unit is told");
                false
            }
            None => false,
        }
    }

    /// Units that have not answered are told again.
    pub(super) fn say_again(&mut self) {
        let now = Instant::now();
        for (number, told) in &self.state.told {
            let is_answered = self.answered.get(number) >= Some(&told.version);
            let was_said = self.said.get(number).is_some_and(|at| *at + AGAIN > now);
            if is_answered || was_said {
                continue;
            }
            self.said.insert(*number, now);
            write_to(&self.office, *number, told);
        }
        // Where its accounts are moderators a new process does not know.
        let unknown = self.state.told.keys();
        let unknown: Vec<u32> = unknown
            .filter(|number| !self.stood.contains(number))
            .copied()
            .collect();
        if self.asked.is_none_or(|at| at + AGAIN <= now) && !unknown.is_empty() {
            self.asked = Some(now);
            for number in unknown {
                write_to(&self.office, number, &ToIrc::Standings);
            }
        }
    }

    /// A unit says something.
    pub(super) fn heard(&mut self, number: u32, letter: FromUnit, now: Unix) {
        match letter {
            // That is of conduits.
            FromUnit::Session(_) | FromUnit::Serves(_) => {}
            // The desk's.
            FromUnit::Said { .. } | FromUnit::Wrote { .. } => {}
            FromUnit::Standings { all, channels } => {
                if all {
                    self.stood.insert(number);
                }
                let account = self.account_of(number);
                if let Some(account) = account {
                    self.standings.learn(&account, channels);
                }
            }
            FromUnit::Asks => {
                let told = self.state.told.get(&number).cloned().unwrap_or_default();
                write_to(&self.office, number, &told);
            }
            FromUnit::Channels {
                version,
                joined,
                failed,
            } => {
                let answered = self.answered.entry(number).or_default();
                *answered = version.max(*answered);
                let units = self.layout.loads().map(|(unit, _)| unit);
                let Some(unit) = units.into_iter().find(|unit| unit.index == number) else {
                    return;
                };
                for channel in joined.keys() {
                    if self.layout.confirmed(&unit, channel, now) {
                        self.reconciler.confirmed(channel);
                    }
                }
                for (channel, why) in failed {
                    let why = match why.as_str() {
                        "cap" => Why::Cap,
                        "banned" => Why::Banned,
                        "suspended" => Why::Suspended,
                        "unanswered" => Why::Silent,
                        other => Why::other(other),
                    };
                    // Over the cap and unanswered, the unit tries again by itself.
                    if matches!(why, Why::Cap | Why::Silent) {
                        continue;
                    }
                    let mut deltas = Deltas::new();
                    if self
                        .layout
                        .failed(&unit, &channel, why.clone(), now, &mut deltas)
                    {
                        self.reconciler.failed(&channel, why, now);
                    }
                }
            }
        }
    }

    fn account_of(&self, unit: u32) -> Option<Login> {
        let mut units = self.layout.loads();
        let found = units.find(|(one, _)| one.index == unit);
        found.map(|(unit, _)| unit.account.clone())
    }

    /// The unit that is in a channel, and its account.
    ///
    /// # Errors
    /// Why nobody is, and whether that may pass.
    pub(super) fn mouth(&self, channel: &Login) -> Result<(u32, Login), (bool, String)> {
        match self.layout.find(channel) {
            Found::At(place) => match place.state {
                crate::channels::State::Confirmed(_) => {
                    Ok((place.unit.index, place.unit.account.clone()))
                }
                crate::channels::State::Asked(_) => {
                    Err((true, format!("{channel} is being joined")))
                }
            },
            Found::Failed(failed) => Err((false, words(&failed.why))),
            Found::Nowhere => Err((
                false,
                format!("the bot is not in {channel}: have it join first"),
            )),
        }
    }

    /// An operator asks for it again, or its broadcaster let the bot in.
    pub(super) fn again(&mut self, channel: &Login) {
        self.reconciler.again(channel);
    }

    /// State, unit and reason of a channel, for a person.
    pub(super) fn find(&self, channel: &Login) -> (&'static str, Option<u32>, Option<String>) {
        match self.layout.find(channel) {
            Found::At(place) => match place.state {
                crate::channels::State::Asked(_) => ("joining", Some(place.unit.index), None),
                crate::channels::State::Confirmed(_) => ("joined", Some(place.unit.index), None),
            },
            Found::Failed(failed) => {
                let why = words(&failed.why);
                ("failed", Some(failed.unit.index), Some(why))
            }
            Found::Nowhere => {
                let mut failures = self.reconciler.failures();
                let failure = failures.find(|(failed, _)| *failed == channel);
                let why = failure.map(|(_, failure)| words(&failure.why));
                ("waiting", None, why)
            }
        }
    }

    /// Each unit with how many channels it has.
    pub(super) fn units(&self) -> Vec<(u32, Login, usize)> {
        let loads = self.layout.loads();
        loads
            .map(|(unit, load)| (unit.index, unit.account, load))
            .collect()
    }
}

/// For a person.
pub(super) fn words(why: &Why) -> String {
    match why {
        Why::Cap => "the account is in as many channels as Twitch allows".to_owned(),
        Why::Banned => "the account is banned there".to_owned(),
        Why::Suspended => "the channel is suspended, or there is none".to_owned(),
        Why::Unauthorised => "its broadcaster has not allowed it".to_owned(),
        Why::Silent => "Twitch did not answer".to_owned(),
        Why::Other(words) => words.to_string(),
    }
}

fn unix_ms() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
}
