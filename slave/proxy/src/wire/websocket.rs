//! The websocket of a client: the handshake over HTTP, and the frames behind it.

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderValue, Method, header};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_websockets::{Config, Limits, ServerBuilder, WebSocketStream};

/// What RFC 6455 appends to the key of a handshake.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Bytes of one message that are read at all. One above 4,096 is a wrong payload, which has
/// a close code; one above this is no client.
const LONGEST: usize = 64 * 1024;
/// Bytes that are gathered before they are written.
const GATHER: usize = 64 * 1024;

/// Whether a request wants to become a websocket.
pub(crate) fn is_wanted(headers: &HeaderMap) -> bool {
    let upgrade = headers.get(header::UPGRADE).and_then(|v| v.to_str().ok());
    upgrade.is_some_and(|v| v.eq_ignore_ascii_case("websocket"))
}

/// The headers of the answer 101; `None`: the request is no handshake of version 13. No
/// extension is taken up: contexts of permessage-deflate cost memory for each client, and
/// Discord has none.
pub(crate) fn accept(method: &Method, headers: &HeaderMap) -> Option<HeaderMap> {
    let key = headers.get(header::SEC_WEBSOCKET_KEY)?;
    let version = headers.get(header::SEC_WEBSOCKET_VERSION)?;
    if method != Method::GET || version.as_bytes() != b"13" {
        return None;
    }
    let mut digest = sha1_smol::Sha1::new();
    digest.update(key.as_bytes());
    digest.update(GUID);
    let proof = STANDARD.encode(digest.digest().bytes());
    Some(HeaderMap::from_iter([
        (header::UPGRADE, HeaderValue::from_static("websocket")),
        (header::CONNECTION, HeaderValue::from_static("Upgrade")),
        (header::SEC_WEBSOCKET_ACCEPT, proof.parse().ok()?),
    ]))
}

/// The websocket on a stream whose handshake is done.
pub(crate) fn serve<S: AsyncRead + AsyncWrite + Unpin>(stream: S) -> WebSocketStream<S> {
    ServerBuilder::new()
        .config(
            Config::default()
                .flush_threshold(GATHER)
                .frame_size(usize::MAX),
        )
        .limits(Limits::default().max_payload_len(Some(LONGEST)))
        .serve(stream)
}
