//! What the dashboard shows of it.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::metrics::picture;

fn dashboard() -> String {
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../scripts/packaging/grafana/baton.json"
    );
    std::fs::read_to_string(file).unwrap()
}

#[test]
fn the_dashboard_has_a_colour_for_every_state_of_a_shard() {
    let dashboard = dashboard();
    for state in picture::STATES {
        let name = format!("\"options\": {:?}", state.replace(' ', "_"));
        assert!(dashboard.contains(&name), "{state}");
    }
}

#[test]
fn each_panel_of_the_dashboard_has_an_id_and_a_place_of_its_own() {
    let dashboard: Value = serde_json::from_str(&dashboard()).unwrap();
    let (mut ids, mut cells) = (BTreeSet::new(), BTreeSet::new());
    for panel in dashboard["panels"].as_array().unwrap() {
        let title = &panel["title"];
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}");
        let place = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        for x in place("x")..place("x") + place("w") {
            for y in place("y")..place("y") + place("h") {
                assert!(cells.insert((x, y)), "{title}");
            }
        }
    }
}
