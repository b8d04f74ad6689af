//! How each blow is struck, and what heals it.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tokio::time::sleep;

use super::{
    brokers, builds, clients, crash, deadly, host, journal, leaders, operator, overload,
    phase::Phase,
    remote,
    row::{Blow, Damage, Resource},
    scene::{SECOND, Scene, Who},
    shortage, store, unending,
    wire::{Harm, Whose, Wire},
};
use crate::{
    error::{Error, Result},
    shim,
};

/// Checkpoints fill the end of a journal within this time.
const OLDER: Duration = Duration::from_millis(1500);

/// Brings the deploy into `phase`, strikes, and heals what heals by itself.
///
/// # Errors
/// The phase is not reached or the blow cannot be struck. What the blow does to
/// the fleet is no error here.
pub async fn strike(scene: &mut Scene, blow: Blow, phase: Phase) -> Result<()> {
    if let Some(keeps) = scene.setup.keeps {
        unending::comes(scene, keeps).await?;
    }
    if let Some(events) = scene.setup.flood {
        overload::comes(scene, events).await?;
    }
    if let Blow::Build(build) = blow {
        scene.strike();
        return builds::deploy(scene, build).await;
    }
    if let Blow::Crash(crash) = blow {
        return crash::strike(scene, crash, phase).await;
    }
    if phase != Phase::M0 {
        let flags = scene.setup.second.clone();
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        scene.deploy(SECOND, &flags).await?;
    }
    scene.reach(phase).await?;
    scene.strike();
    match blow {
        Blow::Nothing | Blow::Build(_) | Blow::Crash(_) => Ok(()),
        Blow::Kill(victims) => {
            for victim in victims {
                scene.kill(*victim);
            }
            Ok(())
        }
        Blow::Freeze(victims, span) => {
            for victim in victims {
                if let Some(pid) = scene.pid(*victim) {
                    scene.freeze(pid);
                }
            }
            sleep(span).await;
            scene.thaw();
            Ok(())
        }
        Blow::Hang(victim) => {
            let pid = scene.present(victim).await?;
            scene.freeze(pid);
            scene.frozen_are_killed().await
        }
        Blow::Leave(victim) => {
            leave(scene, victim);
            Ok(())
        }
        Blow::ToMaster(whose, harm, span) => {
            let whose = whom(scene, whose)?;
            harm_wire(&scene.to_master, whose, harm, span).await;
            Ok(())
        }
        Blow::ToDiscord(whose, harm, span) => {
            let whose = whom(scene, whose)?;
            harm_wire(&scene.to_discord, whose, harm, span).await;
            Ok(())
        }
        Blow::AgentToMaster(harm, span) => {
            if let Some(agent) = &scene.agent {
                harm_wire(&agent.to_master, Whose::Everybody, harm, span).await;
            }
            Ok(())
        }
        Blow::Discord(faults) => {
            for fault in faults {
                let fault: Value =
                    serde_json::from_str(fault).map_err(|error| Error::answer("fault", error))?;
                scene.fleet.discord.fault(&fault).await?;
            }
            Ok(())
        }
        Blow::Clock(seconds, victims) => {
            for victim in victims {
                scene.kill(*victim);
            }
            shim::set_clock(scene.folder(), seconds)
        }
        Blow::Operator(act) => operator::act(scene, act).await,
        Blow::Short(Resource::MasterPort, span) => shortage::port_taken(scene, span).await,
        Blow::Short(resource, span) => shortage::short(scene, resource, span).await,
        Blow::Journal(damage) => journal::damage(scene, damage).await,
        Blow::Unseen(span) => host::unseen(scene, span).await,
        Blow::Emptied => host::emptied(scene).await,
        Blow::DeadlyEvent => deadly::comes(scene).await,
        Blow::Store(harm) => store::strike(scene, harm).await,
        Blow::Clients(harm) => clients::strike(scene, harm).await,
        Blow::Broker(harm) => brokers::strike(scene, harm).await,
        Blow::Leader(harm) => leaders::strike(scene, harm).await,
        Blow::Shared(harm) => leaders::strike_store(scene, harm).await,
        Blow::Host(harm) => remote::strike(scene, harm).await,
        Blow::PowerCut => {
            if phase == Phase::M0 {
                // A session that is older than a second was saved durably: the end
                // of the journal must be younger.
                sleep(OLDER).await;
            }
            for victim in [Who::Old, Who::New] {
                scene.kill(victim);
            }
            journal::damage(scene, Damage::Torn).await
        }
    }
}

fn leave(scene: &mut Scene, victim: Who) {
    if let Some(pid) = scene.pid(victim) {
        super::hunt::signal(pid, Signal::TERM);
    }
}

fn whom(scene: &Scene, whose: Option<Who>) -> Result<Whose> {
    let Some(who) = whose else {
        return Ok(Whose::Everybody);
    };
    scene
        .pid(who)
        .map(Whose::Process)
        .ok_or_else(|| Error::Late(format!("{who:?} is not there to be struck")))
}

async fn harm_wire(wire: &Wire, whose: Whose, harm: Harm, span: Duration) {
    wire.harm(whose, harm);
    sleep(span).await;
    wire.heal();
}
