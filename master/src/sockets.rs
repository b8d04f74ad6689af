//! The sockets in the runtime directory, each served until it is replaced by a new
//! one, or the master closes. Connections outlive the socket that they came by.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::UnixListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    admin::Admin,
    doors::{
        Places,
        http::{self, Door},
    },
    listener,
    peer::Context,
    vital,
};

/// Takes connections of slaves and of operators.
#[derive(Debug)]
pub(crate) struct Sockets {
    context: Arc<Context>,
    admin: Admin,
    /// For connections of operators.
    places: Arc<Places>,
    tasks: TaskTracker,
    /// Ends when there is another socket for slaves, and for operators.
    present: [Mutex<CancellationToken>; 2],
}

impl Sockets {
    pub(crate) fn new(
        context: Arc<Context>,
        admin: Admin,
        places: Arc<Places>,
        tasks: TaskTracker,
    ) -> Self {
        Self {
            context,
            admin,
            places,
            tasks,
            present: Default::default(),
        }
    }

    /// Takes slaves here, and no longer elsewhere.
    pub(crate) fn take_slaves(&self, unix: UnixListener) {
        let replaced = self.replace(0);
        let taking = listener::unix(Arc::clone(&self.context), unix, self.tasks.clone());
        self.spawn("unix listener", async move {
            tokio::select! {
                () = replaced.cancelled() => {}
                () = taking => {}
            }
        });
    }

    /// Takes operators here, and no longer elsewhere.
    pub(crate) fn take_operators(&self, unix: UnixListener) {
        let replaced = self.replace(1);
        let (door, places) = (Door::Unix(unix), Arc::clone(&self.places));
        let router = self.admin.clone().router();
        self.spawn("operators", http::serve(door, places, router, replaced));
    }

    fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let notices = self.context.notices.clone();
        vital::spawn(&self.tasks, notices, name, task);
    }

    /// What ends when the next one comes, or when the master closes.
    fn replace(&self, which: usize) -> CancellationToken {
        let next = self.context.closing.child_token();
        let mut present = self.present[which]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *present, next.clone()).cancel();
        next
    }
}
