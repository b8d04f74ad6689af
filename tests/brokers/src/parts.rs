//! Where programs and libraries are.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use crate::Error;

/// How long a broker may take until it takes connections.
const PATIENCE: Duration = Duration::from_secs(180);

/// Where `scripts/brokers` puts what it installs.
fn installed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/brokers")
}

/// Where a program is.
///
/// # Errors
/// It is nowhere.
pub fn program(name: &str) -> Result<PathBuf, Error> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let own = installed().join("python/bin");
    let mut folders = std::iter::once(own).chain(std::env::split_paths(&path));
    let found = folders.find_map(|folder| Some(folder.join(name)).filter(|path| path.is_file()));
    found.ok_or_else(|| Error::Missing(format!("no {name} here")))
}

/// The `PYTHONPATH` of a Python that has a library.
///
/// # Errors
/// It is not there.
pub fn python(library: &str) -> Result<PathBuf, Error> {
    let folder = installed().join("python");
    let found = folder.join(library).is_dir().then_some(folder);
    found.ok_or_else(|| Error::Missing(format!("no Python library {library} here")))
}

/// The folder of Node's packages that has one.
///
/// # Errors
/// It is not there, or Node is not.
pub fn node(package: &str) -> Result<PathBuf, Error> {
    program("node")?;
    let folder = installed().join("node/node_modules");
    let missing = || Error::Missing(format!("no Node package {package} here"));
    if !folder.join(package).is_dir() {
        return Err(missing());
    }
    // What is linked to by another folder has to be found from there.
    folder.canonicalize().map_err(|_| missing())
}

/// Ports that nobody has, and that the system gives to nobody by itself: a server needs
/// seconds until it has taken them.
#[must_use]
pub fn free_ports<const N: usize>() -> [u16; N] {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    std::array::from_fn(|_| {
        loop {
            let next = NEXT.fetch_add(1, Ordering::Relaxed);
            let port = 20_000 + (std::process::id() * 16 + next) % 10_000;
            let port = u16::try_from(port).unwrap_or(20_000);
            if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
                return port;
            }
        }
    })
}

/// Waits until a process takes connections, or gives its last words.
pub(crate) fn wait<T>(
    name: &'static str,
    log: &Path,
    every: Duration,
    mut ready: impl FnMut() -> Option<T>,
) -> Result<T, Error> {
    let began = Instant::now();
    loop {
        if let Some(ready) = ready() {
            return Ok(ready);
        }
        if began.elapsed() > PATIENCE {
            let log = std::fs::read_to_string(log).unwrap_or_default();
            let mut lines: Vec<&str> = log.lines().rev().take(12).collect();
            lines.reverse();
            let log = lines.join("\n  ");
            return Err(Error::Start { name, log });
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "a process has no other way to say it"
        )]
        std::thread::sleep(every);
    }
}
