//! What an operator does at the wrong moment, and the answer that is due.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use super::{
    overload,
    patience::{BOUNDED, Patience},
    row::Act,
    scene::{FIRST, Scene, THIRD, Who},
};
use crate::{
    error::{Error, Result},
    process::command,
};

/// So many events Discord replays in the rows whose deploy is held for longer than that.
pub const REPLAYED: u32 = 160;

/// A program that is refused says so within this time.
const REFUSED: Duration = Duration::from_secs(15);

/// Does it.
///
/// # Errors
/// The answer is not the one that is due.
pub async fn act(scene: &mut Scene, act: Act) -> Result<()> {
    match act {
        Act::SecondDeploy => second_deploy(scene).await,
        Act::Abort => abort(scene).await,
        Act::AbortAndAgain => abort_and_again(scene).await,
        Act::AbortFull => {
            // It may have gone back by itself.
            let _ = abort(scene).await;
            overload::deploys_end(scene).await
        }
        Act::AwaitFull => overload::deploys_end(scene).await,
        Act::AwaitAlarm => overload::is_told(scene).await,
        Act::LateAbort => {
            pause(scene).await?;
            abort(scene).await
        }
        Act::LateKill => {
            pause(scene).await?;
            scene.kill(Who::New);
            Ok(())
        }
        Act::SecondMaster => second_master(scene).await,
        Act::SecondCandidate => second_candidate(scene).await,
        Act::SameBuild => same_build(scene).await,
    }
}

async fn abort(scene: &Scene) -> Result<()> {
    scene.fleet.admin.post("/v1/abort", &json!({})).await
}

/// The next deploy begins while handlers of both slaves run.
async fn abort_and_again(scene: &mut Scene) -> Result<()> {
    abort(scene).await?;
    let ended = |event: &Value| event["type"] == "deploy_ended";
    let ended = scene
        .hears("the end of the deploy", REFUSED * 2, ended)
        .await?;
    if ended["outcome"] != "rolled_back" {
        return Err(Error::answer("an abort", ended));
    }
    scene.deploy(THIRD, &[]).await
}

/// For longer than Discord replays what a shard gets meanwhile.
async fn pause(scene: &Scene) -> Result<()> {
    scene.fleet.admin.post("/v1/pause", &json!({})).await?;
    let events = f64::from(REPLAYED) * 1.5;
    sleep(Duration::from_secs_f64(events / scene.setup.rate)).await;
    Ok(())
}

/// One at a time: refused, and the reason names the one that runs.
async fn second_deploy(scene: &Scene) -> Result<()> {
    let command = scene.fleet.slave_command(THIRD, &[])?;
    let body = json!({ "command": command });
    let asked: Result<Value> = scene.fleet.admin.ask("/v1/deploy", &body).await;
    let what = "a second deploy";
    match asked {
        Ok(answer) => Err(Error::answer(what, format!("accepted: {answer}"))),
        Err(error) if error.to_string().contains("under way") => Ok(()),
        Err(error) => Err(Error::answer(what, format!("not the reason: {error}"))),
    }
}

/// Ends with 2 and names the first one.
async fn second_master(scene: &Scene) -> Result<()> {
    let config = scene.folder().join("baton.toml").display().to_string();
    let mut second = command("baton-master", ["run", "--config", &config])?;
    second.kill_on_drop(true);
    let late = || "a second master runs on".to_owned();
    let output = Patience::of(REFUSED).wait(late, second.output()).await?;
    let output = output.map_err(Error::io("run a second master"))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let first = scene.fleet.master.pid().unwrap_or(0).to_string();
    if output.status.code() == Some(2) && said.contains(&first) {
        return Ok(());
    }
    let detail = format!("{}, not naming process {first}: {said}", output.status);
    Err(Error::answer("a second master", detail))
}

/// A candidate that nobody waits for ends by itself, and nothing comes of it.
async fn second_candidate(scene: &Scene) -> Result<()> {
    let mut third = scene.fleet.start_slave_with(THIRD, &[]).await?;
    let late = || "a second candidate runs on".to_owned();
    let ended = third.process.ended(BOUNDED);
    let code = Patience::of(REFUSED).wait(late, ended).await??;
    if code == 0 || code == 75 {
        return Ok(());
    }
    let detail = format!("ended with {code}: {}", third.process.last_words());
    Err(Error::answer("a second candidate", detail))
}

/// Another process of the same build serves then.
async fn same_build(scene: &mut Scene) -> Result<()> {
    let before = scene.pid(Who::Old);
    scene.deploy(FIRST, &[]).await?;
    let ended = |event: &Value| event["type"] == "deploy_ended";
    let ended = scene
        .hears("the end of the deploy", REFUSED * 2, ended)
        .await?;
    if ended["outcome"] != "done" {
        return Err(Error::answer("the same build again", ended));
    }
    if scene.pid(Who::Old).is_some() {
        return Err(Error::answer(
            "the same build again",
            format!("{before:?} still lives"),
        ));
    }
    Ok(())
}
