//! Handlers that are full: more events came than they finish, and nothing but Discord's
//! replay holds the rest.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use super::{
    patience::Patience,
    scene::{SECOND, Scene, Setup},
};
use crate::error::{Error, Result};

/// Longer than a replay may stand still.
const HANDLER_MS: u64 = 3000;

/// So many events of a shard run at one time.
const WINDOW: &str = "8";

/// What runs at a seal ends within this time.
const DRAIN: Duration = Duration::from_secs(10);

/// A slave that was told to end does so within this time.
const RETIRE: Duration = Duration::from_secs(15);

/// The windows are full, and that is said, within this time.
const FULL: Duration = Duration::from_secs(20);

/// A deploy of what is full ends within this time: two drains of 10 s, there and back, and
/// the time in which a replay may stand still.
const ENDS: Duration = Duration::from_secs(45);

/// A deploy that is refused is answered with this status and the reason.
const REFUSED: &str = "409 ";

/// The alarm comes when they have been full for a minute.
const ALARM: Duration = Duration::from_secs(90);

/// What the flood left is caught up within this time.
const CAUGHT_UP: Duration = Duration::from_secs(60);

/// Handlers take seconds and `events` of each shard come at once; later fewer come than
/// are finished.
pub(super) fn prepare(setup: &mut Setup, events: u32) {
    setup.flood = Some(events);
    setup.rate = 1.0;
    setup.handler_ms = HANDLER_MS;
    setup.slave.extend(["--window", WINDOW].map(str::to_owned));
    // Every handler is given the time that it takes: nothing needs a mark.
    for (name, limit) in [("drain", DRAIN), ("retire", RETIRE)] {
        let limit = limit.mul_f64(setup.stretch);
        let limit = format!("{}ms", limit.as_millis());
        setup.limits.insert(name, limit);
    }
}

/// The flood. Waits until the status says that the windows are full.
///
/// # Errors
/// They are not.
pub(super) async fn comes(scene: &Scene, events: u32) -> Result<()> {
    let flood = json!({ "name": "flood", "events": events });
    scene.fleet.discord.fault(&flood).await?;
    let full = |percent: u64| percent >= 50;
    fullness(scene, "the windows are not full", FULL, full).await
}

/// The deploy that is under way ends, and so does the next one, which is asked for at
/// once: each within its time, and with the reason if nothing came of it.
///
/// # Errors
/// One of them does not end, or does not say why.
pub(super) async fn deploys_end(scene: &mut Scene) -> Result<()> {
    ends(scene).await?;
    match scene.deploy(SECOND, &[]).await {
        Ok(()) => ends(scene).await,
        // What the refusal says is why.
        Err(Error::Answer { detail, .. }) if detail.starts_with(REFUSED) => Ok(()),
        Err(error) => Err(error),
    }
}

async fn ends(scene: &mut Scene) -> Result<()> {
    let number = scene.deploy_number();
    let is_end =
        |event: &Value| event["type"] == "deploy_ended" && event["deploy"].as_u64() == number;
    let ended = scene.hears("the end of the deploy", ENDS, is_end).await?;
    let reason = ended["reason"].as_str().unwrap_or_default();
    if ended["outcome"] == "done" || !reason.is_empty() {
        return Ok(());
    }
    Err(Error::answer("a deploy of what is full", ended))
}

/// An alarm says that the fleet falls behind. Waits until it has caught up.
///
/// # Errors
/// There is none, or it does not.
pub(super) async fn is_told(scene: &mut Scene) -> Result<()> {
    let is_alarm = |event: &Value| {
        let detail = event["detail"].as_str().unwrap_or_default();
        event["type"] == "alarm" && detail.contains("falls behind")
    };
    scene.hears("an alarm", ALARM, is_alarm).await?;
    caught_up(scene).await
}

/// Waits until no window is full any more: only then is a deploy to go through.
///
/// # Errors
/// They are still full.
pub(super) async fn caught_up(scene: &Scene) -> Result<()> {
    // Events come by chance, so a window is full for a moment also at the usual rate.
    let idle = |percent: u64| percent < 10;
    fullness(scene, "the flood is not caught up", CAUGHT_UP, idle).await?;
    // One that is dialled again is not full for a moment.
    let since = scene.setup.handler_ms;
    sleep(Duration::from_millis(since)).await;
    fullness(scene, "the flood is not caught up", CAUGHT_UP, idle).await
}

/// Waits until the windows of the slave that serves are so full.
async fn fullness(
    scene: &Scene,
    late: &str,
    limit: Duration,
    wanted: impl Fn(u64) -> bool,
) -> Result<()> {
    let mut patience = Patience::of(limit);
    loop {
        let status = scene.fleet.status().await?;
        let mut slaves = status["slaves"].as_array().into_iter().flatten();
        let percent = slaves.find_map(|slave| {
            let owns = slave["shards"].as_u64() > Some(0);
            slave["full_percent"].as_u64().filter(|_| owns)
        });
        if percent.is_some_and(&wanted) {
            return Ok(());
        }
        if patience.is_over().await {
            return Err(Error::Late(format!("{late}: {percent:?} %")));
        }
        sleep(Duration::from_millis(50)).await;
    }
}
