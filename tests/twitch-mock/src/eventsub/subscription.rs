//! Subscriptions: who wants to be told of what, and by which way.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde_json::{Value, json};

use crate::{clock::rfc3339, eventsub::conduit::ENABLED};

/// The type by which one hears of shards that are disabled.
pub(crate) const SHARD_DISABLED: &str = "conduit.shard.disabled";

/// Every type there is here, with the fields its condition must have. All are version 1.
pub(crate) const TYPES: [(&str, &[&str]); 7] = [
    ("channel.chat.message", &["broadcaster_user_id", "user_id"]),
    (
        "channel.chat.notification",
        &["broadcaster_user_id", "user_id"],
    ),
    (
        "channel.chat.clear_user_messages",
        &["broadcaster_user_id", "user_id"],
    ),
    (
        "channel.chat.message_delete",
        &["broadcaster_user_id", "user_id"],
    ),
    ("stream.online", &["broadcaster_user_id"]),
    ("user.authorization.revoke", &["client_id"]),
    (SHARD_DISABLED, &["client_id"]),
];

/// By which way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Session(Arc<str>),
    Conduit(Arc<str>),
}

/// A subscription.
#[derive(Clone, Debug)]
pub(crate) struct Subscription {
    pub(crate) id: Arc<str>,
    pub(crate) kind: String,
    pub(crate) condition: BTreeMap<String, String>,
    pub(crate) target: Target,
    pub(crate) status: &'static str,
    pub(crate) cost: u32,
    /// Whose it is, if a user token made it.
    pub(crate) user: Option<u64>,
    pub(crate) created_at: String,
    /// When its session connected.
    pub(crate) connected_at: Option<String>,
}

impl Subscription {
    /// The broadcaster of its condition, 0 for none.
    pub(crate) fn broadcaster(&self) -> u64 {
        self.condition
            .get("broadcaster_user_id")
            .and_then(|id| id.parse().ok())
            .unwrap_or(0)
    }

    pub(crate) fn is_enabled(&self) -> bool {
        self.status == ENABLED
    }

    /// As Helix and notifications write it.
    pub(crate) fn json(&self) -> Value {
        let transport = match &self.target {
            Target::Session(id) => json!({
                "method": "websocket",
                "session_id": &**id,
                "connected_at": self.connected_at,
            }),
            Target::Conduit(id) => json!({ "method": "conduit", "conduit_id": &**id }),
        };
        json!({
            "id": &*self.id,
            "status": self.status,
            "type": self.kind,
            "version": "1",
            "condition": self.condition,
            "transport": transport,
            "created_at": self.created_at,
            "cost": self.cost,
        })
    }

    /// What two subscriptions must not share.
    fn key(&self) -> String {
        let target = match &self.target {
            Target::Session(id) | Target::Conduit(id) => id,
        };
        format!("{} {:?} {target}", self.kind, self.condition)
    }
}

/// All subscriptions, in the order in which they were made.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    next: u64,
    all: BTreeMap<u64, Arc<Subscription>>,
    by_id: BTreeMap<Arc<str>, u64>,
    keys: BTreeSet<String>,
    topics: BTreeMap<(String, u64), BTreeSet<u64>>,
}

impl Subscriptions {
    /// Whether one of this type and condition has this way already.
    pub(crate) fn has_like(&self, new: &Subscription) -> bool {
        self.keys.contains(&new.key())
    }

    /// How many there are, disabled ones too.
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    pub(crate) fn insert(&mut self, new: Subscription) -> Arc<Subscription> {
        let new = Arc::new(Subscription {
            created_at: rfc3339(),
            ..new
        });
        self.next += 1;
        self.put(self.next, Arc::clone(&new));
        new
    }

    fn put(&mut self, at: u64, new: Arc<Subscription>) {
        if new.is_enabled() {
            self.keys.insert(new.key());
            let topic = (new.kind.clone(), new.broadcaster());
            self.topics.entry(topic).or_default().insert(at);
        }
        self.by_id.insert(Arc::clone(&new.id), at);
        self.all.insert(at, new);
    }

    pub(crate) fn get(&self, id: &str) -> Option<&Arc<Subscription>> {
        self.all.get(self.by_id.get(id)?)
    }

    pub(crate) fn remove(&mut self, id: &str) -> Option<Arc<Subscription>> {
        let at = self.by_id.remove(id)?;
        let gone = self.all.remove(&at)?;
        if gone.is_enabled() {
            self.keys.remove(&gone.key());
            let topic = (gone.kind.clone(), gone.broadcaster());
            if let Some(of) = self.topics.get_mut(&topic) {
                of.remove(&at);
                if of.is_empty() {
                    self.topics.remove(&topic);
                }
            }
        }
        Some(gone)
    }

    fn replace(&mut self, id: &str, change: impl FnOnce(&mut Subscription)) {
        let Some(at) = self.by_id.get(id).copied() else {
            return;
        };
        if let Some(old) = self.remove(id) {
            let mut new = (*old).clone();
            change(&mut new);
            self.put(at, Arc::new(new));
        }
    }

    /// It gets nothing any more, and can be listed with its status.
    pub(crate) fn disable(&mut self, id: &str, status: &'static str) {
        self.replace(id, |subscription| subscription.status = status);
    }

    pub(crate) fn move_to_session(&mut self, id: &str, session: &Arc<str>) {
        let target = Target::Session(Arc::clone(session));
        self.replace(id, |subscription| subscription.target = target);
    }

    pub(crate) fn remove_conduit(&mut self, conduit: &Arc<str>) {
        let of = Target::Conduit(Arc::clone(conduit));
        let gone: Vec<Arc<str>> = self
            .iter()
            .filter(|(_, subscription)| subscription.target == of)
            .map(|(_, subscription)| Arc::clone(&subscription.id))
            .collect();
        for id in gone {
            self.remove(&id);
        }
    }

    /// Drops those that get nothing any more.
    pub(crate) fn forget_disabled(&mut self) {
        let disabled = self.all.values().filter(|one| !one.is_enabled());
        let gone: Vec<Arc<str>> = disabled.map(|one| Arc::clone(&one.id)).collect();
        for id in gone {
            self.remove(&id);
        }
    }

    /// With their places, which only grow.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &Arc<Subscription>)> {
        self.all
            .iter()
            .map(|(at, subscription)| (*at, subscription))
    }

    /// Those of a type and a broadcaster.
    pub(crate) fn of(&self, kind: &str, broadcaster: u64) -> Vec<Arc<Subscription>> {
        let topic = (kind.to_owned(), broadcaster);
        let places = self.topics.get(&topic).into_iter().flatten();
        places.filter_map(|at| self.all.get(at).cloned()).collect()
    }

    /// Those that hear of disabled shards of a conduit.
    pub(crate) fn of_shards_disabled(&self, conduit: &str) -> Vec<Arc<Subscription>> {
        let mut hear = self.of(SHARD_DISABLED, 0);
        hear.retain(|one| {
            let wanted = one.condition.get("conduit_id");
            wanted.is_none_or(|wanted| wanted == conduit)
        });
        hear
    }
}
