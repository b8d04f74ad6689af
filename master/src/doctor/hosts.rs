//! The other hosts of the fleet, where there are any: whether their agents are there.

use baton_core::view::{HostView, View};
use baton_protocol::text;

use super::Finding;

const CHECK: &str = "hosts";

/// A master of another version than its agents works, and should not stay so.
pub(super) fn hosts(view: &View, version: &str) -> Vec<Finding> {
    if view.hosts.is_empty() {
        return Vec::new();
    }
    let found: Vec<_> = view
        .hosts
        .iter()
        .filter_map(|host| look(host, version))
        .collect();
    if found.is_empty() {
        let many = view.hosts.len();
        return vec![Finding::ok(
            CHECK,
            format!("the agent of every other host is connected ({many})"),
        )];
    }
    found
}

fn look(host: &HostView, version: &str) -> Option<Finding> {
    let name = &host.host;
    if host.connected {
        let program = host
            .program
            .as_deref()
            .filter(|program| *program != version)?;
        let detail = format!("the agent of host {name} is version {program}, the master {version}");
        let next = "install the master's version there and restart the agent: its slaves go on";
        return Some(Finding::warning(CHECK, detail, next));
    }
    // One that nothing depends on may be gone.
    if host.slots.is_empty() && host.slaves == 0 {
        return None;
    }
    let agent = match host.since_ms {
        Some(ms) => {
            let away = text::span(std::time::Duration::from_millis(ms));
            format!("the agent of host {name} has been away for {away}")
        }
        None => format!("no agent of host {name} came to this master"),
    };
    let (slaves, away) = (host.slaves, host.slaves_away);
    let detail = format!(
        "{agent}: nothing can be started there, and no death there is known; {away} of its {slaves} slaves \
         are not connected"
    );
    let next = "start it there (baton-master agent); if the host is gone, and only then: baton-master \
                fence --host NAME";
    Some(Finding::error(CHECK, detail, next))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    #[test]
    fn an_agent_that_is_away_is_an_error_and_one_of_another_version_a_warning() {
        let of = |host: HostView| {
            let view = View {
                hosts: vec![host],
                ..View::default()
            };
            hosts(&view, "1.0.0").swap_remove(0)
        };
        let here = HostView {
            host: "east".to_owned(),
            connected: true,
            since_ms: Some(5000),
            program: Some("1.0.0".to_owned()),
            slots: vec!["main".to_owned()],
            slaves: 2,
            ..HostView::default()
        };
        assert_eq!(of(here.clone()).level, Level::Ok);
        let other = HostView {
            program: Some("0.9.0".to_owned()),
            ..here.clone()
        };
        assert_eq!(of(other).level, Level::Warning);
        let away = HostView {
            connected: false,
            slaves_away: 1,
            ..here
        };
        let found = of(away.clone());
        assert_eq!(found.level, Level::Error);
        assert!(found.detail.contains("away for 5"), "{}", found.detail);
        let never = HostView {
            since_ms: None,
            ..away.clone()
        };
        assert!(of(never).detail.contains("no agent of host east came"));
        let abandoned = HostView {
            slots: Vec::new(),
            slaves: 0,
            ..away
        };
        assert_eq!(of(abandoned).level, Level::Ok);
        assert!(hosts(&View::default(), "1.0.0").is_empty());
    }
}
