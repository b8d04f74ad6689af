//! The store that several masters share: where it is, and how it lets a master in.

use std::{
    fmt, fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{checks::Found, options::Options, parts::Token};

/// Where servers listen when no port is given.
const PORT: u16 = 4222;

/// More servers than this are not named.
const MOST_SERVERS: usize = 16;

/// A longer name is refused: it stands in each subject.
const MAX_NAME: usize = 32;

/// A larger file holds no credentials.
const MAX_FILE: u64 = 64 << 10;

/// A store on other hosts, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedStore {
    /// Each server, as `nats://HOST:PORT`.
    pub servers: Vec<String>,
    /// Whether the connection is TLS.
    pub tls: bool,
    /// Names what is declared there, one name a fleet.
    pub name: String,
    /// How the servers let a master in; `None`: they let everybody in.
    pub access: Option<Access>,
    /// Authorities that are trusted beside the system's.
    pub ca: Option<PathBuf>,
    /// This master's own certificate and its key.
    pub own: Option<(PathBuf, PathBuf)>,
    /// Servers that have each row.
    pub replicas: usize,
}

/// How servers let a master in. `Debug` shows no secret.
#[derive(Clone, PartialEq, Eq)]
pub enum Access {
    /// A credentials file of NATS: a JWT and an NKEY seed.
    Credentials(Token),
    /// A name and a password.
    Password {
        /// The name.
        user: String,
        /// The password.
        password: Token,
    },
    /// A token.
    Token(Token),
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Credentials(_) => "Credentials(..)",
            Self::Password { .. } => "Password(..)",
            Self::Token(_) => "Token(..)",
        })
    }
}

impl SharedStore {
    /// Where it is, for a person.
    #[must_use]
    pub fn place(&self) -> String {
        self.servers.join(",")
    }
}

/// Slaves and agents that know several masters leave one that says nothing for 10 s.
pub(super) const LONGEST_PING: Duration = Duration::from_secs(5);

/// Reads what the keys `store...` say; `None`: the journal is a file of this host.
pub(super) fn store(options: &Options, found: &mut Found) -> Option<SharedStore> {
    let Some(text) = &options.store else {
        let others = [
            ("store_name", options.store_name.is_some()),
            (
                "store_credentials_file",
                options.store_credentials_file.is_some(),
            ),
            ("store_ca_file", options.store_ca_file.is_some()),
            ("store_cert_file", options.store_cert_file.is_some()),
            ("store_key_file", options.store_key_file.is_some()),
            ("store_replicas", options.store_replicas.is_some()),
        ];
        for (key, _) in others.into_iter().filter(|(_, given)| *given) {
            found.add(
                key,
                format!("{key} is of a store, and there is none: set store"),
            );
        }
        return None;
    };
    if !cfg!(feature = "nats") {
        found.add(
            "store",
            "store: this baton-master was built without NATS: build it with --features nats",
        );
    }
    let servers = found.or("store", servers(text));
    let name = options
        .store_name
        .clone()
        .unwrap_or_else(|| "baton".to_owned());
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(is_name) {
        found.add(
            "store_name",
            format!("store_name: `{name}`: give 1 to {MAX_NAME} letters, digits, `-` and `_`"),
        );
    }
    let access = options.store_credentials_file.as_deref().map(access);
    let access = found.or("store_credentials_file", access.transpose());
    let own = match (&options.store_cert_file, &options.store_key_file) {
        (Some(cert), Some(key)) => Some((cert.clone(), key.clone())),
        (None, None) => None,
        (Some(_), None) => {
            found.add(
                "store_cert_file",
                "store_cert_file has a key: set store_key_file",
            );
            None
        }
        (None, Some(_)) => {
            found.add(
                "store_key_file",
                "store_key_file is of a certificate: set store_cert_file",
            );
            None
        }
    };
    let files = [
        ("store_ca_file", options.store_ca_file.as_ref()),
        ("store_cert_file", options.store_cert_file.as_ref()),
        ("store_key_file", options.store_key_file.as_ref()),
    ];
    for (key, file) in files {
        if let Some(error) = file.and_then(|file| fs::File::open(file).err()) {
            let file = file.map(|file| file.display().to_string());
            found.add(
                key,
                format!(
                    "{key}: {} cannot be read: {error}",
                    file.unwrap_or_default()
                ),
            );
        }
    }
    let (servers, tls) = servers?;
    let usual = if servers.len() >= 3 { 3 } else { 1 };
    let replicas = options.store_replicas.unwrap_or(usual);
    if !(1..=5).contains(&replicas) {
        found.add("store_replicas", "store_replicas must be between 1 and 5");
    }
    Some(SharedStore {
        servers,
        tls,
        name,
        access: access?,
        ca: options.store_ca_file.clone(),
        own,
        replicas: replicas as usize,
    })
}

/// `nats://HOST[:PORT][,HOST[:PORT]...]`, or `tls://` of the same.
fn servers(text: &str) -> Result<(Vec<String>, bool), String> {
    let Some((scheme @ ("nats" | "tls"), hosts)) = text.split_once("://") else {
        return Err(
            "store: it begins with nats:// or tls://, such as nats://a:4222,b:4222".to_owned(),
        );
    };
    if hosts.contains('@') {
        // It would stand in the list of processes, and in the log.
        return Err(
            "store: user and password do not stand in the address: write them into a file, as \
             USER:PASSWORD, and name it by store_credentials_file"
                .to_owned(),
        );
    }
    let mut servers = Vec::new();
    for host in hosts.split(',') {
        let colon = host.rfind(':').filter(|at| !host[*at..].contains(']'));
        let (name, port) = match colon {
            Some(at) => (&host[..at], host[at + 1..].parse().ok()),
            None => (host, Some(PORT)),
        };
        let is_name = |c: char| c.is_ascii_alphanumeric() || ".-_[]:".contains(c);
        match port.filter(|port| *port > 0) {
            Some(port) if !name.is_empty() && name.chars().all(is_name) => {
                servers.push(format!("{scheme}://{name}:{port}"));
            }
            Some(_) | None => {
                return Err(format!("store: `{host}` is no HOST or HOST:PORT"));
            }
        }
    }
    if servers.len() > MOST_SERVERS {
        return Err(format!("store: over {MOST_SERVERS} servers are named"));
    }
    Ok((servers, scheme == "tls"))
}

/// What a file says with which the servers let a master in.
fn access(path: &Path) -> Result<Access, String> {
    let key = "store_credentials_file";
    let shown = path.display();
    let unreadable = |error: std::io::Error| format!("{key}: {shown} cannot be read: {error}");
    let about = fs::metadata(path).map_err(unreadable)?;
    if about.len() > MAX_FILE {
        return Err(format!("{key}: {shown} is too large for credentials"));
    }
    if about.permissions().mode() & 0o007 != 0 {
        return Err(format!(
            "{key}: other users can read {shown}: chmod 600 it, and replace what is in it if \
             another user may have read it"
        ));
    }
    let text = fs::read_to_string(path).map_err(unreadable)?;
    let token = Token::new(&text).ok_or_else(|| format!("{key}: {shown} is empty"))?;
    let text = token.reveal();
    if text.contains("-----BEGIN") {
        return Ok(Access::Credentials(token));
    }
    match text.split_once(':') {
        Some((user, password)) => {
            let password = Token::new(password);
            let password = password.ok_or_else(|| format!("{key}: {shown} has no password"))?;
            let user = user.to_owned();
            Ok(Access::Password { user, password })
        }
        None => Ok(Access::Token(token)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_named_with_one_scheme_and_no_password() {
        let named = |text| servers(text).map(|(servers, tls)| (servers.join(" "), tls));
        assert_eq!(
            named("nats://a,b:4223,[::1]:9"),
            Ok((
                "nats://a:4222 nats://b:4223 nats://[::1]:9".to_owned(),
                false
            ))
        );
        assert_eq!(named("tls://a"), Ok(("tls://a:4222".to_owned(), true)));
        for (wrong, said) in [
            ("a:4222", "begins with nats://"),
            ("redis://a", "begins with nats://"),
            ("nats://me:s3cret@a", "store_credentials_file"),
            ("nats://a:0", "no HOST"),
            ("nats://a,,b", "no HOST"),
            ("nats://a b", "no HOST"),
        ] {
            let refused = named(wrong).unwrap_err();
            assert!(refused.contains(said), "{wrong}: {refused}");
            assert!(!refused.contains("s3cret"), "{refused}");
        }
    }

    #[test]
    fn credentials_are_a_file_that_no_other_user_reads() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("access");
        let read = |text: &str, mode| {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            access(&path)
        };
        let token = |text| Token::new(text).unwrap();
        assert_eq!(read("word\n", 0o600), Ok(Access::Token(token("word"))));
        let both = Access::Password {
            user: "me".to_owned(),
            password: token("wo:rd"),
        };
        assert_eq!(read("me:wo:rd", 0o600), Ok(both.clone()));
        assert_eq!(format!("{both:?}"), "Password(..)");
        let file = "-----BEGIN NATS USER JWT-----\nx:y";
        assert_eq!(read(file, 0o640), Ok(Access::Credentials(token(file))));
        for (text, mode, said) in [
            ("word", 0o644, "chmod 600"),
            (" ", 0o600, "is empty"),
            ("me:", 0o600, "no password"),
        ] {
            let refused = read(text, mode).unwrap_err();
            assert!(refused.contains(said), "{refused}");
        }
    }
}
