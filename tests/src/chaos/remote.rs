//! A host of the fleet as a whole: its agent and its slaves are cut off together, or lost.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use super::{
    agent::HOST,
    patience::Patience,
    row::HostHarm,
    scene::{Scene, Who},
    wire::{Harm, Way, Whose},
};
use crate::error::{Error, Result};

/// The master misses a host within this time.
const MISSED: Duration = Duration::from_secs(15);

/// Strikes the host that the agent and all slaves are on.
///
/// # Errors
/// The master does not miss it, or refuses the operator's word.
pub(super) async fn strike(scene: &mut Scene, harm: HostHarm) -> Result<()> {
    match harm {
        HostHarm::Cut(way, span) => {
            hold(scene, way);
            sleep(span).await;
            scene.heal().await
        }
        HostHarm::Lost => {
            for victim in [Who::Agent, Who::Old, Who::New] {
                if scene.pid(victim).is_some() {
                    scene.kill(victim);
                }
            }
            is_missed(scene).await?;
            fence(scene).await
        }
        HostHarm::CutAndFenced => {
            hold(scene, Way::Both);
            is_missed(scene).await?;
            fence(scene).await?;
            scene.heal().await
        }
    }
}

/// Nothing goes this way between the host and the master.
fn hold(scene: &Scene, way: Way) {
    let harm = Harm::Hold(way);
    scene.to_master.harm(Whose::Everybody, harm);
    if let Some(agent) = &scene.agent {
        agent.to_master.harm(Whose::Everybody, harm);
    }
}

/// Waits until neither the agent nor a slave of the host counts as connected.
async fn is_missed(scene: &Scene) -> Result<()> {
    let mut patience = Patience::of(MISSED);
    loop {
        let status = scene.fleet.status().await?;
        let of = |list: &str| status[list].as_array().cloned().unwrap_or_default();
        let is_here = |it: &Value| it["connected"] == true;
        if !of("hosts").iter().any(is_here) && !of("slaves").iter().any(is_here) {
            return Ok(());
        }
        if patience.is_over().await {
            let (hosts, slaves) = (&status["hosts"], &status["slaves"]);
            let text = format!("the master does not miss the host: {hosts}, {slaves}");
            return Err(Error::Late(text));
        }
        sleep(Duration::from_millis(50)).await;
    }
}

async fn fence(scene: &Scene) -> Result<()> {
    let body = json!({ "host": HOST });
    scene.fleet.admin.post("/v1/fence-host", &body).await
}
