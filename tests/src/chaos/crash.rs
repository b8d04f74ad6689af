//! The master kills itself at a point of its own: between two saves, or between
//! a save and the order that relies on it.

use std::time::Duration;

use serde_json::json;

use super::{
    journal,
    phase::Phase,
    row::{Crash, Damage, During},
    scene::{SECOND, Scene, Setup},
};
use crate::{
    error::{Error, Result},
    fleet,
};

/// A point is passed within this time.
const PASSED: Duration = Duration::from_secs(30);

/// Handlers take so long where some must be running at a seal.
const RUNNING: u64 = 150;

/// A master that does not answer is dead after this time.
const ANSWER: Duration = Duration::from_secs(5);

/// Sets the fleet up for it.
pub fn prepare(setup: &mut Setup, crash: Crash) {
    let armed = match crash.during {
        During::ColdStart => fleet::Armed::AtOnce,
        During::Deploy | During::Abort => fleet::Armed::Later,
        // The first one is killed from outside.
        During::Restart | During::RestartWithoutJournal => return,
    };
    if crash.at.ends_with("-settled") {
        // Where nothing runs at the seal there is nothing to pass on.
        setup.handler_ms = RUNNING;
    }
    if crash.at.ends_with("-save-ticket") {
        // It is one only until the next owner's first checkpoint.
        let often = "50ms".to_owned();
        setup.limits.insert("checkpoint_to_disk", often);
    }
    if crash.at.ends_with("-stop-shard") && setup.late_seal {
        // A shard seals by itself when Discord takes its session; this order is for
        // one whose connection stays.
        let both = ["--resume-while-connected", "both"];
        setup.discord.extend(both.map(str::to_owned));
    }
    setup.crash = Some(fleet::Crash {
        at: crash.at,
        armed,
    });
}

/// Brings the fleet to the point, and waits until the master is dead.
///
/// # Errors
/// The point is not passed.
pub async fn strike(scene: &mut Scene, crash: Crash, phase: Phase) -> Result<()> {
    let armed_before = phase == Phase::M0;
    match crash.during {
        During::ColdStart => return was_cold(scene),
        During::Deploy | During::Abort => {
            if armed_before {
                scene.strike();
                scene.fleet.arm()?;
            }
            let asked = scene.deploy(SECOND, &[]).await;
            if asked.is_err() && armed_before {
                // It died before it had answered, or refused.
                let died = scene.master_ends(ANSWER).await;
                return died.map(drop).or(asked);
            }
            asked?;
            scene.reach(phase).await?;
            if !armed_before {
                scene.strike();
                scene.fleet.arm()?;
            }
            if crash.during == During::Abort {
                let asked = scene.fleet.admin.post("/v1/abort", &json!({})).await;
                if asked.is_err() {
                    let died = scene.master_ends(ANSWER).await;
                    return died.map(drop).or(asked);
                }
            }
        }
        During::Restart | During::RestartWithoutJournal => {
            if phase != Phase::M0 {
                scene.deploy(SECOND, &[]).await?;
            }
            scene.reach(phase).await?;
            scene.kill_master().await?;
            if crash.during == During::RestartWithoutJournal {
                journal::spoil(scene.folder(), Damage::Gone)?;
            }
            scene.restart_master_to_crash(crash.at).await;
        }
    }
    let passed = scene.master_ends(PASSED).await;
    passed
        .map(drop)
        .map_err(|_| Error::Late(format!("the master did not pass {}", crash.at)))
}

/// It was killed before the fleet was up, and the fleet still came up, with
/// one IDENTIFY a shard.
fn was_cold(scene: &Scene) -> Result<()> {
    if scene.fleet.starts() < 2 {
        return Err(Error::Late("the master was not killed".to_owned()));
    }
    let (cold, shards) = (scene.cold.identifies, u64::from(scene.setup.shards));
    if cold == shards {
        return Ok(());
    }
    let detail = format!("{cold} IDENTIFYs for {shards} shards");
    Err(Error::answer("a cold start", detail))
}
