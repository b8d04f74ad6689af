//! What is written when, and what is refused: pure, with the time as an input.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use baton_protocol::command::Command;
use baton_slave::ShardId;
use serde_json::{Value, json};

use super::{
    CommandsConfig, Keep, Taken,
    along::Along,
    control::{Control, Stands},
    said::{Said, said},
    shard_of,
    written::Written,
};

/// Commands of a shard that are in hand; the others wait at the broker.
const HELD: usize = 16;
/// All members of a guild may be asked for once in it. Source: "Request Guild Members".
const ALL_MEMBERS: Duration = Duration::from_secs(30);

/// The commands of a shard that are in hand.
#[derive(Debug)]
pub(crate) struct Desk<L> {
    shard: ShardId,
    config: CommandsConfig,
    /// In the order in which they came.
    waiting: VecDeque<Held<L>>,
    /// When all members of a guild were last asked for.
    asked: BTreeMap<u64, Instant>,
    written: Written,
    stands: Stands,
}

/// A command that may be written.
#[derive(Debug)]
pub(crate) struct Held<L> {
    pub(crate) letter: L,
    /// What is written; of a control message, what is written next.
    pub(crate) json: String,
    kind: Kind,
    /// When it is too old.
    pub(crate) until: Instant,
    ttl: Duration,
    /// Names it at the broker.
    pub(crate) id: Option<String>,
    /// For the worker.
    name: Option<String>,
    /// It asks for all members of this guild.
    all_of: Option<u64>,
}

#[derive(Clone, Debug)]
enum Kind {
    Command(u64),
    /// So much was written for it.
    Control(Control, u64),
}

/// What is told the broker of a command.
#[derive(Debug)]
pub(crate) struct Settled<L> {
    pub(crate) letter: L,
    /// Names it at the broker.
    pub(crate) id: Option<String>,
    pub(crate) op: Option<u64>,
    /// What the answer calls it.
    pub(crate) name: Option<String>,
    pub(crate) verdict: Verdict,
}

/// What may be taken.
enum Checked {
    Command(Command),
    Control(Control),
}

/// What became of a command.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Verdict {
    Written,
    /// A control message was heard.
    Told(Value),
    /// It is not written, for this reason.
    Refused(String),
}

impl<L> Desk<L> {
    pub(crate) fn new(shard: ShardId, config: CommandsConfig, stands: Stands) -> Self {
        Self {
            stands,
            shard,
            config,
            waiting: VecDeque::new(),
            asked: BTreeMap::new(),
            written: Written::default(),
        }
    }

    /// This came along with the shard.
    pub(crate) fn goes_on_from(&mut self, along: Along, now: Instant, unix_ms: u64) {
        for (guild, at) in along.asked {
            let ago = Duration::from_millis(unix_ms.saturating_sub(at));
            if let Some(at) = now.checked_sub(ago).filter(|_| ago < ALL_MEMBERS) {
                self.asked.insert(guild, at);
            }
        }
        self.written.goes_on_from(along.settled, along.written, now);
        self.stands.with(|standing| {
            if along.stands.session == standing.session {
                *standing = along.stands;
            }
        });
    }

    /// What the next owner has to know.
    pub(crate) fn along(&mut self, now: Instant, unix_ms: u64) -> Along {
        self.forget_asked(now);
        let ago = |at: Instant| u64::try_from(now.saturating_duration_since(at).as_millis());
        let asked = self.asked.iter();
        let asked = asked.map(|(guild, at)| {
            let at = unix_ms.saturating_sub(ago(*at).unwrap_or(u64::MAX));
            (*guild, at)
        });
        let (settled, written) = self.written.along(now);
        Along {
            asked: asked.collect(),
            settled,
            written,
            stands: self.stands.with(|standing| standing.known()),
        }
    }

    pub(crate) fn has_room(&self) -> bool {
        self.waiting.len() < HELD
    }

    pub(crate) fn waiting(&self) -> impl Iterator<Item = &Held<L>> {
        self.waiting.iter()
    }

    /// Takes a command. `Some`: it is settled already. `shards`: of the whole bot.
    pub(crate) fn take(
        &mut self,
        taken: Taken<L>,
        shards: u32,
        now: Instant,
    ) -> Option<Settled<L>> {
        let name = taken.wishes.name();
        let mut op = None;
        let is_known = taken.is_again
            && taken
                .id
                .as_ref()
                .is_some_and(|id| self.written.knows(id, now));
        let verdict = if is_known && !mutant!("written-again") {
            Verdict::Written
        } else {
            match self.check(&taken, shards, now, &mut op) {
                Ok((said, ttl)) => {
                    let Taken {
                        letter,
                        id,
                        age,
                        payload,
                        ..
                    } = taken;
                    let (kind, all_of) = match said {
                        Checked::Control(control) => (Kind::Control(control, 0), None),
                        Checked::Command(command) => {
                            let all_of = command.guilds.first().copied();
                            (
                                Kind::Command(command.op),
                                all_of.filter(|_| command.asks_for_all),
                            )
                        }
                    };
                    self.waiting.push_back(Held {
                        letter,
                        json: String::from_utf8_lossy(&payload).into_owned(),
                        kind,
                        until: now + ttl.saturating_sub(age),
                        ttl,
                        id,
                        name,
                        all_of,
                    });
                    return None;
                }
                Err(reason) => Verdict::Refused(reason),
            }
        };
        Some(Settled {
            letter: taken.letter,
            id: taken.id,
            op,
            name,
            verdict,
        })
    }

    fn check(
        &self,
        taken: &Taken<L>,
        shards: u32,
        now: Instant,
        op: &mut Option<u64>,
    ) -> Result<(Checked, Duration), String> {
        let ttl = taken.wishes.check(self.config.ttl)?;
        let payload = match said(&taken.payload)? {
            Said::Command(payload) => payload,
            Said::Control(_) if taken.age >= ttl => return Err(too_old(ttl)),
            Said::Control(control) => return Ok((Checked::Control(control), ttl)),
        };
        *op = Some(payload.op);
        let intents = self.config.intents.unwrap_or(u64::MAX);
        let command = Command::read(payload.op, payload.d.get(), intents);
        let command = command.map_err(|wrong| wrong.to_string())?;
        for guild in &command.guilds {
            let shard = shard_of(*guild, shards);
            if shard != self.shard {
                return Err(format!(
                    "guild {guild} is of shard {shard}, and this is the queue of shard {}",
                    self.shard
                ));
            }
        }
        if taken.age >= ttl {
            return Err(too_old(ttl));
        }
        if let Some(guild) = command.guilds.first().filter(|_| command.asks_for_all) {
            self.not_in_vain(*guild, now + (ttl - taken.age), now)?;
        }
        Ok((Checked::Command(command), ttl))
    }

    /// Whether a request for all members of a guild may be written in its time.
    fn not_in_vain(&self, guild: u64, until: Instant, now: Instant) -> Result<(), String> {
        match self.asked.get(&guild) {
            Some(at) if *at + ALL_MEMBERS > until => {
                let ago = now.saturating_duration_since(*at);
                Err(format!(
                    "all members of guild {guild} were asked for {} s ago, and Discord takes that \
                     once in 30 s: ask again in {} s",
                    ago.as_secs(),
                    ALL_MEMBERS.saturating_sub(ago).as_secs() + 1
                ))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// When it may be written.
    fn may_at(&self, held: &Held<L>) -> Option<Instant> {
        let asked = self.asked.get(&held.all_of?)?;
        Some(*asked + ALL_MEMBERS).filter(|_| !mutant!("members-at-once"))
    }

    /// The next one to be written now, in their order but for those that have to wait.
    /// `serves`: the shard is connected.
    pub(crate) fn next(&mut self, now: Instant, serves: bool, shards: u32) -> Option<Held<L>> {
        let mut at = 0;
        while let Some(held) = self.waiting.get(at) {
            let may = match &held.kind {
                Kind::Command(_) => self.may_at(held).is_none_or(|at| at <= now),
                Kind::Control(control, _) => serves && self.differs(control, shards).is_some(),
            };
            if may {
                break;
            }
            at += 1;
        }
        let mut held = self.waiting.remove(at)?;
        let differs = match &held.kind {
            Kind::Command(_) => return Some(held),
            Kind::Control(control, _) => self.differs(control, shards),
        };
        let Some(json) = differs else {
            // Discord has just said that it stands.
            self.waiting.push_front(held);
            return None;
        };
        held.json = json;
        Some(held)
    }

    /// What is to be written first for a worker that starts.
    fn differs(&self, control: &Control, shards: u32) -> Option<String> {
        match control {
            Control::Status => None,
            Control::Start { want, .. } => self
                .stands
                .with(|standing| want.differs(standing, self.shard, shards)),
        }
    }

    /// Control messages that are heard: nothing is left to be done for them. `status`: what the
    /// shard says of itself.
    pub(crate) fn told(&mut self, serves: bool, shards: u32, status: &Value) -> Vec<Settled<L>> {
        let is_told = |desk: &Self, held: &Held<L>| match &held.kind {
            Kind::Control(Control::Status, _) => true,
            Kind::Control(start @ Control::Start { .. }, _) => {
                (serves || mutant!("ready-unserved")) && desk.differs(start, shards).is_none()
            }
            Kind::Command(_) => false,
        };
        let mut told = Vec::new();
        while let Some(at) = self.waiting.iter().position(|held| is_told(self, held)) {
            let Some(held) = self.waiting.remove(at) else {
                break;
            };
            let mut status = status.clone();
            if let Kind::Control(_, written) = &held.kind {
                status["written"] = json!(written);
            }
            told.push(held.settled(Verdict::Told(status)));
        }
        told
    }

    /// Whether a worker waits for the shard to serve.
    pub(crate) fn has_starters(&self) -> bool {
        let mut all = self.waiting.iter();
        all.any(|held| matches!(held.kind, Kind::Control(..)))
    }

    /// It could not be written yet, and comes first.
    pub(crate) fn put_back(&mut self, held: Held<L>) {
        self.waiting.push_front(held);
    }

    /// Those that became too old, or will before they may be written.
    pub(crate) fn refused(&mut self, now: Instant) -> Vec<Settled<L>> {
        let mut refused = Vec::new();
        for _ in 0..self.waiting.len() {
            let Some(held) = self.waiting.pop_front() else {
                break;
            };
            let why = match held.all_of {
                _ if held.until <= now => Err(too_old(held.ttl)),
                Some(guild) => self.not_in_vain(guild, held.until, now),
                None => Ok(()),
            };
            match why {
                Ok(()) => self.waiting.push_back(held),
                Err(reason) => refused.push(held.settled(Verdict::Refused(reason))),
            }
        }
        refused
    }

    /// When there is something to do if nothing happens.
    pub(crate) fn due(&self) -> Option<Instant> {
        let times = self.waiting.iter().flat_map(|held| {
            let may_at = self.may_at(held);
            std::iter::once(held.until).chain(may_at)
        });
        times.min()
    }

    /// It was written. `is_ours`: its letter is not on its way to come again. `None`: it is, or
    /// more may be to be written for it. And whether what goes along has changed.
    pub(crate) fn wrote(
        &mut self,
        mut held: Held<L>,
        is_ours: bool,
        now: Instant,
    ) -> (Option<Settled<L>>, bool) {
        let stands_otherwise = self.stands.with(|standing| standing.is_written(&held.json));
        if let Kind::Control(_, written) = &mut held.kind {
            *written += 1;
            if is_ours {
                self.waiting.push_front(held);
            }
            return (None, stands_otherwise);
        }
        if let Some(guild) = held.all_of {
            self.forget_asked(now);
            self.asked.insert(guild, now);
        }
        if let Some(id) = &held.id {
            self.written.remember(id.clone());
        }
        let goes_along = held.all_of.is_some() || stands_otherwise;
        let settled = is_ours.then(|| held.settled(Verdict::Written));
        (settled, goes_along)
    }

    /// The broker was told what became of it.
    pub(crate) fn is_settled(&mut self, id: &str, keep: Keep, now: Instant) {
        self.written.is_settled(id, keep, now);
    }

    /// What is in hand and not written: the broker has it.
    pub(crate) fn give_back(&mut self) -> Vec<L> {
        self.waiting.drain(..).map(|held| held.letter).collect()
    }

    fn forget_asked(&mut self, now: Instant) {
        self.asked
            .retain(|_, at| now.saturating_duration_since(*at) < ALL_MEMBERS);
    }
}

impl Verdict {
    /// What is told whoever asked, and why it was refused.
    pub(super) fn told(self) -> (Value, Option<String>) {
        match self {
            Self::Written => (json!({"written": true}), None),
            Self::Told(told) => (told, None),
            Self::Refused(reason) => (json!({"written": false}), Some(reason)),
        }
    }
}

impl<L> Held<L> {
    fn settled(self, verdict: Verdict) -> Settled<L> {
        Settled {
            letter: self.letter,
            id: self.id,
            op: match self.kind {
                Kind::Command(op) => Some(op),
                Kind::Control(..) => None,
            },
            name: self.name,
            verdict,
        }
    }

    /// It could not be written in time.
    pub(crate) fn too_old(self) -> Settled<L> {
        let reason = too_old(self.ttl);
        self.settled(Verdict::Refused(reason))
    }
}

fn too_old(ttl: Duration) -> String {
    format!(
        "it was not written within its {ttl:?}: nobody served the shard, or Discord's 120 commands \
         a minute were used up"
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
