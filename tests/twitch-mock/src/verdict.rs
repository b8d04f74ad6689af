//! Whether a consumer got what it should have got: each message once, in the order of its
//! channel.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use crate::ledger::{Kind, Ledger, Message};

/// How many of each kind of mistake are named.
const NAMED: usize = 20;

/// What a consumer is judged by. Every part may be left out of JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Scope {
    /// The first number that counts.
    pub from: u64,
    /// The last number that counts.
    pub to: u64,
    /// The channels that count; empty: all.
    pub channels: BTreeSet<String>,
    /// The kinds that count.
    pub kinds: BTreeSet<Kind>,
}

impl Default for Scope {
    fn default() -> Self {
        Self {
            from: 1,
            to: u64::MAX,
            channels: BTreeSet::new(),
            kinds: [Kind::Message, Kind::Sub, Kind::Raid].into(),
        }
    }
}

impl Scope {
    fn holds(&self, message: &Message) -> bool {
        (self.from..=self.to).contains(&message.number)
            && self.kinds.contains(&message.kind)
            && (self.channels.is_empty() || self.channels.contains(&*message.channel))
    }
}

/// What a consumer did wrong. The lists name the first 20 of each, by their ids.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Messages that count.
    pub messages: u64,
    /// Of these, seen.
    pub seen: u64,
    /// Not seen, though Twitch did not give them up.
    pub lost: u64,
    /// Not seen, because Twitch gave them up.
    pub dropped: u64,
    /// Seen once more.
    pub repeated: u64,
    /// Seen after a later one of their channel.
    pub out_of_order: u64,
    /// Seen, though there never was such a message.
    pub invented: u64,
    /// The first that were lost.
    pub lost_ids: Vec<String>,
    /// The first that were repeated.
    pub repeated_ids: Vec<String>,
    /// The first that were out of order.
    pub out_of_order_ids: Vec<String>,
    /// The ledger had no room for some messages, so nothing of this can be trusted.
    pub overflow: bool,
}

impl Verdict {
    /// Nothing was lost, repeated, out of order or invented, and the ledger is whole.
    pub const fn is_clean(&self) -> bool {
        self.lost == 0
            && self.repeated == 0
            && self.out_of_order == 0
            && self.invented == 0
            && !self.overflow
    }
}

fn name(list: &mut Vec<String>, id: &str) {
    if list.len() < NAMED {
        list.push(id.to_owned());
    }
}

/// Judges the ids that a consumer saw, in its order.
pub(crate) fn judge(ledger: &Ledger, seen: &[String], scope: &Scope) -> Verdict {
    let overflow = ledger.extents().messages.overflow > 0;
    ledger.with_messages(|messages| {
        let by_id: BTreeMap<&str, &Message> = messages.iter().map(|m| (&*m.id, m)).collect();
        let mut verdict = Verdict {
            overflow,
            ..Verdict::default()
        };
        let mut got = BTreeSet::new();
        let mut last: BTreeMap<Arc<str>, u64> = BTreeMap::new();
        for id in seen {
            let Some(message) = by_id.get(id.as_str()) else {
                verdict.invented += 1;
                continue;
            };
            if !scope.holds(message) {
                continue;
            }
            if !got.insert(message.number) {
                verdict.repeated += 1;
                name(&mut verdict.repeated_ids, id);
                continue;
            }
            let before = last.entry(Arc::clone(&message.channel)).or_default();
            if message.seq < *before {
                verdict.out_of_order += 1;
                name(&mut verdict.out_of_order_ids, id);
            }
            *before = message.seq.max(*before);
        }
        for message in messages.iter().filter(|message| scope.holds(message)) {
            verdict.messages += 1;
            if got.contains(&message.number) {
                verdict.seen += 1;
            } else if message.dropped > 0 && message.deliveries == 0 {
                verdict.dropped += 1;
            } else {
                verdict.lost += 1;
                name(&mut verdict.lost_ids, &message.id);
            }
        }
        verdict
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Recipient;

    fn ledger() -> Ledger {
        let ledger = Ledger::new(10, 10, 10);
        for (channel, id) in [("a", "1"), ("b", "2"), ("a", "3"), ("a", "4")] {
            ledger.create(Kind::Message, &Arc::from(channel), &Arc::from(id));
        }
        ledger
    }

    fn judged(ledger: &Ledger, seen: &[&str]) -> Verdict {
        let seen: Vec<String> = seen.iter().map(|id| (*id).to_owned()).collect();
        judge(ledger, &seen, &Scope::default())
    }

    #[test]
    fn whoever_saw_everything_once_is_clean() {
        // The order between channels is nobody's business.
        let verdict = judged(&ledger(), &["2", "1", "3", "4"]);
        assert!(verdict.is_clean());
        assert_eq!((verdict.messages, verdict.seen), (4, 4));
    }

    #[test]
    fn lost_repeated_out_of_order_and_invented_are_told_apart() {
        let verdict = judged(&ledger(), &["3", "1", "3", "nine"]);
        assert_eq!(verdict.lost_ids, ["2", "4"]);
        assert_eq!(verdict.repeated_ids, ["3"]);
        assert_eq!(verdict.out_of_order_ids, ["1"]);
        assert_eq!(verdict.invented, 1);
        assert!(!verdict.is_clean());
    }

    #[test]
    fn nobody_is_blamed_for_what_twitch_gave_up() {
        let ledger = ledger();
        ledger.dropped(2, None);
        ledger.dropped(3, None);
        ledger.delivered(3, Recipient::Irc(1));
        let verdict = judged(&ledger, &["1", "4"]);
        assert_eq!(verdict.dropped, 1);
        assert_eq!(verdict.lost_ids, ["3"], "another connection got it");
    }

    #[test]
    fn only_the_scope_counts() {
        let scope = Scope {
            from: 2,
            channels: ["a".to_owned()].into(),
            ..Scope::default()
        };
        let verdict = judge(&ledger(), &["3".to_owned()], &scope);
        assert_eq!((verdict.messages, verdict.lost), (2, 1));
    }

    #[test]
    fn an_overflow_is_no_clean_verdict() {
        let ledger = Ledger::new(1, 1, 1);
        for id in ["1", "2"] {
            ledger.create(Kind::Message, &Arc::from("a"), &Arc::from(id));
        }
        assert!(judged(&ledger, &["1"]).overflow);
        assert!(!judged(&ledger, &["1"]).is_clean());
    }
}
