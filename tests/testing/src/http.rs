//! A small HTTP client for control ports, over TCP or a unix socket.

use std::{path::PathBuf, time::Duration};

use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::Incoming,
    client::conn::http1::{self, SendRequest},
};
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
        let whole = async { self.open(path).await?.bytes(method, path, body).await };
        timeout(DEADLINE, whole)
            .await
            .map_err(|_| Error::silent(path))?
    }

    /// A connection that the other end has accepted: what is asked on it needs
    /// no file there.
    ///
    /// # Errors
    /// Nobody there, or no answer to a first request.
    pub async fn connect(&self) -> Result<Connection> {
        let path = "/v1/status";
        let mut connection = self.open(path).await?;
        let asked = connection.bytes(Method::GET, path, Bytes::new());
        timeout(DEADLINE, asked)
            .await
            .map_err(|_| Error::silent(path))??;
        Ok(connection)
    }

    async fn open(&self, path: &str) -> Result<Connection> {
        let refused = |error| Error::answer(path, error);
        match self {
            Self::Tcp(address) => {
                let socket = TcpStream::connect(address).await.map_err(refused)?;
                Connection::over(socket).await
            }
            Self::Unix(file) => {
                let socket = UnixStream::connect(file).await.map_err(refused)?;
                Connection::over(socket).await
            }
        }
        .map_err(|error| Error::answer(path, error))
    }

    async fn send(&self, method: Method, path: &str, body: Bytes) -> Result<Incoming> {
        self.open(path).await?.send(method, path, body).await
    }
}

/// A connection that is kept: one request after the other.
#[derive(Debug)]
pub struct Connection(SendRequest<Full<Bytes>>);

impl Connection {
    async fn over<S>(socket: S) -> hyper::Result<Self>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (sender, connection) = http1::handshake(TokioIo::new(socket)).await?;
        tokio::spawn(connection);
        Ok(Self(sender))
    }

    /// POST of JSON, the answer read as JSON.
    ///
    /// # Errors
    /// No answer, a status that is no success, or another form.
    pub async fn ask<T: DeserializeOwned>(
        &mut self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T> {
        let body = serde_json::to_vec(body).map_err(|error| Error::answer(path, error))?;
        let asked = self.bytes(Method::POST, path, body.into());
        let answer = timeout(DEADLINE, asked)
            .await
            .map_err(|_| Error::silent(path))??;
        serde_json::from_slice(&answer).map_err(|error| Error::answer(path, error))
    }

    /// Waits as long as it takes.
    async fn bytes(&mut self, method: Method, path: &str, body: Bytes) -> Result<Bytes> {
        let answer = self.send(method, path, body).await?.collect().await;
        let answer = answer.map_err(|error| Error::answer(path, error))?;
        Ok(answer.to_bytes())
    }

    async fn send(&mut self, method: Method, path: &str, body: Bytes) -> Result<Incoming> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "localhost")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|error| Error::answer(path, error))?;
        let answer = self.0.send_request(request).await;
        let answer = answer.map_err(|error| Error::answer(path, error))?;
        if answer.status().is_success() {
            return Ok(answer.into_body());
        }
        let status = answer.status();
        let body = answer.into_body().collect().await;
        let body = body.map_err(|error| Error::answer(path, error))?;
        let text = String::from_utf8_lossy(&body.to_bytes()).into_owned();
        Err(Error::answer(path, format!("{status}: {text}")))
    }
}
