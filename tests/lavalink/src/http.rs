//! Connections: REST, and the websocket of a client.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use futures_util::{SinkExt, StreamExt};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn, upgrade::Upgraded};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
    time::sleep,
};
use tokio_websockets::{Limits, Message, ServerBuilder};

use crate::{
    Shared,
    answer::{self, Answer, Wrong},
    ledger::What,
    routes::{self, Asked},
    session::WAITING,
};

/// Connections at a time; more wait.
const CONNECTIONS: usize = 1024;
/// How long a request's head may take.
const HEAD: Duration = Duration::from_secs(30);
/// Bytes of a request's body.
const BODY: usize = 1 << 20;
/// What RFC 6455 appends to the key of a handshake.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

static CLIENTS: AtomicU64 = AtomicU64::new(1);

/// Accepts until the server stops.
pub(crate) async fn run(shared: Arc<Shared>, listener: TcpListener) {
    let free = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&free).acquire_owned().await else {
            return;
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shared.stop.cancelled() => return,
        };
        let Ok((socket, _)) = accepted else {
            sleep(Duration::from_millis(50)).await;
            continue;
        };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            connection(shared, socket).await;
            drop(place);
        });
    }
}

async fn connection(shared: Arc<Shared>, socket: TcpStream) {
    let stop = shared.stop.clone();
    let service = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(route(&shared, request).await) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .serve_connection(TokioIo::new(socket), service)
        .with_upgrades();
    tokio::select! {
        _ = serving => {}
        () = stop.cancelled() => {}
    }
}

async fn route(shared: &Arc<Shared>, request: Request<Incoming>) -> Answer {
    let path = request.uri().path().to_owned();
    let answered = if path == "/v4/websocket" {
        websocket(shared, request)
    } else {
        rest(shared, request).await
    };
    answered.unwrap_or_else(|wrong| {
        let status = wrong.status.as_u16();
        shared.ledger.note("", 0, What::Refused(status));
        wrong.answer(&path)
    })
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

async fn rest(shared: &Arc<Shared>, request: Request<Incoming>) -> Result<Answer, Wrong> {
    match text(request.headers(), "authorization") {
        None => {
            return Err(Wrong::new(
                StatusCode::UNAUTHORIZED,
                "Authorization is missing",
            ));
        }
        Some(password) if password != shared.config.password => {
            return Err(Wrong::new(StatusCode::FORBIDDEN, "Authorization failed"));
        }
        Some(_) => {}
    }
    let kind = text(request.headers(), "content-type").map(str::to_owned);
    let (head, body) = request.into_parts();
    let body = Limited::new(body, BODY).collect().await;
    let body = body.map_err(|_| Wrong::new(StatusCode::PAYLOAD_TOO_LARGE, "too long"))?;
    let body = body.to_bytes();
    let is_json = kind.is_some_and(|kind| kind.starts_with("application/json"));
    if !body.is_empty() && !is_json {
        let words = "a body is application/json";
        return Err(Wrong::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, words));
    }
    let asked = Asked {
        method: &head.method,
        path: head.uri.path(),
        query: pairs(head.uri.query().unwrap_or_default()),
        body: &body,
    };
    routes::answer(shared, &asked).await
}

/// The pairs of a query, decoded.
fn pairs(query: &str) -> Vec<(String, String)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs
        .map(|(key, value)| (decoded(key), decoded(value)))
        .collect()
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        rest = behind;
        let code = behind
            .get(..2)
            .and_then(|code| std::str::from_utf8(code).ok());
        let code = code.and_then(|code| u8::from_str_radix(code, 16).ok());
        match (first, code) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &behind[2..];
            }
            (b'+', _) => bytes.push(b' '),
            (byte, _) => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A client connects. Where the original passes over a header that is missing, this refuses.
fn websocket(shared: &Arc<Shared>, request: Request<Incoming>) -> Result<Answer, Wrong> {
    let headers = request.headers();
    if text(headers, "authorization") != Some(shared.config.password.as_str()) {
        return Err(Wrong::new(StatusCode::UNAUTHORIZED, "Authorization failed"));
    }
    let user = text(headers, "user-id").and_then(|user| user.parse::<u64>().ok());
    let user = user.ok_or_else(|| Wrong::bad("User-Id is the id of the bot"))?;
    let name = text(headers, "client-name").unwrap_or_default();
    if !name
        .split_once('/')
        .is_some_and(|(name, version)| !name.is_empty() && !version.is_empty())
    {
        return Err(Wrong::bad("Client-Name is NAME/VERSION"));
    }
    let key = text(headers, "sec-websocket-key");
    let is_upgrade =
        text(headers, "upgrade").is_some_and(|it| it.eq_ignore_ascii_case("websocket"));
    let (Some(key), true, &Method::GET) = (key, is_upgrade, request.method()) else {
        return Err(Wrong::bad("this is a websocket"));
    };
    let mut digest = sha1_smol::Sha1::new();
    digest.update(key.as_bytes());
    digest.update(GUID);
    let proof = STANDARD.encode(digest.digest().bytes());
    let proof = HeaderValue::try_from(proof).map_err(|_| Wrong::bad("no key"))?;
    let before = text(headers, "session-id").map(str::to_owned);
    let resumes = before
        .as_deref()
        .is_some_and(|id| shared.sessions().can_resume(id, user));
    let task = Arc::clone(shared);
    tokio::spawn(async move {
        if let Ok(upgraded) = hyper::upgrade::on(request).await {
            serve(&task, upgraded, user, before.as_deref()).await;
        }
    });
    let mut answer = answer::empty(StatusCode::SWITCHING_PROTOCOLS);
    let headers = answer.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, proof);
    let resumed = HeaderValue::from_static(if resumes { "true" } else { "false" });
    headers.insert("Session-Resumed", resumed);
    Ok(answer)
}

async fn serve(shared: &Arc<Shared>, upgraded: Upgraded, user: u64, before: Option<&str>) {
    let limits = Limits::default().max_payload_len(Some(BODY));
    let stream = TokioIo::new(upgraded);
    let mut websocket = ServerBuilder::new().limits(limits).serve(stream);
    let number = CLIENTS.fetch_add(1, Ordering::Relaxed);
    let (out, mut waiting) = mpsc::channel(WAITING);
    let id = shared
        .sessions()
        .connected(shared, (user, number), before, out);
    loop {
        tokio::select! {
            message = waiting.recv() => {
                let Some(message) = message else { break };
                if websocket.send(Message::text(message)).await.is_err() {
                    break;
                }
            }
            // Version 4 takes no words of a client here.
            message = websocket.next() => match message {
                Some(Ok(message)) if !message.is_close() => {}
                Some(_) | None => break,
            },
            () = shared.stop.cancelled() => break,
        }
    }
    shared.sessions().disconnected(shared, &id, number);
}
