//! A fleet in a few words: what serves, what is deployed, and how long still.

use std::collections::BTreeMap;

use serde_json::Value;

use super::parts::{list, text};
use crate::cli::text::{count, span};

/// Counts of shards by state, in one line. What is copied or dialled is served meanwhile.
pub(in crate::cli::status) fn counts(status: &Value) -> String {
    let mut states: BTreeMap<&str, u64> = BTreeMap::new();
    for shard in list(&status["shards"]) {
        *states.entry(text(&shard["state"])).or_default() += 1;
    }
    let total: u64 = states.values().sum();
    let serving = states.remove("serving").unwrap_or(0);
    let leaving: u64 = MOVING.iter().filter_map(|state| states.remove(state)).sum();
    let others = states
        .iter()
        .map(|(state, count)| format!(", {count} {state}"));
    let leaving = match leaving {
        0 => String::new(),
        leaving => format!(" ({leaving} about to move)"),
    };
    let serving = serving + states_of(status, &MOVING);
    format!(
        "{serving} of {} serving{leaving}{}",
        count(total, "shard"),
        others.collect::<String>()
    )
}

/// States of a shard that its owner serves while its next owner prepares.
const MOVING: [&str; 2] = ["copying", "dialling"];

/// Shards in one of these states.
pub(super) fn states_of(status: &Value, states: &[&str]) -> u64 {
    let shards = list(&status["shards"]).iter();
    shards
        .filter(|shard| states.contains(&text(&shard["state"])))
        .count() as u64
}

/// The running deploy, in one line: what goes where, how far it is, and how long still.
pub(in crate::cli::status) fn deploy(status: &Value) -> Option<String> {
    let deploy = &status["deploy"];
    deploy.is_object().then(|| {
        let still = still(status).map_or_else(String::new, |still| format!(", {still}"));
        format!(
            "deploy {} of slot {}: {}{}{}, {} of {} shards at the new build{still}",
            deploy["deploy"],
            text(&deploy["slot"]),
            text(&deploy["step"]),
            if deploy["paused"] == true {
                " (paused)"
            } else {
                ""
            },
            builds(&status["underway"]),
            deploy["moved"],
            deploy["total"]
        )
    })
}

/// `, v1 -> v2`
fn builds(underway: &Value) -> String {
    match (underway["from"].as_str(), underway["to"].as_str()) {
        (from, Some(to)) => format!(", {} -> {to}", from.unwrap_or("nothing")),
        (Some(from), None) => format!(", {from} -> ?"),
        (None, None) => String::new(),
    }
}

/// How long the step of a deploy will still take, as far as that is known.
fn still(status: &Value) -> Option<String> {
    let (deploy, underway) = (&status["deploy"], &status["underway"]);
    match text(&deploy["step"]) {
        "soaking" => {
            let steps = list(&underway["steps"]).iter();
            let began = steps.rev().find(|step| step["step"] == "soaking")?["at_ms"].as_u64()?;
            let gone = underway["took_ms"].as_u64()?.saturating_sub(began);
            let rest = deploy["soak_ms"].as_u64()?.saturating_sub(gone);
            Some(format!(
                "the old slave stays ready for {} still",
                span(rest)
            ))
        }
        "moving" | "canary" => {
            let (first, last) = (&underway["migrates_us"][0], &underway["migrates_us"][1]);
            let us = last.as_u64()?.checked_sub(first.as_u64()?)?;
            let moved = underway["handed_over"]
                .as_u64()
                .filter(|moved| *moved > 0)?;
            let rest = deploy["total"]
                .as_u64()?
                .checked_sub(deploy["moved"].as_u64()?)?;
            let ms = us.saturating_mul(rest) / moved / 1000;
            Some(format!("about {} still", span(ms)))
        }
        _ => None,
    }
}

/// How long a cold start takes still at the pace that Discord allows.
pub(super) fn cold(status: &Value) -> Option<String> {
    let every = status["identify_every_ms"].as_u64()?;
    let starting = states_of(status, &["starting"]);
    (starting > 0).then(|| {
        format!(
            "{} with a new session, one every {}: about {} still",
            count(starting, "shard"),
            span(every),
            span(every.saturating_mul(starting))
        )
    })
}
