//! The hosts of the gateway, as far as they refuse: which of them asked to be left alone, and
//! until when. All shards of the process keep to it.
//!
//! ```text
//!   open ──refusal──▶ one shard asks why ──no wait named──▶ open
//!    ▲                      └──429, or a wait is named──▶ left alone
//!    └──────────────────── its time is over ──────────────────┘
//! ```

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use http::Uri;
use tokio::time::Instant;

use super::refusal::{Question, Refusal};

/// Hosts that are remembered; Discord has a handful.
const MOST_HOSTS: usize = 64;

/// What a host said is not asked again for so long: it may be busy with answering.
const FRESH: Duration = Duration::from_secs(30);

/// How long a host is left alone that says 429 and names no time; it doubles ...
const UNNAMED: Duration = Duration::from_secs(5);

/// ... up to this. A session does not outlive it by much.
const LONGEST_UNNAMED: Duration = Duration::from_secs(60);

/// Asked too often.
const TOO_MANY_REQUESTS: u16 = 429;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    question: Question,
    known: Mutex<BTreeMap<Arc<str>, Arc<Host>>>,
}

#[derive(Debug, Default)]
struct Host {
    /// One shard asks, the others wait for what it hears.
    asks: tokio::sync::Mutex<()>,
    last: Mutex<Last>,
}

#[derive(Debug, Default)]
struct Last {
    refusal: Option<Refusal>,
    at: Option<Instant>,
    until: Option<Instant>,
    /// 429s in a row that named no time.
    unnamed: u32,
}

/// A host that is not to be dialled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Paused {
    /// Until then.
    pub(crate) until: Instant,
    /// For a person.
    pub(crate) why: String,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Host and port of a URL.
fn name(url: &Uri) -> Arc<str> {
    url.authority().map_or("", |name| name.as_str()).into()
}

impl Hosts {
    /// Whether the host of this URL is to be left alone.
    pub(super) fn paused(&self, url: &Uri) -> Option<Paused> {
        let host = lock(&self.known).get(&name(url)).cloned()?;
        let last = lock(&host.last);
        let until = last.until.filter(|until| *until > Instant::now())?;
        let why = last.refusal.as_ref()?.to_string();
        Some(Paused { until, why })
    }

    /// A host answered a dial with this status, and opened no websocket: what it says.
    pub(super) async fn refused(&self, url: Uri, status: u16) -> Refusal {
        let name = name(&url);
        let host = self.host(&name);
        let since = Instant::now();
        let _one = host.asks.lock().await;
        if let Some(known) = lock(&host.last).answers(status, since) {
            return known;
        }
        let mut refusal = Refusal {
            host: name,
            status,
            wait: None,
            shown: String::new(),
        };
        match self.question.ask(&url).await {
            // By now it opens one.
            Ok(answer) if answer.status < 200 => {}
            Ok(answer) => {
                refusal.status = answer.status;
                refusal.wait = answer.wait;
                refusal.shown = answer.shown;
            }
            Err(error) => tracing::debug!(%error, "a host that refuses does not say why"),
        }
        let refusal = lock(&host.last).takes(refusal);
        tracing::warn!(answer = %refusal, "no websocket");
        refusal
    }

    fn host(&self, name: &Arc<str>) -> Arc<Host> {
        let mut known = lock(&self.known);
        if known.len() >= MOST_HOSTS && !known.contains_key(name) {
            let now = Instant::now();
            known.retain(|_, host| lock(&host.last).until.is_some_and(|until| until > now));
            // Not even then: one of them is asked again too soon.
            if known.len() >= MOST_HOSTS {
                known.pop_first();
            }
        }
        Arc::clone(known.entry(Arc::clone(name)).or_default())
    }
}

impl Last {
    /// What it says to a shard that it refused then: what was heard since, be it another
    /// answer, or what it would say again.
    fn answers(&self, status: u16, since: Instant) -> Option<Refusal> {
        let is_new = self.at.is_some_and(|at| at >= since);
        let heard = self.refusal.clone().filter(|_| is_new);
        heard.or_else(|| self.still_says(status))
    }

    /// What it said, if it would say the same again.
    fn still_says(&self, status: u16) -> Option<Refusal> {
        let now = Instant::now();
        let is_fresh = match self.until {
            Some(until) => now < until,
            None => self.at.is_some_and(|at| now < at + FRESH),
        };
        let said = self.refusal.as_ref()?;
        (is_fresh && said.status == status).then(|| said.clone())
    }

    /// It said this now.
    fn takes(&mut self, mut refusal: Refusal) -> Refusal {
        let now = Instant::now();
        let limited = refusal.status == TOO_MANY_REQUESTS;
        if limited && refusal.wait.is_none() {
            // One that came long after the last pause was over begins anew.
            let goes_on = self
                .until
                .is_some_and(|until| now < until + LONGEST_UNNAMED);
            self.unnamed = if goes_on {
                self.unnamed.saturating_add(1)
            } else {
                0
            };
            let doubled = UNNAMED.saturating_mul(2_u32.saturating_pow(self.unnamed.min(16)));
            refusal.wait = Some(doubled.min(LONGEST_UNNAMED));
        }
        debug_assert!(!limited || refusal.wait.is_some(), "a limit is kept to");
        self.at = Some(now);
        self.until = refusal.wait.map(|wait| now + wait);
        self.refusal = Some(refusal.clone());
        refusal
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
        task::JoinSet,
        time::advance,
    };

    use super::*;

    fn refusal(status: u16, wait: Option<Duration>) -> Refusal {
        Refusal {
            host: "h".into(),
            status,
            wait,
            shown: String::new(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_429_that_names_no_time_is_left_alone_for_longer_each_time_up_to_a_minute() {
        let mut last = Last::default();
        let mut waits = Vec::new();
        for _ in 0..6 {
            let wait = last.takes(refusal(429, None)).wait.unwrap();
            advance(wait).await;
            waits.push(wait.as_secs());
        }
        assert_eq!(waits, [5, 10, 20, 40, 60, 60]);
        advance(2 * LONGEST_UNNAMED).await;
        let anew = last.takes(refusal(429, None));
        assert_eq!(anew.wait, Some(UNNAMED), "that was another one");
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_host_said_stands_as_long_as_it_asked_for_and_else_for_half_a_minute() {
        let mut last = Last::default();
        let minute = Duration::from_secs(60);
        last.takes(refusal(429, Some(2 * minute)));
        advance(minute).await;
        assert!(last.still_says(429).is_some());
        assert!(last.still_says(403).is_none(), "another answer");
        advance(minute).await;
        assert!(last.still_says(429).is_none());
        last.takes(refusal(502, None));
        assert!(last.still_says(502).is_some());
        advance(FRESH).await;
        assert!(last.still_says(502).is_none());
        assert_eq!(last.until, None, "a host that is broken is dialled as ever");
    }

    /// What a host says to many shards that it refused with 429 at once, and how often it was
    /// asked why, which it answers so.
    async fn refused_at_once(answer: &'static str) -> (Hosts, Uri, Vec<Refusal>, u32) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url: Uri = format!("ws://{}/?v=10", listener.local_addr().unwrap())
            .parse()
            .unwrap();
        let asked = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&asked);
        let serves = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::Relaxed);
                stream.write_all(answer.as_bytes()).await.unwrap();
                // Closed once the question was read, or it would be a reset.
                let _ = stream.read(&mut [0; 1024]).await;
            }
        });
        let hosts = Arc::new(Hosts::default());
        let mut shards = JoinSet::new();
        for _ in 0..16 {
            let (hosts, url) = (Arc::clone(&hosts), url.clone());
            shards.spawn(async move { hosts.refused(url, 429).await });
        }
        let said = shards.join_all().await;
        serves.abort();
        let hosts = Arc::into_inner(hosts).unwrap();
        (hosts, url, said, asked.load(Ordering::Relaxed))
    }

    #[tokio::test]
    async fn many_shards_that_are_refused_ask_the_host_once() {
        let answer = "HTTP/1.1 429 x\r\nRetry-After: 60\r\nContent-Length: 0\r\n\r\n";
        let (hosts, url, said, asked) = refused_at_once(answer).await;
        let minute = Duration::from_secs(60);
        for refusal in said {
            assert_eq!(refusal.wait, Some(minute));
        }
        assert_eq!(asked, 1);
        let paused = hosts.paused(&url).unwrap();
        assert!(paused.until > Instant::now() + minute / 2);
    }

    #[tokio::test]
    async fn many_shards_hear_what_one_heard_also_where_the_host_says_something_else_by_then() {
        let answer = "HTTP/1.1 502 x\r\nContent-Length: 0\r\n\r\n";
        let (_, _, said, asked) = refused_at_once(answer).await;
        assert!(said.iter().all(|refusal| refusal.status == 502), "{said:?}");
        assert_eq!(asked, 1);
    }

    #[test]
    fn hosts_that_are_remembered_are_bounded() {
        let hosts = Hosts::default();
        for number in 0..3 * MOST_HOSTS {
            hosts.host(&format!("host-{number}").into());
        }
        assert!(lock(&hosts.known).len() <= MOST_HOSTS);
    }
}
