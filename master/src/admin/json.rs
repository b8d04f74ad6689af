//! News as JSON: one object each, told apart by `type`. Names and units are a
//! promise to the readers of the stream.

use baton_core::event::{News, Outcome};
use serde_json::{Value, json};

use crate::driver::Told;

/// The object of one piece of news.
///
/// `at_us` is microseconds of the host's monotonic clock; times end in `_ms`;
/// slaves are 32 hex digits.
#[must_use]
pub fn object(told: &Told) -> Value {
    let mut object = match &told.news {
        News::DeployAccepted {
            request,
            deploy,
            slot,
            from,
        } => json!({
            "request": request.map(|request| request.0), "deploy": deploy, "slot": slot,
            "from": from,
        }),
        News::RequestRefused { request, reason } => json!({
            "request": request.0, "reason": reason,
        }),
        News::Fenced { request, slave } => json!({ "request": request.0, "slave": slave }),
        News::DeployStep { deploy, step } => json!({ "deploy": deploy, "step": step.name() }),
        News::SoakShortened {
            deploy,
            shard,
            per_second,
            asked,
            soak,
        } => json!({
            "deploy": deploy, "shard": shard, "per_second": per_second,
            "asked_ms": millis(*asked), "soak_ms": millis(*soak),
        }),
        News::Migration {
            deploy,
            shard,
            from,
            to,
            epoch,
            phase,
        } => json!({
            "deploy": deploy, "shard": shard, "from": from, "to": to, "epoch": epoch,
            "phase": phase.name(),
        }),
        News::DeployEnded {
            deploy,
            outcome,
            moved,
            migrating,
            total,
            losses,
        } => {
            let (reason, shard) = match outcome {
                Outcome::Aborted { reason } | Outcome::Forced { reason } => (Some(reason), None),
                Outcome::RolledBack { shard, reason } => (Some(reason), *shard),
                Outcome::Done | Outcome::HandedOn => (None, None),
            };
            json!({
                "deploy": deploy, "outcome": outcome.name(), "reason": reason, "shard": shard,
                "text": format!("{outcome}{losses}"), "sessions_lost": losses.sessions,
                "events_given_up": losses.events, "moved": moved,
                "migrating_ms": millis(*migrating), "total_ms": millis(*total),
            })
        }
        News::SlaveJoined {
            slave,
            build,
            slot,
            back,
        } => json!({ "slave": slave, "build": build, "slot": slot, "back": back }),
        News::SlaveGone { slave, dead, held } => {
            json!({ "slave": slave, "dead": dead, "held": held })
        }
        News::SlaveEnded(death) => json!({
            "slave": death.slave, "slot": death.slot, "build": death.build, "pid": death.pid,
            "ending": death.ending.to_string(), "well": death.ending.is_well(),
            "lived_ms": death.lived.map(millis), "last_lines": death.last_lines,
        }),
        News::ShardServing {
            shard,
            epoch,
            slave,
        } => json!({ "shard": shard, "epoch": epoch, "slave": slave }),
        News::StateLost { shard, slave } => json!({ "shard": shard, "slave": slave }),
        News::SessionLost { shard, slave } => json!({ "shard": shard, "slave": slave }),
        News::EventGivenUp {
            shard,
            sequence,
            events,
            kind,
            guild,
            slave,
            unfinished,
        } => json!({
            "shard": shard,
            "sequence": sequence,
            "events": events,
            "kind": kind,
            "guild": guild,
            "slave": slave,
            "unfinished_ms": unfinished.map(millis),
        }),
        News::Launching {
            slot,
            attempt,
            backoff,
        } => json!({ "slot": slot, "attempt": attempt, "backoff_ms": millis(*backoff) }),
        News::Disbelieved { slave, detail } => json!({ "slave": slave, "detail": detail }),
        News::Alarm { detail } => json!({ "detail": detail }),
    };
    object["type"] = name(&told.news).into();
    object["at_us"] = told.at_us.into();
    object
}

/// The `type` of a piece of news.
#[must_use]
pub const fn name(news: &News) -> &'static str {
    match news {
        News::DeployAccepted { .. } => "deploy_accepted",
        News::RequestRefused { .. } => "request_refused",
        News::Fenced { .. } => "fenced",
        News::DeployStep { .. } => "deploy_step",
        News::SoakShortened { .. } => "soak_shortened",
        News::Migration { .. } => "migration",
        News::DeployEnded { .. } => "deploy_ended",
        News::SlaveJoined { .. } => "slave_joined",
        News::SlaveGone { .. } => "slave_gone",
        News::SlaveEnded(_) => "slave_ended",
        News::ShardServing { .. } => "shard_serving",
        News::SessionLost { .. } => "session_lost",
        News::StateLost { .. } => "state_lost",
        News::EventGivenUp { .. } => "event_given_up",
        News::Launching { .. } => "launching",
        News::Disbelieved { .. } => "disbelieved",
        News::Alarm { .. } => "alarm",
    }
}

fn millis(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use baton_protocol::{DeployId, Epoch, ShardId, SlaveId};

    use super::*;
    use baton_core::event::{Losses, MovePhase};

    #[test]
    fn a_migration_is_an_object_of_plain_fields() {
        let news = News::Migration {
            deploy: DeployId(3),
            shard: ShardId(7),
            from: SlaveId(1),
            to: SlaveId(2),
            epoch: Epoch(9),
            phase: MovePhase::Sealing,
        };
        let expected = json!({
            "type": "migration", "at_us": 5, "deploy": 3, "shard": 7,
            "from": "00000000000000000000000000000001", "to": "00000000000000000000000000000002",
            "epoch": 9, "phase": "sealing",
        });
        assert_eq!(object(&Told { at_us: 5, news }), expected);
    }

    #[test]
    fn the_end_of_a_deploy_says_how_and_why() {
        let news = News::DeployEnded {
            deploy: DeployId(3),
            outcome: Outcome::RolledBack {
                shard: Some(ShardId(4)),
                reason: "close code 4004".to_owned(),
            },
            moved: 0,
            migrating: Duration::from_millis(1500),
            total: Duration::from_secs(2),
            losses: Losses::default(),
        };
        let object = object(&Told { at_us: 0, news });
        assert_eq!(object["outcome"], "rolled_back");
        assert_eq!(object["shard"], 4);
        assert_eq!(object["migrating_ms"], 1500);
        assert_eq!(object["text"], "rolled back: shard 4: close code 4004");
    }
}
