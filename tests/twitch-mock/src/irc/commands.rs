//! The commands of a client that has logged in: JOIN, PART, PRIVMSG, PING.

use std::{collections::BTreeSet, sync::Arc};

use tokio::time::Instant;

use crate::{
    chat::{self, Refusal},
    config::{Config, JoinPenalty},
    faults::FaultName,
    irc::{Answer, Conn, line::Line, write},
    state::State,
};

/// What refuses a JOIN over the cap.
const CAP: &str = "msg_concurrent_channel_limit_reached";

/// What comes of a JOIN.
enum Join {
    Joined,
    Already,
    Refused(&'static str, String),
    /// Nothing is said.
    Nothing,
    TooOften,
}

impl Conn {
    /// Carries out one line.
    pub(crate) fn command(&mut self, text: &str) -> Answer {
        let Some(line) = Line::parse(text) else {
            return Answer::default();
        };
        match line.command.as_str() {
            "CAP" => self.cap(&line),
            "PASS" => {
                self.pass = line.params.first().map(|&pass| pass.to_owned());
                Answer::default()
            }
            "PING" if self.is_silent() => Answer::default(),
            "PING" => {
                let word = line.params.first().copied().unwrap_or_default();
                let host = write::HOST;
                said(format!(":{host} PONG {host} :{word}\r\n"))
            }
            "PONG" => {
                self.heard_pong();
                Answer::default()
            }
            "NICK" if self.logged_in => ended("NICK after the login"),
            "NICK" => self.nick(&line),
            "QUIT" => ended("QUIT"),
            // Clients send it as other networks want it.
            "USER" => Answer::default(),
            command if !self.logged_in => said(format!(
                ":{} 451 * {command} :You have not registered\r\n",
                write::HOST
            )),
            "JOIN" => self.join(&line),
            "PART" => self.part(&line),
            "PRIVMSG" => self.privmsg(&line),
            command => {
                let nick = self.login();
                said(format!(
                    ":{} 421 {nick} {command} :Unknown command\r\n",
                    write::HOST
                ))
            }
        }
    }

    fn login(&self) -> Arc<str> {
        let state = self.shared.state();
        let client = state.clients.get(&self.id);
        client.map_or_else(|| "*".into(), |client| Arc::clone(&client.login))
    }

    fn join(&self, line: &Line<'_>) -> Answer {
        let shared = Arc::clone(&self.shared);
        let who = format!("irc/{}", self.id);
        let mut state = shared.state();
        let mut answer = Answer::default();
        let names = line.params.first().copied().unwrap_or_default();
        for name in names.split(',').filter(|name| !name.is_empty()) {
            match self.join_one(&mut state, name) {
                Join::Joined => {
                    answer.text += &self.welcome_to(&mut state, name);
                    shared.ledger.log(&who, "join", name);
                }
                Join::Already => shared.ledger.log(&who, "join_again", name),
                Join::Refused(id, text) => {
                    *state.counters.refused_joins.entry(id).or_default() += 1;
                    let tags = state.clients.get(&self.id).is_some_and(|c| c.caps.tags);
                    answer.text += &write::notice(tags, Some(id), name, &text);
                    shared
                        .ledger
                        .log(&who, "join_refused", format!("{name}: {id}"));
                }
                Join::Nothing => shared.ledger.log(&who, "join_ignored", name),
                Join::TooOften => {
                    shared.ledger.log(&who, "join_too_often", name);
                    if shared.config.irc.join_penalty == JoinPenalty::Kick {
                        state.counters.kicks += 1;
                        answer.end = Some("joined too often");
                        return answer;
                    }
                }
            }
        }
        answer
    }

    fn join_one(&self, state: &mut State, name: &str) -> Join {
        let config = &self.shared.config;
        let (login, anonymous, joined) = match state.clients.get(&self.id) {
            Some(client) => (
                Arc::clone(&client.login),
                client.anonymous,
                client.joined.clone(),
            ),
            None => return Join::Nothing,
        };
        let limit = config.irc.join;
        let allowed = state
            .user(&login)
            .is_some_and(|user| user.joins.take(Instant::now(), limit));
        if !allowed {
            return Join::TooOften;
        }
        let Some(name) = name.strip_prefix('#') else {
            return Join::Nothing;
        };
        let suspended = Refusal::Suspended;
        let Some(channel) = state.channel(&name.to_ascii_lowercase()) else {
            return Join::Refused(suspended.id(), suspended.text(name));
        };
        if joined.contains(&channel) {
            return Join::Already;
        }
        if state.fire(FaultName::IgnoreJoin, |fault| fault.is_of_channel(name)) {
            return Join::Nothing;
        }
        if state.channels[channel].suspended {
            return Join::Refused(suspended.id(), suspended.text(name));
        }
        let user = state.users.get(&login);
        if user.is_some_and(|user| user.banned_in.contains(&channel)) {
            return Join::Refused(Refusal::Banned.id(), Refusal::Banned.text(name));
        }
        if is_over_cap(config, state, &login, anonymous, channel) {
            let text = "You have joined too many channels at once. Leave one first.";
            return Join::Refused(CAP, text.to_owned());
        }
        if let Some(client) = state.clients.get_mut(&self.id) {
            client.joined.insert(channel);
        }
        state.channels[channel].joined.insert(self.id);
        state.counters.joins += 1;
        Join::Joined
    }

    /// What is said to somebody who has joined, and to the others there.
    fn welcome_to(&self, state: &mut State, name: &str) -> String {
        let name = name.trim_start_matches('#').to_ascii_lowercase();
        let (Some(channel), Some(client)) = (state.channel(&name), state.clients.get(&self.id))
        else {
            return String::new();
        };
        let (login, caps) = (Arc::clone(&client.login), client.caps);
        let mut text = write::joined(&login, &name);
        if caps.commands {
            if !client.anonymous {
                let moderator = state.is_privileged(&login, channel);
                text += &write::user_state(caps.tags, &login, &name, moderator);
            }
            text += &write::room_state(caps.tags, &state.channels[channel]);
        }
        tell_members(state, self.id, channel, "JOIN", &login);
        text
    }

    fn part(&self, line: &Line<'_>) -> Answer {
        let mut state = self.shared.state();
        let mut answer = Answer::default();
        let names = line.params.first().copied().unwrap_or_default();
        for name in names.split(',') {
            let name = name.trim_start_matches('#').to_ascii_lowercase();
            let (Some(channel), Some(client)) =
                (state.channel(&name), state.clients.get_mut(&self.id))
            else {
                continue;
            };
            if !client.joined.remove(&channel) {
                continue;
            }
            let login = Arc::clone(&client.login);
            answer.text += &write::membership("PART", &login, &name);
            state.channels[channel].joined.remove(&self.id);
            state.counters.parts += 1;
            tell_members(&mut state, self.id, channel, "PART", &login);
            let who = format!("irc/{}", self.id);
            self.shared.ledger.log(who, "part", name);
        }
        answer
    }

    fn privmsg(&self, line: &Line<'_>) -> Answer {
        let (Some(to), Some(text)) = (line.params.first(), line.params.get(1)) else {
            return Answer::default();
        };
        let mut state = self.shared.state();
        let name = to.trim_start_matches('#').to_ascii_lowercase();
        let Some((login, anonymous, caps)) = state
            .clients
            .get(&self.id)
            .map(|client| (Arc::clone(&client.login), client.anonymous, client.caps))
        else {
            return Answer::default();
        };
        let channel = state.channel(&name).filter(|_| to.starts_with('#'));
        let Some(channel) = channel.filter(|_| !anonymous) else {
            state.counters.unsaid += 1;
            return Answer::default();
        };
        let said_it = chat::say(
            &self.shared,
            &mut state,
            &login,
            channel,
            text,
            Some(self.id),
        );
        match said_it {
            Ok(_) if caps.commands => {
                let moderator = state.is_privileged(&login, channel);
                said(write::user_state(caps.tags, &login, &name, moderator))
            }
            // Whoever is ignored does not hear that it is.
            Ok(_) | Err(Refusal::Ignored) => Answer::default(),
            Err(refusal) if caps.commands => {
                let text = refusal.text(&name);
                said(write::notice(caps.tags, Some(refusal.id()), to, &text))
            }
            Err(_) => Answer::default(),
        }
    }
}

fn said(text: String) -> Answer {
    Answer { text, end: None }
}

fn ended(why: &'static str) -> Answer {
    Answer {
        text: String::new(),
        end: Some(why),
    }
}

/// Whether one more channel is one too many for the account.
fn is_over_cap(
    config: &Config,
    state: &State,
    login: &str,
    anonymous: bool,
    channel: usize,
) -> bool {
    let cap = config.irc.channel_cap as usize;
    if cap == 0
        || (anonymous && !config.unknown.anonymous_cap)
        || state.is_privileged(login, channel)
    {
        return false;
    }
    let mut twice = 0;
    let mut once = BTreeSet::new();
    for client in state
        .clients
        .values()
        .filter(|client| *client.login == *login)
    {
        let mut counted = client.joined.clone();
        counted.retain(|&of| !state.is_privileged(login, of));
        twice += counted.len();
        once.extend(counted);
    }
    if config.unknown.double_join_counts {
        twice >= cap
    } else {
        !once.contains(&channel) && once.len() >= cap
    }
}

/// Tells the others of a channel who asked to be told.
fn tell_members(state: &mut State, from: u64, channel: usize, what: &str, login: &str) {
    let name = Arc::clone(&state.channels[channel].login);
    let text: Arc<str> = write::membership(what, login, &name).into();
    let now = Instant::now();
    for conn in state.channels[channel].joined.clone() {
        let Some(client) = state.clients.get_mut(&conn).filter(|_| conn != from) else {
            continue;
        };
        if client.caps.membership && *client.login != *login {
            let travel = std::time::Duration::ZERO;
            let _ = client.handle.event(now, travel, Arc::clone(&text), None);
        }
    }
}
