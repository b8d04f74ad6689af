//! Lines over a socket, both ways.
//!
//! TCP cuts where it likes: what is behind the last line end waits for its rest.

use std::io;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// A longer line ends the connection. Twitch documents 8,191 bytes of tags and 512 more.
const LONGEST: usize = 16 * 1024;

/// So much may wait to be written: the joins of a unit are 3 KiB.
const MOST_OUT: usize = 64 * 1024;

/// What a connection is made of.
pub(super) trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Socket for S {}

/// See the module.
pub(super) struct Wire {
    socket: Box<dyn Socket>,
    read: BytesMut,
    write: BytesMut,
    /// Whether the socket may hold back something of what was written.
    is_unflushed: bool,
    /// Why nothing can be written any more. What Twitch said before is still to be read.
    broken: Option<io::Error>,
}

impl Wire {
    pub(super) fn new(socket: impl Socket + 'static) -> Self {
        Self {
            socket: Box::new(socket),
            read: BytesMut::with_capacity(8 * 1024),
            write: BytesMut::new(),
            is_unflushed: false,
            broken: None,
        }
    }

    /// Has a line written. `false`: too much waits.
    pub(super) fn say(&mut self, line: &str) -> bool {
        debug_assert!(!line.contains(['\r', '\n']), "one line");
        let fits = self.write.len() + line.len() < MOST_OUT;
        if fits {
            self.write.extend_from_slice(line.as_bytes());
            self.write.extend_from_slice(b"\r\n");
        }
        fits
    }

    /// Writes what waits: the kernel has it. Cancelled, the rest waits.
    ///
    /// # Errors
    /// The socket's: nobody knows what of it arrives.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        if let Some(broken) = &self.broken {
            return Err(broken.kind().into());
        }
        while !self.write.is_empty() {
            let written = self.socket.write(&self.write).await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.write.advance(written);
            self.is_unflushed = true;
        }
        self.socket.flush().await?;
        self.is_unflushed = false;
        Ok(())
    }

    /// The next line, while what waits is written. Survives being cancelled.
    ///
    /// # Errors
    /// The socket's; a line that is too long; the end.
    pub(super) async fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(line) = self.taken() {
                return Ok(line);
            }
            if self.read.len() > LONGEST {
                let why = format!("a line of more than {LONGEST} bytes");
                return Err(io::Error::new(io::ErrorKind::InvalidData, why));
            }
            let (mut reader, mut writer) = tokio::io::split(&mut self.socket);
            let writes = !self.write.is_empty() || self.is_unflushed;
            tokio::select! {
                read = reader.read_buf(&mut self.read) => {
                    if read? == 0 {
                        let end = || io::ErrorKind::UnexpectedEof.into();
                        return Err(self.broken.take().unwrap_or_else(end));
                    }
                }
                written = writes_on(&mut writer, &self.write), if writes && self.broken.is_none() => {
                    match written {
                        Ok(Some(written)) => {
                            self.write.advance(written);
                            self.is_unflushed = true;
                        }
                        Ok(None) => self.is_unflushed = false,
                        Err(error) => self.broken = Some(error),
                    }
                }
            }
        }
    }

    /// A line that is whole. What is no UTF-8 in it is replaced.
    fn taken(&mut self) -> Option<String> {
        let end = self.read.iter().position(|byte| *byte == b'\n')?;
        let line = self.read.split_to(end + 1);
        let line = String::from_utf8_lossy(&line);
        Some(line.trim_end_matches(['\r', '\n']).to_owned())
    }
}

/// Writes a part of what waits, or flushes where nothing does. A step of its own: cancelled, it
/// is done the next time.
async fn writes_on(
    writer: &mut (impl AsyncWrite + Unpin),
    waits: &[u8],
) -> io::Result<Option<usize>> {
    match waits.is_empty() {
        true => writer.flush().await.map(|()| None),
        false => match writer.write(waits).await? {
            0 => Err(io::ErrorKind::WriteZero.into()),
            written => Ok(Some(written)),
        },
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
