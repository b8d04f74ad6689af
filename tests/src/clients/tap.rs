//! Listening to what a client says: a relay in front of a gateway that reads the client's
//! frames on their way. Whatever the library is, and however what it gets is compressed,
//! what it sends is plain JSON.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinHandle,
};

use crate::error::{Error, Result};

/// Bytes of a relay step.
const STEP: usize = 16 * 1024;

/// Bytes that are kept of what is not whole yet. No client's frame is so long.
const LONGEST: usize = 64 * 1024;

/// What a client did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// It has everything up to this sequence: op 1.
    Beat(u64),
    /// It resumes behind this sequence.
    Resume(u64),
    /// A connection of it ended.
    End,
}

/// A relay for one process. Dropped, it takes no new connection; what it relays ends with the
/// process.
#[derive(Debug)]
pub(super) struct Tap {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Tap {
    /// Listens in front of `gateway`, and tells what clients say.
    ///
    /// # Errors
    /// There is no free port.
    pub(super) async fn lay(gateway: SocketAddr, words: mpsc::Sender<Word>) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.map_err(Error::io("listen for a tap"))?;
        let address = listener.local_addr().map_err(Error::io("a tap's port"))?;
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let words = words.clone();
                tokio::spawn(async move {
                    relay(client, gateway, &words).await;
                    let _ = words.send(Word::End).await;
                });
            }
        });
        Ok(Self { address, task })
    }

    /// Where the client connects.
    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn relay(client: TcpStream, gateway: SocketAddr, words: &mpsc::Sender<Word>) {
    let Ok(server) = TcpStream::connect(gateway).await else {
        return;
    };
    for end in [&client, &server] {
        let _ = end.set_nodelay(true);
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let mut frames = Frames::default();
    let up = pump(from_client, to_server, |bytes| {
        for word in frames.read(bytes) {
            let _ = words.try_send(word);
        }
    });
    let down = pump(from_server, to_client, |_| {});
    // A client that is killed ends both ways, as its kernel does; what a gateway says last
    // arrives.
    tokio::join!(up, down);
}

/// Both ways: what was read is told when it has been passed on.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut seen: impl FnMut(&[u8]),
) {
    let mut buffer = vec![0; STEP];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        if to.write_all(&buffer[..count]).await.is_err() {
            break;
        }
        seen(&buffer[..count]);
    }
    let _ = to.shutdown().await;
}

/// The frames of a websocket's client, behind its handshake (RFC 6455, section 5.2).
#[derive(Debug, Default)]
struct Frames {
    waiting: Vec<u8>,
    is_upgraded: bool,
}

impl Frames {
    fn read(&mut self, bytes: &[u8]) -> Vec<Word> {
        self.waiting.extend_from_slice(bytes);
        let mut words = Vec::new();
        if !self.is_upgraded {
            let head = self.waiting.windows(4).position(|four| four == b"\r\n\r\n");
            let Some(end) = head else {
                return words;
            };
            self.waiting.drain(..end + 4);
            self.is_upgraded = true;
        }
        while let Some((payload, length)) = frame(&self.waiting) {
            words.extend(word(&payload));
            self.waiting.drain(..length);
        }
        if self.waiting.len() > LONGEST {
            self.waiting.clear();
        }
        words
    }
}

/// The payload of the first frame, and how long the frame is; `None`: it is not whole.
fn frame(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let second = *bytes.get(1)?;
    let (length, at) = match second & 0x7f {
        126 => {
            let length = bytes.get(2..4)?.try_into().ok()?;
            (usize::from(u16::from_be_bytes(length)), 4)
        }
        127 => {
            let length = bytes.get(2..10)?.try_into().ok()?;
            (usize::try_from(u64::from_be_bytes(length)).ok()?, 10)
        }
        short => (usize::from(short), 2),
    };
    let (mask, at) = if second & 0x80 == 0 {
        ([0; 4], at)
    } else {
        (bytes.get(at..at + 4)?.try_into().ok()?, at + 4)
    };
    let masked = bytes.get(at..at.checked_add(length)?)?;
    let pairs = masked.iter().zip(mask.iter().cycle());
    Some((pairs.map(|(byte, key)| byte ^ key).collect(), at + length))
}

fn word(payload: &[u8]) -> Option<Word> {
    let payload: Value = serde_json::from_slice(payload).ok()?;
    match payload["op"].as_u64()? {
        1 => payload["d"].as_u64().map(Word::Beat),
        6 => payload["d"]["seq"].as_u64().map(Word::Resume),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One frame, as a client masks it.
    fn masked(payload: &str) -> Vec<u8> {
        let key = [7, 0, 200, 31];
        let length = payload.len();
        let mut frame = vec![0x81];
        if length < 126 {
            frame.push(0x80 | length as u8);
        } else {
            frame.push(0x80 | 126);
            frame.extend((length as u16).to_be_bytes());
        }
        frame.extend(key);
        let bytes = payload.bytes().zip(key.iter().cycle());
        frame.extend(bytes.map(|(byte, key)| byte ^ key));
        frame
    }

    #[test]
    fn what_a_client_acknowledges_is_read_however_its_bytes_come() {
        let mut stream = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec();
        stream.extend(masked(r#"{"op":1,"d":null}"#));
        stream.extend(masked(&format!(
            r#"{{"op":6,"d":{{"token":"{}","session_id":"s","seq":12}}}}"#,
            "t".repeat(200)
        )));
        stream.extend(masked(r#"{"op":1,"d":57}"#));
        for size in [1, 3, stream.len()] {
            let mut frames = Frames::default();
            let words: Vec<Word> = stream
                .chunks(size)
                .flat_map(|bytes| frames.read(bytes))
                .collect();
            assert_eq!(
                words,
                [Word::Resume(12), Word::Beat(57)],
                "{size} at a time"
            );
        }
    }
}
