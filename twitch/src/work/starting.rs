//! A consumer begins: it says which channels it wants as a whole, and is told when that is so.
//!
//! What differs from the list is changed, and nothing else. So a consumer that comes back with
//! the same channels costs Twitch nothing, however often it does.

use std::collections::{BTreeMap, BTreeSet};

use baton_sink::Question as Asked;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    consumers::versions,
    desk::{Open, Ways, unix},
};
use crate::{
    channels::{self, Manager, Want as Wish, Wanted},
    name::Login,
};

/// Channels that an answer names, at most.
const NAMED: usize = 1000;
/// Rows of the list that are read at once.
const A_PAGE: usize = 1000;

/// What is to be. What is not named is left as it is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Want {
    /// All channels that the bot is to be in: it leaves the others.
    #[serde(default)]
    channels: Option<Vec<Wished>>,
}

/// A channel that is wanted.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Named")]
struct Wished(Wanted);

#[derive(Clone, Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "a channel is a login, or an object with `channel` and `account`"
)]
enum Named {
    Channel(String),
    By {
        channel: String,
        account: Option<String>,
    },
}

/// One that waits until what it wants is so.
pub(super) struct Starter {
    asked: Asked,
    wishes: Wishes,
    /// Units of a conduit that have said since that they serve, or rest.
    units: BTreeSet<u32>,
}

/// What it wants, compared with the list.
#[derive(Default)]
struct Wishes {
    /// Channels that it may have.
    granted: BTreeSet<Login>,
    /// The others, with what is wrong.
    others: BTreeMap<Login, (&'static str, &'static str)>,
    /// How many channels are other than before.
    changed: usize,
}

/// How far channels are.
#[derive(Default)]
struct Far {
    joined: usize,
    /// That may still be joined.
    open: usize,
    /// Those that are not joined, as an answer names them.
    rows: Vec<Value>,
}

impl TryFrom<Named> for Wished {
    type Error = String;

    fn try_from(named: Named) -> Result<Self, String> {
        let (channel, account) = match named {
            Named::Channel(channel) => (channel, None),
            Named::By { channel, account } => (channel, account),
        };
        let read = |name: String| name.parse::<Login>().map_err(|error| error.to_string());
        Ok(Self(Wanted {
            account: account.map(read).transpose()?,
            ..Wanted::new(read(channel)?)
        }))
    }
}

/// All channels that are wanted.
fn wanted(list: &dyn Manager) -> Result<BTreeMap<Login, Option<Login>>, channels::Error> {
    let mut all = BTreeMap::new();
    let mut after = None;
    loop {
        let page = list.list(after.as_ref(), A_PAGE)?;
        let is_last = page.len() < A_PAGE;
        after = page.last().map(|last| last.login.clone());
        let wanted = page.into_iter().filter(|channel| channel.wanted);
        all.extend(wanted.map(|channel| (channel.login, channel.account)));
        if is_last {
            return Ok(all);
        }
    }
}

impl Open {
    /// A consumer begins. It is answered at once if what it wants cannot be read, and later
    /// otherwise.
    pub(super) async fn starts(&mut self, want: Want, asked: Asked) {
        match self.begins(want).await {
            Ok(wishes) => self.starters.push(Starter {
                asked,
                wishes,
                units: BTreeSet::new(),
            }),
            Err(why) => asked.refuse(json!({"ready": false}), why),
        }
    }

    /// Changes what differs.
    async fn begins(&mut self, want: Want) -> Result<Wishes, String> {
        let Some(named) = want.channels else {
            let all = self.list.with(|list| wanted(list)).await?;
            return Ok(Wishes {
                granted: all.into_keys().collect(),
                ..Wishes::default()
            });
        };
        let wishes: Vec<Wanted> = named.into_iter().map(|Wished(wanted)| wanted).collect();
        let now = unix();
        let goal = wishes.clone();
        let (before, answers, left) = self
            .list
            .with(move |list| {
                let before = wanted(list)?;
                let answers = list.want(&goal, now)?;
                let keeps: BTreeSet<&Login> = goal.iter().map(|wanted| &wanted.login).collect();
                let ends = before.keys().filter(|channel| !keeps.contains(channel));
                let ends: Vec<Login> = ends.cloned().collect();
                let left = match ends.is_empty() {
                    true => 0,
                    false => list.unwant(&ends)?.len(),
                };
                Ok((before, answers, left))
            })
            .await?;
        let mut compared = Wishes {
            changed: left,
            ..Wishes::default()
        };
        for wish in wishes {
            let refused = match answers.get(&wish.login) {
                Some(Wish::New) => {
                    compared.changed += 1;
                    None
                }
                Some(Wish::Already) => {
                    let reader = before.get(&wish.login);
                    let is_other = wish.account.is_some() && reader != Some(&wish.account);
                    compared.changed += usize::from(is_other);
                    None
                }
                Some(Wish::Unauthorised) => {
                    Some(("unauthorised", "its broadcaster has not let the bot in"))
                }
                Some(Wish::Full) | None => Some(("rejected", "the list is full")),
            };
            match refused {
                Some(why) => drop(compared.others.insert(wish.login, why)),
                None => drop(compared.granted.insert(wish.login)),
            }
        }
        self.look_after().await?;
        Ok(compared)
    }

    /// How far these channels are.
    fn how_far<'a>(&self, channels: impl Iterator<Item = &'a Login>) -> Far {
        let mut far = Far::default();
        for channel in channels {
            let row = self.row_of(channel);
            match row["state"].as_str() {
                Some("joined") => {
                    far.joined += 1;
                    continue;
                }
                Some("failed" | "waiting") => {}
                Some(_) | None => far.open += 1,
            }
            if far.rows.len() < NAMED {
                let row = json!({"channel": channel, "answer": row["state"], "why": row["why"]});
                far.rows.push(row);
            }
        }
        far
    }

    /// Answers those whose wishes are so, and refuses those that waited for too long.
    pub(super) fn welcomes(&mut self) {
        if self.starters.is_empty() {
            return;
        }
        for starter in std::mem::take(&mut self.starters) {
            let wishes = &starter.wishes;
            let Far { joined, open, rows } = self.how_far(wishes.granted.iter());
            let others = wishes.others.iter();
            let others =
                others.map(|(channel, (answer, why))| json!({"channel": channel, "answer": answer, "why": why}));
            let others: Vec<Value> = others.chain(rows).take(NAMED).collect();
            let units = self.units_that_serve(&starter);
            let is_ready = open == 0 && units.is_none();
            let told = json!({
                "ready": is_ready,
                "channels": wishes.granted.len() + wishes.others.len(),
                "joined": joined,
                "changed": wishes.changed,
                "others": others,
                "versions": versions(),
            });
            if is_ready {
                starter.asked.answer(told);
            } else if starter.asked.until <= Instant::now() {
                let what = match (open, units) {
                    (0, Some(units)) => format!("{units} units do not serve yet"),
                    (open, _) => format!("{open} channels are not joined yet"),
                };
                starter.asked.refuse(
                    told,
                    format!("{what}: start again, with a longer baton-ttl"),
                );
            } else {
                self.starters.push(starter);
            }
        }
        if let Ways::Conduit(way) = &mut self.ways {
            let all = self.starters.iter();
            let missing: BTreeSet<u32> = all
                .flat_map(|starter| (0..way.units()).filter(|unit| !starter.units.contains(unit)))
                .collect();
            way.asks(missing);
        }
    }

    /// A unit of a conduit says that it serves, or that there is nothing to serve.
    pub(super) fn is_there(&mut self, unit: u32, serves: bool) {
        for starter in &mut self.starters {
            starter.units.insert(unit);
        }
        if let Ways::Conduit(way) = &mut self.ways {
            way.is_there(unit, serves);
        }
    }

    /// How many units do not serve yet; `None`: all do.
    fn units_that_serve(&self, starter: &Starter) -> Option<usize> {
        match &self.ways {
            // A channel is joined by a unit that serves.
            Ways::Irc(_) => None,
            Ways::Conduit(way) => {
                let missing = (way.units() as usize).saturating_sub(starter.units.len());
                Some(missing).filter(|missing| *missing > 0)
            }
        }
    }

    /// How the bot is, for a consumer that looks whether anybody is there.
    ///
    /// # Errors
    /// The list cannot be read.
    pub(super) async fn status(&self) -> Result<Value, String> {
        let all = self.list.with(|list| wanted(list)).await?;
        let Far { joined, open, .. } = self.how_far(all.keys());
        let serve = match &self.ways {
            Ways::Irc(_) => true,
            Ways::Conduit(way) => way.all_are_there(),
        };
        Ok(json!({
            "ready": open == 0 && serve,
            "channels": all.len(),
            "joined": joined,
            "versions": versions(),
        }))
    }
}
