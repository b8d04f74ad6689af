//! What happens in the channels by itself: a seeded series of messages at a rate.

use std::{sync::Arc, time::Duration};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep_until};

use crate::{
    chat::{Happening, publish},
    error::Error,
    ledger::Kind,
    state::Shared,
};

/// Messages that are made up for at once when the generator woke late.
const CATCH_UP: u32 = 1000;
/// Viewers who speak.
const VIEWERS: u32 = 1000;

/// How much happens, and where.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Traffic {
    /// Events a second, in all channels together: 0 to 100,000.
    pub rate: f64,
    /// Only in the first so many channels; 0: in all.
    pub channels: u32,
    /// Of a thousand events, so many are no messages: subs, raids, and clearing.
    pub others: u32,
    /// Stops by itself after so many events; 0: never.
    pub count: u64,
}

impl Default for Traffic {
    fn default() -> Self {
        Self {
            rate: 0.0,
            channels: 0,
            others: 10,
            count: 0,
        }
    }
}

impl Traffic {
    /// Events of the usual mix.
    pub fn at_rate(rate: f64) -> Self {
        Self {
            rate,
            ..Self::default()
        }
    }

    /// Whether every value is in its range.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] says which is not.
    pub fn validate(&self) -> Result<(), Error> {
        if !(0.0..=100_000.0).contains(&self.rate) {
            return Err(Error::invalid("traffic.rate: 0 to 100000 a second"));
        }
        if self.others > 1000 {
            return Err(Error::invalid("traffic.others: 0 to 1000"));
        }
        Ok(())
    }
}

/// Makes events until the server stops. The seed decides what happens, the clock when.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut orders = shared.traffic.subscribe();
    let mut rng = ChaCha8Rng::seed_from_u64(shared.config.seed ^ 0x7472_6166);
    let stop = shared.stop.clone();
    loop {
        let traffic = orders.borrow_and_update().clone();
        let making = async {
            if traffic.rate > 0.0 {
                make(&shared, &traffic, &mut rng).await;
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = making => {}
            changed = orders.changed() => if changed.is_err() { return },
            () = stop.cancelled() => return,
        }
    }
}

async fn make(shared: &Shared, traffic: &Traffic, rng: &mut ChaCha8Rng) {
    let mut next = Instant::now();
    let mut made = 0;
    loop {
        next += gap(traffic.rate, rng);
        sleep_until(next).await;
        for _ in 0..CATCH_UP {
            event(shared, traffic, rng);
            made += 1;
            if made == traffic.count {
                return;
            }
            let then = next + gap(traffic.rate, rng);
            if then > Instant::now() {
                sleep_until(then).await;
            }
            next = then;
        }
        next = next.max(Instant::now());
    }
}

/// Time to the next event of a Poisson process.
fn gap(rate: f64, rng: &mut ChaCha8Rng) -> Duration {
    let unit: f64 = rng.random();
    Duration::from_secs_f64((-(1.0 - unit).ln() / rate).min(3600.0))
}

fn event(shared: &Shared, traffic: &Traffic, rng: &mut ChaCha8Rng) {
    let all = shared.config.channels;
    let channels = if traffic.channels == 0 {
        all
    } else {
        traffic.channels.min(all)
    };
    let channel = rng.random_range(0..channels) as usize;
    let viewer = rng.random_range(1..=VIEWERS);
    let kind = if rng.random_range(0..1000) < traffic.others {
        [Kind::Sub, Kind::Raid, Kind::ClearChat, Kind::ClearMsg][rng.random_range(0..4)]
    } else {
        Kind::Message
    };
    let word = rng.random::<u32>();
    let what = Happening {
        kind,
        channel,
        author: format!("viewer{viewer}"),
        text: format!("{kind:?} of viewer{viewer}: {word:08x}"),
        from: None,
    };
    publish(shared, &mut shared.state(), &what);
}
