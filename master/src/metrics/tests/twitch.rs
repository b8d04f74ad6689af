//! A fleet on Twitch: what is shown follows what it shows, and what does not exist there is
//! absent. What happens in a run of such a fleet is looked at in `tests/tests/suite/twitch`.

use std::collections::BTreeSet;

use baton_core::view::{MovesView, SlotView, View};
use baton_protocol::message::Failed;

use super::{Parsed, SLAVE, view};
use crate::{counters::Counts, metrics::*, news::Counted};

fn shown(metrics: &Metrics, view: &View, counts: Counts) -> Parsed {
    Parsed::of(&metrics.text(&Scrape {
        view,
        counts,
        version: "1.2.3",
        started: Duration::from_secs(1_700_000_000),
        uptime: Duration::from_secs(1),
        certificate_until: None,
        standing: None,
    }))
}

/// Names of which some value is another one now.
fn changed(before: &Parsed, after: &Parsed) -> BTreeSet<String> {
    let after = after.values.iter();
    let other = after.filter(|&(series, value)| before.values.get(series) != Some(value));
    let names = other.map(|(series, _)| series.split('{').next().unwrap_or(series).to_owned());
    names.collect()
}

#[test]
fn what_a_run_on_twitch_does_not_change_follows_what_it_shows() {
    let mut now = view();
    now.overlaps = true;
    let metrics = Metrics::default();
    metrics.said(SLAVE, &ToMaster::Pong(Pong::default()));
    let before = shown(&metrics, &now, Counts::default());

    now.adopting = true;
    now.moves = MovesView {
        left: 3,
        in_hand: 2,
        ..now.moves
    };
    now.slaves[0].connected = false;
    if let Some(memory) = &mut now.slaves[0].memory {
        memory.limit += 1;
    }
    now.slots[0].failed_launches = 2;
    now.slots[0].standbys_wanted += 1;
    now.slots.push(SlotView {
        name: "other".to_owned(),
        ..SlotView::default()
    });
    for counted in [Counted::Disbelieved, Counted::LeaseOver, Counted::Alarm] {
        metrics.count(counted);
    }
    metrics.saved(Durability::Now, Duration::ZERO, false);
    metrics.said(SLAVE, &ToMaster::Failed(Failed::default()));
    let pong = Pong {
        failed: 1,
        ..Pong::default()
    };
    metrics.said(SLAVE, &ToMaster::Pong(pong));
    let counts = Counts {
        refused: 1,
        stuck: 1,
        too_many: 1,
        untrusted: 1,
        ..Counts::default()
    };
    let changed = changed(&before, &shown(&metrics, &now, counts));
    for name in [
        "baton_adopting",
        "baton_alarms_total",
        "baton_connections_refused_total",
        "baton_connections_stuck_total",
        "baton_connections_too_many_total",
        "baton_connections_untrusted_total",
        "baton_disbelieved_total",
        "baton_journal_save_failures_total",
        "baton_leases_over_total",
        "baton_moves_in_hand",
        "baton_moves_left",
        "baton_shard_failures_total",
        "baton_slave_connected",
        "baton_slave_events_failed_total",
        "baton_slave_memory_limit_bytes",
        "baton_slot_failed_launches",
        "baton_slot_shards",
        "baton_slot_standbys_wanted",
    ] {
        assert!(changed.contains(name), "{name}: {changed:?}");
    }
}

#[test]
fn what_does_not_exist_on_twitch_is_not_shown_as_a_constant() {
    let metrics = Metrics::default();
    metrics.said(SLAVE, &ToMaster::Pong(Pong::default()));
    let mut discord = view();
    let of_discord = shown(&metrics, &discord, Counts::default());
    discord.overlaps = true;
    let of_twitch = shown(&metrics, &discord, Counts::default());
    let gone: Vec<&str> = of_discord
        .types
        .keys()
        .filter(|name| !of_twitch.types.contains_key(*name))
        .map(String::as_str)
        .collect();
    let is_of_discord = |name: &&str| {
        let parts = [
            "identif",
            "replay",
            "heartbeat",
            "silence",
            "full",
            "unfinished",
            "sessions_lost",
            "events_given_up",
            "soaks_shortened",
        ];
        parts.iter().any(|part| name.contains(part))
    };
    assert!(gone.len() > 10, "{gone:?}");
    assert!(gone.iter().all(is_of_discord), "{gone:?}");
    let left = of_twitch.types.keys().map(String::as_str);
    let left: Vec<&str> = left.filter(is_of_discord).collect();
    assert_eq!(left, ["baton_store_fullest_bytes"]);
}
