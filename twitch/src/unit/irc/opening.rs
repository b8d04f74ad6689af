//! How a unit comes to a connection, and to the next one where Twitch wants that.

use std::{pin::Pin, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};

use super::{Over, Unit, over, party::Party};
use crate::{
    irc::{Address, Connection, Error},
    name::Login,
    unit::transport::Channels,
};

/// Logging in takes no longer.
const DIAL: Duration = Duration::from_secs(15);

/// A connection that cannot be opened in another one's place is tried again after this time,
/// and then after twice as long each time.
const AGAIN: Duration = Duration::from_secs(3);
const LONGEST: Duration = Duration::from_secs(60);

/// One that lives for so long is no failed try.
const STEADY: Duration = Duration::from_secs(60);

/// Opens a connection of an account, or of none.
pub(super) type Opens =
    Arc<dyn Fn(Option<(Login, String)>) -> Opening<Result<Connection, Error>> + Send + Sync>;

/// Something that goes on while the connection is read.
pub(super) type Opening<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Connections there.
pub(super) fn at(address: Address) -> Opens {
    Arc::new(move |account| {
        let address = address.clone();
        Box::pin(async move {
            let account = account.as_ref();
            let account = account.map(|(login, token)| (login, token.as_str()));
            Connection::open(&address, account, DIAL).await
        })
    })
}

impl Unit {
    pub(super) async fn open(&self, channels: &Channels) -> Result<Party, Over> {
        self.opening(channels, Duration::ZERO)?.await
    }

    /// A connection for these channels, after a pause.
    pub(super) fn opening(
        &self,
        channels: &Channels,
        pause: Duration,
    ) -> Result<Opening<Result<Party, Over>>, Over> {
        let inner = &self.inner;
        let account = match &channels.account {
            None => None,
            Some(login) => {
                let none = || format!("there is no token of the account {login} here");
                let token = inner
                    .accounts
                    .get(login)
                    .ok_or_else(|| over(none(), true))?;
                Some((login.clone(), token.clone()))
            }
        };
        let (opens, office) = (Arc::clone(&inner.opens), inner.office.clone());
        let channels = channels.channels.clone();
        Ok(Box::pin(async move {
            sleep(pause).await;
            let opened = Party::open(&opens, account, &channels, &office).await;
            opened.map_err(|refused| over(refused.why, refused.is_final))
        }))
    }
}

/// The next connection, where Twitch wants one in another one's place.
#[derive(Default)]
pub(super) struct Renewal {
    opening: Option<Opening<Result<Party, Over>>>,
    failures: u32,
    since: Option<Instant>,
}

impl Renewal {
    /// It is opened at once. One that is being opened will do.
    pub(super) fn begins(
        &mut self,
        opens: impl Fn(Duration) -> Result<Opening<Result<Party, Over>>, Over>,
    ) -> Result<(), Over> {
        if self.opening.is_none() {
            self.opening = Some(opens(Duration::ZERO)?);
        }
        Ok(())
    }

    /// It could not be opened, or ended: another one is tried after a pause.
    pub(super) fn fails(
        &mut self,
        opens: impl Fn(Duration) -> Result<Opening<Result<Party, Over>>, Over>,
    ) -> Result<(), Over> {
        if self.since.is_some_and(|since| since.elapsed() > STEADY) {
            self.failures = 0;
        }
        let pause = AGAIN.saturating_mul(2_u32.saturating_pow(self.failures.min(16)));
        self.failures = self.failures.saturating_add(1);
        self.opening = Some(opens(pause.min(LONGEST))?);
        Ok(())
    }

    /// It is open, or could not be opened. Survives being cancelled.
    pub(super) async fn opened(&mut self) -> Result<Party, Over> {
        let Some(opening) = &mut self.opening else {
            return std::future::pending().await;
        };
        let opened = opening.await;
        self.opening = None;
        if opened.is_ok() {
            self.since = Some(Instant::now());
        }
        opened
    }
}
