//! What the driver, the connections and the operators of one master share.

use std::{collections::BTreeSet, sync::Arc};

use baton_core::event::{DeployOrder, LastDeploy};
use baton_protocol::auth::Secret;
use tokio::{
    sync::{Semaphore, broadcast, mpsc, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::before::Known;
use crate::{
    admin::{Admin, Disks, Facts, MAX_STREAMS},
    config::Config,
    counters::Counters,
    doors::{Places, Secure, http},
    history::History,
    keeper::Kept,
    news::{Log, Observer, STREAM, Stamped},
    notice::Notice,
    peer::{Context, Hushes, MAX_JOINED, Strangers},
    post::Post,
};

/// Places for the operators' connections, each door's apart.
pub(super) struct OperatorPlaces {
    pub(super) over_tcp: Arc<Places>,
    pub(super) over_unix: Arc<Places>,
}

impl Default for OperatorPlaces {
    fn default() -> Self {
        Self {
            over_tcp: http::places(),
            over_unix: http::places(),
        }
    }
}

/// See the [module](self).
pub(super) struct Shared {
    pub(super) context: Arc<Context>,
    pub(super) history: Arc<History>,
    /// Slots whose slaves the agents of other hosts start.
    elsewhere: Arc<BTreeSet<String>>,
    pub(super) kept: Kept,
    /// When set, everything ends.
    pub(super) closing: CancellationToken,
    news: broadcast::Sender<Arc<Stamped>>,
    notices: mpsc::Sender<Notice>,
}

impl Shared {
    /// Of a master that serves this fleet.
    pub(super) fn new(
        config: &Config,
        known: &Known,
        secret: &Secret,
        notices: mpsc::Sender<Notice>,
        post: Option<Arc<Post>>,
    ) -> Self {
        let closing = CancellationToken::new();
        let context = Context {
            term: known.term,
            secret: secret.clone(),
            secure: Secure::new(config.certificate.clone()),
            own: std::process::id(),
            checkpoint: config.limits.checkpoint,
            ping: config.limits.ping,
            hang: config.limits.hang,
            notices: notices.clone(),
            counters: Counters::default(),
            metrics: Arc::default(),
            strangers: Strangers::default(),
            hush: Hushes::default(),
            post,
            room: Arc::new(Semaphore::new(MAX_JOINED)),
            closing: closing.clone(),
        };
        let history = History::open(&config.data_dir, known.term);
        let ended =
            |last: &LastDeploy| last.is_done() || known.recovered.given_up.contains(&last.deploy);
        for (slot, last) in &known.recovered.deploys {
            if !ended(last) {
                let since = known.deploys_ms.get(slot).copied();
                history.remembers(last, since.unwrap_or(0));
            }
        }
        let elsewhere = config.slots.iter().filter(|slot| slot.host.is_some());
        let elsewhere = elsewhere.map(|slot| slot.name.clone());
        Self {
            context: Arc::new(context),
            history: Arc::new(history),
            elsewhere: Arc::new(elsewhere.collect()),
            kept: Kept::new(known.other_secret),
            closing,
            news: broadcast::channel(STREAM).0,
            notices,
        }
    }

    /// What the requests of operators need.
    pub(super) fn admin(
        &self,
        facts: Facts,
        defaults: watch::Receiver<DeployOrder>,
        places: &OperatorPlaces,
    ) -> Admin {
        Admin {
            notices: self.notices.clone(),
            news: self.news.clone(),
            peers: Arc::clone(&self.context),
            history: Arc::clone(&self.history),
            defaults,
            elsewhere: Arc::clone(&self.elsewhere),
            facts,
            started: Instant::now(),
            doors: vec![
                ("listen", Arc::clone(&self.context.strangers.tcp)),
                ("slave.sock", Arc::clone(&self.context.strangers.unix)),
                ("admin_listen", Arc::clone(&places.over_tcp)),
                ("admin.sock", Arc::clone(&places.over_unix)),
            ],
            streams: Arc::new(Semaphore::new(MAX_STREAMS)),
            disks: Disks::default(),
            kept: self.kept.clone(),
            closing: self.closing.clone(),
        }
    }

    /// Who sees what the driver does. The log writes what the metrics and the history
    /// have counted by then, and whoever follows the stream may ask them.
    pub(super) fn observers(&self) -> Vec<Arc<dyn Observer>> {
        vec![
            Arc::clone(&self.context.metrics) as _,
            Arc::clone(&self.history) as _,
            Arc::new(Log::default()),
            Arc::new(self.news.clone()),
        ]
    }
}
