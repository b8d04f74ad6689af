//! `/readyz`: whether what is asked for serves, for a load balancer or a monitor.
//!
//! | asked | 200 if |
//! |---|---|
//! | nothing | every shard gets its events, and the store answers |
//! | `host=NAME` | every slave of this host answers, there is one, and the shards that it owns get their events; `local` is the master's own host |
//! | `at_least_one` | a slave answers, of this host or of any |

use std::{collections::BTreeSet, sync::Arc};

use axum::{
    extract::{Query, State},
    http::StatusCode,
};
use baton_core::view::{SlaveView, View};
use serde::Deserialize;

use super::{Admin, Failure, wrong};

/// What the master's own host is called.
const OWN: &str = "local";

/// What is asked.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    host: Option<String>,
    at_least_one: Option<String>,
}

impl Asked {
    /// A flag that is named is set, unless it says no.
    fn is_one_enough(&self) -> Result<bool, String> {
        match self.at_least_one.as_deref() {
            None | Some("false" | "0") => Ok(false),
            Some("" | "true" | "1") => Ok(true),
            Some(other) => Err(format!("at_least_one: `{other}` is neither true nor false")),
        }
    }
}

pub(super) async fn ready(
    State(admin): State<Arc<Admin>>,
    asked: Result<Query<Asked>, axum::extract::rejection::QueryRejection>,
) -> Result<String, Failure> {
    let Query(asked) = asked.map_err(|error| wrong(error.body_text()))?;
    let one = asked.is_one_enough().map_err(wrong)?;
    let view = admin.view().await?;
    let away = admin.peers.post.as_ref().and_then(|post| post.away());
    let ready = match (&asked.host, one) {
        (host, true) => one_of(&view, host.as_deref()),
        (Some(host), false) => all_of(&view, host),
        (None, false) => match away {
            Some(away) => Err(format!(
                "the store does not answer for {} s: nothing begins",
                away.as_secs()
            )),
            None => all(&view),
        },
    };
    ready.map_err(|why| Failure(StatusCode::SERVICE_UNAVAILABLE, why))
}

/// The whole fleet.
fn all(view: &View) -> Result<String, String> {
    settled(view)?;
    let shards = view.shards.iter();
    match dark(shards.filter(|shard| !shard.gets_events())) {
        None => Ok("ready\n".to_owned()),
        Some((first, count)) => Err(format!(
            "{count} of {} shards get no events; {first}",
            view.shards.len()
        )),
    }
}

/// One host, as far as the fleet needs it.
fn all_of(view: &View, host: &str) -> Result<String, String> {
    settled(view)?;
    let slaves = slaves_of(view, host)?;
    let silent = slaves.iter().find(|slave| !answers(slave));
    if let Some(silent) = silent {
        return Err(format!(
            "slave {:.8} of slot {} does not answer",
            silent.slave, silent.slot
        ));
    }
    let agent = view.hosts.iter().find(|known| known.host == host);
    if agent.is_some_and(|agent| !agent.connected) {
        return Err(format!("the agent of host {host} is not connected"));
    }
    let owners: BTreeSet<&str> = slaves.iter().map(|slave| &*slave.slave).collect();
    let own = view.shards.iter().filter(|shard| {
        let owner = shard.owner.as_deref();
        owner.is_some_and(|owner| owners.contains(owner))
    });
    match dark(own.filter(|shard| !shard.gets_events())) {
        None => Ok(format!(
            "ready: {} of host {host} {}\n",
            count(slaves.len()),
            answer(slaves.len())
        )),
        Some((first, count)) => Err(format!("{count} shards of {host} get no events; {first}")),
    }
}

/// One slave is enough, also while reports are collected.
fn one_of(view: &View, host: Option<&str>) -> Result<String, String> {
    let slaves = match host {
        Some(host) => slaves_of(view, host)?,
        None => view.slaves.iter().collect(),
    };
    match slaves.iter().filter(|slave| answers(slave)).count() {
        0 => Err(format!("none of {} answers", count(slaves.len()))),
        some => Ok(format!(
            "ready: {some} of {} {}\n",
            count(slaves.len()),
            answer(some)
        )),
    }
}

/// At least one.
fn slaves_of<'a>(view: &'a View, host: &str) -> Result<Vec<&'a SlaveView>, String> {
    let of = |slave: &&SlaveView| slave.host.as_deref().unwrap_or(OWN) == host;
    let slaves: Vec<_> = view.slaves.iter().filter(of).collect();
    if !slaves.is_empty() {
        return Ok(slaves);
    }
    let known = view.slaves.iter().filter_map(|slave| slave.host.as_deref());
    let known = known.chain(view.hosts.iter().map(|host| &*host.host));
    let known: BTreeSet<&str> = known.chain([OWN]).collect();
    let known: Vec<_> = known.into_iter().collect();
    Err(format!(
        "no slave of host {host} is there; hosts of this fleet: {}",
        known.join(", ")
    ))
}

const fn answers(slave: &SlaveView) -> bool {
    slave.connected && !slave.hangs
}

fn settled(view: &View) -> Result<(), String> {
    match view.adopting {
        true => Err("reports are still collected after the start".to_owned()),
        false => Ok(()),
    }
}

/// The first of these shards, for a person, and how many there are.
fn dark<'a>(
    mut shards: impl Iterator<Item = &'a baton_core::view::ShardView>,
) -> Option<(String, usize)> {
    let first = shards.next()?;
    let said = format!("shard {}: {}", first.shard, first.state);
    Some((said, shards.count() + 1))
}

const fn answer(slaves: usize) -> &'static str {
    match slaves {
        1 => "answers",
        _ => "answer",
    }
}

fn count(slaves: usize) -> String {
    match slaves {
        1 => "1 slave".to_owned(),
        many => format!("{many} slaves"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use baton_core::view::{HostView, ShardView};

    use super::*;

    fn slave(name: &str, host: Option<&str>) -> SlaveView {
        SlaveView {
            slave: name.to_owned(),
            slot: "main".to_owned(),
            host: host.map(str::to_owned),
            connected: true,
            ..SlaveView::default()
        }
    }

    fn shard(number: u32, owner: &str) -> ShardView {
        ShardView {
            shard: number,
            owner: Some(owner.to_owned()),
            state: "serving",
            ..ShardView::default()
        }
    }

    /// Two slaves here and one on `db1`.
    fn view() -> View {
        View {
            slaves: vec![slave("a", None), slave("b", None), slave("c", Some("db1"))],
            shards: vec![shard(0, "a"), shard(1, "b"), shard(2, "c")],
            hosts: vec![HostView {
                host: "db1".to_owned(),
                connected: true,
                ..HostView::default()
            }],
            ..View::default()
        }
    }

    #[test]
    fn a_host_is_ready_whatever_another_one_lacks() {
        let mut view = view();
        assert_eq!(all(&view).unwrap(), "ready\n");
        view.slaves[2].connected = false;
        view.shards[2].state = "unreachable";
        assert!(all(&view).unwrap_err().contains("shard 2: unreachable"));
        let here = all_of(&view, OWN).unwrap();
        assert_eq!(here, "ready: 2 slaves of host local answer\n");
        assert!(
            all_of(&view, "db1")
                .unwrap_err()
                .contains("does not answer")
        );
    }

    #[test]
    fn a_host_is_not_ready_while_a_slave_hangs_or_a_shard_of_it_is_dark_or_its_agent_is_away() {
        let refused = |change: fn(&mut View)| {
            let mut view = view();
            change(&mut view);
            all_of(&view, "db1").unwrap_err()
        };
        assert!(refused(|view| view.slaves[2].hangs = true).contains("slave c"));
        let dark = refused(|view| view.shards[2].state = "starting");
        assert!(dark.contains("shard 2: starting"), "{dark}");
        let away = refused(|view| view.hosts[0].connected = false);
        assert!(away.contains("agent of host db1"), "{away}");
        assert!(refused(|view| view.adopting = true).contains("collected"));
        let nobody = refused(|view| view.slaves.truncate(2));
        assert!(nobody.contains("no slave of host db1"), "{nobody}");
        let typo = all_of(&view(), "db2").unwrap_err();
        assert!(typo.contains("hosts of this fleet: db1, local"), "{typo}");
    }

    #[test]
    fn the_clock_of_a_host_changes_nobodys_health() {
        for began in [0, 1, u64::MAX] {
            let mut view = view();
            view.shards[2].session_began_unix_ms = Some(began);
            assert!(all(&view).is_ok() && all_of(&view, "db1").is_ok());
            assert!(one_of(&view, Some("db1")).is_ok());
        }
    }

    #[test]
    fn one_slave_that_answers_is_enough_where_that_is_asked() {
        let mut view = view();
        view.slaves[0].connected = false;
        assert!(all_of(&view, OWN).is_err());
        let one = one_of(&view, Some(OWN)).unwrap();
        assert_eq!(one, "ready: 1 of 2 slaves answers\n");
        view.slaves[1].hangs = true;
        assert!(one_of(&view, Some(OWN)).unwrap_err().contains("none of 2"));
        assert_eq!(
            one_of(&view, None).unwrap(),
            "ready: 1 of 3 slaves answers\n"
        );
        view.slaves.clear();
        assert!(one_of(&view, None).is_err());
    }

    #[test]
    fn a_flag_that_is_named_is_set_unless_it_says_no() {
        let flag = |said: Option<&str>| {
            let at_least_one = said.map(str::to_owned);
            Asked {
                at_least_one,
                ..Asked::default()
            }
            .is_one_enough()
        };
        assert_eq!(flag(None), Ok(false));
        assert_eq!(flag(Some("")), Ok(true));
        assert_eq!(flag(Some("true")), Ok(true));
        assert_eq!(flag(Some("false")), Ok(false));
        assert!(flag(Some("maybe")).is_err());
    }
}
