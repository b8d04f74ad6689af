//! CAP, PASS and NICK: who a connection is, and what it wants to be told.

use std::sync::Arc;

use tokio::time::Instant;

use crate::{
    config::is_login,
    faults::FaultName,
    irc::{Answer, Caps, Conn, line::Line, write},
    state::{Shared, State},
};

/// What may be asked for.
const CAPABILITIES: [&str; 3] = [
    "twitch.tv/commands",
    "twitch.tv/membership",
    "twitch.tv/tags",
];

/// The two refusals of a login, and that of too many.
const FORMAT: &str = "Improperly formatted auth";
const FAILED: &str = "Login authentication failed";
const TOO_MANY: &str = "Login unsuccessful";

impl Conn {
    /// `CAP LS`, `CAP REQ`, `CAP END`.
    pub(crate) fn cap(&self, line: &Line<'_>) -> Answer {
        let host = write::HOST;
        let wanted = line.params.get(1).copied().unwrap_or_default();
        let text = match line.params.first().copied() {
            Some("LS") => format!(":{host} CAP * LS :{}\r\n", CAPABILITIES.join(" ")),
            Some("REQ") => {
                let mut names = wanted.split_ascii_whitespace();
                if wanted.trim().is_empty() || !names.all(|name| CAPABILITIES.contains(&name)) {
                    format!(":{host} CAP * NAK :{wanted}\r\n")
                } else {
                    self.grant(wanted);
                    format!(":{host} CAP * ACK :{wanted}\r\n")
                }
            }
            Some(_) | None => String::new(),
        };
        Answer { text, end: None }
    }

    fn grant(&self, wanted: &str) {
        let mut state = self.shared.state();
        let Some(client) = state.clients.get_mut(&self.id) else {
            return;
        };
        let has = |name| wanted.split_ascii_whitespace().any(|one| one == name);
        let Caps {
            tags,
            commands,
            membership,
        } = &mut client.caps;
        *commands |= has(CAPABILITIES[0]);
        *membership |= has(CAPABILITIES[1]);
        *tags |= has(CAPABILITIES[2]);
    }

    /// NICK ends the login: PASS came before it.
    pub(crate) fn nick(&mut self, line: &Line<'_>) -> Answer {
        let nick = line.params.first().copied().unwrap_or_default();
        let nick = nick.to_ascii_lowercase();
        let shared = Arc::clone(&self.shared);
        let mut state = shared.state();
        let anonymous = is_anonymous(&nick);
        let refusal = refusal(&shared, &mut state, &nick, self.pass.as_deref());
        if let Some(refusal) = refusal {
            state.counters.refused_logins += 1;
            if refusal == TOO_MANY {
                state.counters.kicks += 1;
            }
            let detail = format!("{nick}: {refusal}");
            shared
                .ledger
                .log(format!("irc/{}", self.id), "login", detail);
            return Answer {
                text: write::notice(false, None, "*", refusal),
                end: Some("login refused"),
            };
        }
        state.counters.logins += 1;
        let id = state.user(&nick).map_or(0, |user| user.id);
        let login: Arc<str> = nick.as_str().into();
        let mut text = write::welcome(&nick);
        if let Some(client) = state.clients.get_mut(&self.id) {
            client.login = Arc::clone(&login);
            client.anonymous = anonymous;
            if client.caps.commands && !anonymous {
                text += &write::global_user_state(client.caps.tags, &nick, id);
            }
        }
        self.logged_in = true;
        shared.ledger.log(format!("irc/{}", self.id), "login", nick);
        Answer { text, end: None }
    }
}

/// `justinfan` and a number: may read, and needs no token.
pub(crate) fn is_anonymous(nick: &str) -> bool {
    nick.strip_prefix("justinfan")
        .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
}

fn refusal(
    shared: &Shared,
    state: &mut State,
    nick: &str,
    pass: Option<&str>,
) -> Option<&'static str> {
    if !is_login(nick) {
        return Some(FORMAT);
    }
    let now = Instant::now();
    let limit = shared.config.irc.auth;
    let allowed = state
        .user(nick)
        .is_some_and(|user| user.logins.take(now, limit));
    if !allowed {
        return Some(TOO_MANY);
    }
    if state.fire(FaultName::RefuseLogin, |fault| fault.is_of_login(nick)) {
        return Some(FAILED);
    }
    if is_anonymous(nick) {
        return None;
    }
    let Some(token) = pass.and_then(|pass| pass.strip_prefix("oauth:")) else {
        return Some(FORMAT);
    };
    let known = state.users.get(nick).and_then(|user| user.token.as_deref());
    let fits = match known {
        Some(known) => known == token,
        None => shared.config.open_accounts && !token.is_empty(),
    };
    (!fits).then_some(FAILED)
}
