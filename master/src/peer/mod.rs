//! One connection of one slave, or of one agent (`agents`): a task that reads and a task that
//! writes.
//!
//! ```text
//! stranger --hello, proof, reports--> joined --end of the socket, cut--> left
//!     |                                  |
//!     +-- refused: told why, closed      +-- refused by the core: told why, closed
//! ```
//!
//! Nothing that a peer sends or does not send disturbs anything but its own
//! connection. The driver never waits for a peer: a peer that takes nothing
//! loses its connection.

mod agents;
mod certified;
mod context;
mod handshake;
mod hearing;
mod pings;
#[cfg(test)]
mod rig;
#[cfg(test)]
mod tests;

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use baton_protocol::{
    Connection, ConnectionError, DecodeError, Frame, SlaveId, ToMaster, ToSlave,
    connection::{Receiver, Sender},
    message::{Ping, Refused, RefusedReason, event},
};
use futures_util::FutureExt;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, error, info, info_span, warn};

pub use self::context::{Context, Hushes, MAX_JOINED, MAX_STRANGERS, Origin, Strangers};
#[cfg(test)]
pub(crate) use self::rig::hello as hello_for_test;
use self::{
    handshake::Dismissed,
    hearing::{Heard, Hearing},
};
use crate::{
    doors::Place,
    link::{Link, LinkId, Outbox},
    notice::{Joining, Notice},
};

/// A refused peer may read the reason for so long.
const FAREWELL: Duration = Duration::from_secs(1);

/// Serves one connection until it ends. `stranger` is its place among the
/// strangers, given back when it joins.
pub async fn serve<S>(context: Arc<Context>, socket: S, origin: Origin, stranger: Place)
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let id = LinkId(context.counters.connections.add());
    let mut connection = Connection::new(socket);
    let first = tokio::select! {
        () = context.closing.cancelled() => return,
        () = stranger.lost() => return,
        first = handshake::first(&mut connection) => first,
    };
    let first = match first {
        Ok(first) if first.id == event::AGENT_HELLO => {
            return agents::serve(context, connection, first, origin, stranger, id).await;
        }
        Ok(first) => first,
        Err(dismissed) => return dismiss(&context, connection, &origin, dismissed).await,
    };
    let entrant = tokio::select! {
        () = context.closing.cancelled() => return,
        () = stranger.lost() => return,
        entrant = handshake::handshake(&mut connection, first, &origin, &stranger, &context) => entrant,
    };
    let entrant = match entrant {
        Ok(entrant) => entrant,
        Err(dismissed) => return dismiss(&context, connection, &origin, dismissed).await,
    };
    let Ok(_room) = Arc::clone(&context.room).try_acquire_owned() else {
        context.counters.too_many.add();
        let refused = Refused {
            reason: RefusedReason::Other,
            detail: format!("the master already has {MAX_JOINED} connections"),
        };
        return dismiss(&context, connection, &origin, Dismissed::Refused(refused)).await;
    };
    drop(stranger);
    let slave = entrant.hello.slave;
    let span = info_span!("peer", slave = %format_args!("{slave:.8}"), connection = id.0);
    async {
        context.counters.joined.add();
        let (receiver, sender) = connection.split();
        let (link, outbox) = Link::new(id, origin.dialled());
        let cut = link.cut_token();
        let pings = link.pings();
        let joining = Joining {
            link,
            hello: entrant.hello,
            report: entrant.report,
            watch: entrant.watch,
        };
        if context
            .notices
            .send(Notice::Joined(Box::new(joining)))
            .await
            .is_err()
        {
            return;
        }
        let writer = tokio::spawn(write(Arc::clone(&context), outbox, sender).in_current_span());
        let read = read(&context, receiver, id, slave, &pings, &cut);
        // In any case the driver must hear that this connection is over.
        if AssertUnwindSafe(read).catch_unwind().await.is_err() {
            error!("the reading task of a peer panicked; its connection is closed");
        }
        cut.cancel();
        // Fails only when the driver has ended, and then it does not matter.
        let _ = context.notices.send(Notice::Left { link: id, slave }).await;
        if let Err(error) = writer.await {
            warn!(%error, "the writing task of a peer failed");
        }
    }
    .instrument(span)
    .await;
}

/// Tells a peer why it is refused, where there is something to tell.
async fn dismiss(
    context: &Context,
    mut connection: Connection,
    origin: &Origin,
    dismissed: Dismissed,
) {
    match dismissed {
        Dismissed::Refused(refused) => {
            context.counters.refused.add();
            // Slaves dial a standby master again and again.
            if refused.reason != RefusedReason::NotLeading && context.hush.refused.lets() {
                warn!(?origin, detail = %refused.detail, "refused");
            }
            let farewell = async {
                connection
                    .send(&ToSlave::Refused(refused).to_frame())
                    .await?;
                let (mut receiver, mut sender) = connection.split();
                sender.close().await?;
                // A socket closed with unread bytes in it would take the answer back.
                while receiver.recv().await?.is_some() {}
                Ok::<(), ConnectionError>(())
            };
            // The peer may be gone, or be slow: the message was sent as well as possible.
            let _ = timeout(FAREWELL, farewell).await;
        }
        Dismissed::Ended => debug!(?origin, "a connection ended before its hello"),
        Dismissed::Garbage(detail) => {
            let count = context.counters.garbage.add();
            if context.hush.garbage.lets() {
                warn!(?origin, %detail, count, "connection dropped");
            }
        }
    }
}

/// Reads until the connection ends or is cut.
async fn read(
    context: &Context,
    receiver: Receiver,
    link: LinkId,
    slave: SlaveId,
    outbox: &mpsc::WeakSender<ToSlave>,
    cut: &CancellationToken,
) {
    let mut hearing = Hearing::new(context, receiver, cut);
    loop {
        let frame = match hearing.next().await {
            Heard::Over => return,
            Heard::Frame(frame) => frame,
            Heard::Due(ping) => {
                if let Some(outbox) = outbox.upgrade() {
                    // A full outbox is the writer's to notice.
                    let _ = outbox.try_send(ToSlave::Ping(Ping {
                        number: ping.number,
                        heard: 0,
                    }));
                }
                if ping.newly {
                    warn!(hang = ?context.hang, "slave answers no ping");
                }
                if ping.silent {
                    let silent = Notice::Silent { link, slave };
                    if context.notices.send(silent).await.is_err() {
                        return;
                    }
                }
                continue;
            }
        };
        let said = match frame {
            Ok(Some(frame)) => said(frame),
            Ok(None) => return info!("slave closed its connection"),
            Err(ConnectionError::Io(error)) => return info!(%error, "connection lost"),
            Err(error) => return garbage(context, &error),
        };
        let message = match said {
            Ok(Some(message)) => message,
            Ok(None) => continue,
            Err(error) => return garbage(context, &error),
        };
        if let ToMaster::Pong(pong) = &message
            && let Some(after) = hearing.pings.pong(pong.number, Instant::now())
        {
            context.metrics.answered(after);
        }
        let said = Notice::Said {
            link,
            slave,
            message,
        };
        if context.notices.send(said).await.is_err() {
            return;
        }
    }
}

/// What a joined slave tells the driver with a frame, if anything; else why it is none
/// of a joined slave's.
fn said(frame: Frame) -> Result<Option<ToMaster>, DecodeError> {
    match ToMaster::from_frame(frame) {
        Ok(message) => Ok(Some(message.readable())),
        // A newer slave may say more than this master knows.
        Err(DecodeError::UnknownId { id }) => {
            debug!(id, "unknown message ignored");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn garbage(context: &Context, detail: &dyn std::fmt::Display) {
    let count = context.counters.garbage.add();
    if context.hush.garbage.lets() {
        warn!(%detail, count, "connection dropped");
    }
}

/// Writes until the driver lets go of the link, or the peer takes nothing.
async fn write(context: Arc<Context>, outbox: Outbox, sender: Sender) {
    // Also where it panics.
    let _cut = outbox.cut.clone().drop_guard();
    written(&context, "slave", outbox.write(sender, FAREWELL).await);
}

/// How the writing to a peer ended.
fn written(context: &Context, whom: &str, ended: Result<(), ConnectionError>) {
    match ended {
        Ok(()) => {}
        Err(ConnectionError::Blocked { after }) => {
            context.counters.stuck.add();
            warn!(?after, "{whom} takes nothing; connection dropped");
        }
        Err(error) => debug!(%error, "connection lost while writing"),
    }
}
