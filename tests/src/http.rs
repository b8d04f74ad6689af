//! A small HTTP client for control ports, over TCP or a unix socket.

use std::{path::PathBuf, time::Duration};

use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    time::timeout,
};

use crate::error::{Error, Result};

/// Longest wait for an answer.
const DEADLINE: Duration = Duration::from_secs(30);

/// Where a control port listens.
#[derive(Clone, Debug)]
pub enum Endpoint {
    /// `127.0.0.1:PORT`.
    Tcp(String),
    /// A socket file.
    Unix(PathBuf),
}

impl Endpoint {
    /// Reads `http://HOST:PORT` or `unix:PATH`.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text.strip_prefix("unix:") {
            Some(path) => Self::Unix(PathBuf::from(path)),
            None => {
                let text = text.strip_prefix("http://").unwrap_or(text);
                Self::Tcp(text.trim_end_matches('/').to_owned())
            }
        }
    }

    /// GET, the body read as JSON.
    ///
    /// # Errors
    /// No answer, a status that is no success, or another form.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let body = self.bytes(Method::GET, path, Bytes::new()).await?;
        serde_json::from_slice(&body).map_err(|error| Error::answer(path, error))
    }

    /// GET, the body as it is.
    ///
    /// # Errors
    /// No answer, or a status that is no success.
    pub async fn get_bytes(&self, path: &str) -> Result<Bytes> {
        self.bytes(Method::GET, path, Bytes::new()).await
    }

    /// POST of JSON; the answer's body is dropped.
    ///
    /// # Errors
    /// No answer, or a status that is no success.
    pub async fn post(&self, path: &str, body: &impl Serialize) -> Result<()> {
        let body = serde_json::to_vec(body).map_err(|error| Error::answer(path, error))?;
        self.bytes(Method::POST, path, body.into()).await.map(drop)
    }

    /// POST of JSON, the answer read as JSON.
    ///
    /// # Errors
    /// No answer, a status that is no success, or another form.
    pub async fn ask<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T> {
        let body = serde_json::to_vec(body).map_err(|error| Error::answer(path, error))?;
        let answer = self.bytes(Method::POST, path, body.into()).await?;
        serde_json::from_slice(&answer).map_err(|error| Error::answer(path, error))
    }

    /// DELETE; the answer's body is dropped.
    ///
    /// # Errors
    /// No answer, or a status that is no success.
    pub async fn delete(&self, path: &str) -> Result<()> {
        self.bytes(Method::DELETE, path, Bytes::new())
            .await
            .map(drop)
    }

    /// Opens a stream of an answer's body.
    ///
    /// # Errors
    /// No answer, or a status that is no success.
    pub async fn stream(&self, path: &str) -> Result<Incoming> {
        timeout(DEADLINE, self.send(Method::GET, path, Bytes::new()))
            .await
            .map_err(|_| Error::silent(path))?
    }

    async fn bytes(&self, method: Method, path: &str, body: Bytes) -> Result<Bytes> {
        let whole = async {
            let body = self.send(method, path, body).await?;
            let body = body
                .collect()
                .await
                .map_err(|error| Error::answer(path, error))?;
            Ok(body.to_bytes())
        };
        timeout(DEADLINE, whole)
            .await
            .map_err(|_| Error::silent(path))?
    }

    async fn send(&self, method: Method, path: &str, body: Bytes) -> Result<Incoming> {
        match self {
            Self::Tcp(address) => {
                let socket = TcpStream::connect(address).await;
                exchange(
                    socket.map_err(|e| Error::answer(path, e))?,
                    method,
                    path,
                    body,
                )
                .await
            }
            Self::Unix(file) => {
                let socket = UnixStream::connect(file).await;
                exchange(
                    socket.map_err(|e| Error::answer(path, e))?,
                    method,
                    path,
                    body,
                )
                .await
            }
        }
    }
}

async fn exchange<S>(socket: S, method: Method, path: &str, body: Bytes) -> Result<Incoming>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let failed = |error: &dyn std::fmt::Display| Error::Answer {
        what: path.to_owned(),
        detail: error.to_string(),
    };
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket))
        .await
        .map_err(|error| failed(&error))?;
    tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, "localhost")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(body))
        .map_err(|error| failed(&error))?;
    let answer = sender
        .send_request(request)
        .await
        .map_err(|error| failed(&error))?;
    if answer.status().is_success() {
        return Ok(answer.into_body());
    }
    let status = answer.status();
    let body = answer
        .into_body()
        .collect()
        .await
        .map_err(|error| failed(&error))?;
    let text = String::from_utf8_lossy(&body.to_bytes()).into_owned();
    Err(failed(&format!("{status}: {text}")))
}
