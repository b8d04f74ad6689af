//! Answers over a real socket: cut, too long, or none.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;

/// A server that answers every request for a token, and whatever else with these bytes.
async fn server(rest: Vec<u8>) -> Helix {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let rest = rest.clone();
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.windows(4).any(|four| four == b"\r\n\r\n") {
                    if socket.read_buf(&mut head).await.unwrap_or(0) == 0 {
                        return;
                    }
                }
                let token = r#"{"access_token":"app-token","expires_in":5000}"#;
                let head = String::from_utf8_lossy(&head);
                let answer = match head.starts_with("POST /oauth2/token") {
                    true => format!(
                        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{token}",
                        token.len()
                    )
                    .into_bytes(),
                    false => rest,
                };
                let _ = socket.write_all(&answer).await;
                let _ = socket.shutdown().await;
                // What the client still says is read: so its end is no RST.
                let _ = tokio::io::copy(&mut socket, &mut tokio::io::sink()).await;
            });
        }
    });
    let config = Config::new("client", CLIENT_SECRET)
        .with_api(&format!("http://{address}/helix"))
        .with_oauth(&format!("http://{address}/oauth2"));
    Helix::new(config).unwrap()
}

#[tokio::test]
async fn an_answer_that_is_cut_or_no_http_may_be_done_and_is_not_sent_again() {
    for (what, rest) in [
        ("closed at once", ""),
        ("no HTTP", "hello\r\n\r\n"),
        ("a cut head", "HTTP/1.1 200 OK\r\ncontent-le"),
        (
            "a cut body",
            "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"data\":",
        ),
        (
            "a cut chunk",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n20\r\n{\"da",
        ),
    ] {
        let helix = server(rest.as_bytes().to_vec()).await;
        let error = helix.say("1", "2", "hello", None).await.unwrap_err();
        assert!(error.may_be_done(), "{what}: {error}");
        assert_eq!(helix.requests(), 1, "{what}");
        assert!(
            !format!("{error} {error:?}").contains("app-token"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn an_answer_above_the_limit_is_refused() {
    let body = "x".repeat(1024 * 1024 + 1);
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
    let helix = server(format!("{head}{body}").into_bytes()).await;
    let error = helix.conduits().await.unwrap_err();
    assert!(error.to_string().contains("limit"), "{error}");
}
