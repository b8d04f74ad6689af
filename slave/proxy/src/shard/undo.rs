//! A guild as it was where a backlog begins.
//!
//! The state is newer than the backlog, and a library counts: a GUILD_MEMBER_ADD of the
//! backlog raises its `member_count`. So members who came in the backlog are taken out and
//! those who left are put back. Whatever else an event changes it sets, and setting it once
//! more does no harm.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::item::{OfNote, WithUser};

/// What a backlog does to guilds.
#[derive(Debug, Default)]
pub(crate) struct Undo {
    /// Every number up to here was looked at.
    pub(crate) through: u64,
    guilds: BTreeMap<u64, Guild>,
}

#[derive(Debug, Default)]
struct Guild {
    /// What comes first: `true`, it is joined; `false`, it is left.
    joined: Option<bool>,
    members: Vec<Member>,
}

#[derive(Debug)]
struct Member {
    number: u64,
    user: u64,
    /// `None`: the member came; the text of the user: it left.
    left: Option<Box<str>>,
}

impl Undo {
    pub(crate) fn above(position: u64) -> Self {
        Self {
            through: position,
            guilds: BTreeMap::new(),
        }
    }

    /// Takes the next number in.
    pub(crate) fn note(&mut self, number: u64, of_note: &OfNote) {
        self.through = self.through.max(number);
        match of_note {
            OfNote::GuildCreate { guild } => {
                let guild = self.guilds.entry(*guild).or_default();
                guild.joined.get_or_insert(true);
            }
            OfNote::GuildDelete { guild } => {
                let guild = self.guilds.entry(*guild).or_default();
                guild.joined.get_or_insert(false);
            }
            OfNote::MemberAdd { guild, user } => {
                let guild = self.guilds.entry(*guild).or_default();
                let (user, left) = (*user, None);
                guild.members.push(Member { number, user, left });
            }
            OfNote::MemberRemove { guild, user, text } => {
                let guild = self.guilds.entry(*guild).or_default();
                let (user, left) = (*user, Some(text.clone()));
                guild.members.push(Member { number, user, left });
            }
            OfNote::Nothing | OfNote::Answer { .. } => {}
        }
    }

    /// Whether the backlog brings this guild: it was not there before.
    pub(crate) fn brings(&self, guild: u64) -> bool {
        self.first(guild) == Some(true)
    }

    /// The guilds that were there and that the backlog takes away.
    pub(crate) fn taken(&self) -> impl Iterator<Item = u64> {
        let guilds = self.guilds.iter();
        let taken = guilds.filter(|(_, guild)| guild.joined == Some(false));
        taken.map(|(id, _)| *id)
    }

    fn first(&self, guild: u64) -> Option<bool> {
        self.guilds.get(&guild)?.joined
    }

    /// The `d` of a guild's GUILD_CREATE, of which everything up to `at` is in the text, as
    /// it was where the backlog begins.
    pub(crate) fn apply(&self, guild: u64, text: String, at: u64) -> String {
        let members = self
            .guilds
            .get(&guild)
            .map(|guild| guild.members.as_slice());
        let members = members.unwrap_or_default();
        let count = members.partition_point(|member| member.number <= at);
        if count == 0 || mutant!("state-before-backlog") {
            return text;
        }
        let undone = undone(&text, &members[..count]);
        undone.unwrap_or(text)
    }
}

/// `None`: the text is not that of a guild. It stays as it is then.
fn undone(text: &str, changes: &[Member]) -> Option<String> {
    let mut guild: BTreeMap<String, Box<RawValue>> = serde_json::from_str(text).ok()?;
    let mut first = BTreeMap::new();
    let mut more = 0i64;
    for change in changes {
        first.entry(change.user).or_insert(change);
        more += if change.left.is_none() { 1 } else { -1 };
    }
    if let Some(count) = guild.get("member_count") {
        let count: i64 = serde_json::from_str(count.get()).ok()?;
        let count = (count - more).max(0).to_string();
        guild.insert(
            "member_count".to_owned(),
            RawValue::from_string(count).ok()?,
        );
    }
    if let Some(members) = guild.get("members") {
        let mut members: Vec<Box<RawValue>> = serde_json::from_str(members.get()).ok()?;
        let user = |member: &RawValue| {
            let member = serde_json::from_str::<WithUser>(member.get());
            member.map(|member| member.user.id.0)
        };
        // Somebody who left and came again is there.
        let mut here = Vec::new();
        members.retain(|member| {
            let change = user(member).ok().and_then(|user| first.get(&user));
            here.extend(change.map(|change| change.user));
            change.is_none_or(|change| change.left.is_some())
        });
        for (user, change) in first {
            if let (Some(text), false) = (&change.left, here.contains(&user)) {
                let member = format!(
                    r#"{{"user":{text},"roles":[],"joined_at":null,"deaf":false,"mute":false,"flags":0}}"#
                );
                members.push(RawValue::from_string(member).ok()?);
            }
        }
        let members = serde_json::value::to_raw_value(&members).ok()?;
        guild.insert("members".to_owned(), members);
    }
    serde_json::to_string(&guild).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn came(user: u64) -> OfNote {
        OfNote::MemberAdd { guild: 1, user }
    }

    fn left(user: u64) -> OfNote {
        let text = format!(r#"{{"id":"{user}","odd":1}}"#).into();
        OfNote::MemberRemove {
            guild: 1,
            user,
            text,
        }
    }

    fn member(user: u64) -> Value {
        json!({"user": {"id": user.to_string()}, "odd": 2})
    }

    #[test]
    fn members_are_those_of_the_beginning_and_their_count_too() {
        let mut undo = Undo::above(100);
        let backlog = [
            came(1),
            left(2),
            came(3),
            left(3),
            left(4),
            came(4),
            came(5),
        ];
        for (number, change) in (101..).zip(&backlog) {
            undo.note(number, change);
        }
        // Everything up to 106 is in it: 1, 4 and somebody else.
        let now = json!({"id": "1", "member_count": 3, "odd": [1.50], "members": [member(1), member(4), member(9)]});
        let then = undo.apply(1, now.to_string(), 106);
        let then: Value = serde_json::from_str(&then).unwrap();
        assert_eq!(then["member_count"], 3, "came: 1, 3, 4; left: 2, 3, 4");
        assert_eq!(then["odd"], json!([1.50]));
        let members = then["members"].as_array().unwrap();
        let users: Vec<_> = members.iter().map(|member| &member["user"]["id"]).collect();
        assert_eq!(users, ["4", "9", "2"]);
        assert_eq!(members[2]["user"]["odd"], 1);
    }

    #[test]
    fn a_guild_that_no_event_counts_in_is_not_read_at_all() {
        let mut undo = Undo::above(0);
        undo.note(1, &came(7));
        assert_eq!(undo.apply(2, "as it is".to_owned(), 9), "as it is");
        assert_eq!(undo.apply(1, "no guild".to_owned(), 9), "no guild");
        assert_eq!(undo.apply(1, r#"{"a" : 1}"#.to_owned(), 0), r#"{"a" : 1}"#);
    }

    #[test]
    fn a_guild_was_there_unless_the_backlog_brings_it() {
        let mut undo = Undo::above(0);
        let (joined, gone) = (
            |guild| OfNote::GuildCreate { guild },
            |guild| OfNote::GuildDelete { guild },
        );
        for (number, change) in (1..).zip([joined(1), gone(1), gone(2), joined(2)]) {
            undo.note(number, &change);
        }
        assert!(undo.brings(1) && !undo.brings(2) && !undo.brings(3));
        assert_eq!(undo.taken().collect::<Vec<_>>(), [2]);
    }
}
