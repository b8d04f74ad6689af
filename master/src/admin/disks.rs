//! Questions to the host's disks, of which one may hang.

use std::{sync::Arc, time::Duration};

use tokio::{sync::Semaphore, task::spawn_blocking, time::timeout};

/// A disk answers within this time, or is reported.
const ANSWER: Duration = Duration::from_secs(10);

/// Questions at one time. Each that hangs keeps a thread, of which the process has a
/// bounded number: the keeper of the runtime directory and launches need some, too.
const AT_ONCE: usize = 4;

/// Asks disks. Cheap to clone; the clones share their places.
#[derive(Clone, Debug)]
pub struct Disks(Arc<Semaphore>);

impl Default for Disks {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

impl Disks {
    /// The answer; `None`: it did not come within 10 s. A disk that hangs holds up those
    /// who ask for so long, and nothing else.
    pub async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let asking = async {
            let place = Arc::clone(&self.0).acquire_owned().await.ok()?;
            let answering = spawn_blocking(move || {
                let _place = place;
                question()
            });
            answering.await.ok()
        };
        timeout(ANSWER, asking).await.ok().flatten()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc::sync_channel,
    };

    use tokio::{task::JoinSet, time::advance};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_disk_that_hangs_takes_a_few_threads_however_often_it_is_asked() {
        let disks = Disks::default();
        let asked = Arc::new(AtomicUsize::new(0));
        let (well, hangs) = sync_channel::<()>(1);
        let hangs = Arc::new(Mutex::new(hangs));
        let mut asking = JoinSet::new();
        for _ in 0..100 {
            let (disks, asked, hangs) = (disks.clone(), Arc::clone(&asked), Arc::clone(&hangs));
            asking.spawn(async move {
                let question = move || {
                    asked.fetch_add(1, Ordering::SeqCst);
                    let _ = hangs.lock().map(|hangs| hangs.recv());
                };
                disks.ask(question).await
            });
        }
        while asked.load(Ordering::SeqCst) < AT_ONCE {
            tokio::task::yield_now().await;
        }
        advance(ANSWER).await;
        while let Some(answer) = asking.join_next().await {
            assert_eq!(answer.expect("no panic"), None);
        }
        assert_eq!(asked.load(Ordering::SeqCst), AT_ONCE);
        drop(well);
        assert_eq!(disks.ask(|| 7).await, Some(7), "it is well again");
    }
}
