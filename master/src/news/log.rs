//! News as lines of the log.

use std::{sync::Arc, time::Duration};

use baton_core::event::{Death, MovePhase, News, Outcome};
use tracing::{debug, error, info, warn};

use super::{Observer, Stamped};
use crate::doors::Hush;

/// Writes one line of each shard that moved; how it got there is for `debug`.
#[derive(Debug)]
pub struct Log {
    /// Lines about reports that are not believed: a liar may send them at any rate.
    disbelieved: Hush,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            disbelieved: Hush::new("claims that are not believed"),
        }
    }
}

impl Observer for Log {
    fn happened(&self, stamped: &Arc<Stamped>) {
        let is_claim = matches!(stamped.news, News::Disbelieved { .. });
        if !is_claim || self.disbelieved.lets() {
            log(&stamped.news, stamped.gap.map(|gap| gap.length));
        }
    }
}

fn log(news: &News, gap: Option<Duration>) {
    match news {
        News::DeployAccepted { deploy, slot, .. } => {
            info!(deploy = %deploy, slot, "deploy accepted")
        }
        News::RequestRefused { reason, .. } => warn!(reason, "request refused"),
        News::Fenced { slave, .. } => {
            warn!(slave = %format_args!("{slave:.8}"), "slave fenced: dead by the operator's word");
        }
        News::DeployStep { deploy, step } => info!(deploy = %deploy, %step, "deploy step"),
        News::SoakShortened {
            deploy,
            shard,
            per_second,
            asked,
            soak,
        } => warn!(
            deploy = %deploy, %shard, per_second, ?asked, ?soak,
            "the soak is shorter than was asked for: what Discord replays covers no more"
        ),
        News::Migration {
            deploy,
            shard,
            from,
            to,
            epoch,
            phase,
        } => {
            let (from, to) = (format!("{from:.8}"), format!("{to:.8}"));
            // It was never without an owner: it was not sealed.
            let gap = gap.unwrap_or_default();
            match phase {
                MovePhase::Moved => {
                    info!(deploy = %deploy, %shard, from, to, %epoch, ?gap, "shard moved");
                }
                MovePhase::Back => {
                    info!(deploy = %deploy, %shard, from, to, %epoch, ?gap, "shard is back");
                }
                MovePhase::Copying
                | MovePhase::Dialling
                | MovePhase::Sealing
                | MovePhase::Resuming
                | MovePhase::TakingBack => {
                    debug!(deploy = %deploy, %shard, from, to, %epoch, %phase, "shard moves");
                }
            }
        }
        News::DeployEnded {
            deploy,
            outcome,
            moved,
            migrating,
            total,
            losses,
        } => match outcome {
            Outcome::Done if losses.any() => {
                error!(
                    deploy = %deploy, moved, ?migrating, ?total,
                    sessions_lost = losses.sessions, events_given_up = losses.events,
                    "deploy done, and something was lost meanwhile"
                );
            }
            Outcome::Done => info!(deploy = %deploy, moved, ?migrating, ?total, "deploy done"),
            Outcome::Aborted { .. }
            | Outcome::RolledBack { .. }
            | Outcome::Forced { .. }
            | Outcome::HandedOn => {
                warn!(deploy = %deploy, %outcome, moved, ?migrating, ?total, "deploy ended");
            }
        },
        News::SlaveJoined {
            slave,
            build,
            slot,
            back,
        } => info!(slave = %format_args!("{slave:.8}"), build, slot, back, "slave joined"),
        News::SlaveGone { slave, dead, held } => {
            let evidence = dead.map(tracing::field::debug);
            info!(slave = %format_args!("{slave:.8}"), dead = dead.is_some(), evidence, held, "slave gone");
        }
        News::SlaveEnded(death) => ended(death),
        News::ShardServing {
            shard,
            epoch,
            slave,
        } => info!(%shard, %epoch, slave = %format_args!("{slave:.8}"), "shard serves"),
        News::StateLost { shard, slave } => {
            warn!(%shard, slave = %format_args!("{slave:.8}"), "state lost: the bot wants a new session for it");
        }
        News::SessionLost { shard, slave } => {
            error!(%shard, slave = %format_args!("{slave:.8}"), "session lost: a span of events is missing");
        }
        News::EventGivenUp {
            shard,
            sequence,
            events,
            kind,
            guild,
            slave,
            unfinished,
        } => {
            let slave = slave.map(|slave| format!("{slave:.8}"));
            let (kind, slave) = (
                kind.as_deref().unwrap_or("unknown"),
                slave.as_deref().unwrap_or("unknown"),
            );
            error!(
                %shard, %sequence, events, kind, guild = guild.unwrap_or(0), slave,
                unfinished = ?unfinished.unwrap_or_default(),
                "an event is given up: no slave finished it, and Discord no longer replays it"
            );
        }
        News::Launching {
            slot,
            attempt,
            backoff,
        } => info!(slot, attempt, ?backoff, "starting a slave"),
        News::Disbelieved { slave, detail } => {
            warn!(slave = %format_args!("{slave:.8}"), detail, "not believed");
        }
        News::Alarm { detail } => error!(detail, "an operator must act"),
    }
}

/// Its last lines stand in the log already, where they were written.
fn ended(death: &Death) {
    let Death {
        slave,
        slot,
        build,
        pid,
        ..
    } = death;
    let slave = slave.map_or_else(|| "-".to_owned(), |slave| format!("{slave:.8}"));
    let build = build.as_deref().unwrap_or("-");
    if death.ending.is_well() {
        info!(slave, build, slot, pid, how = death.how(), "slave ended");
    } else {
        warn!(slave, build, slot, pid, how = death.told(), "slave ended");
    }
}
