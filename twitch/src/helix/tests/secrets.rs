//! Nothing confidential is logged, at any level, by what asks Twitch.

use std::io::Write;

use tracing_subscriber::fmt::MakeWriter;
use twitch_mock::Config as MockConfig;

use super::*;

/// What is logged on this thread while it lives.
#[derive(Clone, Default)]
pub(crate) struct Logged(Arc<Mutex<Vec<u8>>>);

impl Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Logged {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

impl Logged {
    /// All that is logged on this thread, by whatever library.
    pub(crate) fn begin() -> (Self, tracing::subscriber::DefaultGuard) {
        let logged = Self::default();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_writer(logged.clone())
            .finish();
        let guard = tracing::subscriber::set_default(subscriber);
        tracing::trace!("it is heard");
        (logged, guard)
    }

    /// Neither of these is in it.
    pub(crate) fn has_none_of(&self, secrets: &[&str]) {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        assert!(text.contains("it is heard"), "nothing is logged");
        for secret in secrets {
            assert!(!text.contains(secret), "{secret} is logged: {text}");
        }
    }
}

#[tokio::test]
async fn no_token_secret_or_code_is_logged_by_any_request_or_shown_by_any_value() {
    let (logged, _guard) = Logged::begin();
    let twitch = Twitch::start(MockConfig::default()).await.unwrap();
    let at = twitch.addresses().unwrap().clone();
    let config = Config::new("client", CLIENT_SECRET)
        .with_api(&at.helix)
        .with_oauth(&at.oauth);
    let helix = Helix::new(config.clone()).unwrap();
    let conduit = helix.create_conduit(1).await.unwrap();
    let _ = helix.assign(&conduit.id, &[(0, "no-session")]).await;
    let _ = helix.say("100001", "100002", "words of a chat", None).await;
    let _ = helix.granted("code-channel1", "http://localhost/").await;
    let bearer = helix.0.tokens.get(&helix.0.http, None).await.unwrap();
    let header = bearer.header();
    let token = header.to_str().unwrap().trim_start_matches("Bearer ");
    let shown = format!("{helix:?} {config:?} {bearer:?} {header:?}");
    let encoded = super::super::request::encoded(CLIENT_SECRET);
    let secrets = [
        token,
        CLIENT_SECRET,
        &encoded,
        "code-channel1",
        "words of a chat",
    ];
    for secret in secrets {
        assert!(!shown.contains(secret), "{secret}: {shown}");
    }
    logged.has_none_of(&secrets);
    twitch.shutdown().await;
}
