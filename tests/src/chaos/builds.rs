//! Deploys of builds that are no good.

use std::{collections::BTreeSet, time::Duration};

use tokio::time::sleep;

use super::{
    row::Build,
    scene::{SECOND, Scene},
};
use crate::{
    error::{Error, Result},
    process::program,
};

/// A deploy of a build that never gets anywhere ends within this time.
const ENDS: Duration = Duration::from_secs(30);

/// After this time what a command left behind has said hello.
const LEFT_BEHIND: Duration = Duration::from_secs(3);

/// Leaves its arguments behind, as a program, and ends.
const FORK: &str = "setsid sh -c 'sleep 1; exec \"$@\"' sh \"$@\" & exit 0";

/// A program that is not there.
const ABSENT: &str = "no-such-program";

/// Deploys it and waits until the deploy ended.
///
/// # Errors
/// A program is missing, or the deploy does not end.
pub async fn deploy(scene: &mut Scene, build: Build) -> Result<()> {
    let asked = match command(scene, build)? {
        Some(command) => scene.deploy_command(&command).await,
        None => scene.deploy(SECOND, flags(build)).await,
    };
    if build == Build::Absent {
        return absent(asked);
    }
    asked?;
    let ended = |event: &serde_json::Value| event["type"] == "deploy_ended";
    let ended = scene.hears("the end of the deploy", ENDS, ended).await?;
    let reason = ended["reason"].as_str().unwrap_or_default();
    if build == Build::TooSlow && !reason.contains("falls behind") {
        return Err(Error::answer("a deploy of a build that is too slow", ended));
    }
    if build == Build::Hangs && !reason.contains("does not finish") {
        return Err(Error::answer("a deploy of a build that hangs", ended));
    }
    if build == Build::PanicsAtCanary {
        let moved = scene.fleet.news.phase("moved");
        let moved: BTreeSet<_> = moved.map(|(shard, _)| shard).collect();
        if moved.len() > 1 {
            let moved = format!("shards {moved:?} moved");
            return Err(Error::answer("a deploy of a build that panics", moved));
        }
    }
    if build == Build::Forks {
        // What was left behind says hello now, and is refused.
        sleep(LEFT_BEHIND).await;
    }
    Ok(())
}

/// Of a good program.
const fn flags(build: Build) -> &'static [&'static str] {
    match build {
        Build::OtherIntents => &["--intents", "513"],
        // Some eight events a second on each shard.
        Build::TooSlow => &["--handler-ms", "1000", "--window", "8"],
        Build::Hangs => &["--handler-ms", "3600000"],
        Build::Exits(_)
        | Build::Silent
        | Build::Absent
        | Build::Aborts
        | Build::Panics
        | Build::PanicsAtCanary
        | Build::Forks
        | Build::WrongToken
        | Build::OtherCompression
        | Build::Garbage => &[],
    }
}

/// It is refused at once, and the reason names the program.
fn absent(asked: Result<()>) -> Result<()> {
    let what = "a deploy of a program that is not there";
    match asked {
        Ok(()) => Err(Error::answer(what, "accepted")),
        Err(error) if error.to_string().contains(ABSENT) => Ok(()),
        Err(error) => Err(Error::answer(what, format!("not the reason: {error}"))),
    }
}

/// `None`: a good program with bad [`flags`].
fn command(scene: &Scene, build: Build) -> Result<Option<Vec<String>>> {
    let bad = |arguments: &[&str]| -> Result<Option<Vec<String>>> {
        let mut command = vec![program("baton-badbot")?.display().to_string()];
        command.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        Ok(Some(command))
    };
    let gateway = format!("ws://{}", scene.to_discord.address());
    match build {
        Build::Exits(code) => bad(&["exits", &code.to_string()]),
        Build::Silent => bad(&["silent"]),
        Build::Garbage => bad(&["garbage"]),
        Build::Aborts => bad(&["aborts", &gateway]),
        Build::Panics | Build::PanicsAtCanary => bad(&["panics", &gateway]),
        Build::Absent => {
            let path = scene.folder().join(ABSENT);
            Ok(Some(vec![path.display().to_string()]))
        }
        Build::WrongToken => {
            let file = scene.folder().join("other-token");
            std::fs::write(&file, "MTA2.other.token\n").map_err(Error::io("write a token"))?;
            let file = file.display().to_string();
            scene
                .fleet
                .slave_command(SECOND, &["--token-file", &file])
                .map(Some)
        }
        Build::OtherIntents | Build::TooSlow | Build::Hangs => Ok(None),
        Build::Forks => {
            let mut command = ["sh", "-c", FORK, "sh"].map(str::to_owned).to_vec();
            command.extend(scene.fleet.slave_command(SECOND, &[])?);
            Ok(Some(command))
        }
        Build::OtherCompression => {
            let ours = program("baton-slave")?.display().to_string();
            let other = program("baton-slave-zlib")?.display().to_string();
            let mut command = scene.fleet.slave_command(SECOND, &[])?;
            for word in &mut command {
                if *word == ours {
                    word.clone_from(&other);
                }
            }
            Ok(Some(command))
        }
    }
}
