//! What comes out of the core.

use baton_protocol::{
    DeployId, LaunchId, SlaveId, ToSlave,
    message::{Refused, Role, SetAside},
};

use super::{
    entry::{Durability, Entry},
    news::News,
};

/// Something to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Make this durable before the next action is carried out: all of it, or nothing.
    Save(Vec<Entry>, Durability),
    /// Say something to a joined slave. If its connection is gone the message is
    /// dropped: the core says it again when the slave joins again.
    Send(SlaveId, ToSlave),
    /// Refuse a slave that joined, and close its connection.
    Refuse(SlaveId, Refused),
    /// Start a slave process into this slot, in a process group of its own. A
    /// process that was launched into the slot before and has not joined is killed
    /// first, and known dead before this one starts: there is at most one.
    Launch {
        /// The slot.
        slot: String,
        /// With which role it is to say hello.
        role: Role,
        /// The command of a deploy, instead of the slot's configured one.
        command: Option<Vec<String>>,
        /// For which deploy; it is to say so in its hello.
        deploy: Option<DeployId>,
        /// Which launch this is; it is to say that too.
        launch: LaunchId,
    },
    /// `SIGKILL` the process that was launched into this slot and has not joined,
    /// with its group: no task waits for it any more, and its end is not reported.
    GiveUp {
        /// The slot.
        slot: String,
    },
    /// `SIGKILL` this slave's process. [`Input::Died`](super::Input::Died) follows when it is dead.
    Kill(SlaveId, &'static str),
    /// Keep an event where an operator finds it: it killed each process that had it.
    Keep(Box<SetAside>),
    /// Close the connection of this slave: nothing comes from its host. [`Input::Left`](super::Input::Left) follows.
    HangUp(SlaveId),
    /// Tell the observers.
    Tell(News),
    /// The master may leave now.
    Exit,
}
