//! One connection, from its login to its end.

use std::{collections::BTreeMap, fmt, io, time::Duration};

use rustls::pki_types::ServerName;
use tokio::{
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};

use super::{
    Address, Reason,
    line::{self, Line},
    wire::Wire,
};
use crate::{
    event::Event,
    name::{Login, UserId},
    tls,
};

/// The own PING is sent after so long, and answered within [`ANSWER`]: a connection that is
/// half open is seen.
const PING: Duration = Duration::from_secs(60);
const ANSWER: Duration = Duration::from_secs(10);

/// A join is confirmed within this time, or has failed.
const JOIN: Duration = Duration::from_secs(10);

/// What is said is with the kernel within this time, or nobody knows what of it arrives.
const WRITTEN: Duration = Duration::from_secs(5);

/// A message has at most so many characters.
pub(crate) const LONGEST: usize = 500;

/// A connection that is logged in.
pub struct Connection {
    wire: Wire,
    me: Login,
    joins: BTreeMap<Login, Joining>,
    ping: Ping,
}

/// A join that is not confirmed: the own JOIN has to come back and the room's state to come, in
/// whichever order.
#[derive(Debug)]
struct Joining {
    since: Instant,
    is_echoed: bool,
    /// The state came, with this id.
    room: Option<Option<UserId>>,
}

#[derive(Clone, Copy, Debug)]
enum Ping {
    Due(Instant),
    Sent(Instant),
}

/// What is heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Something happened.
    Event(Event),
    /// A join is confirmed.
    Joined {
        /// The channel.
        channel: Login,
        /// Its id.
        id: Option<UserId>,
    },
    /// It is not, and will not be.
    JoinFailed {
        /// The channel.
        channel: Login,
        /// Why.
        why: Reason,
    },
    /// Twitch wants another connection in this one's place: it goes on for some time.
    Reconnect,
    /// It is over.
    Ended(String),
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It cannot be reached, or did not answer.
    #[error("IRC cannot be reached: {0}")]
    Unreachable(String),
    /// Twitch does not log it in now, as after too many logins of the account.
    #[error("Twitch does not log {login} in now: {why}")]
    NotNow {
        /// As whom.
        login: Login,
        /// What it says.
        why: String,
    },
    /// The login is refused: the token is wrong, or of another account.
    #[error(
        "Twitch refuses the login of {login}: {why}. Give a token of this account with chat:read"
    )]
    Refused {
        /// As whom.
        login: Login,
        /// What it says.
        why: String,
    },
}

impl Connection {
    /// Connects and logs in, within `within`. Without a token: to read only.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn open(
        address: &Address,
        account: Option<(&Login, &str)>,
        within: Duration,
    ) -> Result<Self, Error> {
        let opens = async {
            let wire = connect(address).await.map_err(unreachable)?;
            login(wire, account).await
        };
        Self::within(within, opens).await
    }

    /// Over a stream in memory.
    #[cfg(test)]
    pub(crate) async fn over(
        stream: tokio::io::DuplexStream,
        account: Option<(Login, String)>,
    ) -> Result<Self, Error> {
        let account = account.as_ref();
        let account = account.map(|(login, token)| (login, token.as_str()));
        Self::within(Duration::from_secs(15), login(Wire::new(stream), account)).await
    }

    async fn within(
        within: Duration,
        opens: impl Future<Output = Result<Self, Error>>,
    ) -> Result<Self, Error> {
        let late = || Err(Error::Unreachable(format!("nothing within {within:?}")));
        timeout(within, opens).await.unwrap_or_else(|_| late())
    }

    /// As whom it is logged in.
    #[must_use]
    pub const fn me(&self) -> &Login {
        &self.me
    }

    /// Joins a channel. What comes of it is heard.
    pub fn join(&mut self, channel: &Login) {
        self.wire.say(&format!("JOIN #{channel}"));
        let joining = Joining {
            since: Instant::now(),
            is_echoed: false,
            room: None,
        };
        self.joins.insert(channel.clone(), joining);
    }

    /// Leaves a channel.
    pub fn part(&mut self, channel: &Login) {
        self.joins.remove(channel);
        self.wire.say(&format!("PART #{channel}"));
    }

    /// Says something, as an answer to another message or for itself. Nobody hears whether
    /// Twitch said it.
    ///
    /// # Errors
    /// It has a character that would end the line, or is too long: nothing is written.
    pub fn say(
        &mut self,
        channel: &Login,
        text: &str,
        reply_to: Option<&str>,
    ) -> Result<(), String> {
        if text.is_empty() || text.chars().count() > LONGEST {
            return Err(format!("a message has 1 to {LONGEST} characters"));
        }
        let is_id = |id: &str| id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let tag = match reply_to {
            None => String::new(),
            Some(id) if is_id(id) => format!("@reply-parent-msg-id={id} "),
            Some(_) => return Err("what it answers is no id of a message".to_owned()),
        };
        self.write(&format!("{tag}PRIVMSG #{channel} :{text}"))
    }

    /// Writes a line as it is.
    ///
    /// # Errors
    /// It is more than one line, or too much waits: nothing is written.
    pub fn write(&mut self, line: &str) -> Result<(), String> {
        if line.contains(['\r', '\n', '\0']) && !mutant!("lines-injected") {
            return Err("it is one line: it has CR, LF or NUL".to_owned());
        }
        match self.wire.say(line) {
            true => Ok(()),
            false => Err("too much waits to be written".to_owned()),
        }
    }

    /// Waits until what was said is with the kernel, for 5 s at most. `false`: nobody knows what
    /// of it arrives.
    pub async fn is_written(&mut self) -> bool {
        matches!(timeout(WRITTEN, self.wire.flush()).await, Ok(Ok(())))
    }

    /// What is heard next. Survives being cancelled.
    pub async fn next(&mut self) -> Heard {
        loop {
            let now = Instant::now();
            if let Some(failed) = self.overdue(now) {
                return failed;
            }
            if let Ping::Due(at) = self.ping
                && at <= now
            {
                self.wire.say("PING :baton");
                self.ping = Ping::Sent(now);
            }
            let line = match timeout_at(self.deadline(), self.wire.line()).await {
                Ok(Ok(line)) => line,
                Ok(Err(error)) => return Heard::Ended(error.to_string()),
                Err(_) => match self.ping {
                    Ping::Sent(at) if at + ANSWER <= Instant::now() => {
                        return Heard::Ended(format!("no answer to a PING within {ANSWER:?}"));
                    }
                    Ping::Sent(_) | Ping::Due(_) => continue,
                },
            };
            if let Some(heard) = self.read(&line) {
                return heard;
            }
        }
    }

    fn read(&mut self, text: &str) -> Option<Heard> {
        match line::read(text, Some(&self.me)) {
            Line::Ping(word) => {
                self.wire.say(&format!("PONG :{word}"));
                None
            }
            Line::Pong => {
                self.ping = Ping::Due(Instant::now() + PING);
                None
            }
            Line::Reconnect => Some(Heard::Reconnect),
            Line::Echo(channel) => {
                self.joins.get_mut(&channel)?.is_echoed = true;
                self.may_be_joined(channel)
            }
            Line::Room(channel, id, event) => match self.joins.get_mut(&channel) {
                Some(joining) => {
                    joining.room = Some(id);
                    self.may_be_joined(channel)
                }
                // Its settings changed.
                None => Some(Heard::Event(event)),
            },
            Line::NoJoin(channel, why, event) => Some(match self.joins.remove(&channel) {
                Some(_) => Heard::JoinFailed { channel, why },
                // It is about something that was said there.
                None => Heard::Event(event),
            }),
            Line::Event(event) => Some(Heard::Event(event)),
            Line::Welcome(_) | Line::Refused(_) | Line::Left(_) | Line::Nothing => None,
        }
    }

    fn may_be_joined(&mut self, channel: Login) -> Option<Heard> {
        let joining = self.joins.get_mut(&channel)?;
        let id = joining.room.take_if(|_| joining.is_echoed)?;
        self.joins.remove(&channel);
        Some(Heard::Joined { channel, id })
    }

    /// A join that was not answered in time.
    fn overdue(&mut self, now: Instant) -> Option<Heard> {
        let mut joins = self.joins.iter();
        let late = joins.find(|(_, joining)| joining.since + JOIN <= now);
        let channel = late.map(|(channel, _)| channel.clone())?;
        self.joins.remove(&channel);
        Some(Heard::JoinFailed {
            channel,
            why: Reason::Unanswered,
        })
    }

    fn deadline(&self) -> Instant {
        let joins = self
            .joins
            .values()
            .map(|joining| joining.since + JOIN)
            .min();
        let ping = match self.ping {
            Ping::Due(at) => at,
            Ping::Sent(at) => at + ANSWER,
        };
        joins.map_or(ping, |join| join.min(ping))
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("me", &self.me)
            .finish_non_exhaustive()
    }
}

#[expect(clippy::needless_pass_by_value, reason = "handed to map_err")]
fn unreachable(error: io::Error) -> Error {
    Error::Unreachable(error.to_string())
}

async fn connect(address: &Address) -> io::Result<Wire> {
    let host = address.host.trim_matches(['[', ']']);
    let stream = TcpStream::connect((host, address.port)).await?;
    stream.set_nodelay(true)?;
    if !address.tls {
        return Ok(Wire::new(stream));
    }
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let connector = tls::connector().await?;
    Ok(Wire::new(connector.connect(name, stream).await?))
}

async fn login(mut wire: Wire, account: Option<(&Login, &str)>) -> Result<Connection, Error> {
    wire.say("CAP REQ :twitch.tv/tags twitch.tv/commands");
    let login = match account {
        Some((login, token)) => {
            // It would end the line, or be refused with words about something else.
            if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
                let why = "the token is empty, or has a space or a control character".to_owned();
                let login = login.clone();
                return Err(Error::Refused { login, why });
            }
            wire.say(&format!("PASS oauth:{token}"));
            login.clone()
        }
        None => anonymous(),
    };
    wire.say(&format!("NICK {login}"));
    loop {
        let text = wire.line().await.map_err(unreachable)?;
        match line::read(&text, None) {
            Line::Welcome(me) => {
                return Ok(Connection {
                    wire,
                    me,
                    joins: BTreeMap::new(),
                    ping: Ping::Due(Instant::now() + PING),
                });
            }
            Line::Refused(why) => return Err(refused(login, why)),
            Line::Ping(word) => {
                wire.say(&format!("PONG :{word}"));
            }
            Line::Pong
            | Line::Reconnect
            | Line::Echo(_)
            | Line::Room(..)
            | Line::NoJoin(..)
            | Line::Left(_)
            | Line::Event(_)
            | Line::Nothing => {}
        }
    }
}

/// What Twitch says of the token stays as it is; anything else may pass.
fn refused(login: Login, why: String) -> Error {
    let finals = ["Login authentication failed", "Improperly formatted auth"];
    match finals.iter().any(|text| why.starts_with(text)) {
        true => Error::Refused { login, why },
        false => Error::NotNow { login, why },
    }
}

/// Twitch lets anybody read who is called like this.
fn anonymous() -> Login {
    let mut bytes = [0; 2];
    // Any number will do.
    let _ = getrandom::fill(&mut bytes);
    let number = 10_000 + u32::from(u16::from_ne_bytes(bytes));
    format!("justinfan{number}")
        .parse()
        .unwrap_or_else(|_| unreachable!("a login"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
