//! What changes a guild. Each function changes the truth and sends the dispatch
//! that says so; it returns `None` when the guild gave no occasion.

use std::fmt::Write;

use crate::{
    clock::{iso8601, unix_ms},
    kind::{EventKind, intents},
    rng::Rng,
    session::Session,
    world::{
        cell::{Cell, Event},
        guild::{BOT_ID, Channel, Guild, Member, Presence, Role, Status, Voice},
        render::{self, put},
        view::View,
    },
};

/// Channels, roles and members that traffic may add to what a guild began with.
const MAY_GROW: usize = 8;
/// Members of one chunk. Source: "Guild Members Chunk".
const CHUNK: usize = 1000;

impl Cell {
    /// Changes one available guild and sends what `change` returns.
    fn change(
        &mut self,
        kind: EventKind,
        change: impl FnOnce(&mut Guild, &mut Rng) -> Option<String>,
    ) -> Option<()> {
        let id = self.any_guild()?;
        let guild = self.guilds.get_mut(&id)?;
        let body = change(guild, &mut self.rng)?;
        self.dispatch(Event::new(kind, id, body));
        Some(())
    }

    /// A member comes online, goes, or plays something else.
    pub(crate) fn presence_update(&mut self) -> Option<()> {
        self.change(EventKind::PresenceUpdate, |guild, rng| {
            let user = guild.any_member(rng)?;
            if guild.members.get(&user)?.is_new() {
                return None;
            }
            let status = match rng.below(4) {
                0 => Status::Offline,
                1 => Status::Idle,
                2 => Status::Dnd,
                _ => Status::Online,
            };
            let game = if status == Status::Offline {
                0
            } else {
                rng.below(10) as u32
            };
            let member = guild.members.get_mut(&user)?;
            member.presence = Some(Presence { status, game });
            let mut body = String::new();
            render::presence(&mut body, guild.id, user, member.presence.as_ref()?);
            Some(body)
        })
    }

    /// Somebody joins.
    pub(crate) fn member_add(&mut self) -> Option<()> {
        let initial = self.initial_members;
        self.change(EventKind::MemberAdd, |guild, _| {
            if guild.members.len() >= initial + MAY_GROW {
                return None;
            }
            let user = guild.new_user();
            let member = Member::new();
            let mut body = String::new();
            render::member_event(&mut body, guild.id, user, &member);
            guild.members.insert(user, member);
            Some(body)
        })
    }

    /// Somebody who is neither online nor in voice leaves, so that nothing but
    /// the member goes.
    pub(crate) fn member_remove(&mut self) -> Option<()> {
        self.change(EventKind::MemberRemove, |guild, _| {
            let leaves = |(user, member): &(&u64, &Member)| {
                **user != guild.owner && member.presence.is_none() && member.voice.is_none()
            };
            // New members have the highest ids.
            let user = *guild.members.iter().rev().take(64).find(leaves)?.0;
            if guild.members.len() <= 3 {
                return None;
            }
            guild.members.remove(&user);
            let mut body = format!(r#"{{"guild_id":"{}","user":"#, guild.id);
            render::user(&mut body, user);
            body.push('}');
            Some(body)
        })
    }

    /// A member gets another nickname and role.
    pub(crate) fn member_update(&mut self) -> Option<()> {
        self.change(EventKind::MemberUpdate, |guild, rng| {
            let user = guild.any_member(rng)?;
            let role = guild.base_role(rng);
            let member = guild.members.get_mut(&user)?;
            member.nick_rev += 1;
            member.role = role;
            let mut body = String::new();
            render::member_event(&mut body, guild.id, user, member);
            Some(body)
        })
    }

    /// A member joins, leaves or mutes in a voice channel.
    pub(crate) fn voice_update(&mut self) -> Option<()> {
        self.change(EventKind::VoiceStateUpdate, |guild, rng| {
            let user = guild.any_member(rng)?;
            let channel = guild.voice_channel(rng)?;
            let member = guild.members.get_mut(&user)?;
            if member.is_new() {
                return None;
            }
            member.voice = match member.voice.take() {
                Some(_) if rng.one_in(2) => None,
                Some(mut voice) => {
                    voice.self_mute = !voice.self_mute;
                    Some(voice)
                }
                None => Some(Voice {
                    channel,
                    self_mute: false,
                    self_deaf: false,
                    session: rng.next_u64(),
                    token: 0,
                }),
            };
            let mut body = String::new();
            render::voice_state(
                &mut body,
                Some(guild.id),
                user,
                member,
                member.voice.as_ref(),
            );
            Some(body)
        })
    }

    /// A new text channel.
    pub(crate) fn channel_create(&mut self) -> Option<()> {
        self.change(EventKind::ChannelCreate, |guild, _| {
            if guild.channels.values().filter(|c| !c.permanent).count() >= MAY_GROW {
                return None;
            }
            let id = guild.id + guild.local();
            let channel = Channel {
                voice: false,
                topic_rev: 0,
                padding: 0,
                position: guild.channels.len() as u32,
                permanent: false,
            };
            let body = channel_body(guild.id, id, &channel);
            guild.channels.insert(id, channel);
            Some(body)
        })
    }

    /// A text channel gets another topic.
    pub(crate) fn channel_update(&mut self) -> Option<()> {
        self.change(EventKind::ChannelUpdate, |guild, rng| {
            let id = guild.text_channel(rng)?;
            let channel = guild.channels.get_mut(&id)?;
            channel.topic_rev += 1;
            Some(channel_body(guild.id, id, channel))
        })
    }

    /// A channel that traffic made is deleted.
    pub(crate) fn channel_delete(&mut self) -> Option<()> {
        self.change(EventKind::ChannelDelete, |guild, _| {
            let id = *guild.channels.iter().find(|(_, c)| !c.permanent)?.0;
            let channel = guild.channels.remove(&id)?;
            Some(channel_body(guild.id, id, &channel))
        })
    }

    /// A message was pinned.
    pub(crate) fn channel_pins(&mut self) -> Option<()> {
        self.change(EventKind::ChannelPinsUpdate, |guild, rng| {
            let channel = guild.text_channel(rng)?;
            Some(format!(
                r#"{{"guild_id":"{}","channel_id":"{channel}","last_pin_timestamp":"{}"}}"#,
                guild.id,
                iso8601(unix_ms())
            ))
        })
    }

    /// A new role, which nobody has.
    pub(crate) fn role_create(&mut self) -> Option<()> {
        self.change(EventKind::RoleCreate, |guild, _| {
            if guild.roles.values().filter(|r| !r.permanent).count() >= MAY_GROW {
                return None;
            }
            let id = guild.id + guild.local();
            let role = Role {
                color: 0,
                position: guild.roles.len() as u32,
                permanent: false,
            };
            let body = role_body(guild.id, id, &role);
            guild.roles.insert(id, role);
            Some(body)
        })
    }

    /// A role gets another colour.
    pub(crate) fn role_update(&mut self) -> Option<()> {
        self.change(EventKind::RoleUpdate, |guild, rng| {
            let id = guild.base_role(rng)?;
            let role = guild.roles.get_mut(&id)?;
            role.color = (role.color + 0x01_0203) & 0xff_ffff;
            Some(role_body(guild.id, id, role))
        })
    }

    /// A role that traffic made is deleted.
    pub(crate) fn role_delete(&mut self) -> Option<()> {
        self.change(EventKind::RoleDelete, |guild, _| {
            let id = *guild.roles.iter().find(|(_, r)| !r.permanent)?.0;
            guild.roles.remove(&id);
            Some(format!(r#"{{"guild_id":"{}","role_id":"{id}"}}"#, guild.id))
        })
    }

    /// A guild is renamed.
    pub(crate) fn guild_update(&mut self) -> Option<()> {
        self.change(EventKind::GuildUpdate, |guild, _| {
            guild.name_rev += 1;
            let mut body = String::new();
            render::guild_update(&mut body, guild);
            Some(body)
        })
    }

    /// A guild goes away for a while; the next call brings it back.
    pub(crate) fn outage(&mut self) -> Option<()> {
        if let Some(id) = self
            .order
            .iter()
            .copied()
            .find(|id| self.guilds.get(id).is_some_and(|guild| !guild.available))
        {
            self.guilds.get_mut(&id)?.available = true;
            let guild = self.guilds.get(&id)?;
            for session in self.sessions_of(id) {
                if session.params.intents & intents::GUILDS == 0 {
                    continue;
                }
                let mut body = String::new();
                render::guild_create(&mut body, guild, session.params.view());
                self.answer(session, Event::new(EventKind::GuildCreate, id, body));
            }
            return Some(());
        }
        let id = self.any_guild()?;
        self.guilds.get_mut(&id)?.available = false;
        let body = format!(r#"{{"id":"{id}","unavailable":true}}"#);
        self.dispatch(Event::new(EventKind::GuildDelete, id, body));
        Some(())
    }

    /// The bot set its presence: every guild of its shard sees it.
    pub(crate) fn bot_presence(&mut self, session: &Session, status: Status) {
        let ids: Vec<u64> = self.order.clone();
        for id in ids {
            if !session.params.has_guild(id) {
                continue;
            }
            let Some(guild) = self.guilds.get_mut(&id).filter(|g| g.available) else {
                continue;
            };
            let Some(member) = guild.members.get_mut(&BOT_ID) else {
                continue;
            };
            let presence = Presence { status, game: 0 };
            let mut body = String::new();
            render::presence(&mut body, id, BOT_ID, &presence);
            member.presence = Some(presence);
            self.dispatch(Event::new(EventKind::PresenceUpdate, id, body));
        }
    }

    /// The bot joins, moves or leaves voice. Answered with its voice state and,
    /// when it is in a channel, with the voice server. The state is the session's that
    /// asked: another one can move it to itself, and cannot end it.
    pub(crate) fn bot_voice(
        &mut self,
        session: &Session,
        guild_id: u64,
        channel: Option<u64>,
        (self_mute, self_deaf): (bool, bool),
        endpoint: &str,
    ) -> Option<()> {
        let token = self.rng.next_u64();
        let guild = self.guilds.get_mut(&guild_id).filter(|g| g.available)?;
        if let Some(channel) = channel {
            guild.channels.get(&channel).filter(|c| c.voice)?;
        }
        let member = guild.members.get_mut(&BOT_ID)?;
        let own = session.fingerprint.0;
        let is_another = |voice: &Voice| voice.session != own;
        if channel.is_none() && member.voice.as_ref().is_some_and(is_another) {
            return None;
        }
        member.voice = channel.map(|channel| Voice {
            channel,
            self_mute,
            self_deaf,
            session: own,
            token,
        });
        let mut body = String::new();
        render::voice_state(
            &mut body,
            Some(guild_id),
            BOT_ID,
            member,
            member.voice.as_ref(),
        );
        self.dispatch(Event::new(EventKind::VoiceStateUpdate, guild_id, body));
        if channel.is_some() {
            let body = format!(
                r#"{{"token":"{token:016x}","guild_id":"{guild_id}","endpoint":"{endpoint}"}}"#
            );
            self.answer(
                session,
                Event::new(EventKind::VoiceServerUpdate, guild_id, body),
            );
        }
        Some(())
    }

    /// A session is over: the bot leaves every channel that it was in by it.
    pub(super) fn leave_voice(&mut self, session: &Session) {
        for id in self.order.clone() {
            let Some(guild) = self.guilds.get_mut(&id) else {
                continue;
            };
            let Some(member) = guild.members.get_mut(&BOT_ID) else {
                continue;
            };
            let is_its = |voice: &mut Voice| voice.session == session.fingerprint.0;
            if member.voice.take_if(is_its).is_none() {
                continue;
            }
            let mut body = String::new();
            render::voice_state(&mut body, Some(id), BOT_ID, member, None);
            if guild.available {
                self.dispatch(Event::new(EventKind::VoiceStateUpdate, id, body));
            }
        }
    }

    /// Answers a member request in chunks of at most 1000.
    pub(crate) fn member_chunks(&self, session: &Session, request: &MemberRequest) {
        let Some(guild) = self.guilds.get(&request.guild) else {
            return;
        };
        let by_query = request.query.is_some();
        let limit = if by_query { request.limit } else { usize::MAX };
        let found: Vec<(&u64, &Member)> = guild
            .members
            .iter()
            .filter(|(id, member)| request.wants(**id, member))
            .take(if limit == 0 { usize::MAX } else { limit })
            .collect();
        let missing: Vec<u64> = request
            .users
            .iter()
            .filter(|id| !guild.members.contains_key(id))
            .copied()
            .collect();
        let pieces: Vec<&[(&u64, &Member)]> = found.chunks(CHUNK).collect();
        let pieces = if pieces.is_empty() {
            vec![&[][..]]
        } else {
            pieces
        };
        for (index, piece) in pieces.iter().enumerate() {
            let mut body = format!(r#"{{"guild_id":"{}","members":"#, guild.id);
            render::list(&mut body, piece.iter(), |out, (id, of)| {
                render::member(out, **id, of, true)
            });
            put!(
                body,
                r#","chunk_index":{index},"chunk_count":{},"not_found":"#,
                pieces.len()
            );
            render::list(&mut body, missing.iter(), |out, id| put!(out, r#""{id}""#));
            if request.presences {
                body.push_str(r#","presences":"#);
                let seen = piece
                    .iter()
                    .filter_map(|(id, of)| Some((**id, of.presence.as_ref()?)));
                render::list(&mut body, seen, |out, (id, of)| {
                    render::presence(out, guild.id, id, of)
                });
            }
            if let Some(nonce) = &request.nonce {
                put!(
                    body,
                    r#","nonce":{}"#,
                    serde_json::Value::from(nonce.as_str())
                );
            }
            body.push('}');
            self.answer(session, Event::new(EventKind::MembersChunk, guild.id, body));
        }
    }

    /// Answers a request for soundboard sounds; no guild has any.
    pub(crate) fn soundboard(&self, session: &Session, guild: u64) {
        if self.guilds.contains_key(&guild) {
            let body = format!(r#"{{"guild_id":"{guild}","soundboard_sounds":[]}}"#);
            self.answer(
                session,
                Event::new(EventKind::SoundboardSounds, guild, body),
            );
        }
    }

    /// The whole guild as it is now, in the form of `GUILD_CREATE`.
    pub(crate) fn truth(&self, guild: u64) -> Option<String> {
        let mut body = String::new();
        render::guild_create(&mut body, self.guilds.get(&guild)?, View::FULL);
        Some(body)
    }
}

/// A member request (op 8), checked.
#[derive(Debug)]
pub(crate) struct MemberRequest {
    pub(crate) guild: u64,
    pub(crate) query: Option<String>,
    pub(crate) limit: usize,
    pub(crate) presences: bool,
    pub(crate) users: Vec<u64>,
    pub(crate) nonce: Option<String>,
}

impl MemberRequest {
    fn wants(&self, id: u64, member: &Member) -> bool {
        match &self.query {
            Some(query) => {
                let name = if id == BOT_ID {
                    "baton".to_owned()
                } else {
                    format!("user{id}")
                };
                let nick = format!("nick {}", member.nick_rev);
                name.starts_with(query) || (member.nick_rev > 0 && nick.starts_with(query))
            }
            None => self.users.contains(&id),
        }
    }
}

fn channel_body(guild: u64, id: u64, channel: &Channel) -> String {
    let mut body = String::new();
    render::channel(&mut body, Some(guild), id, channel);
    body
}

fn role_body(guild: u64, id: u64, role: &Role) -> String {
    let mut body = format!(r#"{{"guild_id":"{guild}","role":"#);
    render::role(&mut body, guild, id, role);
    body.push('}');
    body
}
