//! Whether what one key says can be, alone and beside the others.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    io::ErrorKind,
    net::SocketAddr,
    path::Path,
    sync::Arc,
};

use baton_protocol::{Hosts, message::MAX_NAME};

use super::{
    Held,
    command::{check_command, whole_path},
    file::Mistake,
    options::SlotOptions,
    origin::Origin,
    parts::{DEFAULT_API_URL, DEFAULT_LISTEN, MAX_SHARDS, Slot, TOKEN_VARIABLE, Token},
    shards::arrange,
};

/// What was found to be wrong.
pub(super) struct Found {
    pub(super) origin: Origin,
    pub(super) mistakes: Vec<Mistake>,
}

impl Found {
    pub(super) fn add(&mut self, key: &str, reason: impl Into<String>) {
        self.mistakes.push(Mistake {
            place: self.origin.place(key),
            reason: reason.into(),
        });
    }

    pub(super) fn or<T>(&mut self, key: &str, checked: Result<T, String>) -> Option<T> {
        checked.map_err(|reason| self.add(key, reason)).ok()
    }
}

fn wrong<T>(reason: String) -> Result<T, String> {
    Err(reason)
}

/// What an operator runs so that other hosts may dial.
const CERTIFICATES: &str = "have every host prove who it is: baton-master certs init, then \
                            baton-master certs issue --role master, and set tls_dir to its folder";

pub(super) fn listen(given: Option<String>, with_tls: bool) -> Result<SocketAddr, String> {
    let text = given.unwrap_or_else(|| DEFAULT_LISTEN.to_owned());
    address("listen", &text, DEFAULT_LISTEN, with_tls, CERTIFICATES)
}

/// The certificate in a folder, where one is named.
pub(super) fn certificate(dir: Option<&Path>) -> Result<Option<Arc<Held>>, String> {
    let held = dir.map(Held::read).transpose();
    let held = held.map_err(|reason| format!("tls_dir: {reason}"))?;
    Ok(held.map(Arc::new))
}

/// One of the loopback, unless others may reach it.
fn address(
    key: &str,
    text: &str,
    such_as: &str,
    may_be_reached: bool,
    otherwise: &str,
) -> Result<SocketAddr, String> {
    let Ok(address) = text.parse::<SocketAddr>() else {
        return wrong(format!(
            "{key}: `{text}` is not an address with a port, such as {such_as}"
        ));
    };
    if !address.ip().is_loopback() && !may_be_reached {
        return wrong(format!(
            "{key}: {address} can be reached from other hosts; use a loopback address, or {otherwise}"
        ));
    }
    Ok(address)
}

pub(super) fn api_url(given: Option<String>) -> Result<String, String> {
    let url = given.unwrap_or_else(|| DEFAULT_API_URL.to_owned());
    let host = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"));
    if host.is_none_or(|host| host.trim_end_matches('/').is_empty()) {
        return wrong(format!(
            "api_url: `{url}` is not an http:// or https:// address"
        ));
    }
    Ok(url.trim_end_matches('/').to_owned())
}

/// The file wins: it can be changed under a running master, its environment cannot.
pub(super) fn token(file: Option<&Path>) -> Result<Option<Token>, String> {
    match file {
        Some(path) => token_in("token_file", path).map(Some),
        None => Ok(env::var(TOKEN_VARIABLE)
            .ok()
            .as_deref()
            .and_then(Token::new)),
    }
}

/// Reads the file as it is now.
pub(crate) fn token_in(key: &str, path: &Path) -> Result<Token, String> {
    let file = path.display();
    let bytes = fs::read(path).map_err(|error| {
        if error.kind() == ErrorKind::PermissionDenied {
            return format!(
                "{key}: {file} cannot be read by this user: run this as the master's user"
            );
        }
        format!("{key}: {file} cannot be read: {error}")
    })?;
    let text = baton_protocol::token::token_in(&bytes);
    let text = text.map_err(|reason| format!("{key}: {file}: {reason}"))?;
    Token::new(&text).ok_or_else(|| format!("{key}: {file} is empty"))
}

/// What is there of what lets operators in from other hosts.
#[derive(Clone, Copy, Debug)]
pub(super) struct LetsIn {
    /// Whether the master has a certificate: then it is TLS.
    pub(super) tls: bool,
    /// Whether there is a token with which everything may be done.
    pub(super) operators: bool,
    /// Whether there is one with which one may look.
    pub(super) readers: bool,
}

/// Beyond the loopback it is TLS, or a port that only shows: what changes the fleet is not
/// said in clear.
pub(super) fn admin_listen(
    given: Option<String>,
    lets_in: LetsIn,
) -> Result<Option<SocketAddr>, String> {
    let certificate = "set tls_dir to the folder that `baton-master certs issue --role master` \
                       makes, so that the port speaks TLS";
    let otherwise = match lets_in.operators {
        true => format!(
            "{certificate}; in clear, the token of admin_token_file could be read on the way \
             (admin_read_token_file alone, with which one only looks, needs no TLS)"
        ),
        false => format!(
            "{certificate}, or admin_read_token_file to a file with a secret with which one may \
             look"
        ),
    };
    let may_be_reached = lets_in.tls || (lets_in.readers && !lets_in.operators);
    let check = |text: String| {
        address(
            "admin_listen",
            &text,
            "127.0.0.1:7448",
            may_be_reached,
            &otherwise,
        )
    };
    given.map(check).transpose()
}

pub(super) fn slots(
    given: Vec<SlotOptions>,
    command: Option<Vec<String>>,
    (shard_count, concurrency): (Option<u32>, Option<u32>),
    found: &mut Found,
) -> Vec<Slot> {
    let overruled = command.is_some();
    let listens: Vec<_> = given.iter().map(|slot| slot.listen.clone()).collect();
    let mut slots: Vec<Slot> = given
        .into_iter()
        .map(|slot| Slot {
            name: slot.name,
            command: (!slot.command.is_empty()).then_some(slot.command),
            shards: slot.shards,
            host: slot.host,
            lease: None,
            env: slot.env,
            log: slot.log,
            listen: None,
        })
        .collect();
    if slots.is_empty() {
        slots.push(Slot {
            name: "main".to_owned(),
            ..Slot::default()
        });
    }
    if command.is_some() {
        slots[0].command = command;
    }
    for (index, (slot, listen)) in slots.iter_mut().zip(listens).enumerate() {
        let key = format!("slot[{index}].listen");
        let listen = listen
            .map(|text| slot_listen(&slot.name, &text))
            .transpose();
        slot.listen = found.or(&key, listen).flatten();
    }
    let mut addresses = BTreeMap::new();
    for (index, slot) in slots.iter().enumerate() {
        let Some(listen) = slot.listen else {
            continue;
        };
        if let Some(other) = addresses.insert((&slot.host, listen), &slot.name) {
            found.add(
                &format!("slot[{index}].listen"),
                format!(
                    "slots `{other}` and `{}` both listen on {listen}; give each its own port",
                    slot.name
                ),
            );
        }
    }
    let mut names = BTreeSet::new();
    for (index, slot) in slots.iter().enumerate() {
        let name = &slot.name;
        let key = |key: &str| format!("slot[{index}].{key}");
        if name.is_empty() || name.len() > MAX_NAME {
            found.add(
                &key("name"),
                format!("slot `{name}`: a name has 1 to {MAX_NAME} characters"),
            );
        }
        match slot.host.as_deref().map(str::parse::<Hosts>) {
            Some(Err(reason)) => {
                found.add(&key("host"), format!("slot `{name}`: host: {reason}"));
            }
            Some(Ok(hosts @ Hosts::Under(_))) if slot.command.is_some() => found.add(
                &key("command"),
                format!(
                    "slot `{name}`: its slaves come by themselves, from the hosts {hosts}: leave \
                     `command` out"
                ),
            ),
            Some(Ok(_)) | None => {}
        }
        if !names.insert(name.as_str()) {
            found.add(
                &key("name"),
                format!("slot `{name}`: two slots have this name; rename one"),
            );
        }
        let is_there = |command: &[String]| match slot.host {
            // Its agent looks.
            Some(_) => Ok(()),
            None => check_command(command).map(drop),
        };
        if let Some(command) = &slot.command
            && let Err(reason) = whole_path(command).and_then(|()| is_there(command))
        {
            let reason = format!("slot `{name}`: {reason}");
            if overruled && index == 0 {
                found.mistakes.push(Mistake::anywhere(reason));
            } else {
                found.add(&key("command"), reason);
            }
        }
    }
    // Two of one name have the same shards: that is one mistake.
    let told_apart = names.len() == slots.len();
    if let Some(shard_count) = shard_count.filter(|count| (1..=MAX_SHARDS).contains(count))
        && told_apart
        && let Err((index, reason)) = arrange(&slots, shard_count, concurrency)
    {
        found.add(&format!("slot[{index}].shards"), reason);
    }
    slots
}

/// Where a slot's slave serves its own clients. Whether others may reach it is that slave's
/// to judge: it knows how it asks who they are.
fn slot_listen(slot: &str, text: &str) -> Result<SocketAddr, String> {
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() != 0 => Ok(address),
        Ok(_) | Err(_) => wrong(format!(
            "slot `{slot}`: listen: `{text}` is not an address with a port, such as 127.0.0.1:7878"
        )),
    }
}

/// The once-per-bot work is of a slot that there is.
pub(super) fn work_slot(given: Option<&str>, slots: &[Slot], found: &mut Found) {
    let Some(given) = given else {
        return;
    };
    if slots.iter().all(|slot| slot.name != given) {
        let names: Vec<_> = slots
            .iter()
            .map(|slot| format!("`{}`", slot.name))
            .collect();
        found.add(
            "work_slot",
            format!(
                "work_slot: there is no slot `{given}`; name one of {}",
                names.join(", ")
            ),
        );
    }
}
