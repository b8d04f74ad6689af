//! TLS to Twitch: the certificates of this host are read once a process, and not on a thread of
//! the runtime.

use std::{io, sync::Arc};

use hyper_rustls::ConfigBuilderExt;
use rustls::ClientConfig;
use tokio::{sync::OnceCell, task::spawn_blocking};
use tokio_rustls::TlsConnector;

/// Who connects, for every connection.
///
/// # Errors
/// The certificates cannot be read, which is tried again the next time.
pub(crate) async fn connector() -> io::Result<TlsConnector> {
    static CONFIG: OnceCell<Arc<ClientConfig>> = OnceCell::const_new();
    let config = CONFIG.get_or_try_init(|| async {
        let read = spawn_blocking(read).await;
        read.map_err(io::Error::other)?.map(Arc::new)
    });
    Ok(TlsConnector::from(Arc::clone(config.await?)))
}

fn read() -> io::Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_native_roots()?
        .with_no_client_auth();
    Ok(config)
}
