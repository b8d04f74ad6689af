//! What a model knows, as a store would say it.

use super::*;

const NAMES_GUILD: [&str; 9] = [
    "channel",
    "thread",
    "presence",
    "voice_state",
    "sticker",
    "stage_instance",
    "scheduled_event",
    "sound",
    "message",
];

impl Model {
    /// Everything, as a store would say it.
    pub fn dump(&self) -> Dump {
        let mut all = Dump::new();
        let with = |object: &Map<String, Value>, more: &[(&str, Value)]| {
            let mut object = object.clone();
            object.extend(
                more.iter()
                    .map(|(name, value)| ((*name).to_owned(), value.clone())),
            );
            Value::Object(object)
        };
        for (id, guild) in &self.guilds {
            all.insert(("place", *id, 0), json!(guild.is_some()));
            let Some(guild) = guild else { continue };
            let text = json!(id.to_string());
            let itself = with(&guild.itself, &[("id", text.clone())]);
            all.insert(("guild", *id, *id), itself);
            for ((channel, message), object) in &guild.messages {
                let more = [
                    ("id", json!(message.to_string())),
                    ("channel_id", json!(channel.to_string())),
                    ("guild_id", text.clone()),
                ];
                all.insert(("message", *id, *message), with(object, &more));
            }
            for (kind, objects) in &guild.of {
                for (own, object) in objects {
                    let own_text = json!(own.to_string());
                    let mut more = match *kind {
                        "member" | "presence" => {
                            let user = self.users.get(own).filter(|_| *kind == "member");
                            let user =
                                with(&user.cloned().unwrap_or_default(), &[("id", own_text)]);
                            vec![("user", user)]
                        }
                        "voice_state" => vec![("user_id", own_text)],
                        "sound" => vec![("sound_id", own_text)],
                        _ => vec![("id", own_text)],
                    };
                    if NAMES_GUILD.contains(kind) {
                        more.push(("guild_id", text.clone()));
                    }
                    all.insert((kind, *id, *own), with(object, &more));
                }
            }
        }
        for (id, user) in &self.users {
            let user = with(user, &[("id", json!(id.to_string()))]);
            all.insert(("user", 0, *id), user);
        }
        if let Some(bot) = &self.bot {
            all.insert(("current_user", 0, 0), Value::Object(bot.clone()));
        }
        all
    }
}
