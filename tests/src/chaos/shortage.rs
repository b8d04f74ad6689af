//! Resources that run short: the master's disk, open files, its port.

use std::{path::Path, time::Duration};

use rustix::process::Resource as Limit;
use serde_json::{Value, json};
use tokio::{net::TcpListener, time::sleep};

use super::{
    hunt,
    row::Resource,
    scene::{SECOND, Scene, Who},
};
use crate::{
    error::{Error, Result},
    http::Connection,
    shim,
};

/// An answer of the master comes within this time, in any shortage.
const ANSWERS: Duration = Duration::from_secs(5);

/// Makes it short for so long. Without a deploy under way one is asked for
/// meanwhile, which must not change anything.
///
/// # Errors
/// The limit cannot be set, or a deploy began that could not.
pub async fn short(scene: &mut Scene, resource: Resource, span: Duration) -> Result<()> {
    let who = match resource {
        Resource::MasterDisk | Resource::MasterSync => Who::Master,
        Resource::Files(who) => who,
        Resource::MasterPort => return Ok(()),
    };
    let Some(pid) = scene.pid(who) else {
        return Err(Error::Late(format!("{who:?} is not there")));
    };
    // One that it can still accept: a request that waits until it can is a
    // deploy like any other.
    let operator = scene.fleet.admin.connect().await?;
    set(scene.folder(), pid, resource, true)?;
    sleep(span).await;
    let refused = if scene.deploys() || who != Who::Master {
        Ok(())
    } else {
        nothing_moves(scene, operator).await
    };
    set(scene.folder(), pid, resource, false)?;
    refused
}

/// Makes it short for this process, or not any more.
fn set(folder: &Path, pid: u32, resource: Resource, short: bool) -> Result<()> {
    let (limit, soft) = match resource {
        Resource::MasterDisk => (Limit::Fsize, 0),
        Resource::Files(_) => (Limit::Nofile, hunt::open_files(pid) as u64),
        Resource::MasterSync => return shim::fail_syncs(folder, short),
        Resource::MasterPort => return Ok(()),
    };
    // It may have been killed meanwhile.
    if short || hunt::is_alive(pid) {
        hunt::limit(pid, limit, short.then_some(soft))?;
    }
    Ok(())
}

/// A deploy is refused, or ends before anything moved.
async fn nothing_moves(scene: &mut Scene, mut operator: Connection) -> Result<()> {
    let command = scene.fleet.slave_command(SECOND, &[])?;
    let body = json!({ "command": command });
    let answer: Value = match operator.ask("/v1/deploy", &body).await {
        Ok(answer) => answer,
        // Refused: what it knows it says.
        Err(error) if error.chain().contains("the journal cannot be written") => return Ok(()),
        // Without a disk it ends, rather than promise what it cannot keep.
        Err(_) if scene.master_ends(ANSWERS).await.is_ok() => return Ok(()),
        Err(error) => return Err(error),
    };
    let deploy = answer["deploy"].clone();
    let ended = |event: &Value| event["type"] == "deploy_ended" && event["deploy"] == deploy;
    let ended = scene
        .hears("the end of the deploy", ANSWERS * 3, ended)
        .await?;
    if ended["outcome"] == "aborted" {
        return Ok(());
    }
    Err(Error::answer("a deploy without resources", ended))
}

/// The master is killed, and another process has its port when it comes back.
///
/// # Errors
/// The master came up all the same, or does not say why it cannot.
pub async fn port_taken(scene: &mut Scene, span: Duration) -> Result<()> {
    scene.kill_master().await?;
    let address = scene.fleet.listen().to_owned();
    let taken = TcpListener::bind(&address).await;
    let taken = taken.map_err(Error::io("take the master's port"))?;
    match scene.restart_master().await {
        Ok(()) => return Err(Error::answer("a master without its port", "started")),
        Err(error) if error.to_string().contains(&address) => {}
        Err(error) => return Err(error),
    }
    sleep(span).await;
    drop(taken);
    scene.restart_master().await
}
