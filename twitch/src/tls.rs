//! TLS to Twitch: the certificates of this host are read once a process, and on no thread that
//! serves.

use std::{
    io,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use hyper_rustls::ConfigBuilderExt;
use rustls::ClientConfig;
use tokio::task::spawn_blocking;
use tokio_rustls::TlsConnector;

static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();

/// Who connects, for every connection.
///
/// # Errors
/// The certificates cannot be read, which is tried again the next time.
pub(crate) async fn connector() -> io::Result<TlsConnector> {
    let known = match CONFIG.get() {
        Some(known) => Arc::clone(known),
        None => spawn_blocking(config).await.map_err(io::Error::other)??,
    };
    Ok(TlsConnector::from(known))
}

/// What every connection has in common. It blocks for some milliseconds until the certificates
/// are read: whoever asks first does so before it serves, or on a thread for that.
///
/// # Errors
/// The certificates cannot be read, which is tried again the next time.
pub(crate) fn config() -> io::Result<Arc<ClientConfig>> {
    static READS: Mutex<()> = Mutex::new(());
    let _one_at_a_time = READS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = CONFIG.get() {
        return Ok(Arc::clone(known));
    }
    let read = Arc::new(read()?);
    Ok(Arc::clone(CONFIG.get_or_init(|| read)))
}

fn read() -> io::Result<ClientConfig> {
    #[cfg(test)]
    tests::READ.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_native_roots()?
        .with_no_client_auth();
    Ok(config)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::helix::{Config, Helix};

    pub(super) static READ: AtomicU32 = AtomicU32::new(0);

    #[tokio::test]
    async fn the_certificates_of_the_host_are_read_once_for_helix_eventsub_and_irc() {
        let ask = || Helix::new(Config::new("client", "secret")).unwrap();
        let (_one, _another) = (ask(), ask());
        connector().await.unwrap();
        connector().await.unwrap();
        assert_eq!(READ.load(Ordering::SeqCst), 1);
    }
}
