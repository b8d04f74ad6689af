//! Compares a bot's cached guild with how the guild really is.

use std::collections::BTreeMap;

use serde_json::Value;

/// What of a guild is compared, list by list, each item by its key and the
/// fields that every library keeps.
const LISTS: [(&str, &str, &[&str]); 4] = [
    ("channels", "id", &["name", "type"]),
    ("roles", "id", &["name", "permissions"]),
    ("members", "user.id", &["nick", "roles"]),
    ("voice_states", "user_id", &["channel_id", "self_mute"]),
];

/// Fields of the guild itself.
const FIELDS: [&str; 3] = ["name", "owner_id", "member_count"];

/// The first difference, for a person; `None` if the cache is true.
#[must_use]
pub fn difference(truth: &Value, cached: &Value) -> Option<String> {
    let out = |guild: &Value| guild["unavailable"] == true;
    if out(truth) || out(cached) {
        let (is, cached) = (out(truth), out(cached));
        return (is != cached).then(|| format!("unavailable: is {is}, cached {cached}"));
    }
    for field in FIELDS {
        if plain(&truth[field]) != plain(&cached[field]) {
            return Some(format!(
                "{field}: is {}, cached {}",
                truth[field], cached[field]
            ));
        }
    }
    for (list, key, fields) in LISTS {
        let is = items(&truth[list], key, fields);
        let cached = items(&cached[list], key, fields);
        if is == cached {
            continue;
        }
        let wrong = is
            .keys()
            .chain(cached.keys())
            .find(|key| is.get(*key) != cached.get(*key))?;
        let show = |item: Option<&String>| item.cloned().unwrap_or_else(|| "nothing".to_owned());
        return Some(format!(
            "{list} {wrong}: is {}, cached {}",
            show(is.get(wrong)),
            show(cached.get(wrong))
        ));
    }
    None
}

fn items(list: &Value, key: &str, fields: &[&str]) -> BTreeMap<String, String> {
    list.as_array()
        .into_iter()
        .flatten()
        .map(|item| {
            let id = key.split('.').fold(item, |value, name| &value[name]);
            let shown: Vec<String> = fields.iter().map(|field| plain(&item[*field])).collect();
            (plain(id), shown.join(" "))
        })
        .collect()
}

/// A value without what libraries may change: null is absent, lists are sets.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let mut items: Vec<String> = items.iter().map(plain).collect();
            items.sort();
            items.join(",")
        }
        other @ (Value::Bool(_) | Value::Number(_) | Value::Object(_)) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn order_of_lists_and_absent_fields_do_not_matter() {
        let truth = json!({"name": "g", "member_count": 2, "members": [
            {"user": {"id": "1"}, "nick": null, "roles": ["5", "4"]},
            {"user": {"id": "2"}, "roles": []},
        ]});
        let cached = json!({"name": "g", "member_count": 2, "members": [
            {"user": {"id": "2"}, "nick": null, "roles": []},
            {"user": {"id": "1"}, "roles": ["4", "5"]},
        ]});
        assert_eq!(difference(&truth, &cached), None);
    }

    #[test]
    fn of_a_guild_that_is_out_nothing_more_is_known() {
        let out = json!({"id": "1", "name": "g", "unavailable": true});
        assert_eq!(
            difference(&out, &json!({"id": "1", "unavailable": true})),
            None
        );
        assert!(difference(&out, &json!({"id": "1", "name": "g"})).is_some());
    }

    #[test]
    fn whatever_differs_is_named() {
        let truth = json!({"name": "g", "member_count": 2, "roles": [{"id": "1", "name": "a"}]});
        let differs = |change: fn(&mut Value)| {
            let mut cached = truth.clone();
            change(&mut cached);
            difference(&truth, &cached).expect("it differs")
        };
        assert_eq!(
            differs(|g| g["member_count"] = json!(3)),
            "member_count: is 2, cached 3"
        );
        assert!(differs(|g| g["roles"][0]["name"] = json!("b")).starts_with("roles 1: is a "));
        assert!(differs(|g| g["roles"] = json!([])).ends_with("cached nothing"));
        assert!(
            differs(|g| g["channels"] = json!([{"id": "7", "name": "x"}])).contains("is nothing")
        );
    }
}
