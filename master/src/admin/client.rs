//! The operator's side of the admin socket, for the command line.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use http::{Method, Request, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{net::UnixStream, time::timeout};

use crate::{error::Error, runtime_dir::Lock};

/// The master answers within ten seconds or says that it cannot.
const DEADLINE: Duration = Duration::from_secs(15);

/// A master that lives says something on the stream of news at least every 5 s.
const SILENCE: Duration = Duration::from_secs(20);

/// What is said of a socket that belongs to somebody else.
const ANOTHERS: &str = "belongs to another user";

/// Whether a command failed because its user may not reach the master.
#[must_use]
pub fn is_of_another_user(error: &Error) -> bool {
    error.line().contains(ANOTHERS)
}

/// Talks to the master of one runtime directory.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
    deadline: Duration,
}

impl Client {
    /// For the master whose admin socket this is.
    #[must_use]
    pub fn new(socket: &Path) -> Self {
        Self {
            socket: socket.to_owned(),
            deadline: DEADLINE,
        }
    }

    /// The same, for an asker that has less time than the usual 15 s.
    #[must_use]
    pub const fn within(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// GET, the answer as JSON.
    ///
    /// # Errors
    /// No master is there, or it says why not.
    pub async fn get(&self, path: &str) -> Result<Value, Error> {
        self.json(Method::GET, path, Value::Null).await
    }

    /// What is answered as text.
    ///
    /// # Errors
    /// No master is there, or it says why not.
    pub async fn text(&self, path: &str) -> Result<String, Error> {
        let asked = async {
            let answer = self.send(Method::GET, path, Bytes::new()).await?;
            let answer = answer.collect().await;
            let answer = answer.map_err(|error| self.broken(&error))?.to_bytes();
            Ok(String::from_utf8_lossy(&answer).into_owned())
        };
        let answered = timeout(self.deadline, asked).await;
        answered.unwrap_or_else(|_| Err(self.silent()))
    }

    /// POST of JSON, the answer as JSON.
    ///
    /// # Errors
    /// No master is there, or it says why not.
    pub async fn post(&self, path: &str, body: Value) -> Result<Value, Error> {
        self.json(Method::POST, path, body).await
    }

    /// The stream of news, from now on.
    ///
    /// # Errors
    /// No master is there.
    pub async fn events(&self) -> Result<Events, Error> {
        let body = timeout(
            self.deadline,
            self.send(Method::GET, "/v1/events", Bytes::new()),
        );
        Ok(Events {
            body: body.await.map_err(|_| self.silent())??,
            buffer: BytesMut::new(),
            silent: false,
        })
    }

    fn silent(&self) -> Error {
        Error::Failed(format!(
            "the master at {} did not answer within {deadline:?}: it may be paused or wait for its \
             disk; its slaves keep serving. Look at its process and its log",
            self.socket.display(),
            deadline = self.deadline
        ))
    }

    async fn json(&self, method: Method, path: &str, body: Value) -> Result<Value, Error> {
        match timeout(self.deadline, self.exchange(method, path, body)).await {
            Ok(answer) => answer,
            Err(_) => Err(self.silent()),
        }
    }

    async fn exchange(&self, method: Method, path: &str, body: Value) -> Result<Value, Error> {
        let body = if body.is_null() {
            Bytes::new()
        } else {
            body.to_string().into()
        };
        let answer = self.send(method, path, body).await?;
        let answer = answer
            .collect()
            .await
            .map_err(|error| self.broken(&error))?;
        serde_json::from_slice(&answer.to_bytes()).map_err(|error| self.broken(&error))
    }

    async fn send(&self, method: Method, path: &str, body: Bytes) -> Result<Incoming, Error> {
        let socket = UnixStream::connect(&self.socket)
            .await
            .map_err(|error| self.absent(&error))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket))
            .await
            .map_err(|error| self.broken(&error))?;
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "baton")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|error| self.broken(&error))?;
        let answer = sender
            .send_request(request)
            .await
            .map_err(|error| self.broken(&error))?;
        if answer.status().is_success() {
            return Ok(answer.into_body());
        }
        let status = answer.status();
        let body = answer
            .into_body()
            .collect()
            .await
            .map_err(|error| self.broken(&error))?;
        let body = body.to_bytes();
        let said = serde_json::from_slice::<Value>(&body).unwrap_or(Value::Null);
        Err(Error::Failed(match said["error"].as_str() {
            Some(reason) => reason.to_owned(),
            None => format!(
                "the master answered {status}: {}",
                String::from_utf8_lossy(&body)
            ),
        }))
    }

    fn absent(&self, error: &io::Error) -> Error {
        let socket = self.socket.display();
        let kind = error.kind();
        Error::Failed(
            if matches!(
                kind,
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) {
                let dir = self.socket.parent();
                match dir.and_then(Lock::holder) {
                    Some(pid) => format!(
                        "a master runs (process {pid}) and does not listen at {socket}: if its \
                         socket was removed it makes a new one within a second or two"
                    ),
                    None => format!(
                        "no master listens at {socket}: start one, or name its --runtime-dir or \
                         --config"
                    ),
                }
            } else if kind == io::ErrorKind::PermissionDenied {
                format!("{socket} {ANOTHERS}: run this as the master's user")
            } else {
                format!("{socket}: {error}")
            },
        )
    }

    fn broken(&self, error: &dyn std::fmt::Display) -> Error {
        Error::Failed(format!(
            "the master at {} broke off: {error}",
            self.socket.display()
        ))
    }
}

/// News as they come.
#[derive(Debug)]
pub struct Events {
    body: Incoming,
    buffer: BytesMut,
    /// The stream ended because nothing came.
    silent: bool,
}

impl Events {
    /// Why there are no more news, of the master.
    #[must_use]
    pub const fn end(&self) -> &'static str {
        if self.silent {
            "says nothing any more (it may be paused, or wait for its disk)"
        } else {
            "went away"
        }
    }

    /// The next piece of news; `None` when the master is gone, or says nothing for long.
    pub async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(end);
                self.buffer.advance(1);
                let data = line
                    .strip_prefix(b"data:")
                    .map(serde_json::from_slice::<Value>);
                if let Some(Ok(event)) = data {
                    return Some(event);
                }
                continue;
            }
            let Ok(frame) = timeout(SILENCE, self.body.frame()).await else {
                self.silent = true;
                return None;
            };
            let frame = frame?.ok()?;
            if let Some(data) = frame.data_ref() {
                self.buffer.extend_from_slice(data);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::UnixListener,
    };

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_master_that_answers_nothing_is_not_waited_for_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("admin.sock");
        let _listener = UnixListener::bind(&socket).unwrap();
        let client = Client::new(&socket);
        for said in [
            client.events().await.unwrap_err(),
            client.post("/v1/abort", Value::Null).await.unwrap_err(),
        ] {
            assert!(said.line().contains("did not answer within 15s"), "{said}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_falls_silent_ends() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("admin.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        tokio::spawn(async move {
            let (mut peer, _) = listener.accept().await.unwrap();
            let mut head = [0; 1024];
            let _ = peer.read(&mut head).await.unwrap();
            let answer = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: {}\n\n";
            peer.write_all(answer.as_bytes()).await.unwrap();
            std::future::pending::<()>().await;
        });
        let mut events = Client::new(&socket).events().await.unwrap();
        assert!(events.next().await.is_some());
        assert!(events.next().await.is_none());
        assert!(events.end().contains("says nothing"));
    }
}
