//! `baton-master certs`: makes a fleet's authority and the certificates of its hosts, renews
//! and shows them. It asks no master and changes nothing but the files that it names.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use baton_protocol::{
    CertificateName, HostName, Hosts, Peer, PeerRole,
    tls::{CA_FILE, CERTIFICATE_FILE, KEY_FILE},
};
use clap::{Args, Subcommand};

use super::say;
use crate::{
    certs::{AlsoNamed, Authority, CA_KEY_FILE, Facts, Issued, Life, now},
    error::{EXIT_DONE, Error},
    runtime_dir::make_dir,
    whole_file,
};

#[derive(Debug, Args)]
pub(super) struct CertsArguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make the authority of a fleet: ca.pem, and ca.key, with which certificates are issued
    ///
    /// The key is for who issues certificates: keep its folder where you keep your own
    /// keys. No host of the fleet needs it.
    Init(InitArguments),
    /// Issue a certificate for a role on a host: a folder with ca.pem, cert.pem and key.pem
    ///
    /// Copy the folder to that host, and name it there: a master by tls_dir, slaves and
    /// agents by BATON_TLS_DIR.
    Issue(IssueArguments),
    /// Issue a certificate again for a new time, with its name and its key
    ///
    /// It needs no private key but the authority's. Copy the new cert.pem over the one of
    /// its host; a master takes it up by SIGHUP, slaves and agents when they dial next.
    Renew(RenewArguments),
    /// Show what stands in certificates, and until when they are good
    Show(ShowArguments),
}

#[derive(Debug, Args)]
struct InitArguments {
    /// Folder of the authority
    #[arg(long, value_name = "DIR")]
    ca: PathBuf,
    /// What the fleet is called: a-z, 0-9, `.` and `-`
    #[arg(long, value_name = "NAME", value_parser = name)]
    fleet: HostName,
    /// How many days the authority is good
    #[arg(long, value_name = "N", default_value = "3650", value_parser = days)]
    days: Life,
    /// Put it in the place of the one that is there: no certificate of that one is believed
    /// any more
    #[arg(long)]
    overwrite: bool,
}

#[derive(Debug, Args)]
struct IssueArguments {
    /// Folder of the authority
    #[arg(long, value_name = "DIR")]
    ca: PathBuf,
    /// What its holder is: master, agent, slave or operator
    #[arg(long, value_name = "ROLE", value_parser = role)]
    role: PeerRole,
    /// Name of the host: a-z, 0-9, `.` and `-`; NAME.* for all whose names begin with NAME and a dot,
    /// which only agents and slaves can have
    #[arg(long, value_name = "NAME", value_parser = hosts)]
    host: Hosts,
    /// A name of the DNS or an address under which browsers and monitors find a master,
    /// besides the host's name; may be given several times
    #[arg(long, value_name = "NAME")]
    also: Vec<AlsoNamed>,
    /// Folder for the three files
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// How many days it is good
    #[arg(long, value_name = "N", default_value = "365", value_parser = days)]
    days: Life,
    /// Put them in the place of those that are there
    #[arg(long)]
    overwrite: bool,
}

#[derive(Debug, Args)]
struct RenewArguments {
    /// Folder of the authority
    #[arg(long, value_name = "DIR")]
    ca: PathBuf,
    /// Certificates, or folders with a cert.pem; each is replaced
    #[arg(required = true, value_name = "CERT")]
    certificates: Vec<PathBuf>,
    /// How many days it is good from now on
    #[arg(long, value_name = "N", default_value = "365", value_parser = days)]
    days: Life,
}

#[derive(Debug, Args)]
struct ShowArguments {
    /// Certificates, or folders with some
    #[arg(required = true, value_name = "CERT")]
    certificates: Vec<PathBuf>,
}

fn name(text: &str) -> Result<HostName, String> {
    text.parse()
}

fn hosts(text: &str) -> Result<Hosts, String> {
    text.parse()
}

fn role(text: &str) -> Result<PeerRole, String> {
    text.parse()
}

fn days(text: &str) -> Result<Life, String> {
    let days = text.parse().map_err(|_| format!("`{text}` is no number"))?;
    Life::of_days(days)
}

pub(super) fn run(arguments: CertsArguments) -> Result<u8, Error> {
    match arguments.verb {
        Verb::Init(arguments) => init(&arguments),
        Verb::Issue(arguments) => issue(arguments),
        Verb::Renew(arguments) => renew(&arguments),
        Verb::Show(arguments) => show(&arguments),
    }?;
    Ok(EXIT_DONE)
}

fn init(arguments: &InitArguments) -> Result<(), Error> {
    let dir = &arguments.ca;
    spared(dir, &[CA_FILE, CA_KEY_FILE], arguments.overwrite)?;
    let (authority, key) = Authority::make(&arguments.fleet, arguments.days).map_err(failed)?;
    make_dir("--ca", dir)?;
    // The key first: an authority without one would be of no use.
    write(&dir.join(CA_KEY_FILE), &key)?;
    write(&dir.join(CA_FILE), authority.pem())?;
    say(&format!(
        "{}: the authority of fleet {}, {}",
        dir.display(),
        authority.fleet(),
        authority.validity().told(now())
    ));
    say(&format!(
        "keep {} where nobody else reads it: who has it can make itself any host of the fleet",
        dir.join(CA_KEY_FILE).display()
    ));
    Ok(())
}

fn issue(arguments: IssueArguments) -> Result<(), Error> {
    let authority = Authority::read(&arguments.ca).map_err(Error::Configuration)?;
    let dir = &arguments.out;
    let files = [CA_FILE, CERTIFICATE_FILE, KEY_FILE];
    spared(dir, &files, arguments.overwrite)?;
    if dir.join(CA_KEY_FILE).exists() {
        return Err(Error::Configuration(format!(
            "--out: {} is the folder of an authority, whose key does not go to a host: name another",
            dir.display()
        )));
    }
    let name = CertificateName {
        fleet: authority.fleet().clone(),
        peer: Peer::new(arguments.role, arguments.host)
            .map_err(|reason| Error::Configuration(format!("--host: {reason}")))?,
    };
    if !arguments.also.is_empty() && name.peer.role != PeerRole::Master {
        return Err(Error::Configuration(format!(
            "--also: nobody looks for a program of the role {} by a name: leave it out",
            name.peer.role
        )));
    }
    let issued = authority.issue(&name, &arguments.also, arguments.days);
    let (issued, key) = issued.map_err(failed)?;
    make_dir("--out", dir)?;
    for (file, text) in files
        .iter()
        .zip([authority.pem(), &issued.certificate, &key])
    {
        write(&dir.join(file), text)?;
    }
    say(&told(&dir.join(CERTIFICATE_FILE), &name, &issued));
    let copy = match name.peer.role {
        PeerRole::Master => "name the folder in the master's configuration: tls_dir",
        PeerRole::Agent | PeerRole::Slave => {
            "copy the folder to that host, for its user alone, and name it there: BATON_TLS_DIR"
        }
        PeerRole::Operator => {
            "copy the folder to that host, for its user alone: who has it may do everything"
        }
    };
    say(copy);
    Ok(())
}

fn renew(arguments: &RenewArguments) -> Result<(), Error> {
    let authority = Authority::read(&arguments.ca).map_err(Error::Configuration)?;
    // Nothing is written unless all can be.
    let mut renewed = Vec::new();
    for path in &arguments.certificates {
        let path = match path.is_dir() {
            true => path.join(CERTIFICATE_FILE),
            false => path.clone(),
        };
        let of = |reason: String| Error::Configuration(format!("{}: {reason}", path.display()));
        let facts = facts(&path)?;
        let name = facts.name.clone().map_err(of)?;
        let issued = authority.renew(&facts, arguments.days).map_err(of)?;
        renewed.push((path, name, issued));
    }
    for (path, name, issued) in renewed {
        write(&path, &issued.certificate)?;
        say(&told(&path, &name, &issued));
    }
    Ok(())
}

fn show(arguments: &ShowArguments) -> Result<(), Error> {
    let mut paths = Vec::new();
    for path in &arguments.certificates {
        if !path.is_dir() {
            paths.push(path.clone());
            continue;
        }
        let there = [CA_FILE, CERTIFICATE_FILE].map(|file| path.join(file));
        let before = paths.len();
        paths.extend(there.into_iter().filter(|file| file.exists()));
        if paths.len() == before {
            return Err(Error::Configuration(format!(
                "{}: there is neither {CA_FILE} nor {CERTIFICATE_FILE} in it",
                path.display()
            )));
        }
    }
    for path in paths {
        let facts = facts(&path)?;
        let who = match &facts.name {
            Ok(name) => name.to_string(),
            Err(_) if facts.is_authority => format!("authority: {}", facts.subject),
            Err(reason) => reason.clone(),
        };
        let also: String = facts.also.iter().map(|name| format!(", {name}")).collect();
        say(&format!(
            "{}: {who}{also}, {}",
            path.display(),
            facts.validity.told(now())
        ));
        if let Some((key, mode)) = key_beside(&path)
            && mode & 0o007 != 0
        {
            say(&format!(
                "{}: other users may use this key (mode {mode:03o}): chmod 600 it",
                key.display()
            ));
        }
    }
    Ok(())
}

/// The key beside a certificate, and who may read it.
fn key_beside(certificate: &Path) -> Option<(PathBuf, u32)> {
    let file = if certificate.ends_with(CA_FILE) {
        CA_KEY_FILE
    } else {
        KEY_FILE
    };
    let key = certificate.with_file_name(file);
    let mode = fs::metadata(&key).ok()?.permissions().mode();
    Some((key, mode & 0o777))
}

fn facts(path: &Path) -> Result<Facts, Error> {
    let of = |reason: String| Error::Configuration(format!("{}: {reason}", path.display()));
    let text = fs::read(path).map_err(|error| of(error.to_string()))?;
    Facts::of_pem(&text).map_err(of)
}

fn told(path: &Path, name: &CertificateName, issued: &Issued) -> String {
    let told = issued.validity.told(now());
    format!("{}: {name}, {told}", path.display())
}

/// Whether none of the files is there, or they may be replaced.
fn spared(dir: &Path, files: &[&str], overwrite: bool) -> Result<(), Error> {
    let there = files.iter().map(|file| dir.join(file));
    match there.filter(|path| path.exists()).find(|_| !overwrite) {
        None => Ok(()),
        Some(path) => Err(Error::Configuration(format!(
            "{} is there already: name another folder, or say --overwrite",
            path.display()
        ))),
    }
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    whole_file::write(path, text.as_bytes())
        .map_err(|error| Error::system(format!("write {}", path.display()), error))
}

fn failed(reason: String) -> Error {
    Error::Failed(reason)
}
