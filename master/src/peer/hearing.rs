//! What a peer's connection brings: its frames, and the times at which it is pinged.

use baton_protocol::{ConnectionError, Frame, connection::Receiver};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use super::{
    context::Context,
    pings::{Pings, Tick},
};

/// What comes next.
pub(super) enum Heard {
    /// Nothing more: the connection is cut, or the master ends.
    Over,
    /// A frame, or the end of the connection.
    Frame(Result<Option<Frame>, ConnectionError>),
    /// It is time for a ping.
    Due(Tick),
}

/// The reading end of a connection.
pub(super) struct Hearing<'a> {
    context: &'a Context,
    cut: &'a CancellationToken,
    receiver: Receiver,
    interval: Interval,
    pub(super) pings: Pings,
}

impl<'a> Hearing<'a> {
    pub(super) fn new(
        context: &'a Context,
        receiver: Receiver,
        cut: &'a CancellationToken,
    ) -> Self {
        let now = Instant::now();
        let mut interval = interval_at(now + context.ping, context.ping);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            context,
            cut,
            receiver,
            interval,
            pings: Pings::new(context.ping, context.hang, now),
        }
    }

    pub(super) async fn next(&mut self) -> Heard {
        tokio::select! {
            () = self.cut.cancelled() => Heard::Over,
            () = self.context.closing.cancelled() => Heard::Over,
            frame = self.receiver.recv() => Heard::Frame(frame),
            now = self.interval.tick() => Heard::Due(self.pings.tick(now.max(Instant::now()))),
        }
    }
}
