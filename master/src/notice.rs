//! What others tell the driver.

use std::sync::Arc;

use baton_core::{
    event::{Arranging, Death, DeployOrder, EndedBy, IdentifyBudget, Pause, Planned},
    settings::{Settings, SlotSettings},
    view::View,
};
use baton_protocol::{
    DeployId, ShardId, SlaveId, Term, ToMaster,
    message::{
        Hello, Report,
        agent::{AgentHello, AgentReport, FromAgent},
    },
};
use bytes::Bytes;
use tokio::sync::oneshot;

use crate::{
    config::Slot,
    link::{AgentLink, Link, LinkId},
    process::{Child, Watch},
};

/// One thing that happened outside the driver.
#[derive(Debug)]
pub enum Notice {
    /// A task without which a master is none panicked: its name.
    Broken(&'static str),
    /// An operator must know this.
    Alarm(String),
    /// Another master leads, or is to: why.
    NotLeading(String),
    /// A slave took orders of this term, which is later than this master's: the store that
    /// masters share has forgotten it.
    Forgot(Term),
    /// Another master may lead: slaves and agents are to look for it.
    LetGo,
    /// A slave proved itself and reported everything.
    Joined(Box<Joining>),
    /// A joined slave said something.
    Said {
        /// On which connection.
        link: LinkId,
        /// Who.
        slave: SlaveId,
        /// What.
        message: ToMaster,
    },
    /// A connection ended.
    Left {
        /// Which.
        link: LinkId,
        /// Whose.
        slave: SlaveId,
    },
    /// The time is over in which the connection before this one was to answer.
    Unanswered {
        /// The connection that waits.
        link: LinkId,
        /// Whose it says that it is.
        slave: SlaveId,
    },
    /// A slave answers no ping.
    Silent {
        /// On which connection.
        link: LinkId,
        /// Who.
        slave: SlaveId,
    },
    /// The process of a slave is dead.
    Died {
        /// Whose.
        slave: SlaveId,
    },
    /// The process of a slave could not be seen before.
    Seen {
        /// Whose.
        slave: SlaveId,
        /// It; `None`: it is known to be dead.
        watch: Option<Watch>,
    },
    /// A process was launched into a slot, or could not be.
    Started {
        /// Which slot.
        slot: String,
        /// It, with its pid; or why not, for a person.
        started: Result<(u32, Child), String>,
    },
    /// A process that the master launched ended.
    Exited {
        /// Its pid.
        pid: u32,
        /// How it ended.
        ending: EndedBy,
        /// The last lines that it wrote.
        last_lines: Vec<String>,
    },
    /// The process of a slave that this master did not launch ended.
    Ended(Box<Death>),
    /// Of the agent of a host.
    Agent(AgentNotice),
    /// The operator asks for a deploy.
    Deploy {
        /// What is to be done.
        order: DeployOrder,
        /// What its build is to be called; `None`: as it calls itself.
        build: Option<String>,
        /// Whom to answer; a signal wants no answer.
        answer: Option<Answer<DeployId>>,
    },
    /// The operator asks for a deploy of every slot, one after the other.
    RollOut {
        /// What is to be done.
        rolling: Rolling,
        /// Whom to answer: the deploy of the first slot.
        answer: Answer<DeployId>,
    },
    /// The operator wants the command back that a slot had before.
    Rollback {
        /// What is to be done; its command is found here.
        order: DeployOrder,
        /// Whom to answer.
        answer: Answer<DeployId>,
    },
    /// The operator stops a running deploy.
    Abort {
        /// Of which slot; `None`: the only one.
        slot: Option<String>,
        /// Whom to answer.
        answer: Answer<()>,
    },
    /// The operator holds a running deploy, or has it go on.
    Pause {
        /// Of which slot; `None`: the only one.
        slot: Option<String>,
        /// Which of the two.
        pause: Pause,
        /// Whom to answer.
        answer: Answer<()>,
    },
    /// The operator says where shards are to be.
    Arrange {
        /// What is to be done.
        order: Arranging,
        /// Whether it is only asked what that comes to.
        dry_run: bool,
        /// Whom to answer: what moves.
        answer: Answer<Vec<Planned>>,
    },
    /// The operator restarts a shard at its owner.
    Restart {
        /// Which.
        shard: ShardId,
        /// Whom to answer.
        answer: Answer<()>,
    },
    /// The operator has late seals tried again.
    LateSealsAgain {
        /// Whom to answer.
        answer: Answer<()>,
    },
    /// An operator asks the once-per-bot work something.
    Ask {
        /// What; the master does not read it.
        body: Bytes,
        /// Whom to answer: what the work says.
        answer: Answer<Bytes>,
    },
    /// The operator has shards without a session try now.
    Identify {
        /// Whom to answer.
        answer: Answer<()>,
    },
    /// The operator changed the settings.
    Settings(Box<Settings>),
    /// The operator changed which slots there are.
    Slots {
        /// As the core is to have them.
        settings: Vec<SlotSettings>,
        /// As the configuration has them.
        slots: Vec<Slot>,
        /// Whom to answer.
        answer: Answer<()>,
    },
    /// The operator says that a slave is dead.
    Fence {
        /// The beginning of its id, which no other slave's id has.
        slave: String,
        /// Whether a process that lives and can be signalled is killed.
        kill: Kill,
        /// Whom to answer.
        answer: Answer<SlaveId>,
    },
    /// The operator says that all slaves of a host are dead.
    FenceHost {
        /// Its name.
        host: String,
        /// Whom to answer: who they are.
        answer: Answer<Vec<SlaveId>>,
    },
    /// A client wants to see the fleet.
    Look {
        /// Whom to answer.
        answer: oneshot::Sender<View>,
    },
    /// What `GET /gateway/bot` said.
    Budget(IdentifyBudget),
    /// Something was removed from the runtime directory, or is wrong there.
    Emptied {
        /// What an operator is to know; `None`: nothing new.
        alarm: Option<String>,
    },
    /// The master is to leave.
    Leave,
}

/// What becomes of the agent of a host.
#[derive(Debug)]
pub enum AgentNotice {
    /// It proved itself, and said what it launched.
    Joined(Box<AgentJoining>),
    /// It said something.
    Said {
        /// Of which host.
        host: Arc<str>,
        /// On which connection.
        link: LinkId,
        /// What.
        message: FromAgent,
    },
    /// A connection ended.
    Left {
        /// Of which host.
        host: Arc<str>,
        /// Which.
        link: LinkId,
    },
    /// The time is over in which the connection before this one was to answer.
    Unanswered {
        /// Of which host.
        host: String,
        /// The connection that waits.
        link: LinkId,
    },
}

/// An agent that joins.
#[derive(Debug)]
pub struct AgentJoining {
    /// Its connection.
    pub link: AgentLink,
    /// Its hello.
    pub hello: Box<AgentHello>,
    /// What it launched.
    pub report: AgentReport,
}

/// A deploy of every slot.
#[derive(Clone, Debug)]
pub struct Rolling {
    /// What is to be done in each of them; the slot that it names counts for nothing.
    pub order: DeployOrder,
    /// What the build is to be called; `None`: as it calls itself.
    pub build: Option<String>,
    /// The slots that come first, in this order; the others follow as they are configured.
    pub first: Vec<String>,
    /// How many slots are deployed at once, once the first one is done; at least 1.
    pub at_once: usize,
}

/// What is done to a living process of a slave that the operator calls dead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kill {
    /// It is spared: the request is refused.
    #[default]
    Never,
    /// It is killed; the answer comes when it is known to be dead.
    First,
}

/// Where an operator's request is answered: done, or why not.
pub type Answer<T> = oneshot::Sender<Result<T, String>>;

/// A slave that joins.
#[derive(Debug)]
pub struct Joining {
    /// Its connection.
    pub link: Link,
    /// Its hello.
    pub hello: Box<Hello>,
    /// All its reports as one.
    pub report: Report,
    /// Its process, where that can be watched.
    pub watch: Option<Watch>,
}
