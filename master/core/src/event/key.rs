//! What an entry is called in a key-value store: each entry overwrites what was saved
//! under its key before.
//!
//! Keys are words and numbers with a dot between them, of the characters that every store
//! of this kind takes (letters, digits, `-`, `.`, `=`), so that one row can be asked for,
//! and a whole kind by its beginning:
//!
//! ```text
//! pinned   owner.SHARD   ticket.SHARD   work   slave.ID   deploy   deploy.SLOT
//! seen     lost          late-seal-refused     command.SLOT        given-up.DEPLOY
//! identifies             lease.ID
//! arrangement
//! ```

use std::{fmt, str::FromStr};

use baton_protocol::{DeployId, ShardId, SlaveId};

use super::Entry;

/// What an entry overwrites.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// What the fleet's sessions are identified with.
    Pinned,
    /// Who a slave is, or that it is dead by the operator's word.
    Slave(SlaveId),
    /// Whose a shard is.
    Owner(ShardId),
    /// Where a shard stands.
    Ticket(ShardId),
    /// Whose the once-per-bot work is.
    Work,
    /// The last deploy of all slots: its number was the last one.
    Deploy,
    /// The last deploy of a slot.
    DeployOf(String),
    /// A deploy that did not come about.
    GivenUp(DeployId),
    /// When a master ran last.
    Seen,
    /// There while not every shard has a row since a journal was lost.
    Lost,
    /// Whether the service refused a late seal.
    LateSealRefused,
    /// What is left of the budget of permits.
    Identifies,
    /// How long a slave serves without a leader.
    Lease(SlaveId),
    /// What operators changed of where shards are to be.
    Arrangement,
    /// The command of a slot.
    Command(String),
}

impl Entry {
    /// What it overwrites.
    #[must_use]
    pub fn key(&self) -> Key {
        match self {
            Self::Pinned(_) => Key::Pinned,
            Self::Owner { shard, .. } => Key::Owner(*shard),
            Self::Work { .. } => Key::Work,
            Self::Slave(hello) => Key::Slave(hello.slave),
            Self::Gone(slave) | Self::Fenced(slave) => Key::Slave(*slave),
            Self::Ticket { ticket, .. } => Key::Ticket(ticket.shard),
            Self::Deploy(last) if last.slot.is_empty() => Key::Deploy,
            Self::Deploy(last) => Key::DeployOf(last.slot.clone()),
            Self::GivenUp(deploy) => Key::GivenUp(*deploy),
            Self::Seen => Key::Seen,
            Self::Whole => Key::Lost,
            Self::LateSealRefused(_) => Key::LateSealRefused,
            Self::Identifies(_) => Key::Identifies,
            Self::Leased { slave, .. } => Key::Lease(*slave),
            Self::Arrangement(_) => Key::Arrangement,
            Self::Command { slot, .. } => Key::Command(slot.clone()),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pinned => f.write_str("pinned"),
            Self::Slave(slave) => write!(f, "slave.{slave}"),
            Self::Owner(shard) => write!(f, "owner.{shard}"),
            Self::Ticket(shard) => write!(f, "ticket.{shard}"),
            Self::Work => f.write_str("work"),
            Self::Deploy => f.write_str("deploy"),
            Self::GivenUp(deploy) => write!(f, "given-up.{deploy}"),
            Self::Seen => f.write_str("seen"),
            Self::Lost => f.write_str("lost"),
            Self::LateSealRefused => f.write_str("late-seal-refused"),
            Self::Identifies => f.write_str("identifies"),
            Self::Lease(slave) => write!(f, "lease.{slave}"),
            Self::Arrangement => f.write_str("arrangement"),
            Self::DeployOf(slot) => {
                f.write_str("deploy.")?;
                escaped(slot, f)
            }
            Self::Command(slot) => {
                f.write_str("command.")?;
                escaped(slot, f)
            }
        }
    }
}

/// A name may have characters that a key has not.
fn escaped(name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' => {
                write!(f, "{}", char::from(byte))?;
            }
            byte => write!(f, "={byte:02X}")?,
        }
    }
    Ok(())
}

/// A text is no key of an entry: a master that knows more may have written it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownKey;

impl fmt::Display for UnknownKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no key of an entry")
    }
}

impl std::error::Error for UnknownKey {}

impl FromStr for Key {
    type Err = UnknownKey;

    fn from_str(text: &str) -> Result<Self, UnknownKey> {
        let (kind, of) = text.split_once('.').unwrap_or((text, ""));
        let number = || of.parse::<u32>().map(ShardId).map_err(|_| UnknownKey);
        let key = match kind {
            "pinned" => Self::Pinned,
            "slave" => Self::Slave(of.parse().map_err(|_| UnknownKey)?),
            "owner" => Self::Owner(number()?),
            "ticket" => Self::Ticket(number()?),
            "work" => Self::Work,
            "deploy" if of.is_empty() => Self::Deploy,
            "deploy" => Self::DeployOf(unescaped(of).ok_or(UnknownKey)?),
            "given-up" => Self::GivenUp(of.parse().map(DeployId).map_err(|_| UnknownKey)?),
            "seen" => Self::Seen,
            "lost" => Self::Lost,
            "late-seal-refused" => Self::LateSealRefused,
            "identifies" => Self::Identifies,
            "lease" => Self::Lease(of.parse().map_err(|_| UnknownKey)?),
            "arrangement" => Self::Arrangement,
            "command" => Self::Command(unescaped(of).ok_or(UnknownKey)?),
            _ => return Err(UnknownKey),
        };
        // What is written in another way than this one writes it is another key.
        (key.to_string() == text).then_some(key).ok_or(UnknownKey)
    }
}

fn unescaped(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'=' {
            let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
            let (high, low) = (digit(rest.next())?, digit(rest.next())?);
            bytes.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_back_as_it_was_written_and_nothing_else_is_one() {
        for key in [
            Key::Pinned,
            Key::Slave(SlaveId(7)),
            Key::Owner(ShardId(3)),
            Key::Ticket(ShardId(1023)),
            Key::Work,
            Key::Deploy,
            Key::DeployOf("über uns.1=2".to_owned()),
            Key::GivenUp(DeployId(9)),
            Key::Seen,
            Key::Lost,
            Key::LateSealRefused,
            Key::Identifies,
            Key::Lease(SlaveId(7)),
            Key::Arrangement,
            Key::Command("main".to_owned()),
            Key::Command("über uns.1=2".to_owned()),
            Key::Command(String::new()),
        ] {
            let text = key.to_string();
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-.=".contains(&byte);
            assert!(text.bytes().all(plain), "{text}");
            assert_eq!(text.parse(), Ok(key), "{text}");
        }
        for text in [
            "",
            "owner",
            "owner.x",
            "owner.03",
            "slave.7",
            "pinned.1",
            "later.2",
            "command.=4",
            "deploy.",
        ] {
            assert_eq!(text.parse::<Key>(), Err(UnknownKey), "{text}");
        }
    }
}
