//! What units write on their connections: messages of the outbox by PRIVMSG, and raw lines.
//!
//! ```text
//! speech ── utterance ──▶ desk ── Say ──▶ the unit that is in the channel ──▶ Twitch
//!    ▲                      │                       │
//!    └──── what came of it ─┴◀──────── Said ────────┘
//! ```
//!
//! A unit answers when the kernel has the line, or says that it certainly was not written. If no
//! answer comes, nobody knows, and nothing is written again.

use std::{collections::BTreeMap, sync::PoisonError};

use baton_protocol::message::Correspondent;
use baton_sink::Question as Asked;
use baton_slave::unit::Office;
use serde_json::Value;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Duration, Instant},
};

use super::{
    Shared,
    desk::{Open, Ways},
    question::{Answer, Question, refused, row, rows},
    write_to,
};
use crate::{
    name::Login,
    outbox::{LeaseId, Message, Standing},
    unit::{Came, ToIrc},
};

/// A unit answers within this time, or nobody knows.
pub(super) const ANSWER: Duration = Duration::from_secs(10);

/// Bytes of a raw line without its end. Source: RFC 1459, 2.3, which Twitch keeps.
const LONGEST: usize = 510;

/// Lines that wait for an answer, at most.
const MOST: usize = 256;

/// A message of the outbox that a unit is to say.
pub(super) struct Utterance {
    pub(super) lease: LeaseId,
    pub(super) message: Message,
    pub(super) came: oneshot::Sender<Spoken>,
}

/// What came of it.
#[derive(Debug)]
pub(super) enum Spoken {
    /// A unit has answered.
    Came(Came),
    /// Nobody could say it, for this reason, and nobody will.
    Refused(String),
}

/// What waits for units.
pub(super) struct Writing {
    utterances: mpsc::Receiver<Utterance>,
    said: BTreeMap<i64, oneshot::Sender<Spoken>>,
    lines: BTreeMap<u64, Line>,
    next: u64,
}

struct Line {
    channel: Login,
    asker: Asker,
    until: Instant,
}

/// Who asked for a line.
pub(super) enum Asker {
    Operator(Correspondent),
    Consumer(Asked),
}

/// What accounts are in channels, as units say it. Clones are the same.
#[derive(Clone, Default)]
pub(super) struct Standings(Shared<BTreeMap<(Login, Login), bool>>);

impl Standings {
    /// The account is moderator or broadcaster there, or is not.
    pub(super) fn learn(&self, account: &Login, channels: BTreeMap<Login, bool>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (channel, is_moderator) in channels {
            known.insert((account.clone(), channel), is_moderator);
        }
    }

    /// What an account is in a channel: nobody special, where nobody has said.
    pub(super) fn of(&self, account: &Login, channel: &Login) -> Standing {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = (account.clone(), channel.clone());
        match account == channel || known.get(&place).copied().unwrap_or(false) {
            true => Standing::Moderator,
            false => Standing::Plain,
        }
    }
}

impl Writing {
    /// Where utterances are put, and what waits for them.
    pub(super) fn new() -> (mpsc::Sender<Utterance>, Self) {
        let (says, utterances) = mpsc::channel(1);
        let writing = Self {
            utterances,
            said: BTreeMap::new(),
            lines: BTreeMap::new(),
            // So that no answer to a line of the process before is taken for one of this.
            next: u64::from(std::process::id()) << 32,
        };
        (says, writing)
    }

    /// What is to be said next. Survives being cancelled.
    pub(super) async fn next(&mut self) -> Utterance {
        match self.utterances.recv().await {
            Some(utterance) => utterance,
            None => std::future::pending().await,
        }
    }
}

impl Asker {
    fn answer(self, office: &Office, channel: &Login, came: Came) {
        let (answer, why) = match came {
            Came::Written => (Answer::Resolved, None),
            Came::Not(why) => (Answer::Rejected, Some(why)),
            Came::Unknown => (
                Answer::Unknown,
                Some("the connection broke meanwhile: nobody knows whether it was written".into()),
            ),
        };
        let told = rows(vec![row(channel, answer, why.as_deref())]);
        match why.filter(|_| answer == Answer::Rejected) {
            Some(why) => self.refuse(office, told, why),
            None => match self {
                Self::Operator(from) => office.write(from, told.to_string().into()),
                Self::Consumer(asked) => asked.answer(told),
            },
        }
    }

    fn refuse(self, office: &Office, told: Value, why: String) {
        match self {
            Self::Operator(from) => office.write(from, told.to_string().into()),
            Self::Consumer(asked) => asked.refuse(told, why),
        }
    }
}

impl Open {
    /// The unit that is in a channel, and its account.
    ///
    /// # Errors
    /// Why nobody can write there, and whether that may pass.
    fn mouth(&self, channel: &Login) -> Result<(u32, Login), (bool, String)> {
        match &self.ways {
            Ways::Irc(way) => way.mouth(channel),
            Ways::Conduit(_) => Err((
                false,
                "this fleet reads by a conduit and has no connection of IRC: say it by helix"
                    .to_owned(),
            )),
        }
    }

    /// Has a unit say a message.
    pub(super) fn utters(&mut self, utterance: Utterance) {
        let Utterance {
            lease,
            message,
            came,
        } = utterance;
        let spoken = match self.mouth(&message.channel) {
            Ok((unit, _)) => {
                // Those of which nobody waits any more.
                self.writing.said.retain(|_, waits| !waits.is_closed());
                self.writing.said.insert(lease.0, came);
                let letter = ToIrc::Say {
                    lease: lease.0,
                    account: message.account,
                    channel: message.channel,
                    text: message.text,
                    reply_to: message.reply_to,
                };
                return write_to(&self.office, unit, &letter);
            }
            Err((true, why)) => Spoken::Came(Came::Not(why)),
            Err((false, why)) => Spoken::Refused(why),
        };
        // It waits for that, or its process ends.
        let _ = came.send(spoken);
    }

    /// A unit says what became of a message.
    pub(super) async fn is_said(&mut self, lease: i64, came: Came) {
        match self.writing.said.remove(&lease) {
            Some(waits) if !waits.is_closed() => drop(waits.send(Spoken::Came(came))),
            // It comes late: the outbox knows the lease, wherever it was given.
            Some(_) | None => {
                if let Some(speech) = &self.speech {
                    speech.late(LeaseId(lease), came).await;
                }
            }
        }
    }

    /// Somebody has a unit write a line as it is.
    pub(super) fn writes(&mut self, question: Question, channels: &[Login], asker: Asker) {
        let checked = check(question.line.as_deref().unwrap_or_default());
        let found = match channels {
            [channel] => checked.map(|()| channel.clone()),
            _ => Err("name one channel: the line goes by the connection that is in it".to_owned()),
        };
        let found = found.and_then(|channel| {
            let (unit, _) = self.mouth(&channel).map_err(|(_, why)| why)?;
            match self.writing.lines.len() < MOST {
                true => Ok((channel, unit)),
                false => Err(format!("{MOST} lines wait for their units: ask again")),
            }
        });
        let (channel, unit) = match found {
            Ok(found) => found,
            Err(why) => return asker.refuse(&self.office, refused(&why), why),
        };
        self.writing.next += 1;
        let number = self.writing.next;
        let letter = ToIrc::Write {
            number,
            channel: channel.clone(),
            line: question.line.unwrap_or_default(),
        };
        write_to(&self.office, unit, &letter);
        let line = Line {
            channel,
            asker,
            until: Instant::now() + ANSWER,
        };
        self.writing.lines.insert(number, line);
    }

    /// A unit says what became of a line.
    pub(super) fn is_written(&mut self, number: u64, came: Came) {
        if let Some(line) = self.writing.lines.remove(&number) {
            line.asker.answer(&self.office, &line.channel, came);
        }
    }

    /// Lines of which no unit has said anything.
    pub(super) fn gives_up_lines(&mut self) {
        let now = Instant::now();
        let overdue = |line: &Line| line.until <= now;
        let numbers = self.writing.lines.iter();
        let numbers = numbers.filter(|(_, line)| overdue(line));
        let numbers: Vec<u64> = numbers.map(|(number, _)| *number).collect();
        for number in numbers {
            self.is_written(number, Came::Unknown);
        }
    }
}

/// Whether a line may be written as it is.
fn check(line: &str) -> Result<(), String> {
    if line.contains(['\r', '\n', '\0']) {
        return Err("the line has CR, LF or NUL: write each line by itself".to_owned());
    }
    if line.len() > LONGEST {
        return Err(format!(
            "the line has {} bytes, and may have {LONGEST}",
            line.len()
        ));
    }
    let command = match line.strip_prefix('@') {
        Some(tagged) => tagged
            .split_once(' ')
            .map_or("", |(_, rest)| rest.trim_start()),
        None => line,
    };
    let command = command.split(' ').next().unwrap_or_default();
    match command.to_ascii_uppercase().as_str() {
        "" => Err("the line is empty: give a command of IRC".to_owned()),
        "PRIVMSG" => Err("use the verb `say`, which keeps to what an account may say".to_owned()),
        "JOIN" => Err("use the verb `join`".to_owned()),
        "PART" => Err("use the verb `part`".to_owned()),
        own @ ("PASS" | "NICK" | "USER" | "CAP" | "QUIT" | "PING" | "PONG") => {
            Err(format!("{own} is the connection's own"))
        }
        other if other.bytes().all(|byte| byte.is_ascii_alphanumeric()) => Ok(()),
        other => Err(format!("{other:?} is no command of IRC")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_would_end_the_connection_or_pass_by_a_budget_is_refused() {
        let refused = |line: &str| check(line).expect_err(line);
        assert!(refused("privmsg #one :hello").contains("`say`"));
        assert!(refused("@reply-parent-msg-id=1 PRIVMSG #one :hello").contains("`say`"));
        assert!(refused("JOIN #one").contains("`join`"));
        assert!(refused("PART #one").contains("`part`"));
        for own in ["PASS oauth:x", "nick bot", "CAP REQ :x", "QUIT", "PONG :x"] {
            assert!(refused(own).contains("the connection's own"), "{own}");
        }
        assert!(refused("WHO #one\r\nQUIT").contains("by itself"));
        assert!(refused("").contains("empty"));
        assert!(refused("@tags-only").contains("empty"));
        assert!(refused(":x WHO #one").contains("no command"));
        assert!(refused(&"A".repeat(511)).contains("511 bytes"));
        assert_eq!(check("WHO #one"), Ok(()));
        assert_eq!(check("@client-nonce=1 NAMES #one"), Ok(()));
    }

    #[test]
    fn an_account_is_moderator_in_its_own_channel_and_where_a_unit_said_so_last() {
        let login = |name: &str| name.parse::<Login>().expect("a login");
        let (bot, one) = (login("bot"), login("one"));
        let standings = Standings::default();
        assert_eq!(standings.of(&bot, &bot), Standing::Moderator);
        assert_eq!(standings.of(&bot, &one), Standing::Plain);
        standings.learn(&bot, BTreeMap::from([(one.clone(), true)]));
        assert_eq!(standings.of(&bot, &one), Standing::Moderator);
        assert_eq!(standings.of(&login("other"), &one), Standing::Plain);
        standings.learn(&bot, BTreeMap::from([(one.clone(), false)]));
        assert_eq!(standings.of(&bot, &one), Standing::Plain);
    }
}
