//! What Discord leaves undocumented, asked of Discord itself with one session beside
//! the fleet's: whether a session can be resumed while its connection is open, whether
//! a heartbeat trims what is replayed, and how long a session lives without a
//! connection.
//!
//! It costs one IDENTIFY. Nothing of the fleet is touched: Discord allows several
//! sessions of one shard at a time
//! (<https://discord.com/developers/docs/events/gateway#sharding>).

mod found;
mod socket;
#[cfg(test)]
mod tests;

use std::time::Duration;

use tokio::time::sleep;

pub use self::found::{FILE, Probed, WhileConnected};
use self::socket::{Answer, Session, Socket};
use crate::{config::Token, error::Error};

/// Events are waited for after READY until none came for this long.
const QUIET: Duration = Duration::from_secs(2);

/// The old connection may take so long to be closed when another one resumed.
const TAKEN_OVER: Duration = Duration::from_secs(5);

/// The first wait without a connection, at most.
const FIRST_WAIT: Duration = Duration::from_secs(30);

/// What is to be found out, and with what.
pub struct Plan {
    /// The gateway's address, as `GET /gateway/bot` names it.
    pub url: String,
    /// The bot's token.
    pub token: Token,
    /// Shard and shard count of the session.
    pub shard: (u32, u32),
    /// The session is left without a connection for no longer than this at a time;
    /// all waits together take twice as long.
    pub longest: Duration,
}

/// Asks Discord. `tell` gets each step, as text for a person.
///
/// # Errors
/// [`Error::Failed`]: there was no session to ask with. What is not found out for
/// another reason is missing in the answer.
pub async fn probe(plan: &Plan, mut tell: impl FnMut(String)) -> Result<Probed, Error> {
    let mut probed = Probed::now();
    let token = plan.token.reveal();
    tell(format!(
        "identifying as shard {} of {}",
        plan.shard.0, plan.shard.1
    ));
    let (socket, session) = begin(plan).await.map_err(Error::Failed)?;
    let mut asking = Asking {
        token,
        session,
        sequence: socket.sequence(),
        last_event: socket.last_event(),
        socket: Some(socket),
    };
    tell("can a session be resumed while its connection is open?".to_owned());
    let connected = asking.while_connected().await;
    tell(said(&connected, ToString::to_string));
    probed.while_connected = connected.ok();
    tell("does a heartbeat trim what is replayed?".to_owned());
    let trims = asking.trims().await;
    tell(said(&trims, |trims| {
        match trims {
            Some(true) => "yes: what it names cannot be replayed",
            Some(false) => "no",
            None => "not known: no event came",
        }
        .to_owned()
    }));
    probed.heartbeat_trims = trims.ok().flatten();
    let mut wait = FIRST_WAIT.min(plan.longest / 4);
    while wait <= plan.longest {
        tell(format!(
            "can it be resumed after {wait:?} without a connection?"
        ));
        let resumed = asking.resumes_after(wait).await;
        tell(said(&resumed, |resumed| {
            if *resumed { "yes" } else { "no" }.to_owned()
        }));
        match resumed {
            Ok(true) => probed.resumed_after = Some(wait),
            Ok(false) => probed.refused_after = Some(wait),
            Err(_) => {}
        }
        if !matches!(resumed, Ok(true)) {
            break;
        }
        wait *= 2;
    }
    asking.leave().await;
    Ok(probed)
}

fn said<T>(found: &Result<T, String>, say: impl FnOnce(&T) -> String) -> String {
    match found {
        Ok(found) => format!("  {}", say(found)),
        Err(why) => format!("  not found out: {why}"),
    }
}

async fn begin(plan: &Plan) -> Result<(Socket, Session), String> {
    let mut socket = Socket::dial(&plan.url).await?;
    let session = socket.identify(plan.token.reveal(), plan.shard).await?;
    socket.until_quiet(QUIET).await?;
    Ok((socket, session))
}

/// A session and its connection, if it has one.
struct Asking<'a> {
    token: &'a str,
    session: Session,
    /// The last dispatch that came.
    sequence: u64,
    /// That of the last one that a replay could bring: neither READY nor RESUMED.
    last_event: Option<u64>,
    socket: Option<Socket>,
}

impl Asking<'_> {
    /// A heartbeat names the last event; is it still replayed? `None`: there
    /// is none.
    async fn trims(&mut self) -> Result<Option<bool>, String> {
        let Some(last) = self.last_event else {
            return Ok(None);
        };
        let mut socket = self.socket.take().ok_or(OVER)?;
        if !socket.heartbeat(self.sequence).await? {
            return Err("a heartbeat was not answered".to_owned());
        }
        socket.close().await;
        let (socket, answer) = self.resume(last - 1).await?;
        match answer {
            Answer::Resumed { replayed } => {
                self.keep(socket);
                Ok(Some(!replayed.contains(&last)))
            }
            // It could have been resumed behind the event itself.
            Answer::Invalid | Answer::Closed(_) => Ok(Some(true)),
        }
    }

    async fn while_connected(&mut self) -> Result<WhileConnected, String> {
        let mut old = self.socket.take().ok_or(OVER)?;
        let (new, answer) = self.resume(self.sequence).await?;
        match answer {
            Answer::Resumed { .. } => {
                self.keep(new);
                Ok(match old.end(TAKEN_OVER).await {
                    Some(close_code) => WhileConnected::TakesOver { close_code },
                    None => {
                        old.close().await;
                        WhileConnected::Both
                    }
                })
            }
            Answer::Invalid | Answer::Closed(_) => {
                let lives = old.heartbeat(self.sequence).await.unwrap_or(false);
                if lives {
                    self.keep(old);
                }
                Ok(WhileConnected::Refuses {
                    session_ends: !lives,
                })
            }
        }
    }

    async fn resumes_after(&mut self, wait: Duration) -> Result<bool, String> {
        let socket = self.socket.take().ok_or(OVER)?;
        socket.close().await;
        sleep(wait).await;
        let (socket, answer) = self.resume(self.sequence).await?;
        let resumed = matches!(answer, Answer::Resumed { .. });
        if resumed {
            self.keep(socket);
        }
        Ok(resumed)
    }

    async fn resume(&self, sequence: u64) -> Result<(Socket, Answer), String> {
        let mut socket = Socket::dial(&self.session.resume_url).await?;
        let answer = socket.resume(self.token, &self.session, sequence).await?;
        Ok((socket, answer))
    }

    fn keep(&mut self, socket: Socket) {
        self.sequence = self.sequence.max(socket.sequence());
        self.last_event = self.last_event.max(socket.last_event());
        self.socket = Some(socket);
    }

    async fn leave(self) {
        if let Some(socket) = self.socket {
            socket.close().await;
        }
    }
}

/// Why a question is not asked.
const OVER: &str = "the session is over since an earlier question";
