//! From a stranger to a slave that proved itself and reported everything that
//! it holds.

use std::{fmt::Display, future::Future, time::Duration};

use baton_protocol::{
    Connection, ConnectionError, DecodeError, Frame, HostName, PeerRole, Term, Trust, Version,
    auth::{self, NONCE, Secret},
    handshake::{ToMaster, ToSlave},
    message::{Hello, MAX_NAME, Refused, RefusedReason, Report, Welcome},
};
use tokio::time::timeout;
use tracing::warn;

use super::{
    certified::certified,
    context::{Context, Origin},
};
use crate::{
    clock::millis,
    config::MAX_SHARDS,
    doors::Place,
    notice::Notice,
    process::{Dialled, Watch, WatchError, may_be},
    test_hooks::other_build,
};

/// The hello, and after it the proof, come within this time each.
pub(super) const HELLO_DEADLINE: Duration = Duration::from_secs(5);

/// All reports come within this time.
pub(super) const REPORT_DEADLINE: Duration = Duration::from_secs(30);

/// More report frames than this are no report: half of what `MAX_SHARDS` needs
/// in frames that are not full.
const MAX_REPORTS: usize = 2 * MAX_SHARDS as usize / Report::MAX_SHARDS;

/// A slave that proved itself.
#[derive(Debug)]
pub(super) struct Entrant {
    pub(super) hello: Box<Hello>,
    /// All its reports as one.
    pub(super) report: Report,
    /// Its process; `None`: its death cannot be known here.
    pub(super) watch: Option<Watch>,
}

/// Why a connection does not become a slave's.
#[derive(Debug)]
pub(super) enum Dismissed {
    /// The answer says why.
    Refused(Refused),
    /// It closed by itself before it said anything.
    Ended,
    /// What came is no handshake, or nothing came.
    Garbage(String),
}

impl From<ConnectionError> for Dismissed {
    fn from(error: ConnectionError) -> Self {
        Self::Garbage(error.to_string())
    }
}

pub(super) async fn handshake(
    connection: &mut Connection,
    first: Frame,
    origin: &Origin,
    stranger: &Place,
    context: &Context,
) -> Result<Entrant, Dismissed> {
    let mut hello = hello(first)?;
    other_build::hears(&mut hello);
    hello.make_readable();
    if let Some(post) = &context.post
        && let Some(refused) = post.refusal()
    {
        post.heard(hello.slave);
        return Err(Dismissed::Refused(refused));
    }
    // A stranger could say any number: this is believed of our own user, and of a
    // certificate for slaves.
    let is_known = match origin {
        Origin::UnixOwner(_) => true,
        Origin::Tls(peer) => peer.role == PeerRole::Slave,
        Origin::Tcp | Origin::UnixStranger(_) => false,
    };
    if is_known && knows_later_term(&hello, context) {
        // Fails only when the driver has ended.
        let _ = context.notices.send(Notice::Forgot(hello.term)).await;
        return refuse(
            RefusedReason::NotLeading,
            "the store of this master has forgotten a later term: the next one begins above it",
        );
    }
    let version = check(&hello, context)?;
    certified(origin, &mut hello).or_else(|(reason, detail)| refuse(reason, detail))?;
    let dialled = origin.dialled();
    may_be(&hello.process, dialled, context.own)
        .or_else(|detail| refuse(RefusedReason::Other, detail))?;
    let opened = match dialled {
        // The kernel named it.
        Dialled::Local(Some(pid)) if pid == hello.process.pid => Watch::of_peer(&hello.process),
        Dialled::Local(_) | Dialled::Remote => Watch::open(&hello.process),
    };
    let watch = match opened {
        Ok(watch) => Some(watch),
        Err(WatchError::Dead) => {
            return refuse(
                RefusedReason::Other,
                "the process that the hello names does not exist",
            );
        }
        Err(error @ (WatchError::Elsewhere | WatchError::Unseen(_))) => {
            if context.hush.elsewhere.lets() {
                warn!(slave = %format_args!("{:.8}", hello.slave), pid = hello.process.pid, %error,
                "the death of this slave cannot be known");
            }
            None
        }
    };
    let challenge =
        auth::nonce().map_err(|error| Dismissed::Garbage(format!("no randomness: {error}")))?;
    let welcome = Welcome {
        version,
        term: context.term,
        proof: context.secret.master_proof(&hello.nonce, hello.slave),
        challenge: challenge.clone(),
        checkpoint_ms: millis(context.checkpoint).max(1),
    };
    connection
        .send(&ToSlave::Welcome(welcome).to_frame())
        .await?;
    let needs_proof = match origin {
        Origin::Tcp | Origin::Tls(_) | Origin::UnixStranger(_) => true,
        Origin::UnixOwner(_) => {
            connection.trust(Trust::Known);
            false
        }
    };
    let expected = context.secret.slave_proof(&challenge, hello.slave);
    let mut first = None;
    let answer = within(HELLO_DEADLINE, "proof", message(connection)).await;
    let answer = answer.map_err(|dismissed| match dismissed {
        // It proves nothing to a master that did not prove itself to it.
        Dismissed::Garbage(ref detail) if needs_proof && detail == CLOSED => {
            Dismissed::Garbage(format!(
                "slave {:.8} (build {:?}, pid {}) left before it proved the secret: its secret is \
                 another one. Give it this fleet's BATON_SECRET (the file `secret` in the \
                 master's runtime directory), and start it again",
                hello.slave, hello.build, hello.process.pid
            ))
        }
        Dismissed::Refused(_) | Dismissed::Ended | Dismissed::Garbage(_) => dismissed,
    })?;
    if let ToMaster::Proof(proof) = answer {
        if needs_proof && !Secret::is_proof(&expected, &proof.proof) {
            return refuse(
                RefusedReason::Secret,
                "the proof is wrong: give the slave this fleet's BATON_SECRET (the file `secret` in the master's runtime directory)",
            );
        }
    } else if let ToMaster::Report(report) = answer
        && !needs_proof
    {
        first = Some(report);
    } else {
        return Err(out_of_place("proof"));
    }
    // It is none any more: no newcomer takes its place.
    let _known = stranger.busy();
    connection.trust(Trust::Known);
    let report = within(REPORT_DEADLINE, "reports", reports(connection, first)).await?;
    Ok(Entrant {
        hello,
        report,
        watch,
    })
}

/// The first frame of a connection, which says who dials.
pub(super) async fn first(connection: &mut Connection) -> Result<Frame, Dismissed> {
    let first = async { connection.recv().await?.ok_or(Dismissed::Ended) };
    within(HELLO_DEADLINE, "hello", first).await
}

fn hello(frame: Frame) -> Result<Box<Hello>, Dismissed> {
    match ToMaster::from_frame(frame) {
        Ok(ToMaster::Hello { hello, .. }) => Ok(hello),
        Ok(ToMaster::Proof(_) | ToMaster::Report(_)) => Err(out_of_place("hello")),
        Err(DecodeError::NoBaton { .. }) => Err(Dismissed::Garbage(
            "a Go slave (its hello has no `Baton` key); the `legacy` switch that would let it in is off"
                .to_owned(),
        )),
        Err(error) => Err(Dismissed::Garbage(error.to_string())),
    }
}

/// Whether a slave of this fleet took orders of a later term than that of a shared store.
fn knows_later_term(hello: &Hello, context: &Context) -> bool {
    context.post.is_some()
        && hello.term.fleet == context.term.fleet
        && hello.term.counter > context.term.counter
}

/// What can be judged without the core.
fn check(hello: &Hello, context: &Context) -> Result<Version, Dismissed> {
    let Some(version) = Version::agree(hello.lowest, hello.version) else {
        return refuse(
            RefusedReason::Version,
            format!(
                "this master speaks versions {} to {}, the slave {} to {}",
                Version::OLDEST,
                Version::NEWEST,
                hello.lowest,
                hello.version
            ),
        );
    };
    if hello.slot.len() > MAX_NAME || hello.build.len() > MAX_NAME {
        return refuse(
            RefusedReason::Other,
            format!("slot and build are names of at most {MAX_NAME} bytes"),
        );
    }
    if hello.nonce.len() != NONCE {
        return refuse(
            RefusedReason::Other,
            format!("a nonce has {NONCE} bytes, not {}", hello.nonce.len()),
        );
    }
    if !hello.host.is_empty() && hello.host.parse::<HostName>().is_err() {
        return refuse(
            RefusedReason::Other,
            format!("{:?} is no name of a host", hello.host),
        );
    }
    of_fleet("slave", hello.term, context.term)?;
    Ok(version)
}

/// Whether it follows no other fleet, and no later master.
pub(super) fn of_fleet(who: &str, known: Term, term: Term) -> Result<(), Dismissed> {
    if known.counter > 0 && known.fleet != term.fleet {
        return refuse(
            RefusedReason::Fleet,
            format!(
                "the {who} belongs to fleet {:.8}, this is {:.8}",
                known.fleet, term.fleet
            ),
        );
    }
    if known.counter > term.counter {
        return refuse(
            RefusedReason::Fleet,
            format!("the {who} has seen term {known}, this master is {term}"),
        );
    }
    Ok(())
}

async fn reports(connection: &mut Connection, first: Option<Report>) -> Result<Report, Dismissed> {
    let mut merged = Report::default();
    let mut next = first;
    for _ in 0..MAX_REPORTS {
        let report = match next.take() {
            Some(report) => report,
            None => {
                let ToMaster::Report(report) = message(connection).await? else {
                    return Err(out_of_place("reports"));
                };
                report
            }
        };
        if report.shards.len() > Report::MAX_SHARDS
            || merged.shards.len() + report.shards.len() > MAX_SHARDS as usize
        {
            break;
        }
        merged.shards.extend(report.shards);
        merged.work = merged.work.max(report.work);
        merged.ready |= report.ready;
        merged.lapsed |= report.lapsed;
        if report.last {
            merged.last = true;
            return Ok(merged);
        }
    }
    Err(Dismissed::Garbage(format!(
        "reports of more than {MAX_SHARDS} shards, or in too many or too large frames"
    )))
}

/// How a peer is described that closed when it was due to speak.
pub(super) const CLOSED: &str = "the peer closed inside the handshake";

async fn message(connection: &mut Connection) -> Result<ToMaster, Dismissed> {
    let Some(frame) = connection.recv().await? else {
        return Err(Dismissed::Garbage(CLOSED.to_owned()));
    };
    ToMaster::from_frame(frame).map_err(|error| Dismissed::Garbage(error.to_string()))
}

pub(super) async fn within<T>(
    deadline: Duration,
    what: &str,
    step: impl Future<Output = Result<T, Dismissed>>,
) -> Result<T, Dismissed> {
    match timeout(deadline, step).await {
        Ok(done) => done,
        Err(_) => Err(Dismissed::Garbage(format!(
            "no {what} within {}",
            humantime::format_duration(deadline)
        ))),
    }
}

pub(super) fn refuse<T>(reason: RefusedReason, detail: impl Into<String>) -> Result<T, Dismissed> {
    Err(Dismissed::Refused(Refused {
        reason,
        detail: detail.into(),
    }))
}

pub(super) fn out_of_place(awaited: impl Display) -> Dismissed {
    Dismissed::Garbage(format!("another message where the {awaited} was due"))
}
