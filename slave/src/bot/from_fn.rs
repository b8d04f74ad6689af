//! Bots that are an `async` function.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Waker},
};

use tracing::Instrument as _;

use super::{Ack, Bot, Event, ShardHandle};

/// A bot of an `async` function. An event is finished when the function ends; where it
/// panics, the event is finished and counts as failed.
///
/// The part of the function before its first `.await` that has to wait runs in sequence
/// order, on the task of the shard, so it should not block. The rest runs in a task of
/// its own: later events of the shard do not wait for it.
///
/// ```
/// use baton_slave::{Event, ShardHandle, from_fn};
///
/// async fn greet(event: Event, _shard: ShardHandle) {
///     if event.kind() == "GUILD_MEMBER_ADD" {
///         tracing::info!(guild = ?event.guild_id(), "a new member");
///     }
/// }
///
/// let bot = from_fn(greet);
/// # let _: baton_slave::Builder = baton_slave::Slave::builder(bot);
/// ```
pub fn from_fn<F, R>(handler: F) -> FromFn<F>
where
    F: Fn(Event, ShardHandle) -> R + Send + Sync + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    FromFn { handler }
}

/// The same, where each call is given what it needs besides: an HTTP client, a database,
/// a cache.
///
/// ```
/// use std::sync::Arc;
///
/// use baton_slave::{Event, ShardHandle, from_fn_with};
///
/// struct App {
///     name: &'static str,
/// }
///
/// async fn greet(app: Arc<App>, event: Event, _shard: ShardHandle) {
///     tracing::info!(app.name, kind = event.kind(), "an event");
/// }
///
/// let bot = from_fn_with(Arc::new(App { name: "greeter" }), greet);
/// # let _: baton_slave::Builder = baton_slave::Slave::builder(bot);
/// ```
pub fn from_fn_with<A, F, R>(app: Arc<A>, handler: F) -> FromFnWith<A, F>
where
    A: Send + Sync + 'static,
    F: Fn(Arc<A>, Event, ShardHandle) -> R + Send + Sync + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    FromFnWith { app, handler }
}

/// See [`from_fn`].
#[derive(Clone, Copy)]
pub struct FromFn<F> {
    handler: F,
}

/// See [`from_fn_with`].
#[derive(Clone)]
pub struct FromFnWith<A, F> {
    app: Arc<A>,
    handler: F,
}

impl<F, R> Bot for FromFn<F>
where
    F: Fn(Event, ShardHandle) -> R + Send + Sync + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    fn handle(&self, event: Event, ack: Ack, shard: &ShardHandle) {
        run((self.handler)(event, shard.clone()), ack);
    }
}

impl<A, F, R> Bot for FromFnWith<A, F>
where
    A: Send + Sync + 'static,
    F: Fn(Arc<A>, Event, ShardHandle) -> R + Send + Sync + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    fn handle(&self, event: Event, ack: Ack, shard: &ShardHandle) {
        let app = Arc::clone(&self.app);
        run((self.handler)(app, event, shard.clone()), ack);
    }
}

/// Most events are of no concern to a bot, and their future ends at once: those need no
/// task. A panic drops `ack` as well, here or in the task, and so says what it was.
fn run(handling: impl Future<Output = ()> + Send + 'static, ack: Ack) {
    let mut handling = Box::pin(handling);
    // Whoever was told of this waker is told of the task's below, where it is polled
    // again at once.
    let mut nobody = Context::from_waker(Waker::noop());
    if handling.as_mut().poll(&mut nobody).is_ready() {
        return;
    }
    let task = async move {
        let _until_the_end = ack;
        handling.await;
    };
    // What it logs names its shard.
    tokio::spawn(task.in_current_span());
}

impl<F> fmt::Debug for FromFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FromFn").finish_non_exhaustive()
    }
}

impl<A, F> fmt::Debug for FromFnWith<A, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FromFnWith").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        panic::{AssertUnwindSafe, catch_unwind},
        sync::Mutex,
    };

    use baton_protocol::{Sequence, ShardId};
    use tokio::{sync::Semaphore, task::yield_now};

    use super::{
        super::{How, Reports},
        *,
    };

    /// Hands an event out, as a shard does.
    fn hand_out(bot: &impl Bot, reports: &Reports, sequence: u64) {
        let sequence = Sequence(sequence);
        let event = Event::for_test(ShardId(0), sequence, "MESSAGE_CREATE", r#"{"d":{}}"#);
        let ack = Ack::new(reports.reporter(), 0, 1, event.clone());
        bot.handle(event, ack, &ShardHandle::for_test().0);
    }

    #[tokio::test]
    async fn an_event_is_finished_when_its_function_ends_and_not_before() {
        let (reports, gate) = (Reports::default(), Arc::new(Semaphore::new(0)));
        let bot = from_fn_with(gate.clone(), async |gate: Arc<Semaphore>, _, _| {
            let _passed = gate.acquire().await;
        });
        hand_out(&bot, &reports, 1);
        for _ in 0..10 {
            yield_now().await;
        }
        assert!(reports.try_take().is_none());
        gate.add_permits(1);
        assert!(matches!(reports.take().await.how, How::Done));
        // This one need not wait, and needs no task.
        hand_out(&bot, &reports, 2);
        assert!(matches!(
            reports.try_take().map(|finished| finished.how),
            Some(How::Done)
        ));
    }

    #[tokio::test]
    async fn an_event_whose_function_panics_is_finished_and_counts_as_failed() {
        async fn at_once(_: Event, _: ShardHandle) {
            panic!("on purpose");
        }
        async fn later(_: Event, _: ShardHandle) {
            yield_now().await;
            panic!("on purpose, later");
        }
        let reports = Reports::default();
        let at_once = from_fn(at_once);
        let handed = catch_unwind(AssertUnwindSafe(|| hand_out(&at_once, &reports, 1)));
        assert!(handed.is_err(), "the shard sees it");
        assert!(matches!(reports.take().await.how, How::Panicked));
        hand_out(&from_fn(later), &reports, 2);
        assert!(matches!(reports.take().await.how, How::Panicked));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn functions_begin_in_the_order_of_their_events() {
        let (reports, begun) = (Reports::default(), Arc::new(Mutex::new(Vec::new())));
        let bot = from_fn_with(
            begun.clone(),
            async |begun: Arc<Mutex<Vec<u64>>>, event, _| {
                let sequence = event.sequence().get();
                begun.lock().expect("no panic").push(sequence);
                yield_now().await;
            },
        );
        for sequence in 0..100 {
            hand_out(&bot, &reports, sequence);
        }
        for _ in 0..100 {
            reports.take().await;
        }
        let begun = begun.lock().expect("no panic").clone();
        assert_eq!(begun, (0..100).collect::<Vec<_>>());
    }
}
