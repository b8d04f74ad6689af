//! What a configuration that was changed says otherwise, and what of it a running
//! master takes up.

use std::{fmt::Debug, sync::Arc};

use super::{Config, Held, ResolvedLimits, Slot};
use crate::certs::now;

/// Limits that a running master takes up: the core looks at them whenever it needs
/// one. The others are given to connections, timers or the journal at the start.
const RELOADED: [&str; 25] = [
    "identify_pause",
    "identify_reserve",
    "identify_storm",
    "identify_storm_reserve",
    "contact",
    "ready",
    "seal",
    "drain",
    "no_progress",
    "copy",
    "soak",
    "retire",
    "resume_window",
    "backoff",
    "backoff_max",
    "canary",
    "canary_time",
    "canary_events",
    "lag_gate",
    "width",
    "error_gate",
    "error_gate_events",
    "replay_buffer",
    "behind_gate",
    "silent",
];

/// One key that says something else than before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub key: String,
    /// What it said.
    pub from: String,
    /// What it says.
    pub to: String,
    /// What becomes of it.
    pub effect: Effect,
}

/// What becomes of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It counts from now on.
    Now,
    /// It counts from the next start of the master on.
    Restart,
}

impl Config {
    /// What `next` says otherwise.
    #[must_use]
    pub fn changes(&self, next: &Self) -> Vec<Change> {
        let mut changes: Vec<Change> = self
            .limits
            .changes(&next.limits)
            .into_iter()
            .map(|(name, from, to)| Change {
                key: format!("limits.{name}"),
                from,
                to,
                effect: if RELOADED.contains(&name) {
                    Effect::Now
                } else {
                    Effect::Restart
                },
            })
            .collect();
        let mut compare = |key: &str, from: &dyn Debug, to: &dyn Debug, effect| {
            let (from, to) = (format!("{from:?}"), format!("{to:?}"));
            if from != to {
                let key = key.to_owned();
                changes.push(Change {
                    key,
                    from,
                    to,
                    effect,
                });
            }
        };
        let Self {
            name,
            host,
            platform,
            runtime_dir,
            data_dir,
            store,
            listen,
            tls_dir,
            certificate,
            admin_listen,
            admin_token,
            admin_read_token,
            shard_count,
            max_concurrency,
            api_url,
            // Where a secret stands is no secret's difference.
            token_files: _,
            token,
            token_file,
            standbys,
            work_slot,
            late_seal,
            fail_on_error,
            legacy,
            limits: _,
            slots,
        } = self;
        compare("standbys", standbys, &next.standbys, Effect::Now);
        compare("work_slot", work_slot, &next.work_slot, Effect::Now);
        compare("late_seal", late_seal, &next.late_seal, Effect::Now);
        compare("tls_dir", tls_dir, &next.tls_dir, Effect::Now);
        let start = Effect::Restart;
        compare("name", name, &next.name, start);
        compare("platform", platform, &next.platform, start);
        compare("host", host, &next.host, start);
        compare("runtime_dir", runtime_dir, &next.runtime_dir, start);
        compare("data_dir", data_dir, &next.data_dir, start);
        compare("store", store, &next.store, start);
        compare("listen", listen, &next.listen, start);
        compare("admin_listen", admin_listen, &next.admin_listen, start);
        compare("shard_count", shard_count, &next.shard_count, start);
        let concurrency = &next.max_concurrency;
        compare("max_concurrency", max_concurrency, concurrency, start);
        compare("fail_on_error", fail_on_error, &next.fail_on_error, start);
        compare("api_url", api_url, &next.api_url, start);
        compare("legacy", legacy, &next.legacy, start);
        compare("token_file", token_file, &next.token_file, start);
        let recut = self.recut(next);
        compare("slot", slots, &recut, Effect::Now);
        compare("slot", &recut, &next.slots, start);
        if certificate != &next.certificate {
            let told = |held: &Option<Arc<Held>>| match held {
                Some(held) => format!("{}, {}", held.name(), held.validity().told(now())),
                None => "none".to_owned(),
            };
            changes.push(Change {
                key: "tls_dir (its certificate)".to_owned(),
                from: told(certificate),
                to: told(&next.certificate),
                effect: Effect::Now,
            });
        }
        // Secrets are not shown, also not as a difference.
        let secrets = [
            ("token_file", token != &next.token),
            ("admin_token_file", admin_token != &next.admin_token),
            (
                "admin_read_token_file",
                admin_read_token != &next.admin_read_token,
            ),
        ];
        for (key, differs) in secrets {
            if differs {
                changes.push(Change {
                    key: key.to_owned(),
                    from: "a secret".to_owned(),
                    to: "another".to_owned(),
                    effect: Effect::Restart,
                });
            }
        }
        changes
    }

    /// The slots of `next`, as far as a running master takes them up: which ones there are, and
    /// their shards. Where and how one is launched that is there already stays.
    #[must_use]
    pub fn recut(&self, next: &Self) -> Vec<Slot> {
        let taken_up = |slot: &Slot| {
            let before = self.slots.iter().find(|before| before.name == slot.name);
            before.map_or_else(
                || slot.clone(),
                |before| Slot {
                    shards: slot.shards.clone(),
                    ..before.clone()
                },
            )
        };
        next.slots.iter().map(taken_up).collect()
    }

    /// Takes up what of `next` counts at once, but for the slots, which a fleet may refuse.
    pub fn take_up(&mut self, next: &Self) {
        self.limits = ResolvedLimits::some_of(&self.limits, &next.limits, &RELOADED);
        self.standbys = next.standbys;
        self.tls_dir.clone_from(&next.tls_dir);
        self.certificate.clone_from(&next.certificate);
        self.work_slot.clone_from(&next.work_slot);
        self.late_seal = next.late_seal;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::config::Options;

    #[test]
    fn every_change_is_named_with_what_becomes_of_it() {
        let before = Config::check(Options::default(), None).unwrap();
        let mut next = before.clone();
        next.limits.width = 3;
        next.limits.ping = std::time::Duration::from_secs(1);
        next.standbys = 2;
        next.work_slot = Some("main".to_owned());
        next.api_url = "http://elsewhere".to_owned();
        let told = |config: &Config| -> Vec<(String, Effect)> {
            let changes = config.changes(&next).into_iter();
            changes.map(|change| (change.key, change.effect)).collect()
        };
        let name = |key: &str, effect| (key.to_owned(), effect);
        let mut found = told(&before);
        found.sort_by(|one, other| one.0.cmp(&other.0));
        assert_eq!(
            found,
            [
                name("api_url", Effect::Restart),
                name("limits.ping", Effect::Restart),
                name("limits.width", Effect::Now),
                name("standbys", Effect::Now),
                name("work_slot", Effect::Now),
            ]
        );
        let mut after = before.clone();
        after.take_up(&next);
        assert_eq!((after.limits.width, after.standbys), (3, 2));
        assert_eq!(after.limits.ping, before.limits.ping);
        // Keys that need a restart are reported again.
        assert_eq!(told(&after).len(), 2);
    }

    #[test]
    fn every_limit_that_is_taken_up_exists() {
        let limits = Options::default().limits.resolve();
        for name in RELOADED {
            assert!(super::super::Limits::NAMES.contains(&name), "{name}");
        }
        assert!(limits.changes(&limits).is_empty());
    }
}
