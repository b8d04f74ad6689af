//! Valid values that would still ruin a master.

use std::{net::SocketAddr, path::Path, time::Duration};

use super::{DEFAULT_API_URL, ResolvedLimits, Token, checks::Found};
use crate::runtime_dir::admin_socket;

/// The path of a unix socket has at most so many bytes (`sun_path`, without its end).
const SOCKET_PATH: usize = 107;

/// Discord is heard on a healthy connection at least this often: its heartbeats are due
/// every 41 s.
const HEARTBEAT: Duration = Duration::from_secs(60);

/// What a filter may say of how much is logged.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// A level is meant by a word that is so similar to it.
const SIMILAR: f64 = 0.75;

pub(super) fn limits(limits: &ResolvedLimits, api_url: Option<&str>, found: &mut Found) {
    for (key, percent) in [
        ("limits.error_gate", limits.error_gate),
        ("limits.behind_gate", limits.behind_gate),
    ] {
        if percent > 100 {
            found.add(
                key,
                format!("{key} is {percent}: it is percentage points, 0 to 100"),
            );
        }
    }
    let silent = limits.silent;
    if !silent.is_zero() && silent < HEARTBEAT && api_url == Some(DEFAULT_API_URL) {
        found.add(
            "limits.silent",
            format!(
                "limits.silent is {silent:?}: a healthy connection hears from Discord every 41 s only, \
                 so every quiet shard would be restarted again and again; write at least {HEARTBEAT:?}, \
                 or 0s for never"
            ),
        );
    }
}

pub(super) fn sockets(runtime_dir: &Path, found: &mut Found) {
    // The one of the slaves is as long.
    let socket = admin_socket(runtime_dir);
    let bytes = socket.as_os_str().len();
    if bytes > SOCKET_PATH {
        found.add(
            "runtime_dir",
            format!(
                "runtime_dir: {} has {bytes} bytes, and the path of a socket has at most \
                 {SOCKET_PATH}; choose a shorter directory",
                socket.display()
            ),
        );
    }
}

pub(super) fn addresses(listen: SocketAddr, admin: SocketAddr, found: &mut Found) {
    let same_host =
        listen.ip() == admin.ip() || listen.ip().is_unspecified() || admin.ip().is_unspecified();
    if listen.port() != 0 && listen.port() == admin.port() && same_host {
        found.add(
            "admin_listen",
            format!(
                "admin_listen: {admin} is where slaves dial (listen = {listen}); give one of them \
                 another port"
            ),
        );
    }
}

/// One token in two places gives both rights: a program that is only to look may do
/// everything.
pub(super) fn tokens(tokens: [(&str, Option<&Token>); 3], found: &mut Found) {
    for (at, (key, token)) in tokens.iter().enumerate() {
        let same = |(_, other): &&(&str, Option<&Token>)| {
            let given = token.zip(*other);
            given.is_some_and(|(token, other)| token.reveal() == other.reveal())
        };
        if let Some((other, _)) = tokens[..at].iter().find(same) {
            found.add(
                key,
                format!(
                    "{key}: its token is the one of {other}, so who has the one has the other: \
                     make another with openssl rand -hex 32"
                ),
            );
        }
    }
}

/// A filter that says nothing that is known would log nothing, or everything: `debgu` is
/// a program's name to the library that reads it.
///
/// # Errors
/// What is wrong with it.
pub(super) fn log(filter: &str) -> Result<(), String> {
    for part in filter
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
    {
        // `target[span{field=value}]=level`: an author of that knows what it means.
        if part.contains(['[', '{']) {
            continue;
        }
        let (word, is_target) = match part.rsplit_once('=') {
            Some((_, level)) => (level, false),
            None => (part, part.contains("::") || part.contains('_')),
        };
        let is_level = LEVELS.iter().any(|level| word.eq_ignore_ascii_case(level))
            || matches!(word, "0" | "1" | "2" | "3" | "4" | "5");
        if is_level || is_target {
            continue;
        }
        let similar = |level: &&str| strsim::jaro_winkler(&word.to_ascii_lowercase(), level);
        let nearest = LEVELS
            .iter()
            .max_by(|one, other| similar(one).total_cmp(&similar(other)))
            .filter(|level| similar(level) >= SIMILAR);
        return Err(match nearest {
            Some(level) => format!("log: `{word}` is no level; did you mean `{level}`?"),
            None => format!(
                "log: `{word}` is no level; there are {}. One program is `{word}=debug`",
                LEVELS.join(", ")
            ),
        });
    }
    tracing_subscriber::EnvFilter::try_new(filter)
        .map(|_| ())
        .map_err(|error| format!("log: `{filter}`: {error}"))
}
