//! The other hosts of the fleet, where there are any.

use baton_core::view::HostView;
use prometheus_client::{
    metrics::family::Family,
    registry::{Registry, Unit},
};

use super::each::{Float, Labels};

/// What is known of a host, as a number; `None`: nothing is.
type Said = fn(&HostView) -> Option<f64>;

const NUMBERS: [(&str, &str, Said); 3] = [
    (
        "host_agent_connected",
        "1 while the agent of the host is connected",
        |host| Some(if host.connected { 1.0 } else { 0.0 }),
    ),
    (
        "host_slaves",
        "Slaves at the host that are not known to be dead",
        |host| Some(host.slaves.into()),
    ),
    (
        "host_slaves_away",
        "Slaves of these that are not connected",
        |host| Some(host.slaves_away.into()),
    ),
];

/// Nothing where the fleet has one host.
pub(super) fn hosts(hosts: &[HostView], ours: &mut Registry) {
    if hosts.is_empty() {
        return;
    }
    for (name, help, said) in NUMBERS {
        ours.register(name, help, family(hosts, said));
    }
    ours.register_with_unit(
        "host_agent_silence",
        "How long ago the agent of the host said something; absent: it is not connected",
        Unit::Seconds,
        family(hosts, |host| Some(host.answered_ms_ago? as f64 / 1000.0)),
    );
}

fn family(hosts: &[HostView], said: Said) -> Family<Labels, Float> {
    let family = Family::<Labels, Float>::default();
    for host in hosts {
        if let Some(value) = said(host) {
            let labels = vec![("host", host.host.clone())];
            family.get_or_create(&labels).set(value);
        }
    }
    family
}
