//! Where slots have their clients connect: `listen` of a slot.

use std::path::Path;

use serde_json::Value;

use crate::{config::Slot, doctor::Finding, process::Listeners};

const CHECK: &str = "listen";

/// Whether a master could open each of them.
pub(super) fn before_a_start(slots: &[Slot], runtime_dir: &Path) -> Vec<Finding> {
    let listeners = Listeners::of_slaves(runtime_dir);
    let found = slots.iter().filter_map(|slot| {
        // Another host's is its agent's to open.
        let here = slot.listen.filter(|_| slot.host.is_none());
        let (name, address) = (&slot.name, here?);
        Some(match listeners.of(address) {
            Ok(_) => Finding::ok(
                CHECK,
                format!("{address} of slot {name} is free, or a slave gives it back"),
            ),
            Err(error) => Finding::error(
                CHECK,
                format!("{address} of slot {name} cannot be listened on: {error}"),
                "end what listens there, or give the slot another `listen`, and its command the \
                 same --proxy",
            ),
        })
    });
    found.collect()
}

/// Whether the slaves of a running master serve their clients there.
pub(super) fn in_use(slots: &[Slot], status: &Value) -> Vec<Finding> {
    let slaves = status["slaves"].as_array();
    let slaves = slaves.into_iter().flatten();
    // One that is not connected says nothing, and one without shards serves nobody.
    let serving = slaves.filter(|slave| {
        let shards = slave["shards"].as_u64().unwrap_or(0);
        slave["clients"].is_object() && slave["connected"] == true && shards > 0
    });
    let found = serving.filter_map(|slave| {
        let (clients, name) = (&slave["clients"], slave["slot"].as_str()?);
        let slot = slots.iter().find(|slot| slot.name == name)?;
        let at = clients["address"].as_str().unwrap_or("");
        let passed = clients["passed"].as_bool()?;
        let id = slave["slave"].as_str().unwrap_or("");
        let finding = match slot.listen {
            Some(address) if passed => Finding::ok(
                CHECK,
                format!("clients of slot {name} connect to {address}, which the master has"),
            ),
            Some(address) if at != address.to_string() => Finding::error(
                CHECK,
                format!("clients of slot {name} connect to {at}, and its `listen` is {address}"),
                "give the slot and its command (--proxy) one address, then deploy",
            ),
            Some(address) => Finding::warning(
                CHECK,
                format!(
                    "clients of slot {name} connect to {address}, but the slave opened it itself: \
                     at the next deploy some of them are refused for a moment"
                ),
                "it was started by hand, or before the slot had a `listen`, or the master could \
                 not open the address then (its log): a deploy to a slave that the master \
                 launches mends it",
            ),
            None if slot.command.is_some() => Finding::warning(
                CHECK,
                format!(
                    "clients of slot {name} connect to {at}, and the slot has no `listen`: at \
                     each deploy some of them are refused for a moment"
                ),
                "give the slot `listen` with this address; it counts from the master's next start",
            ),
            // Its slaves are started by somebody else.
            None => return None,
        };
        Some(Finding {
            slave: Some(id.to_owned()),
            ..finding
        })
    });
    found.collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{collections::BTreeMap, net::TcpListener};

    use serde_json::json;

    use super::*;
    use crate::doctor::Level;

    fn slot(listen: Option<&str>, launched: bool) -> Slot {
        Slot {
            name: "main".to_owned(),
            command: launched.then(Vec::new),
            shards: None,
            host: None,
            lease: None,
            env: BTreeMap::new(),
            log: None,
            listen: listen.map(|listen| listen.parse().unwrap()),
        }
    }

    fn level(listen: Option<&str>, launched: bool, passed: bool) -> Option<Level> {
        let clients = json!({"address": "127.0.0.1:7878", "passed": passed});
        let slave = json!({"slave": "aa", "slot": "main", "connected": true, "shards": 2, "clients": clients});
        let found = in_use(&[slot(listen, launched)], &json!({"slaves": [slave]}));
        assert!(found.len() <= 1, "{found:?}");
        found.first().map(|finding| finding.level)
    }

    #[test]
    fn clients_are_well_where_the_master_has_their_socket() {
        let here = Some("127.0.0.1:7878");
        assert_eq!(level(here, true, true), Some(Level::Ok));
        assert_eq!(level(here, true, false), Some(Level::Warning));
        assert_eq!(level(Some("127.0.0.1:1"), true, false), Some(Level::Error));
        assert_eq!(level(None, true, false), Some(Level::Warning));
        assert_eq!(
            level(None, false, false),
            None,
            "it is not the master's to give"
        );
        // A slave of an earlier build does not say it, and one without clients has none.
        let older = json!({"slaves": [
            {"slot": "main", "connected": true, "shards": 1, "clients": {}},
            {"slot": "main", "connected": true, "shards": 1, "clients": null},
        ]});
        assert_eq!(in_use(&[slot(None, true)], &older), []);
    }

    #[test]
    fn an_address_that_is_taken_is_found_before_a_start() {
        let dir = tempfile::tempdir().unwrap();
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap().to_string();
        let slots = [slot(Some(&address), true), slot(None, true)];
        let found = before_a_start(&slots, dir.path());
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].level, Level::Error, "{found:?}");
        drop(taken);
        assert_eq!(before_a_start(&slots, dir.path())[0].level, Level::Ok);
        let made = std::fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(made, 0, "it looks, and makes nothing");
    }
}
