//! Local clients of slaves, where a slave serves some.

use baton_core::view::SlaveView;
use baton_protocol::message::{Clients, Waiting};
use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};

use super::each::{self, Float, Labels, labels};

/// What a slave says of its clients, as a number.
type Said = fn(&Clients) -> u64;

/// What it says of what waits at a shard.
type OfShard = fn(&Waiting) -> Option<f64>;

/// Nothing where no slave has clients.
pub(super) fn clients(slaves: &[SlaveView], ours: &mut Registry) {
    let served: Vec<(Labels, &Clients)> = slaves
        .iter()
        .filter_map(|slave| Some((labels(slave), slave.clients.as_deref()?)))
        .collect();
    if served.is_empty() {
        return;
    }
    libraries(&served, ours);
    gauges(slaves, ours);
    waiting(&served, ours);
    counters(slaves, ours);
    refusals(&served, ours);
}

fn libraries(served: &[(Labels, &Clients)], ours: &mut Registry) {
    let family = Family::<Labels, Gauge>::default();
    for (labels, clients) in served {
        for library in &clients.libraries {
            let labels = [&labels[..], &[("library", library.name.clone())]].concat();
            let clients = i64::try_from(library.clients).unwrap_or(i64::MAX);
            family.get_or_create(&labels).inc_by(clients);
        }
    }
    ours.register(
        "proxy_clients",
        "Clients of the proxy that are connected and began a session, by library",
        family,
    );
}

fn of(said: Said) -> impl Fn(&SlaveView) -> Option<u64> {
    move |slave| slave.clients.as_deref().map(said)
}

fn gauges(slaves: &[SlaveView], ours: &mut Registry) {
    let gauges: [(&str, &str, Said); 5] = [
        (
            "proxy_listening",
            "1 while clients can connect to this slave",
            |clients| u64::from(clients.listening),
        ),
        (
            "proxy_socket_passed",
            "1 if the master opened the socket for clients and passed it on",
            |clients| u64::from(clients.passed),
        ),
        (
            "proxy_connections",
            "Open connections to the proxy",
            |clients| clients.connections,
        ),
        (
            "proxy_shards_without_client",
            "Shards whose events no client takes",
            |clients| clients.unattended,
        ),
        (
            "proxy_behind_events",
            "Events before the client that has most of them",
            |clients| {
                let most = clients.behind.first();
                most.map_or(0, |it| it.unsent.saturating_add(it.unacknowledged))
            },
        ),
    ];
    for (name, help, said) in gauges {
        ours.register(name, help, each::gauges(slaves, of(said)));
    }
    ours.register_with_unit(
        "proxy_kept",
        "Bytes of events that are kept for clients",
        Unit::Bytes,
        each::gauges(slaves, of(|clients| clients.kept_bytes)),
    );
    ours.register(
        "proxy_kept_share",
        "The part of its limit that is full, for all shards or for the fullest, whichever is more",
        each::floats(slaves, |slave| {
            let clients = slave.clients.as_deref()?;
            let share = |bytes: u64, limit: u64| bytes as f64 / limit.max(1) as f64;
            let all = share(clients.kept_bytes, clients.kept_limit);
            Some(all.max(share(clients.fullest_bytes, clients.shard_limit)))
        }),
    );
    ours.register_with_unit(
        "proxy_away",
        "For how long the shard that waits longest for a client has had none",
        Unit::Seconds,
        each::seconds(
            slaves,
            of(|clients| clients.absent.first().map_or(0, |absent| absent.away_ms)),
        ),
    );
}

/// Of each shard with events that no client has acknowledged, as far as it is named.
fn waiting(served: &[(Labels, &Clients)], ours: &mut Registry) {
    let families: [(&str, &str, Option<Unit>, OfShard); 4] = [
        (
            "proxy_waiting_events",
            "Events of the shard that no client has acknowledged",
            None,
            |waiting| Some(waiting.events as f64),
        ),
        (
            "proxy_waiting",
            "Bytes of these events",
            Some(Unit::Bytes),
            |waiting| Some(waiting.bytes as f64),
        ),
        (
            "proxy_oldest",
            "How long ago the oldest of these events came",
            Some(Unit::Seconds),
            |waiting| Some(waiting.oldest_ms as f64 / 1000.0),
        ),
        (
            "proxy_gives_up",
            "In how long these events are given up, unless a client comes or acknowledges",
            Some(Unit::Seconds),
            |waiting| Some(waiting.gives_up_ms? as f64 / 1000.0),
        ),
    ];
    for (name, help, unit, said) in families {
        let family = Family::<Labels, Float>::default();
        for (labels, clients) in served {
            for waiting in &clients.waiting {
                if let Some(value) = said(waiting) {
                    let shard = ("shard", waiting.shard.to_string());
                    let labels = [&labels[..], &[shard]].concat();
                    family.get_or_create(&labels).set(value);
                }
            }
        }
        match unit {
            Some(unit) => ours.register_with_unit(name, help, unit, family),
            None => ours.register(name, help, family),
        }
    }
}

fn counters(slaves: &[SlaveView], ours: &mut Registry) {
    let counters: [(&str, &str, Said); 8] = [
        ("proxy_events", "Events that came for clients", |it| {
            it.events
        }),
        ("proxy_sessions", "Sessions that clients began", |it| {
            it.sessions
        }),
        (
            "proxy_takeovers",
            "Sessions of these that took over from a client that was connected",
            |it| it.takeovers,
        ),
        ("proxy_resumes", "RESUMEs of clients", |it| it.resumes),
        (
            "proxy_resumes_refused",
            "RESUMEs that were refused: their clients began anew",
            |it| it.resumes_refused,
        ),
        (
            "proxy_events_replayed",
            "Events that RESUMEs replayed",
            |it| it.replayed,
        ),
        (
            "proxy_events_lost",
            "Events given up, because no client took them in time",
            |it| it.lost,
        ),
        (
            "proxy_events_passed_by",
            "Events that came when no client had come for a long time",
            |it| it.passed_by,
        ),
    ];
    for (name, help, said) in counters {
        ours.register(name, help, each::counters(slaves, of(said)));
    }
}

fn refusals(served: &[(Labels, &Clients)], ours: &mut Registry) {
    let refused = Family::<Labels, Counter>::default();
    for (labels, clients) in served {
        for refusals in &clients.refused {
            let code = refusals.code.to_string();
            let labels = [&labels[..], &[("code", code)]].concat();
            refused.get_or_create(&labels).inc_by(refusals.count);
        }
    }
    ours.register(
        "proxy_refusals",
        "Connections and requests of clients that were refused, by close code or status",
        refused,
    );
}
