//! One connection of an agent: the same as a slave's, and its own messages.
//!
//! ```text
//! stranger --hello, proof, report--> joined --end of the socket, cut, silence--> left
//!     +-- refused: told why, closed     +-- another agent of its host answers: told, closed
//! ```

use std::{panic::AssertUnwindSafe, sync::Arc};

use baton_protocol::{
    Connection, ConnectionError, DecodeError, Frame, HostName, Trust, Version,
    auth::{self, NONCE, Secret},
    connection::{Receiver, Sender},
    message::{
        Ping, Refused, RefusedReason, Welcome,
        agent::{AgentAccepted, AgentHello, AgentReport, FromAgent, ToAgent},
    },
};
use futures_util::FutureExt;
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, error, info, info_span, warn};

use super::{
    FAREWELL, Origin,
    certified::certified_agent,
    context::Context,
    dismiss,
    handshake::{
        CLOSED, Dismissed, HELLO_DEADLINE, REPORT_DEADLINE, of_fleet, out_of_place, refuse, within,
    },
    hearing::{Heard, Hearing},
};
use crate::{
    clock::millis,
    doors::Place,
    link::{self, AgentLink, LinkId},
    notice::{AgentJoining, AgentNotice, Notice},
};

/// Serves one connection whose first frame is an agent's.
pub(super) async fn serve(
    context: Arc<Context>,
    mut connection: Connection,
    first: Frame,
    origin: Origin,
    stranger: Place,
    id: LinkId,
) {
    let entrant = tokio::select! {
        () = context.closing.cancelled() => return,
        () = stranger.lost() => return,
        entrant = handshake(&mut connection, first, &origin, &stranger, &context) => entrant,
    };
    let (hello, report) = match entrant {
        Ok(entrant) => entrant,
        Err(dismissed) => return dismiss(&context, connection, &origin, dismissed).await,
    };
    let Ok(_room) = Arc::clone(&context.room).try_acquire_owned() else {
        context.counters.too_many.add();
        let refused = Refused {
            reason: RefusedReason::Other,
            detail: "the master has as many connections as it takes".to_owned(),
        };
        return dismiss(&context, connection, &origin, Dismissed::Refused(refused)).await;
    };
    drop(stranger);
    let host: Arc<str> = hello.host.as_str().into();
    let span = info_span!("agent", host = &*host, connection = id.0);
    async {
        let (receiver, sender) = connection.split();
        let (link, queue, cut) = AgentLink::new(id);
        let pings = link.pings();
        let joining = AgentJoining {
            link,
            hello,
            report,
        };
        let joined = Notice::Agent(AgentNotice::Joined(Box::new(joining)));
        if context.notices.send(joined).await.is_err() {
            return;
        }
        let writer = write(queue, sender, cut.clone(), Arc::clone(&context));
        let writer = tokio::spawn(writer.in_current_span());
        let read = read(&context, receiver, id, &host, &pings, &cut);
        // In any case the driver must hear that this connection is over.
        if AssertUnwindSafe(read).catch_unwind().await.is_err() {
            error!("the reading task of an agent panicked; its connection is closed");
        }
        cut.cancel();
        let left = AgentNotice::Left { host, link: id };
        // Fails only when the driver has ended, and then it does not matter.
        let _ = context.notices.send(Notice::Agent(left)).await;
        if let Err(error) = writer.await {
            warn!(%error, "the writing task of an agent failed");
        }
    }
    .instrument(span)
    .await;
}

async fn handshake(
    connection: &mut Connection,
    first: Frame,
    origin: &Origin,
    stranger: &Place,
    context: &Context,
) -> Result<(Box<AgentHello>, AgentReport), Dismissed> {
    let first = said(first)?;
    let FromAgent::Hello(hello) = first else {
        return Err(out_of_place("hello"));
    };
    if let Some(refused) = context.post.as_ref().and_then(|post| post.refusal()) {
        return Err(Dismissed::Refused(refused));
    }
    let version = check(&hello, context)?;
    certified_agent(origin, &hello).or_else(|(reason, detail)| refuse(reason, detail))?;
    let challenge =
        auth::nonce().map_err(|error| Dismissed::Garbage(format!("no randomness: {error}")))?;
    let secret = &context.secret;
    let welcome = Welcome {
        version,
        term: context.term,
        proof: secret.master_proof_to_agent(&hello.nonce, hello.agent),
        challenge: challenge.clone(),
        checkpoint_ms: 0,
    };
    connection
        .send(&ToAgent::Welcome(welcome).to_frame())
        .await?;
    let FromAgent::Proof(proof) = within(HELLO_DEADLINE, "proof", message(connection)).await?
    else {
        return Err(out_of_place("proof"));
    };
    let expected = secret.agent_proof(&challenge, hello.agent, &hello.host);
    if !Secret::is_proof(&expected, &proof.proof) {
        return refuse(
            RefusedReason::Secret,
            "the proof is wrong: give the agent this fleet's BATON_SECRET (the file `secret` in the master's runtime directory)",
        );
    }
    // It is none any more: no newcomer takes its place.
    let _known = stranger.busy();
    connection.trust(Trust::Known);
    let FromAgent::Report(report) = within(REPORT_DEADLINE, "report", message(connection)).await?
    else {
        return Err(out_of_place("report"));
    };
    if report.launches.len() > AgentReport::MAX_LAUNCHES {
        let most = AgentReport::MAX_LAUNCHES;
        return Err(Dismissed::Garbage(format!(
            "a report of more than {most} launches"
        )));
    }
    let accepted = AgentAccepted {
        ping_ms: millis(context.ping).max(1),
    };
    connection
        .send(&ToAgent::Accepted(accepted).to_frame())
        .await?;
    Ok((hello, report))
}

/// What can be judged without the driver.
fn check(hello: &AgentHello, context: &Context) -> Result<Version, Dismissed> {
    let Some(version) = Version::agree(hello.lowest, hello.version) else {
        return refuse(
            RefusedReason::Version,
            format!(
                "this master speaks versions {} to {}, the agent {} to {}",
                Version::OLDEST,
                Version::NEWEST,
                hello.lowest,
                hello.version
            ),
        );
    };
    if hello.host.parse::<HostName>().is_err() {
        return refuse(
            RefusedReason::Other,
            format!(
                "{:?} is no name of a host: a-z, 0-9, `.` and `-`, 63 characters at most",
                hello.host
            ),
        );
    }
    if hello.nonce.len() != NONCE {
        return refuse(
            RefusedReason::Other,
            format!("a nonce has {NONCE} bytes, not {}", hello.nonce.len()),
        );
    }
    of_fleet("agent", hello.term, context.term)?;
    Ok(version)
}

async fn message(connection: &mut Connection) -> Result<FromAgent, Dismissed> {
    let Some(frame) = connection.recv().await? else {
        return Err(Dismissed::Garbage(CLOSED.to_owned()));
    };
    said(frame)
}

fn said(frame: Frame) -> Result<FromAgent, Dismissed> {
    let said = FromAgent::from_frame(frame).map(FromAgent::readable);
    said.map_err(|error| Dismissed::Garbage(error.to_string()))
}

/// Reads until the connection ends, is cut, or is silent.
async fn read(
    context: &Context,
    receiver: Receiver,
    link: LinkId,
    host: &Arc<str>,
    outbox: &mpsc::WeakSender<ToAgent>,
    cut: &CancellationToken,
) {
    let mut hearing = Hearing::new(context, receiver, cut);
    loop {
        let frame = match hearing.next().await {
            Heard::Over => return,
            Heard::Frame(frame) => frame,
            Heard::Due(ping) => {
                if let Some(outbox) = outbox.upgrade() {
                    // A full queue is the writer's to notice.
                    let _ = outbox.try_send(ToAgent::Ping(Ping {
                        number: ping.number,
                        heard: 0,
                    }));
                }
                if ping.silent {
                    return warn!(hang = ?context.hang, "the agent answers no ping; connection dropped");
                }
                continue;
            }
        };
        let message = match frame {
            Ok(Some(frame)) => match FromAgent::from_frame(frame) {
                Ok(message) => message.readable(),
                // A newer agent may say more than this master knows.
                Err(DecodeError::UnknownId { id }) => {
                    debug!(id, "unknown message ignored");
                    continue;
                }
                Err(error) => return super::garbage(context, &error),
            },
            Ok(None) => return info!("the agent closed its connection"),
            Err(ConnectionError::Io(error)) => return info!(%error, "connection lost"),
            Err(error) => return super::garbage(context, &error),
        };
        if let FromAgent::Pong(pong) = &message {
            // Not in the times of slaves' links.
            let _ = hearing.pings.pong(pong.number, Instant::now());
        }
        let said = AgentNotice::Said {
            host: Arc::clone(host),
            link,
            message,
        };
        if context.notices.send(Notice::Agent(said)).await.is_err() {
            return;
        }
    }
}

/// Writes until the driver lets go of the link, or the agent takes nothing.
async fn write(
    mut queue: mpsc::Receiver<ToAgent>,
    mut sender: Sender,
    cut: CancellationToken,
    context: Arc<Context>,
) {
    // Also where it panics.
    let _cut = cut.clone().drop_guard();
    let written = async {
        loop {
            let message = tokio::select! {
                biased;
                () = cut.cancelled() => return Ok(()),
                message = queue.recv() => message,
            };
            let Some(message) = message else { break };
            if !link::send(&mut sender, &message.to_frame(), &cut).await? {
                return Ok(());
            }
        }
        link::close(sender, &cut, FAREWELL).await
    };
    super::written(&context, "the agent", written.await);
}
