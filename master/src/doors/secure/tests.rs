#![allow(clippy::unwrap_used)]

use baton_protocol::{Connection, auth::Secret, handshake};
use tokio::{net::TcpListener, sync::mpsc, time::Instant};

use super::*;
use crate::{certs::testing::Issuer, doors::Places, peer::hello_for_test};

fn held() -> Arc<Held> {
    let dir = Issuer::new().folder("baton://f/master/home");
    Arc::new(Held::read(dir.path()).unwrap())
}

/// A master with this certificate, which somebody dials from there.
async fn dialled(held: Option<Arc<Held>>, from: &str) -> (Arc<Context>, TcpStream) {
    let (notices, _) = mpsc::channel(8);
    let context = Context {
        secure: Secure::new(held),
        ..Context::for_test(Secret::random().unwrap(), notices)
    };
    let context = Arc::new(context);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dial = TcpStream::connect(listener.local_addr().unwrap());
    let (client, taken) = tokio::join!(dial, listener.accept());
    let place = Places::new(1).take().0.unwrap();
    let serving = serve(
        Arc::clone(&context),
        taken.unwrap().0,
        from.parse().unwrap(),
        place,
    );
    tokio::spawn(serving);
    (context, client.unwrap())
}

/// Whether a hello in clear is answered by a welcome.
async fn is_welcome(socket: TcpStream) -> bool {
    let mut connection = Connection::new(socket);
    let hello = handshake::ToMaster::Hello {
        running: false,
        hello: Box::new(hello_for_test(1)),
    };
    let said = connection.send(&hello.to_frame()).await;
    said.is_ok() && matches!(connection.recv().await, Ok(Some(_)))
}

#[tokio::test]
async fn in_clear_only_this_host_is_heard_with_a_certificate_and_without() {
    for (held, from, welcome) in [
        (Some(held()), "127.0.0.1:7", true),
        (Some(held()), "[::ffff:127.0.0.1]:7", true),
        (Some(held()), "10.0.0.5:7", false),
        (Some(held()), "[2001:db8::1]:7", false),
        (None, "127.0.0.1:7", true),
        (None, "10.0.0.5:7", false),
    ] {
        let what = format!("{} {from}", held.is_some());
        let (context, socket) = dialled(held, from).await;
        assert_eq!(is_welcome(socket).await, welcome, "{what}");
        let untrusted = context.counters.read().untrusted;
        assert_eq!(untrusted, u64::from(!welcome), "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_byte_now_and_then_or_none_is_no_handshake() {
    for bytes in [&[][..], &[tls::FIRST_BYTE], &[tls::FIRST_BYTE, 3, 1]] {
        let (context, mut socket) = dialled(Some(held()), "10.0.0.5:7").await;
        let began = Instant::now();
        socket.write_all(bytes).await.unwrap();
        // Closed, perhaps with bytes in it that nobody read.
        let _ = socket.read(&mut [0; 16]).await;
        assert!(began.elapsed() <= DEADLINE, "{bytes:?}");
        assert_eq!(context.counters.read().untrusted, 1, "{bytes:?}");
    }
    let (context, socket) = dialled(Some(held()), "10.0.0.5:7").await;
    drop(socket);
    tokio::time::sleep(DEADLINE).await;
    assert_eq!(context.counters.read().untrusted, 0, "it only looked");
}
