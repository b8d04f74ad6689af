//! Lines over sockets that cut, hold back, hang and break.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::ReadBuf,
    time::{Duration, timeout},
};

use super::*;

#[tokio::test]
async fn a_line_that_comes_in_pieces_is_one_line_and_two_in_one_piece_are_two() {
    let (mut twitch, socket) = tokio::io::duplex(1024);
    let mut wire = Wire::new(socket);
    for piece in ["PI", "NG :a\r", "\nPING :b\r\nPING", " :c\n"] {
        twitch.write_all(piece.as_bytes()).await.unwrap();
    }
    for line in ["PING :a", "PING :b", "PING :c"] {
        assert_eq!(wire.line().await.unwrap(), line);
    }
}

#[tokio::test]
async fn a_line_without_end_is_an_error_and_no_memory() {
    let (mut twitch, socket) = tokio::io::duplex(4 * LONGEST);
    let mut wire = Wire::new(socket);
    twitch.write_all(&vec![b'x'; 2 * LONGEST]).await.unwrap();
    assert!(wire.line().await.is_err());
}

#[tokio::test]
async fn what_is_said_is_written_while_a_line_is_waited_for() {
    let (mut twitch, socket) = tokio::io::duplex(1024);
    let mut wire = Wire::new(socket);
    assert!(wire.say("JOIN #one"));
    let waits = tokio::spawn(async move { wire.line().await });
    let mut said = [0; 11];
    twitch.read_exact(&mut said).await.unwrap();
    assert_eq!(&said, b"JOIN #one\r\n");
    twitch.write_all(b"ok\r\n").await.unwrap();
    assert_eq!(waits.await.unwrap().unwrap(), "ok");
}

/// A socket that takes a few bytes at a time and holds them back until it is flushed, as one of
/// TLS does; or that takes none any more.
struct Odd {
    socket: tokio::io::DuplexStream,
    held: Vec<u8>,
    /// What a write comes to.
    writes: io::Result<usize>,
    asked: u32,
}

impl AsyncRead for Odd {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(context, buffer)
    }
}

impl AsyncWrite for Odd {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.asked += 1;
        assert!(self.asked < 10_000, "it is asked again and again");
        let most = match &self.writes {
            Ok(most) => (*most).min(bytes.len()),
            Err(error) => return Poll::Ready(Err(error.kind().into())),
        };
        self.held.extend_from_slice(&bytes[..most]);
        Poll::Ready(Ok(most))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.held.is_empty() {
            let this = &mut *self;
            match Pin::new(&mut this.socket).poll_write(context, &this.held) {
                Poll::Ready(Ok(written)) => drop(this.held.drain(..written)),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

fn odd(room: usize, writes: io::Result<usize>) -> (tokio::io::DuplexStream, Wire) {
    let (twitch, socket) = tokio::io::duplex(room);
    let held = Vec::new();
    let odd = Odd {
        socket,
        held,
        writes,
        asked: 0,
    };
    (twitch, Wire::new(odd))
}

/// Whoever waits for a line or for a flush is cancelled at any moment, again and again.
#[tokio::test(start_paused = true)]
async fn lines_whose_write_and_flush_are_cancelled_at_any_moment_come_whole_once_and_in_order() {
    let (mut twitch, mut wire) = odd(5, Ok(3));
    let lines: Vec<String> = (0..50).map(|n| format!("PRIVMSG #one :line {n}")).collect();
    let wanted: usize = lines.iter().map(|line| line.len() + 2).sum();
    let reads = tokio::spawn(async move {
        let mut text = vec![0; wanted];
        twitch.read_exact(&mut text).await.unwrap();
        (twitch, String::from_utf8(text).unwrap())
    });
    for (number, line) in lines.iter().enumerate() {
        assert!(wire.say(line));
        match number % 2 {
            0 => drop(timeout(Duration::ZERO, wire.flush()).await),
            _ => drop(timeout(Duration::ZERO, wire.line()).await),
        }
        tokio::task::yield_now().await;
    }
    wire.flush().await.unwrap();
    let (_twitch, text) = reads.await.unwrap();
    assert_eq!(text.lines().collect::<Vec<_>>(), lines);
}

#[tokio::test(start_paused = true)]
async fn what_a_socket_holds_back_is_flushed_while_a_line_is_waited_for() {
    let (mut twitch, mut wire) = odd(1024, Ok(1024));
    assert!(wire.say("JOIN #one"));
    assert!(timeout(Duration::from_secs(1), wire.line()).await.is_err());
    let mut said = [0; 11];
    let read = timeout(Duration::from_secs(1), twitch.read_exact(&mut said));
    read.await.unwrap().unwrap();
    assert_eq!(&said, b"JOIN #one\r\n");
}

#[tokio::test(start_paused = true)]
async fn what_was_said_before_a_connection_broke_is_read_to_its_end() {
    let broken = || Err(io::ErrorKind::BrokenPipe.into());
    for _ in 0..20 {
        let (mut twitch, mut wire) = odd(1024, broken());
        twitch.write_all(b"one\r\ntwo\r\n").await.unwrap();
        drop(twitch);
        assert!(wire.say("PONG :x"));
        assert_eq!(wire.line().await.unwrap(), "one");
        assert_eq!(wire.line().await.unwrap(), "two");
        let kind = wire.line().await.unwrap_err().kind();
        assert!(matches!(
            kind,
            io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof
        ));
    }
    let (_twitch, mut wire) = odd(1024, broken());
    assert!(wire.say("PRIVMSG #one :hello"));
    assert!(timeout(Duration::from_secs(1), wire.line()).await.is_err());
    assert!(wire.flush().await.is_err(), "nothing is taken for written");
}

#[tokio::test(start_paused = true)]
async fn a_socket_that_takes_no_byte_is_broken_and_no_endless_loop() {
    let (_twitch, mut wire) = odd(1024, Ok(0));
    assert!(wire.say("PONG :x"));
    assert!(timeout(Duration::from_secs(1), wire.line()).await.is_err());
    assert!(wire.flush().await.is_err());
}

#[tokio::test(start_paused = true)]
async fn what_waits_to_be_written_is_bounded() {
    let (_twitch, socket) = tokio::io::duplex(1);
    let mut wire = Wire::new(socket);
    let line = "x".repeat(1000);
    let fitted = (0..1000).take_while(|_| wire.say(&line)).count();
    assert!((60..70).contains(&fitted), "{fitted}");
}
