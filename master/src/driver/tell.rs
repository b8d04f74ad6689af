//! News: to the log, to the observers, and to the askers.

use std::{sync::Arc, time::Duration};

use tracing::{debug, error, info, warn};

use super::{Driver, Ending};
use baton_core::event::{Death, MovePhase, News, Outcome};

/// A piece of news, and its time.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// Microseconds of the host's monotonic clock, the same for every process.
    pub at_us: u64,
    /// What.
    pub news: News,
}

impl Driver {
    pub(super) fn tell(&mut self, news: News) {
        let at_us = monotonic_us();
        let told = Arc::new(Told { at_us, news });
        self.metrics.told(&told);
        let gap = self.history.told(&told);
        if let Some(gap) = gap {
            self.metrics.gap(gap);
        }
        let is_claim = matches!(told.news, News::Disbelieved { .. });
        if !is_claim || self.disbelieved.lets() {
            log(&told.news, gap.map(|gap| gap.length));
        }
        self.answer(&told.news);
        if self.fail_on_error
            && self.ending.is_none()
            && let Some(wrong) = wrong(&told.news)
        {
            self.ending = Some(Ending::Error(wrong));
        }
        // There may be no observer.
        let _ = self.news.send(told);
    }

    /// The asker is answered; the history knows of it by then.
    fn answer(&mut self, news: &News) {
        match news {
            News::DeployAccepted {
                request: Some(request),
                deploy,
                ..
            } => {
                if let Some(brought) = self.roads.remove(request) {
                    self.history.brings(*deploy, brought);
                }
                if let Some(answer) = self.deploys.remove(request) {
                    // The asker may be gone.
                    let _ = answer.send(Ok(*deploy));
                }
            }
            News::RequestRefused { request, reason } => {
                self.roads.remove(request);
                if let Some(answer) = self.deploys.remove(request) {
                    let _ = answer.send(Err(reason.clone()));
                }
                if let Some(answer) = self.requests.remove(request) {
                    let _ = answer.send(Err(reason.clone()));
                }
                if let Some(answer) = self.fences.remove(request) {
                    let _ = answer.send(Err(reason.clone()));
                }
            }
            News::Fenced { request, slave } => {
                // It may be connected and not answer; its end is no news.
                if let Some(link) = self.links.remove(slave) {
                    link.cut();
                }
                self.watches.remove(slave);
                self.told.remove(slave);
                self.dying.remove(slave);
                if let Some(answer) = self.fences.remove(request) {
                    let _ = answer.send(Ok(*slave));
                }
            }
            News::DeployAccepted { request: None, .. }
            | News::DeployStep { .. }
            | News::SoakShortened { .. }
            | News::Migration { .. }
            | News::DeployEnded { .. }
            | News::SlaveJoined { .. }
            | News::SlaveGone { .. }
            | News::SlaveEnded(_)
            | News::ShardServing { .. }
            | News::SessionLost { .. }
            | News::StateLost { .. }
            | News::EventGivenUp { .. }
            | News::Launching { .. }
            | News::Disbelieved { .. }
            | News::Alarm { .. } => {}
        }
    }
}

/// What a developer wants to see before it is healed.
fn wrong(news: &News) -> Option<String> {
    match news {
        News::Alarm { detail } => Some(detail.clone()),
        News::SessionLost { shard, .. } => Some(format!("shard {shard} lost its session")),
        News::StateLost { shard, .. } => Some(format!("shard {shard} lost its state")),
        News::EventGivenUp {
            shard, sequence, ..
        } => Some(format!("event {sequence} of shard {shard} was given up")),
        News::SlaveGone {
            slave,
            dead: true,
            held: held @ 1..,
        } => Some(format!("slave {slave:.8} died with {held} shards")),
        News::DeployEnded {
            outcome, losses, ..
        } => {
            let well = *outcome == Outcome::Done && !losses.any();
            (!well).then(|| format!("the deploy ended: {outcome}{losses}"))
        }
        News::DeployAccepted { .. }
        | News::RequestRefused { .. }
        | News::Fenced { .. }
        | News::DeployStep { .. }
        | News::SoakShortened { .. }
        | News::Migration { .. }
        | News::SlaveJoined { .. }
        | News::SlaveGone { .. }
        | News::SlaveEnded(_)
        | News::ShardServing { .. }
        | News::Disbelieved { .. }
        | News::Launching { .. } => None,
    }
}

/// Microseconds of the host's monotonic clock.
pub fn monotonic_us() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec.cast_unsigned() * 1_000_000 + now.tv_nsec.cast_unsigned() / 1000
}

/// One line of each shard that moved; how it got there is for `debug`.
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
            info!(slave = %format_args!("{slave:.8}"), dead, held, "slave gone");
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
