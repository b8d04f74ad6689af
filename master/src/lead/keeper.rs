//! Keeps the lead: renews the lease, looks whether the store answers and who else would lead,
//! and says when it is over.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::{oneshot, watch},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::lease::{self, Lease, Renewed};
use crate::{
    notice::Notice,
    post::{Named, Post},
    store::nats::{Bucket, LEASE},
};

/// A lease is renewed this often.
const RENEW: Duration = Duration::from_secs(3);

/// A store that does not answer is asked again after this time.
const AGAIN: Duration = Duration::from_millis(500);

/// A store that does not answer for so long is an alarm. Three servers need 4 to 8 s to choose
/// another leader.
const ALARM: Duration = Duration::from_secs(10);

/// A leader whose store does not answer for longer than its lease may lead no more: it lets its
/// slaves look for another one then, and again after this time.
const LET_GO: Duration = Duration::from_secs(60);

/// The driver says within this time how many slaves it reaches.
const LOOK: Duration = Duration::from_secs(1);

/// So often in a row another one must reach more: a moment in which slaves dial anew is none.
const REACHES_LESS: u32 = 3;

/// See the [module](self).
pub(super) struct Keeper {
    pub(super) lease: Lease,
    pub(super) bucket: Bucket,
    pub(super) me: Named,
    pub(super) post: Arc<Post>,
    /// A slave that answers nothing for so long is not reached.
    pub(super) answers: Duration,
    /// Why it is over.
    pub(super) lost: watch::Sender<Option<String>>,
}

/// How it ended.
pub(super) enum Ended {
    /// It is to be given back; to this host, if one is named.
    Release(Box<Lease>, String),
    /// It is another one's.
    Lost,
}

impl Keeper {
    /// Until the lease is lost, or `closing`.
    pub(super) async fn keep(mut self, closing: CancellationToken) -> Ended {
        let mut alarmed = false;
        let mut less = 0;
        let mut let_go = None;
        loop {
            let renewed = self.lease.renew().await;
            let client = self.bucket.client();
            let pause = match renewed {
                Ok(Renewed::Kept) => {
                    if let Some(away) = self.post.away() {
                        info!(?away, "the store answers again");
                    }
                    self.post.store_away(None);
                    alarmed = false;
                    let_go = None;
                    RENEW
                }
                Ok(Renewed::Lost(why)) => {
                    // Nobody listens any more: fine.
                    self.lost.send_replace(Some(why));
                    return Ended::Lost;
                }
                Err(trouble) => {
                    let since = client.away().unwrap_or_else(Instant::now);
                    let first = self.post.away().is_none();
                    if first {
                        warn!(%trouble, "the store does not answer: what serves goes on, nothing begins");
                        self.post.store_away(Some(since));
                    }
                    let away = self.post.away().unwrap_or_default();
                    if away >= ALARM && !alarmed {
                        alarmed = self.alarm(&trouble.to_string());
                    }
                    let is_due = let_go.is_none_or(|at: Instant| at.elapsed() >= LET_GO);
                    if away >= LEASE && is_due {
                        let_go = Some(Instant::now());
                        self.let_go();
                    }
                    AGAIN
                }
            };
            if pause == RENEW
                && let Some(to) = self.yields(&mut less).await
            {
                return Ended::Release(Box::new(self.lease), to);
            }
            tokio::select! {
                () = closing.cancelled() => return Ended::Release(Box::new(self.lease), String::new()),
                () = sleep(pause) => {}
            }
        }
    }

    /// Another master may lead, if this one alone is cut off from the store. Slaves that stay
    /// with this one would never hear of it; so they are let go, and come back where there is
    /// no other.
    fn let_go(&self) {
        if self.post.standing().standbys.is_empty() {
            return;
        }
        warn!("another master may lead by now: slaves look for it");
        self.post.let_go();
        if let Some(notices) = self.post.notices() {
            // A driver that takes nothing now is told the next time.
            let _ = notices.try_send(Notice::LetGo);
        }
    }

    /// Tells operators; `false`: there is no driver yet, or it takes nothing now.
    fn alarm(&self, trouble: &str) -> bool {
        let place = self.bucket.client().place();
        let detail = format!(
            "the store at {place} does not answer: {trouble}. What serves goes on; no shard moves, \
             no slave is started, and a shard whose slave dies waits until it answers. Look at its \
             servers and at the network between"
        );
        error!(detail);
        let notices = self.post.notices();
        notices.is_some_and(|notices| notices.try_send(Notice::Alarm(detail)).is_ok())
    }

    /// The host of a standby master that reaches more slaves, where this one reaches less than
    /// half of its fleet.
    async fn yields(&mut self, less: &mut u32) -> Option<String> {
        let standbys = lease::standbys(&self.bucket, &self.me).await.ok()?;
        let best = standbys.iter().max_by_key(|named| named.reaches).cloned();
        self.post.note(|standing| standing.standbys = standbys);
        let best = best.filter(|best| best.reaches > 0);
        let reach = match best {
            Some(best) => self.reach().await.zip(Some(best)),
            None => None,
        };
        let Some(((reached, known), best)) = reach else {
            *less = 0;
            return None;
        };
        if reached * 2 >= known || best.reaches <= reached {
            *less = 0;
            return None;
        }
        *less += 1;
        if *less < REACHES_LESS {
            return None;
        }
        let why = format!(
            "it reaches {reached} of {known} slaves, and the standby master on {} {}",
            best.host, best.reaches
        );
        self.lost.send_replace(Some(why));
        Some(best.host)
    }

    /// Slaves that answer, and all that are known. A link to a host that is cut off stays for
    /// long.
    async fn reach(&self) -> Option<(usize, usize)> {
        let (answer, view) = oneshot::channel();
        let notices = self.post.notices()?;
        let asked = async {
            notices.send(Notice::Look { answer }).await.ok()?;
            view.await.ok()
        };
        let view = timeout(LOOK, asked).await.ok()??;
        let patience = self.answers.as_millis();
        let answers = |ago: u64| u128::from(ago) < patience || mutant!("link-is-reach");
        let slaves = view.slaves.iter();
        let reached = slaves.filter(|slave| slave.answered_ms_ago.is_some_and(answers));
        Some((reached.count(), view.slaves.len()))
    }
}
