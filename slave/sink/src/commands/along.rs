//! What goes along with a shard, so that its next owner neither writes a command again nor
//! breaks a rule that holds for the bot.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::control::Standing;

/// Bytes of it, at most: other things may go along, too.
const MOST: usize = 3072;

/// See the [module](self).
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub(crate) struct Along {
    /// When all members of a guild were last asked for, in milliseconds of Unix time.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) asked: BTreeMap<u64, u64>,
    /// Commands that were written and settled, at a broker that confirms no acknowledgement.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) settled: Vec<String>,
    /// Commands that were written and are not known to be settled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) written: Vec<String>,
    /// What stands of the session.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub(crate) stands: Standing,
}

fn is_nothing(standing: &Standing) -> bool {
    *standing == Standing::default()
}

impl Along {
    /// Reads what came along; what it does not know is nothing.
    pub(crate) fn read(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or_default()
    }

    /// As text; if it is too much, without what matters least and is oldest.
    pub(crate) fn text(mut self) -> String {
        if self == Self::default() {
            return String::new();
        }
        loop {
            let text = serde_json::to_string(&self).unwrap_or_default();
            if text.len() <= MOST {
                return text;
            }
            if !self.settled.is_empty() {
                self.settled.remove(0);
                continue;
            }
            if !is_nothing(&self.stands) {
                // Then it is not known, and is written again.
                self.stands = Standing::default();
                continue;
            }
            let oldest = self.asked.iter().min_by_key(|(_, at)| **at);
            if let Some(guild) = oldest.map(|(guild, _)| *guild) {
                self.asked.remove(&guild);
            } else {
                self.written.remove(0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_along_has_a_limit_and_comes_as_it_went() {
        assert_eq!(Along::default().text(), "");
        assert_eq!(Along::read("other"), Along::default());
        let mut along = Along {
            asked: (1..=10).map(|guild| (guild << 22, 100 + guild)).collect(),
            settled: vec!["baton:40".to_owned()],
            written: vec!["baton:41".to_owned()],
            stands: serde_json::from_str(r#"{"presence":{"status":"idle"}}"#).expect("one"),
        };
        assert_eq!(Along::read(&along.clone().text()), along);
        along.settled = (0..100).map(|number| format!("{number:040}")).collect();
        let came = Along::read(&along.clone().text());
        assert_eq!(came.settled.last(), along.settled.last());
        assert!(came.settled.len() < 100);
        assert_eq!((&came.asked, &came.stands), (&along.asked, &along.stands));
        along.asked = (1..=500).map(|guild| (guild << 22, guild)).collect();
        let text = along.clone().text();
        assert!(text.len() <= MOST);
        let came = Along::read(&text);
        assert_eq!(came.written, along.written);
        assert!(came.asked.contains_key(&(500 << 22)) && !came.asked.contains_key(&(1 << 22)));
    }
}
