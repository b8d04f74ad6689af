//! One deploy among other things that happen to a fleet, and the part of the verdict that is
//! about it.

use std::{
    collections::BTreeMap,
    process::Stdio,
    time::{Duration, Instant},
};

use super::{
    DemoOptions, LIMIT,
    judging::{moves, whole},
    now_us,
};
use crate::{
    checker::Exactness,
    error::{Error, Result},
    fleet::Fleet,
    gap::{Interval, Spread, Timeline},
    records::{Handled, Sent},
    verdict::Verdict,
};

/// What the deploy was.
pub(super) struct Deploy {
    pub(super) moves: BTreeMap<u32, Interval>,
    moved: u64,
    pub(super) ended: String,
    identifies: u64,
    resumes: u64,
    total: Duration,
}

/// What else a verdict is about.
pub(super) struct Beside<'a> {
    pub(super) exactness: Exactness,
    pub(super) sent: &'a [Sent],
    pub(super) handled: &'a [Handled],
    pub(super) state_mismatches: &'a [String],
    /// IDENTIFYs of the cold start, and those of them that were refused.
    pub(super) cold: (u64, u64),
    pub(super) wire: &'a str,
}

/// Deploys build v2, and waits for the end.
pub(super) async fn deploy(options: &DemoOptions, fleet: &mut Fleet) -> Result<Deploy> {
    let before = fleet.discord.counts().await?;
    let (began, since_us) = (Instant::now(), now_us());
    let mut command = fleet.deploy_command("v2")?;
    if !options.live {
        command.stdout(Stdio::null()).stderr(Stdio::null());
    }
    let child = command.spawn();
    let mut child = child.map_err(Error::io("start baton-master deploy"))?;
    let is_end = |event: &serde_json::Value| event["type"] == "deploy_ended";
    let ended = fleet.news.wait("end of the deploy", LIMIT, is_end).await?;
    let _ = tokio::time::timeout(LIMIT, child.wait()).await;
    let total = began.elapsed();
    let after = fleet.discord.counts().await?;
    let log = fleet.discord.log().await?;
    Ok(Deploy {
        moves: moves(fleet, &log, since_us),
        moved: ended["moved"].as_u64().unwrap_or(0),
        ended: ended["outcome"].as_str().unwrap_or("unknown").to_owned(),
        identifies: after.identifies - before.identifies,
        resumes: after.resumes - before.resumes,
        total,
    })
}

impl Deploy {
    /// The build that serves afterwards.
    pub(super) fn serves(&self) -> &'static str {
        if self.ended == "done" { "v2" } else { "v1" }
    }

    pub(super) fn verdict(&self, options: &DemoOptions, beside: Beside<'_>) -> Verdict {
        let timelines = Timeline::of(beside.sent, beside.handled);
        let gaps: Vec<_> = self
            .moves
            .iter()
            .map(|(shard, interval)| timelines.get(shard)?.gap_us(*interval))
            .collect();
        let Interval {
            sealed_us,
            resumed_us,
        } = whole(&self.moves);
        Verdict {
            shards: options.shards,
            moved: self.moved,
            exactness: beside.exactness,
            state_mismatches: beside.state_mismatches.len() as u64,
            mismatches: beside.state_mismatches.to_vec(),
            identifies_cold_start: beside.cold.0 - beside.cold.1,
            identifies_refused_cold_start: beside.cold.1,
            identifies_deploy: self.identifies,
            resumes: self.resumes,
            deploy_ms: (resumed_us - sealed_us) as f64 / 1000.0,
            total_ms: self.total.as_secs_f64() * 1000.0,
            rtt_ms: options.rtt.as_secs_f64() * 1000.0,
            gap_unmeasured: gaps.iter().filter(|gap| gap.is_none()).count() as u64,
            gap_ms: Spread::of_us(gaps.into_iter().flatten().collect()),
            gap_probed_ms: Spread::default(),
            gap_noise_ms: Spread::default(),
            silence_ms: Spread::default(),
            wire: beside.wire.to_owned(),
            outcome: self.ended.clone(),
        }
    }
}
