//! What is counted as it happens.

use baton_core::event::{DeployStep, Losses};
use baton_protocol::{
    DeployId, ShardId,
    message::{Failed, IdentifyRequest, Progress, Resume},
};

use super::{SLAVE, parsed, told, view};
use crate::{metrics::*, news::Gap};

fn ended(outcome: Outcome) -> Arc<Stamped> {
    let news = News::DeployEnded {
        deploy: DeployId(1),
        outcome,
        moved: 1,
        migrating: Duration::ZERO,
        total: Duration::ZERO,
        losses: Losses::default(),
    };
    told(news)
}

#[test]
fn counts_are_there_before_their_first_event_and_move_with_it() {
    let metrics = Metrics::default();
    let view = view();
    let done = r#"baton_deploys_total{outcome="done"}"#;
    assert_eq!(parsed(&metrics, &view).value(done), 0.0);
    metrics.happened(&ended(Outcome::Done));
    metrics.happened(&ended(Outcome::Aborted {
        reason: String::new(),
    }));
    metrics.happened(&told(News::Alarm {
        detail: String::new(),
    }));
    let lost = News::SessionLost {
        shard: ShardId(0),
        slave: SlaveId(1),
    };
    metrics.happened(&told(lost));
    let said = |message| metrics.said(SLAVE, &message);
    said(ToMaster::IdentifyRequest(IdentifyRequest {
        cause: IdentifyCause::SessionLost,
        ..IdentifyRequest::default()
    }));
    for step in [Step::Reconnecting, Step::Serving] {
        said(ToMaster::Progress(Progress {
            step,
            ..Progress::default()
        }));
    }
    for close_code in [4014, 4999, 0] {
        said(ToMaster::Failed(Failed {
            close_code,
            ..Failed::default()
        }));
    }
    metrics.sent(&ToSlave::IdentifyPermit(Default::default()));
    metrics.sent(&ToSlave::Resume(Box::new(Resume {
        after: ResumeAfter::Death,
        ..Resume::default()
    })));
    metrics.saved(Durability::Now, Duration::from_millis(4), true);
    metrics.saved(Durability::Now, Duration::from_millis(4), false);
    metrics.answered(Duration::from_millis(2));
    let parsed = parsed(&metrics, &view);
    for (series, value) in [
        (done, 1.0),
        (r#"baton_deploys_total{outcome="aborted"}"#, 1.0),
        (r#"baton_deploys_total{outcome="forced"}"#, 0.0),
        ("baton_alarms_total", 1.0),
        ("baton_sessions_lost_total", 1.0),
        (
            r#"baton_identify_requests_total{cause="session_lost"}"#,
            1.0,
        ),
        (r#"baton_identify_requests_total{cause="cold"}"#, 0.0),
        ("baton_identify_permits_total", 1.0),
        ("baton_reconnects_total", 1.0),
        (r#"baton_shard_failures_total{close_code="4014"}"#, 1.0),
        (r#"baton_shard_failures_total{close_code="4013"}"#, 0.0),
        (r#"baton_shard_failures_total{close_code="other"}"#, 1.0),
        (r#"baton_shard_failures_total{close_code="none"}"#, 1.0),
        (r#"baton_resumes_total{after="death"}"#, 1.0),
        (r#"baton_resumes_total{after="seal"}"#, 0.0),
        (r#"baton_journal_save_seconds_count{durability="now"}"#, 2.0),
        ("baton_journal_save_failures_total", 1.0),
        (r#"baton_link_round_trip_seconds_bucket{le="0.001"}"#, 0.0),
        (r#"baton_link_round_trip_seconds_bucket{le="0.003"}"#, 1.0),
        (r#"baton_link_round_trip_seconds_bucket{le="+Inf"}"#, 1.0),
    ] {
        assert_eq!(parsed.value(series), value, "{series}");
    }
}

#[test]
fn gaps_are_told_apart_by_their_way() {
    let metrics = Metrics::default();
    for (on, ms) in [(true, 4), (false, 400)] {
        let length = Duration::from_millis(ms);
        let mut stamped = Stamped::at(
            0,
            News::DeployStep {
                deploy: DeployId(1),
                step: DeployStep::Moving,
            },
        );
        stamped.gap = Some(Gap { on, length });
        metrics.happened(&Arc::new(stamped));
    }
    let parsed = parsed(&metrics, &view());
    for (series, value) in [
        (r#"baton_gap_seconds_count{way="on"}"#, 1.0),
        (r#"baton_gap_seconds_sum{way="on"}"#, 0.004),
        (r#"baton_gap_seconds_count{way="back"}"#, 1.0),
        (r#"baton_gap_seconds_sum{way="back"}"#, 0.4),
        (r#"baton_gap_seconds_bucket{le="0.002",way="on"}"#, 0.0),
        (r#"baton_gap_seconds_bucket{le="0.005",way="on"}"#, 1.0),
    ] {
        assert_eq!(parsed.value(series), value, "{series}");
    }
}
