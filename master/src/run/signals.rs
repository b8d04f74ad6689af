//! The signals that mean something to a master.

use baton_core::event::DeployOrder;
use tokio::{
    signal::unix::{Signal, SignalKind},
    sync::mpsc,
};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::{
    ending::{Ending, listen},
    error::Error,
    notice::Notice,
    reload::Reloader,
    service,
};

/// See the [module](self).
pub(super) struct Signals {
    ending: Ending,
    user: Signal,
    hang_up: Signal,
}

impl Signals {
    pub(super) fn new() -> Result<Self, Error> {
        Ok(Self {
            ending: Ending::new()?,
            user: listen(SignalKind::user_defined1())?,
            hang_up: listen(SignalKind::hangup())?,
        })
    }

    /// Returns when the master is asked to leave.
    pub(super) async fn leave(&mut self) {
        self.ending.asked().await;
    }

    /// Tells the driver until `closing`.
    pub(super) async fn forward(
        mut self,
        notices: mpsc::Sender<Notice>,
        mut order: DeployOrder,
        mut reloader: Option<Reloader>,
        closing: CancellationToken,
    ) {
        loop {
            let notice = tokio::select! {
                () = closing.cancelled() => return,
                () = self.ending.asked() => Notice::Leave,
                _ = self.user.recv() => {
                    info!(slot = order.slot, "SIGUSR1: deploy");
                    Notice::Deploy { order: order.clone(), build: None, answer: None }
                }
                _ = self.hang_up.recv() => {
                    let told = match &mut reloader {
                        Some(reloader) => {
                            let told = reloader.reload().await;
                            order = reloader.defaults.borrow().clone();
                            told
                        }
                        None => "nothing is reloaded in legacy mode".to_owned(),
                    };
                    info!("SIGHUP: {told}");
                    service::reloaded(&told);
                    continue;
                }
            };
            if matches!(notice, Notice::Leave) {
                service::stopping();
            }
            if notices.send(notice).await.is_err() {
                return;
            }
        }
    }
}
