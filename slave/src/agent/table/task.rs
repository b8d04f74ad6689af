//! The task of a shard.

use tokio::task::JoinHandle;

use crate::{caught::caught, shard::Shard};

/// Runs a shard once the task before it has ended. If it panics, it says with its last
/// word what is left of it: no task waits for its end.
pub(super) fn spawn(mut life: Shard, before: Option<JoinHandle<()>>) -> JoinHandle<()> {
    tokio::spawn(async move {
        if let Some(before) = before {
            let _ = before.await;
        }
        if caught(life.run()).await.is_err() {
            life.last_word();
        }
    })
}
