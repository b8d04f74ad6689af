//! A schedule that one process of the fleet runs, through deploys and crashes: it goes on
//! where the process before stopped.

use std::{
    sync::{Mutex, PoisonError, mpsc},
    thread::{self, JoinHandle},
    time::Duration,
};

use baton_slave::{Error, Slave, SlaveConfig, Work, from_fn};
use bytes::Bytes;

/// Counts the minutes in which this bot ran, whichever process it was.
#[derive(Default)]
struct Minutes {
    runs: Mutex<Option<(mpsc::SyncSender<()>, JoinHandle<u64>)>>,
}

impl Work for Minutes {
    fn start(&self, ticket: Option<Bytes>) {
        let before = ticket.as_deref().and_then(|ticket| ticket.try_into().ok());
        let mut minutes = before.map_or(0, u64::from_be_bytes);
        let (stop, stopped) = mpsc::sync_channel::<()>(1);
        let thread = thread::spawn(move || {
            let tick = Duration::from_secs(60);
            while stopped.recv_timeout(tick) == Err(mpsc::RecvTimeoutError::Timeout) {
                minutes += 1;
                tracing::info!(minutes, "on duty");
            }
            minutes
        });
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        *runs = Some((stop, thread));
    }

    // The next process begins when this has returned: so nothing runs any more then.
    fn stop(&self) -> Bytes {
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((stop, thread)) = runs.take() else {
            return Bytes::new();
        };
        drop(stop);
        let minutes = thread.join().unwrap_or(0);
        Bytes::copy_from_slice(&minutes.to_be_bytes())
    }
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let _log = baton_slave::log::start();
    let bot = from_fn(async |_event, _shard| {});
    let work = Minutes::default();
    let config = SlaveConfig::from_env()?;
    Slave::builder(bot).work(work).config(config).run().await
}
