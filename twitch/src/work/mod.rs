//! The once-per-bot work of a Twitch fleet: which channels the bot is in, and what it says.
//!
//! ```text
//! desk       hears letters: questions of operators, words of units; looks after everything
//! question   what operators ask, as it is written
//! answers    what they are answered
//! list       the list of channels, on a thread that may block
//! irc        which unit has which channel, over IRC
//! state      where channels are, for the next process that runs the work
//! conduit    which channels the conduit has, over EventSub
//! shards     how many shards it is to have
//! resizing   and how it comes to have them
//! speech     what the bot says, each message once
//! consumers  what consumers ask by the queues of a broker
//! starting   consumers that begin, and wait for what they want
//! saying     what consumers have the bot say, until it is answered
//! writing    what units write: messages by PRIVMSG, and raw lines
//! door       the invite page
//! tidings    notices by webhook
//! ```
//!
//! One process of the fleet runs it, and the master moves it with a deploy. What has to
//! survive that process is in two files: the list of channels, and beside it where they are.

mod answers;
mod conduit;
mod consumers;
mod desk;
mod door;
mod irc;
mod list;
mod question;
mod resizing;
mod saying;
mod shards;
mod speech;
mod starting;
mod state;
mod tidings;
mod writing;

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use baton_protocol::{ShardId, message::Correspondent};
use baton_slave::{Work, unit::Office};
use bytes::Bytes;
use serde::Serialize;
use tokio::{runtime::Handle, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use self::desk::Desk;
pub use self::{consumers::Consumers, tidings::Hook};
use crate::{
    helix::Helix,
    invite::Settings,
    name::{Login, UserId},
    outbox::By,
    scale::Rules,
};

/// What the work needs.
#[derive(Clone, Debug)]
pub struct WorkConfig {
    /// The list of channels; it is made where it is missing.
    pub list: PathBuf,
    /// Whether the bot may be in every channel that is wanted, authorised or not.
    pub anybody: bool,
    /// How the channels are read.
    pub way: Way,
    /// By which application and as whom the bot speaks; `None`: it does not.
    pub speaks: Option<Speaks>,
    /// The page on which broadcasters let the bot in; `None`: there is none.
    pub page: Option<PageConfig>,
    /// Where notices go; `None`: nowhere.
    pub hook: Option<Hook>,
    /// Whoever asks by a broker; `None`: nobody.
    pub consumers: Option<Consumers>,
}

/// How channels are read.
#[derive(Clone, Debug)]
pub enum Way {
    /// By a conduit.
    Conduit {
        /// Asks Twitch.
        helix: Helix,
        /// The conduit.
        conduit: String,
        /// As whom chat is read.
        reader: UserId,
        /// When units come and go.
        rules: Rules,
    },
    /// By connections of IRC.
    Irc {
        /// The usual account; `None`: nobody's.
        account: Option<Login>,
        /// In so many channels an account may be; `None`: as many as there is room for.
        cap: Option<usize>,
        /// When units come and go.
        rules: Rules,
    },
}

/// The page on which broadcasters let the bot in.
#[derive(Clone, Debug)]
pub struct PageConfig {
    /// Where it listens: an address of this host.
    pub listen: SocketAddr,
    /// What the page says and asks for.
    pub settings: Settings,
    /// Asks Twitch who a broadcaster is.
    pub helix: Helix,
}

/// As whom the bot speaks.
#[derive(Clone, Debug)]
pub struct Speaks {
    /// The account.
    pub account: Login,
    /// By which application and as which user it speaks by Helix; `None`: by IRC only.
    pub helix: Option<(Helix, UserId)>,
    /// How a message goes that does not say how.
    pub by: By,
}

/// The once-per-bot work: which channels there are, and which unit has each. Given to
/// [`Builder::work`](baton_slave::Builder::work). It has to be made inside of a tokio runtime.
#[derive(Debug)]
pub struct ChannelWork {
    config: WorkConfig,
    office: Office,
    runtime: Handle,
    running: Mutex<Option<Running>>,
}

#[derive(Debug)]
struct Running {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl ChannelWork {
    /// Not begun.
    #[must_use]
    pub fn new(config: WorkConfig, office: Office) -> Self {
        Self {
            config,
            office,
            runtime: Handle::current(),
            running: Mutex::new(None),
        }
    }
}

impl Work for ChannelWork {
    fn start(&self, _: Option<Bytes>) {
        let stop = CancellationToken::new();
        let desk = Desk::new(self.config.clone(), self.office.clone());
        let task = self.runtime.spawn(desk.run(stop.clone()));
        let running = Running { stop, task };
        let mut known = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = known.replace(running) {
            before.task.abort();
        }
    }

    /// Everything is in its files: the next process needs nothing else.
    fn stop(&self) -> Bytes {
        let running = self
            .running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(Running { stop, task }) = running {
            stop.cancel();
            // It ends between two steps; one that panicked has ended.
            let _ = self.runtime.block_on(task);
        }
        Bytes::new()
    }
}

/// Shared by what runs on a thread that may block.
type Shared<T> = Arc<Mutex<T>>;

/// Writes a letter to a unit.
fn write_to(office: &Office, unit: u32, letter: &impl Serialize) {
    if let Ok(body) = serde_json::to_vec(letter) {
        office.write(Correspondent::Unit(ShardId(unit)), body.into());
    }
}

/// Does something that may block.
async fn may_block<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    // It panicked, or the process ends.
    tokio::task::spawn_blocking(work).await.ok()
}
