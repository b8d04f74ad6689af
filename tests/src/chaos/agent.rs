//! The agent that launches the slaves of a run, with a wire of its own to the master.

use super::{scene::address, wire::Wire};
use crate::{
    error::Result,
    fleet::{AgentOptions, Fleet},
    process::Process,
};

/// What its host is called. It is this one: what is struck is the agent and its link.
pub(super) const HOST: &str = "other";

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Agent {
    process: Process,
    /// Between it and the master; of two, the one that leads.
    pub(super) to_master: Wire,
    /// Where it dials the masters.
    join: String,
}

impl Agent {
    /// `to_other`: between it and the other one of two masters.
    pub(super) async fn start(fleet: &Fleet, to_other: Option<&Wire>) -> Result<Self> {
        let to_master = Wire::lay().await?;
        to_master.lead_to(address(fleet.listen())?);
        let join = all(&to_master, to_other);
        Ok(Self {
            process: fleet.start_agent_with(&options(&join)).await?,
            to_master,
            join,
        })
    }

    /// Starts it again, as a supervisor does.
    pub(super) async fn start_again(&mut self, fleet: &Fleet) -> Result<()> {
        self.process = fleet.start_agent_with(&options(&self.join)).await?;
        Ok(())
    }

    pub(super) fn pid(&self) -> Option<u32> {
        self.process.pid()
    }

    pub(super) fn is_over(&mut self) -> bool {
        self.process.is_over()
    }

    pub(super) async fn stop(&mut self) {
        let _ = self.process.stop().await;
    }
}

/// The addresses of the masters.
pub(super) fn all(to_master: &Wire, to_other: Option<&Wire>) -> String {
    let first = to_master.address().to_string();
    match to_other {
        Some(other) => format!("{first},{}", other.address()),
        None => first,
    }
}

fn options(join: &str) -> AgentOptions {
    AgentOptions {
        host: HOST.to_owned(),
        join: join.to_owned(),
        runs: Vec::new(),
        tls: None,
    }
}
