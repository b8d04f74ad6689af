//! Notices by webhook, sent one after the other beside everything else.

use std::{
    fmt, fs,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};

use crate::{
    helix::Helix,
    notices::{Kind, NotSent, Notices, Webhook, post},
};

/// It is looked so often whether one that failed is due again.
const LOOK: Duration = Duration::from_secs(5);

/// Where notices go. Clones are the same.
#[derive(Clone)]
pub struct Hook {
    helix: Helix,
    url: Arc<str>,
    name: Arc<str>,
}

impl Hook {
    /// The address stands in this file: whoever knows it can write there.
    ///
    /// # Errors
    /// It cannot be read, or has no address with TLS.
    pub fn read(file: &Path, name: &str, helix: Helix) -> Result<Self, String> {
        let text = fs::read_to_string(file).map_err(|error| error.to_string())?;
        let url = text.trim();
        let is_here = url.starts_with("http://127.0.0.1:");
        if !url.starts_with("https://") && !is_here {
            return Err("it has no address that begins with https://".to_owned());
        }
        Ok(Self {
            helix,
            url: url.into(),
            name: name.into(),
        })
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hook(..)")
    }
}

impl Webhook for Hook {
    async fn post(&self, body: String) -> Result<(), NotSent> {
        match self.helix.post_to(&self.url, body).await {
            Ok(200..300) => Ok(()),
            Ok(status @ (408 | 429)) => {
                tracing::debug!(status, "the webhook asks for patience");
                Err(NotSent::Unavailable)
            }
            Ok(status @ 400..500) => Err(NotSent::Refused(status)),
            Ok(_) | Err(_) => Err(NotSent::Unavailable),
        }
    }
}

/// What there is to tell. Clones are the same.
#[derive(Clone)]
pub(super) struct Tidings {
    notices: Arc<Mutex<Notices>>,
    hook: Option<Hook>,
    noted: Arc<Notify>,
}

impl Tidings {
    pub(super) fn new(hook: Option<Hook>) -> Self {
        let name = hook
            .as_ref()
            .map_or_else(|| Arc::from(""), |hook| Arc::clone(&hook.name));
        Self {
            notices: Arc::new(Mutex::new(Notices::new(&name))),
            hook,
            noted: Arc::default(),
        }
    }

    fn with<T>(&self, work: impl FnOnce(&mut Notices) -> T) -> T {
        work(&mut self.notices.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn note(&self, kind: Kind, what: &str) {
        if self.hook.is_some() {
            self.with(|notices| notices.note(kind, what, Instant::now()));
            self.noted.notify_one();
        }
    }

    /// Sends what there is, for ever.
    pub(super) async fn run(self) {
        let Some(hook) = self.hook.clone() else {
            return;
        };
        loop {
            while let Some(body) = self.with(|notices| notices.next(Instant::now())) {
                let sent = post(&hook, body).await;
                if let Err(error) = sent {
                    tracing::warn!(%error, "a notice was not sent");
                }
                self.with(|notices| notices.ended(sent, Instant::now()));
            }
            tokio::select! {
                () = self.noted.notified() => {}
                () = sleep(LOOK) => {}
            }
        }
    }
}
