//! How a run ends.

use std::{fs, path::PathBuf, time::Duration};

use rustix::process::Signal;
use tokio::time::sleep;

use super::{
    super::{hunt, patience::Patience},
    Scene, Who,
};

/// Every process has ended within this time.
const ENDS: Duration = Duration::from_secs(10);

impl Scene {
    /// Ends everything; gives the processes that had to be killed, and the
    /// folder with logs and sinks.
    pub async fn end(mut self) -> (Vec<u32>, PathBuf) {
        self.thaw();
        let folder = self.folder().to_owned();
        let slaves: Vec<u32> = hunt::of_folder(&folder);
        let keepers = [
            self.fleet.master.pid(),
            self.other_master(),
            self.fleet.discord.process().pid(),
            self.pid(Who::Agent),
        ];
        for pid in slaves.iter().filter(|pid| !keepers.contains(&Some(**pid))) {
            hunt::signal(*pid, Signal::TERM);
        }
        if let Some(other) = &mut self.fleet.other {
            let _ = other.process.stop().await;
        }
        let _ = self.fleet.master.stop().await;
        if let Some(agent) = &mut self.agent {
            agent.stop().await;
        }
        let _ = self.fleet.discord.process().stop().await;
        let mut patience = Patience::of(ENDS);
        while !hunt::of_folder(&folder).is_empty() && !patience.is_over().await {
            sleep(Duration::from_millis(20)).await;
        }
        // A slave waits for what its clients have not acknowledged: they are here until then.
        if let Some(clients) = &mut self.clients {
            clients.end();
            let _ = fs::write(folder.join("logs/clients.jsonl"), clients.lines());
        }
        // The fleet kills what is left when it is dropped.
        (hunt::of_folder(&folder), folder)
    }
}
