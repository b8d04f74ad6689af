//! That a slave is dead: how it is known, and how its process ended.

use std::{fmt, time::Duration};

use baton_protocol::{SlaveId, text};
use serde::{Deserialize, Serialize, Serializer};

use super::news::maybe_millis;

/// How it is known that a slave is dead.
///
/// Only the end of its process is final. By the other two it may come back, and has then
/// nothing any more: see `fleet/fence.rs`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    /// The kernel of its host says that its process ended.
    #[default]
    Process,
    /// It had no word of a master for so long that it seals itself, as its slot wants it.
    Lease,
    /// The operator said so.
    Operator,
}

impl Evidence {
    /// For a sentence about the slave: `it died`.
    #[must_use]
    pub const fn told(self) -> &'static str {
        match self {
            Self::Process => "it died",
            Self::Lease => "its lease ran out",
            Self::Operator => "the operator said that it is dead",
        }
    }
}

/// The end of a slave's process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Death {
    /// Who it was; `None`: it ended before it joined.
    pub slave: Option<SlaveId>,
    /// Its slot.
    pub slot: String,
    /// Its build, where it joined.
    pub build: Option<String>,
    /// Its process id, at its host.
    pub pid: u32,
    /// The host whose agent it was at; `None`, and then absent: the master's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// How it ended.
    #[serde(flatten)]
    pub ending: EndedBy,
    /// How long it lived; `None`: not known.
    #[serde(rename = "lived_ms", serialize_with = "maybe_millis")]
    pub lived: Option<Duration>,
    /// The last lines of its standard error, at most 20.
    pub last_lines: Vec<String>,
}

impl Death {
    /// `exit code 101 after 3.2 s`
    #[must_use]
    pub fn how(&self) -> String {
        match self.lived {
            Some(lived) => format!("{} after {}", self.ending, text::span(lived)),
            None => self.ending.to_string(),
        }
    }

    /// The same, with the last line that it wrote.
    #[must_use]
    pub fn told(&self) -> String {
        match self.last_words() {
            Some(line) => format!("{}; its last words: {line}", self.how()),
            None => format!("{}; it wrote nothing", self.how()),
        }
    }

    /// The last line that says something: without the advice that Rust puts below each
    /// panic, and without the backtrace in a line of our own.
    fn last_words(&self) -> Option<&str> {
        let mut lines = self.last_lines.iter().rev();
        let line = lines
            .find(|line| !line.starts_with("note: "))
            .or(self.last_lines.last())?;
        Some(line.split(" trace=\"").next().unwrap_or(line))
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndedBy {
    /// By itself, with this exit code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// By the `SIGKILL` of the master, and why: `it answers no ping`.
    Killed(&'static str),
    /// Only its parent knows: an earlier master, or the process that started it.
    Unknown,
}

impl EndedBy {
    /// Whether it ended as a process does after an order to end.
    #[must_use]
    pub const fn is_well(self) -> bool {
        matches!(self, Self::Code(0))
    }
}

impl Serialize for EndedBy {
    /// `ending`, in words, and `well`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Shown {
            ending: String,
            well: bool,
        }
        let shown = Shown {
            ending: self.to_string(),
            well: self.is_well(),
        };
        shown.serialize(serializer)
    }
}

impl fmt::Display for EndedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(101) => f.write_str("exit code 101 (a panic, if it is a program in Rust)"),
            Self::Code(code @ (126 | 127)) => {
                write!(
                    f,
                    "exit code {code} (a shell that could not run its command)"
                )
            }
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(9) => f.write_str(
                "killed by signal 9 (SIGKILL), and not by the master: out of memory, or an operator",
            ),
            Self::Signal(number) => match signal_name(*number) {
                Some(name) => write!(f, "killed by signal {number} ({name})"),
                None => write!(f, "killed by signal {number}"),
            },
            Self::Killed(why) => write!(f, "killed by the master: {why}"),
            Self::Unknown => f.write_str("only its parent knows how it ended"),
        }
    }
}

/// As Linux numbers them.
const fn signal_name(number: i32) -> Option<&'static str> {
    Some(match number {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        6 => "SIGABRT, as after a panic that aborts",
        7 => "SIGBUS",
        8 => "SIGFPE",
        10 => "SIGUSR1",
        11 => "SIGSEGV",
        12 => "SIGUSR2",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        25 => "SIGXFSZ",
        31 => "SIGSYS",
        _ => return None,
    })
}
