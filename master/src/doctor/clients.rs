//! How the local clients of slaves do, where a slave serves some.

use std::time::Duration;

use baton_core::view::{ShardView, SlaveView, View};
use baton_protocol::{message::Clients, text};

use super::Finding;

const CHECK: &str = "clients";

/// A client that restarts is back sooner.
const AWAY_MS: u64 = 60_000;

/// A refusal is worth a look for so long.
const LATELY_MS: u64 = 10 * 60_000;

/// Of what may be kept for a shard, or for all of them, in percent.
const FAR: u64 = 25;
const NEARLY_FULL: u64 = 75;

/// Close codes, and statuses of HTTP, with which no client comes in until somebody changes something.
const MISTAKES: [(u16, &str); 7] = [
    (401, "give the client the token that the proxy knows"),
    (
        404,
        "name the mirror in the proxy's configuration (--proxy-mirrors)",
    ),
    (4004, "give the client the token that the proxy knows"),
    (4010, "start the client with the fleet's shard count"),
    (4011, "start the client with the fleet's shard count"),
    (4013, "the client asks for intents that do not exist"),
    (
        4014,
        "let the client ask for fewer intents, or the fleet for more (--intents), which needs new \
         sessions",
    ),
];

/// Nothing where no slave has clients.
pub(super) fn clients(view: &View) -> Vec<Finding> {
    let of = view.slaves.iter().filter(|slave| slave.connected);
    let served: Vec<(&SlaveView, &Clients)> = of
        .filter_map(|slave| Some((slave, slave.clients.as_deref()?)))
        .collect();
    if served.is_empty() {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (slave, clients) in &served {
        // One that has no shards yet has no clients either.
        let mut found = refused(clients);
        if slave.shards > 0 {
            found.extend(address(clients));
            found.extend(absent(clients));
            found.extend(kept(clients));
            found.extend(full(clients));
            found.extend(at_risk(view, slave));
        }
        found.extend(lost(clients));
        findings.extend(
            found
                .into_iter()
                .map(|finding| finding.of_slave(&slave.slave)),
        );
    }
    if findings.is_empty() {
        let connected = served.iter().flat_map(|(_, clients)| &clients.libraries);
        let connected: u64 = connected.map(|library| library.clients).sum();
        let detail = format!("every shard has its client; {connected} are connected");
        findings.push(Finding::ok(CHECK, detail));
    }
    findings
}

fn ms(ms: u64) -> String {
    text::span(Duration::from_millis(ms))
}

fn address(clients: &Clients) -> Option<Finding> {
    let address = &clients.address;
    (!clients.listening).then(|| {
        let detail = format!("no client can connect: another process has {address}");
        let next = "a slave that leaves lets go of it by itself; else end what listens there, or \
                    deploy with another --proxy";
        Finding::error(CHECK, detail, next)
    })
}

fn absent(clients: &Clients) -> Option<Finding> {
    let first = clients.absent.first().filter(|it| it.away_ms > AWAY_MS)?;
    let (shard, away) = (first.shard, ms(first.away_ms));
    let others = match clients.unattended {
        0 | 1 => String::new(),
        more => format!(", and {} more have none", more - 1),
    };
    let next = "start the client, or read its log: what is refused has a finding of its own";
    let finding = if first.away_ms < clients.keep_ms {
        let detail = format!(
            "shard {shard} has had no client for {away}{others}: {} events wait, for {} at most",
            first.waiting,
            ms(clients.keep_ms),
        );
        Finding::warning(CHECK, detail, next)
    } else {
        let detail = format!(
            "shard {shard} has had no client for {away}{others}: its events are not kept any more"
        );
        Finding::error(CHECK, detail, next)
    };
    Some(finding.of_shard(shard.get()))
}

/// How full the rings are, and who is behind.
fn kept(clients: &Clients) -> Option<Finding> {
    let share = |bytes: u64, limit: u64| bytes.saturating_mul(100) / limit.max(1);
    let of_shard = share(clients.fullest_bytes, clients.shard_limit);
    let of_all = share(clients.kept_bytes, clients.kept_limit);
    let shard = clients.fullest_shard;
    let who = clients.behind.iter().find(|behind| behind.shard == shard);
    let who = who.map_or_else(String::new, |behind| {
        let away = if behind.connected {
            ""
        } else {
            ", which is away"
        };
        format!(
            "; {} has {} events before it{away}",
            named(&behind.library),
            behind.unsent + behind.unacknowledged,
        )
    });
    let detail = format!(
        "{of_shard} % of what is kept for shard {shard} is full, and {of_all} % of what is kept \
         for all{who}"
    );
    let next = "find out why the client does not read or acknowledge, or give it more: \
                --proxy-ring, --proxy-rings. What is full holds Discord back for a minute, then \
                it is given up";
    let most = of_shard.max(of_all);
    let finding = if most >= NEARLY_FULL {
        Finding::error(CHECK, detail, next)
    } else if most >= FAR {
        Finding::warning(CHECK, detail, next)
    } else {
        return None;
    };
    Some(finding.of_shard(shard.get()))
}

/// Nothing is taken from Discord, and soon what is kept is given up.
fn full(clients: &Clients) -> Option<Finding> {
    let full = clients.waiting.iter().find(|it| it.full_ms.is_some())?;
    let soon = full.gives_up_ms.map_or_else(String::new, |soon| {
        format!(", and in {} all of them are given up", ms(soon))
    });
    let detail = format!(
        "shard {} has taken nothing from Discord for {}: there is no room for more than its {} \
         events, the oldest {} old{soon}",
        full.shard,
        ms(full.full_ms.unwrap_or(0)),
        full.events,
        ms(full.oldest_ms),
    );
    let next = "start its client, or end it if it does not read: its next process gets them all";
    Some(Finding::error(CHECK, detail, next).of_shard(full.shard.get()))
}

/// What waits for clients is in this process alone, but for what Discord replays of it.
fn at_risk(view: &View, slave: &SlaveView) -> Option<Finding> {
    let of_slave = |shard: &&ShardView| shard.owner.as_deref() == Some(&*slave.slave);
    let of_slave = view.shards.iter().filter(of_slave);
    let at_risk = of_slave.filter(|shard| {
        let most = shard.replayed_at_most;
        most > 0 && shard.behind >= most / 4 * 3
    });
    let at_risk: Vec<&ShardView> = at_risk.collect();
    let worst = at_risk.iter().max_by_key(|shard| shard.behind)?;
    let others = match at_risk.len() {
        1 => String::new(),
        more => format!(", and {} more shards are like it", more - 1),
    };
    let detail = format!(
        "{} events of shard {} wait for a client, and Discord replays {}{others}: if the slave died \
         now, the oldest would be lost",
        worst.behind, worst.shard, worst.replayed_at_most,
    );
    let next =
        "start the client, or find out why it does not acknowledge; a deploy takes them along";
    Some(Finding::error(CHECK, detail, next).of_shard(worst.shard))
}

fn refused(clients: &Clients) -> Vec<Finding> {
    let lately = clients.refused.iter().filter(|it| it.ago_ms < LATELY_MS);
    let found = lately.filter_map(|refused| {
        let (_, next) = MISTAKES.iter().find(|(code, _)| *code == refused.code)?;
        let detail = format!(
            "clients were refused with {}, {}, {} ago for the last time: {}",
            refused.code,
            match refused.count {
                1 => "once".to_owned(),
                count => format!("{count} times"),
            },
            ms(refused.ago_ms),
            refused.reason,
        );
        Some(Finding::warning(CHECK, detail, next))
    });
    found.collect()
}

fn lost(clients: &Clients) -> Option<Finding> {
    (clients.lost > 0).then(|| {
        let last = clients.given_up.first().map_or_else(String::new, |last| {
            format!(
                "; the last {} of shard {} {} ago: {}",
                last.events,
                last.shard,
                ms(last.ago_ms),
                last.reason
            )
        });
        let detail = format!(
            "{} events were given up since the start of the slave: no client took them in \
             time{last}",
            clients.lost
        );
        let next = "its log says when. To have none the next time: clients that come back sooner, \
                    or more room and time (--proxy-ring, --proxy-rings, --proxy-keep)";
        Finding::warning(CHECK, detail, next)
    })
}

fn named(library: &str) -> &str {
    if library.is_empty() {
        "a client"
    } else {
        library
    }
}

#[cfg(test)]
mod tests {
    use baton_protocol::{
        ShardId,
        message::{Absent, Behind, GivenUp, Refusals, Waiting},
    };

    use super::{super::Level, *};

    fn well() -> Clients {
        Clients {
            listening: true,
            attended: 2,
            kept_limit: 1000,
            shard_limit: 100,
            keep_ms: 600_000,
            ..Clients::default()
        }
    }

    fn found(clients: Clients) -> Vec<(Level, String)> {
        let slave = SlaveView {
            slave: "aa".to_owned(),
            connected: true,
            shards: 2,
            clients: Some(Box::new(clients)),
            ..SlaveView::default()
        };
        let view = View {
            slaves: vec![slave],
            ..View::default()
        };
        let found = super::clients(&view).into_iter();
        found
            .map(|finding| (finding.level, finding.detail))
            .collect()
    }

    #[test]
    fn a_fleet_without_clients_has_no_finding_of_them_and_one_that_is_well_has_one() {
        assert_eq!(clients(&View::default()), []);
        assert_eq!(found(well())[0].0, Level::Ok);
    }

    #[test]
    fn a_shard_without_a_client_is_found_after_a_minute_and_is_an_error_when_nothing_is_kept() {
        let absent = |away_ms| Clients {
            unattended: 2,
            absent: vec![Absent {
                shard: ShardId(3),
                away_ms,
                waiting: 7,
            }],
            ..well()
        };
        assert_eq!(found(absent(59_000))[0].0, Level::Ok);
        let (level, detail) = found(absent(61_000)).remove(0);
        assert_eq!(level, Level::Warning);
        assert!(
            detail.contains("shard 3") && detail.contains("7 events wait"),
            "{detail}"
        );
        assert!(detail.contains("and 1 more have none"), "{detail}");
        assert_eq!(found(absent(600_000))[0].0, Level::Error);
    }

    #[test]
    fn what_is_kept_is_a_warning_at_a_quarter_and_an_error_when_it_is_nearly_full() {
        let full = |shard, all| Clients {
            fullest_shard: ShardId(1),
            fullest_bytes: shard,
            kept_bytes: all,
            behind: vec![Behind {
                shard: ShardId(1),
                library: "hikari".to_owned(),
                unsent: 40,
                ..Behind::default()
            }],
            ..well()
        };
        for (shard, all, level) in [
            (24, 0, Level::Ok),
            (25, 0, Level::Warning),
            (0, 250, Level::Warning),
            (75, 0, Level::Error),
            (0, 750, Level::Error),
        ] {
            assert_eq!(found(full(shard, all))[0].0, level, "{shard} {all}");
        }
        let (_, detail) = found(full(75, 0)).remove(0);
        let who = "hikari has 40 events before it, which is away";
        assert!(detail.contains(who), "{detail}");
    }

    #[test]
    fn a_shard_without_room_is_an_error_that_says_when_its_events_are_given_up() {
        let waiting = |full_ms| Clients {
            waiting: vec![Waiting {
                shard: ShardId(1),
                events: 40,
                oldest_ms: 90_000,
                full_ms,
                gives_up_ms: full_ms.map(|_| 20_000),
                ..Waiting::default()
            }],
            ..well()
        };
        assert_eq!(found(waiting(None))[0].0, Level::Ok);
        let (level, detail) = found(waiting(Some(40_000))).remove(0);
        assert_eq!(level, Level::Error);
        assert!(
            detail.contains("for 40 s") && detail.contains("in 20 s all"),
            "{detail}"
        );
    }

    #[test]
    fn a_refusal_that_somebody_has_to_mend_is_found_for_ten_minutes_with_its_reason() {
        let refused = |code, ago_ms| Clients {
            refused: vec![Refusals {
                code,
                count: 3,
                reason: "disallowed intents".to_owned(),
                ago_ms,
            }],
            ..well()
        };
        let (level, detail) = found(refused(4014, 5000)).remove(0);
        assert_eq!(level, Level::Warning);
        assert!(
            detail.contains("4014, 3 times,") && detail.contains("disallowed intents"),
            "{detail}"
        );
        assert_eq!(found(refused(4014, 600_000))[0].0, Level::Ok);
        assert_eq!(found(refused(4009, 5000))[0].0, Level::Ok, "it comes back");
    }

    #[test]
    fn more_than_discord_replays_is_an_error_of_the_worst_shard() {
        let shard = |shard, behind| ShardView {
            shard,
            behind,
            replayed_at_most: 1000,
            owner: Some("aa".to_owned()),
            ..ShardView::default()
        };
        let slave = SlaveView {
            slave: "aa".to_owned(),
            connected: true,
            shards: 3,
            clients: Some(Box::new(well())),
            ..SlaveView::default()
        };
        let mut view = View {
            slaves: vec![slave],
            shards: vec![shard(0, 700), shard(1, 800), shard(2, 900)],
            ..View::default()
        };
        let finding = clients(&view).remove(0);
        assert_eq!((finding.level, finding.shard), (Level::Error, Some(2)));
        assert!(finding.detail.contains("and 1 more"), "{}", finding.detail);
        view.shards.truncate(1);
        assert_eq!(clients(&view)[0].level, Level::Ok);
    }

    #[test]
    fn a_loss_and_an_address_that_another_process_has_are_found() {
        let lost = Clients {
            lost: 3,
            given_up: vec![GivenUp {
                shard: ShardId(4),
                reason: "no client came".to_owned(),
                events: 2,
                bytes: 90,
                ago_ms: 5000,
            }],
            ..well()
        };
        let (level, detail) = found(lost).remove(0);
        assert_eq!(level, Level::Warning);
        assert!(
            detail.contains("2 of shard 4 5.0 s ago: no client came"),
            "{detail}"
        );
        let taken = Clients {
            listening: false,
            ..well()
        };
        assert_eq!(found(taken)[0].0, Level::Error);
    }
}
