//! The way to a master on another host: TLS, with this process's certificate.

use std::path::PathBuf;

use baton_protocol::{Address, Connection};

use super::link_error::LinkError;

/// Dials `to`, which `address` names. The files of the folder are read each time: a
/// certificate that was renewed counts from the next dial on.
#[cfg(feature = "rustls")]
pub(super) async fn connect(
    address: &Address,
    to: &str,
    dir: Option<PathBuf>,
) -> Result<Connection, LinkError> {
    use baton_protocol::tls::{self, Identity};

    let untrusted = |reason: String| LinkError::Untrusted(format!("{address}: {reason}"));
    let Some(dir) = dir else {
        return Err(untrusted("it needs BATON_TLS_DIR".to_owned()));
    };
    // A disk that hangs holds up this dial, which has a deadline, and nothing else.
    let reading = tokio::task::spawn_blocking(move || Identity::read(&dir)?.client());
    let config = match reading.await {
        Ok(read) => read.map_err(|error| untrusted(error.to_string()))?,
        Err(ended) => return Err(untrusted(ended.to_string())),
    };
    let socket = super::pipe::connect_tcp(address, to).await?;
    let stream = tls::connect(config, socket).await.map_err(|source| {
        refused(&source).unwrap_or_else(|| LinkError::Dial {
            address: address.clone(),
            source,
        })
    })?;
    Ok(Connection::new(stream))
}

/// What the certificates have to do with an error of a connection, if anything.
#[cfg(feature = "rustls")]
pub(super) fn refused(error: &std::io::Error) -> Option<LinkError> {
    let error = baton_protocol::tls::refusal(error)?;
    let reason = if matches!(error, rustls::Error::AlertReceived(_)) {
        format!(
            "the master refuses this process's certificate ({error}): its log says why, and \
             baton-master certs show $BATON_TLS_DIR what stands in it"
        )
    } else {
        format!("the other side is not believed to be a master of this fleet: {error}")
    };
    Some(LinkError::Untrusted(reason))
}

/// Without rustls no such address is taken: the configuration was checked.
#[cfg(not(feature = "rustls"))]
#[expect(clippy::unused_async, reason = "as where there is TLS")]
pub(super) async fn connect(
    address: &Address,
    _: &str,
    _: Option<PathBuf>,
) -> Result<Connection, LinkError> {
    Err(LinkError::Untrusted(format!(
        "{address}: there is no TLS here"
    )))
}

#[cfg(not(feature = "rustls"))]
pub(super) const fn refused(_: &std::io::Error) -> Option<LinkError> {
    None
}
