//! How long something is waited for that comes.
//!
//! Such a limit is there for what never comes; it says nothing of how quick the code is. So
//! on a host that does other work too it is longer, by as much as that work takes away, and
//! it is looked at when the limit passes: the host may have become busy since.

use std::{
    pin::pin,
    thread::available_parallelism,
    time::{Duration, Instant},
};

use tokio::{
    task::spawn_blocking,
    time::{Instant as Wake, sleep_until},
};

use super::busy;
use crate::error::{Error, Result};

/// At most so much are limits stretched.
const MOST: f64 = 16.0;

/// For what is bounded by a [`Patience`] around it.
pub(super) const BOUNDED: Duration = Duration::from_secs(3600);

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Patience {
    began: Instant,
    limit: Duration,
    until: Instant,
}

impl Patience {
    /// Begins now, and lasts so long on an idle host.
    pub(super) fn of(limit: Duration) -> Self {
        let began = Instant::now();
        let until = began + limit;
        Self {
            began,
            limit,
            until,
        }
    }

    /// Whether it is at an end.
    pub(super) async fn is_over(&mut self) -> bool {
        if Instant::now() < self.until {
            return false;
        }
        let busy = spawn_blocking(busy_now).await.unwrap_or(1.0);
        self.until = self.began + self.limit.mul_f64(busy);
        Instant::now() >= self.until
    }

    /// Waits for `wanted`.
    ///
    /// # Errors
    /// [`Error::Late`] with `late`: it did not come.
    pub(super) async fn wait<T>(
        mut self,
        late: impl FnOnce() -> String,
        wanted: impl Future<Output = T>,
    ) -> Result<T> {
        let mut wanted = pin!(wanted);
        loop {
            tokio::select! {
                biased;
                came = &mut wanted => return Ok(came),
                () = sleep_until(Wake::from_std(self.until)) => {
                    if self.is_over().await {
                        return Err(Error::Late(late()));
                    }
                }
            }
        }
    }
}

/// How much longer something takes than on an idle host, now and in the last minute.
/// Blocks.
fn busy_now() -> f64 {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let cores = available_parallelism().map_or(1.0, |cores| cores.get() as f64);
    longer(busy::now(), of_last_minute(&load) / cores)
}

fn longer(now: f64, of_last_minute: f64) -> f64 {
    now.max(of_last_minute).clamp(1.0, MOST)
}

/// How many processes wanted a processor; zero: not known.
fn of_last_minute(load: &str) -> f64 {
    let first = load.split(' ').next();
    first.and_then(|load| load.parse().ok()).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busiest_that_the_host_was_counts_within_bounds() {
        assert_eq!(of_last_minute("18.07 9.64 5.74 3/900 123\n"), 18.07);
        assert_eq!(of_last_minute(""), 0.0);
        assert_eq!(longer(0.9, 0.0), 1.0);
        assert_eq!(longer(3.0, 9.0), 9.0);
        assert_eq!(longer(300.0, 9.0), MOST);
    }

    #[tokio::test]
    async fn what_comes_is_had_and_what_never_comes_is_not_waited_for_for_ever() {
        let comes = Patience::of(Duration::from_secs(60)).wait(String::new, async { 7 });
        assert_eq!(comes.await.ok(), Some(7));
        let never = Patience::of(Duration::from_millis(1));
        let never = never.wait(|| "it".to_owned(), std::future::pending::<()>());
        assert!(never.await.is_err_and(|error| error.chain().contains("it")));
    }
}
