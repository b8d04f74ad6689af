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
    /// Between it and the master.
    pub(super) to_master: Wire,
}

impl Agent {
    pub(super) async fn start(fleet: &Fleet) -> Result<Self> {
        let to_master = Wire::lay().await?;
        to_master.lead_to(address(fleet.listen())?);
        Ok(Self {
            process: fleet.start_agent_with(&options(&to_master)).await?,
            to_master,
        })
    }

    /// Starts it again, as a supervisor does.
    pub(super) async fn start_again(&mut self, fleet: &Fleet) -> Result<()> {
        self.process = fleet.start_agent_with(&options(&self.to_master)).await?;
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

fn options(to_master: &Wire) -> AgentOptions {
    AgentOptions {
        host: HOST.to_owned(),
        join: to_master.address().to_string(),
        runs: Vec::new(),
        tls: None,
    }
}
