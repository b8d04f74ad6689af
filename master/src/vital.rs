//! Tasks without which a master is none.
//!
//! No task waits for them, so one that panics would be missing without a word: no slave
//! would be let in any more, say, or no signal heard. A master that has lost one ends
//! with an error. Its slaves keep serving, and its service manager starts the next.

use std::{future::Future, panic::AssertUnwindSafe};

use futures_util::FutureExt;
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::task::TaskTracker;
use tracing::error;

use crate::notice::Notice;

/// Runs `task` among `tasks`. If it panics, the driver hears that the master is to
/// end, and of which task it was.
pub(crate) fn spawn(
    tasks: &TaskTracker,
    notices: mpsc::Sender<Notice>,
    name: &'static str,
    task: impl Future<Output = ()> + Send + 'static,
) -> JoinHandle<()> {
    tasks.spawn(async move {
        if AssertUnwindSafe(task).catch_unwind().await.is_err() {
            error!(task = name, "a task of the master panicked");
            // Fails only when the driver has ended.
            let _ = notices.send(Notice::Broken(name)).await;
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_panic_of_a_task_is_told_and_its_end_is_not() {
        let (notices, mut told) = mpsc::channel(2);
        let tasks = TaskTracker::new();
        let ends = spawn(&tasks, notices.clone(), "one that ends", async {});
        ends.await.expect("it ends");
        let panics = async { panic!("on purpose") };
        spawn(&tasks, notices, "one that panics", panics);
        let heard = told.recv().await;
        assert!(matches!(heard, Some(Notice::Broken("one that panics"))));
        assert!(told.recv().await.is_none(), "nothing else");
    }
}
