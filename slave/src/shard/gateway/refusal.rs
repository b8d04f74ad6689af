//! Why a host did not open a websocket.
//!
//! twilight says the status of such an answer, and nothing else of it. What stands in its
//! headers and its body says how long to stay away, and what it was that answered: so the
//! same is asked once more, and the answer read as a whole. It costs no IDENTIFY, as no
//! dial does.

use std::{fmt, io, sync::Arc, time::Duration};

use baton_protocol::{
    answer::{retry_after, shown},
    text::span,
};
use http::{StatusCode, Uri};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::OnceCell,
    time::{Instant, timeout_at},
};
use tokio_websockets::Connector;

/// The whole question, from the dial to the end of the answer. It is shorter than a dial may
/// take, so that the shard hears of it.
const PATIENCE: Duration = Duration::from_secs(3);

/// After the head of an answer its body is waited for so long.
const BODY_PATIENCE: Duration = Duration::from_secs(1);

/// No answer is read further.
const MAX_ANSWER: usize = 32 * 1024;

const MAX_HEADERS: usize = 64;

/// The answer of a host that opened no websocket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// With its port, if its URL has one.
    pub(super) host: Arc<str>,
    /// Of HTTP.
    pub(super) status: u16,
    /// How long it asks to be left alone, if it does.
    pub(super) wait: Option<Duration>,
    /// The beginning of its body.
    pub(super) shown: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = StatusCode::from_u16(self.status).ok();
        let reason = known.and_then(|status| status.canonical_reason());
        write!(f, "{} answered {}", self.host, self.status)?;
        if let Some(reason) = reason {
            write!(f, " {reason}")?;
        }
        write!(f, " and opened no websocket{}", self.shown)?;
        match self.wait {
            Some(wait) => write!(f, "; it is left alone for {}", span(wait)),
            None => Ok(()),
        }
    }
}

/// How hosts are asked.
#[derive(Debug, Default)]
pub(super) struct Question {
    /// Made when it is first needed.
    tls: OnceCell<Arc<Connector>>,
}

/// What came of one.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) wait: Option<Duration>,
    pub(super) shown: String,
}

impl Question {
    /// Asks for a websocket, and reads what comes instead.
    ///
    /// # Errors
    /// There is no answer, or none of HTTP.
    pub(super) async fn ask(&self, url: &Uri) -> io::Result<Answer> {
        let until = Instant::now() + PATIENCE;
        let late = |_| io::Error::from(io::ErrorKind::TimedOut);
        timeout_at(until, self.exchange(url)).await.map_err(late)?
    }

    async fn exchange(&self, url: &Uri) -> io::Result<Answer> {
        let host = url.host().ok_or(io::ErrorKind::InvalidInput)?;
        let name = host.trim_start_matches('[').trim_end_matches(']');
        let secure = url.scheme_str() == Some("wss");
        let port = url.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let stream = TcpStream::connect((name, port)).await?;
        let connector = match secure {
            true => self.tls().await?,
            false => Arc::new(Connector::Plain),
        };
        let secured = connector.wrap(name, stream).await;
        let mut stream = secured.map_err(io::Error::other)?;
        let authority = url.authority().map_or(host, |authority| authority.as_str());
        let path = url.path_and_query().map_or("/", |path| path.as_str());
        // The key of a handshake that nobody goes on with.
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {authority}\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Key: YmF0b24tYXNrcy1hZ2FpbiE=\r\n\
             Sec-WebSocket-Version: 13\r\n\
             User-Agent: DiscordBot (baton-slave, {})\r\n\r\n",
            env!("CARGO_PKG_VERSION")
        );
        stream.write_all(request.as_bytes()).await?;
        stream.flush().await?;
        read(&mut stream).await
    }

    /// The certificates of the host are read from its disk.
    async fn tls(&self) -> io::Result<Arc<Connector>> {
        let make = || async {
            let made = tokio::task::spawn_blocking(Connector::new).await?;
            made.map(Arc::new).map_err(io::Error::other)
        };
        self.tls.get_or_try_init(make).await.cloned()
    }
}

/// One answer, as much of its body as comes in time.
async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Answer> {
    let mut bytes = Vec::new();
    let mut until = None;
    loop {
        let known = understood(&bytes)?;
        let over = bytes.len() >= MAX_ANSWER;
        match known {
            Some((answer, whole)) if whole || over => return Ok(answer),
            None if over => return Err(io::ErrorKind::InvalidData.into()),
            Some(_) => {
                until.get_or_insert_with(|| Instant::now() + BODY_PATIENCE);
            }
            None => {}
        }
        let most = (MAX_ANSWER - bytes.len()) as u64;
        let mut part = (&mut *stream).take(most);
        let more = part.read_buf(&mut bytes);
        let read = match until {
            Some(until) => timeout_at(until, more).await.unwrap_or(Ok(0)),
            None => more.await,
        };
        // Its end, or no more in time: what is there counts.
        if matches!(read, Ok(0) | Err(_)) {
            let ended = read
                .err()
                .unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into());
            return understood(&bytes)?.map(|(answer, _)| answer).ok_or(ended);
        }
    }
}

/// What these first bytes of an answer say, and whether they are all of it; `None`: not yet
/// anything.
fn understood(bytes: &[u8]) -> io::Result<Option<(Answer, bool)>> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut head = httparse::Response::new(&mut headers);
    let parsed = head.parse(bytes).map_err(io::Error::other)?;
    let httparse::Status::Complete(length) = parsed else {
        return Ok(None);
    };
    let status = head.code.ok_or(io::ErrorKind::InvalidData)?;
    let named = |name: &str| {
        let header = head.headers.iter();
        let mut named = header.filter(|header| header.name.eq_ignore_ascii_case(name));
        std::str::from_utf8(named.next()?.value).ok()
    };
    let chunked = named("transfer-encoding").is_some_and(|value| value.contains("chunked"));
    let rest = &bytes[length..];
    let (body, whole) = if chunked {
        unchunked(rest)
    } else {
        let announced = named("content-length").and_then(|value| value.trim().parse().ok());
        let bodiless = status < 200 || status == 204 || status == 304;
        let length = announced.or(bodiless.then_some(0));
        let length: usize = length.unwrap_or(usize::MAX);
        (
            rest[..rest.len().min(length)].to_vec(),
            rest.len() >= length,
        )
    };
    let headers = head.headers.iter();
    let answer = Answer {
        status,
        wait: retry_after(headers.map(|header| (header.name, header.value)), &body),
        shown: shown(&body),
    };
    Ok(Some((answer, whole)))
}

/// The body in these chunks, as far as they are there, and whether that is all of it.
fn unchunked(mut chunks: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    while let Ok(httparse::Status::Complete((begin, length))) = httparse::parse_chunk_size(chunks) {
        if length == 0 {
            return (body, true);
        }
        let rest = &chunks[begin..];
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        body.extend_from_slice(&rest[..rest.len().min(length)]);
        let Some(next) = length.checked_add(2).and_then(|next| rest.get(next..)) else {
            break;
        };
        chunks = next;
    }
    (body, false)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn answer(text: &str) -> Answer {
        understood(text.as_bytes()).unwrap().unwrap().0
    }

    #[test]
    fn an_answer_is_whole_by_its_length_by_its_last_chunk_and_at_its_end() {
        let whole = |text: &str| understood(text.as_bytes()).unwrap().map(|(_, whole)| whole);
        let head = "HTTP/1.1 429 Too Many Requests\r\n";
        for (rest, is_whole) in [
            ("Content-Length: 3\r\n\r\nab", Some(false)),
            ("Content-Length: 3\r\n\r\nabc", Some(true)),
            ("Content-Length: 0\r\n\r\n", Some(true)),
            (
                "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
                Some(false),
            ),
            (
                "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
                Some(true),
            ),
            ("\r\nabc", Some(false)),
            ("Retry-Af", None),
        ] {
            assert_eq!(whole(&format!("{head}{rest}")), is_whole, "{rest}");
        }
        assert_eq!(
            whole("HTTP/1.1 101 Switching Protocols\r\n\r\n"),
            Some(true)
        );
        for garbage in [
            "SSH-2.0-OpenSSH_9.9\r\n",
            "<html>\r\n\r\n",
            "\u{0}\u{0}\u{0}",
        ] {
            assert!(understood(garbage.as_bytes()).is_err(), "{garbage}");
        }
    }

    #[test]
    fn the_wait_is_found_in_the_header_and_in_a_body_that_comes_in_chunks() {
        let header = "HTTP/1.1 429 Slow Down\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(answer(header).wait, Some(Duration::from_secs(7)));
        let chunks = "HTTP/1.1 429 x\r\nTransfer-Encoding: chunked\r\n\r\n\
                      8\r\n{\"retry_\r\nc\r\nafter\": 1.5}\r\n0\r\n\r\n";
        assert_eq!(answer(chunks).wait, Some(Duration::from_millis(1500)));
        let huge = "HTTP/1.1 429 x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nabc";
        assert_eq!(answer(huge).shown, " (abc)");
    }

    #[test]
    fn a_refusal_says_who_answered_what_and_for_how_long_it_is_left_alone() {
        let refusal = |status, wait, body: &str| {
            let shown = shown(body.as_bytes());
            let host = "gateway.discord.gg".into();
            Refusal {
                host,
                status,
                wait,
                shown,
            }
            .to_string()
        };
        assert_eq!(
            refusal(429, Some(Duration::from_secs(37)), ""),
            "gateway.discord.gg answered 429 Too Many Requests and opened no websocket; it is \
             left alone for 37 s"
        );
        assert_eq!(
            refusal(502, None, "<html>\n<b>Bad\u{1b} gateway</b>"),
            "gateway.discord.gg answered 502 Bad Gateway and opened no websocket (<html> <b>Bad\\u{1b} \
             gateway</b>)"
        );
        assert_eq!(
            refusal(599, None, ""),
            "gateway.discord.gg answered 599 and opened no websocket"
        );
    }
}
