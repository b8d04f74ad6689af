//! What a piece of news means to those who watch, all of it in one arm for each kind: its
//! line of the log, what is counted, whether it is kept for those who were not there, and
//! whether it is something that a developer wants to see before it is healed.

use baton_core::event::{Death, EndedBy, Evidence, MovePhase, News, Outcome, RolloutOutcome};
use baton_protocol::SlaveId;
use tracing::{debug, error, info, warn};

use super::Stamped;

/// See the [module](self).
pub(crate) struct Meaning<'a> {
    line: Box<dyn Fn() + 'a>,
    /// What the metrics count.
    pub(crate) counted: Option<Counted<'a>>,
    /// Whether an operator wants to know it who was not there.
    pub(crate) is_kept: bool,
    /// What went wrong, healed or not, for a developer.
    pub(crate) wrong: Option<String>,
}

/// What is counted.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Counted<'a> {
    Deploy(&'a Outcome),
    SoakShortened,
    SessionLost,
    EventGivenUp,
    Launch,
    Death(EndedBy),
    Disbelieved,
    LeaseOver,
    Alarm,
}

impl<'a> Meaning<'a> {
    /// With this line of the log; nothing else comes of it.
    fn line(line: impl Fn() + 'a) -> Self {
        Self {
            line: Box::new(line),
            counted: None,
            is_kept: false,
            wrong: None,
        }
    }

    fn counted(self, counted: Counted<'a>) -> Self {
        let counted = Some(counted);
        Self { counted, ..self }
    }

    fn counted_if(self, is: bool, counted: Counted<'a>) -> Self {
        if is { self.counted(counted) } else { self }
    }

    fn kept(self) -> Self {
        self.kept_if(true)
    }

    fn kept_if(self, is_kept: bool) -> Self {
        Self { is_kept, ..self }
    }

    fn wrong(self, wrong: Option<String>) -> Self {
        Self { wrong, ..self }
    }

    /// Writes its line.
    pub(super) fn log(&self) {
        (self.line)();
    }
}

impl Stamped {
    /// What it means to each of them.
    pub(crate) fn meaning(&self) -> Meaning<'_> {
        let news = &self.news;
        match news {
            News::DeployAccepted {
                deploy,
                slot,
                goes_on: true,
                ..
            } => {
                let says = "deploy goes on that an earlier master began";
                Meaning::line(move || info!(%deploy, slot, "{says}")).kept()
            }
            News::DeployAccepted { deploy, slot, .. } => {
                Meaning::line(move || info!(%deploy, slot, "deploy accepted")).kept()
            }
            News::RequestRefused { reason, .. } => {
                Meaning::line(move || warn!(reason, "request refused"))
            }
            News::Answered { body, .. } => Meaning::line(move || {
                debug!(bytes = body.len(), "the once-per-bot work answered an operator");
            }),
            News::WasDeaf { shard, slave, deaf } => Meaning::line(move || {
                let deaf = baton_protocol::text::span(*deaf);
                warn!(%shard, slave = short(slave), deaf, "served again: what happened meanwhile never came");
            })
            .kept(),
            News::Fenced { slave, .. } => Meaning::line(move || {
                warn!(slave = short(slave), "slave fenced: dead by the operator's word");
            })
            .kept(),
            News::RolloutEnded {
                outcome,
                reason,
                done,
                left,
            } => Meaning::line(move || {
                let (done, left) = (done.join(", "), left.join(", "));
                match outcome {
                    RolloutOutcome::Done => info!(done, "every slot has the new build"),
                    RolloutOutcome::Stopped => {
                        let reason = reason.as_deref();
                        warn!(reason, done, left, "the deploy of all slots stopped");
                    }
                }
            })
            .kept(),
            News::Arranged {
                order,
                hosts,
                moves,
                ..
            } => Meaning::line(move || {
                let hosts = hosts.join(", ");
                let moves = moves.iter();
                let moves = moves.map(|it| format!("{} to {}", it.shards, it.to));
                let moves = moves.collect::<Vec<_>>().join("; ");
                info!(order, hosts, moves, "where shards are to be was changed");
            })
            .kept(),
            News::DeployStep { deploy, step } => {
                Meaning::line(move || info!(%deploy, %step, "deploy step"))
            }
            News::SoakShortened {
                deploy,
                shard,
                per_second,
                asked,
                soak,
            } => Meaning::line(move || {
                warn!(
                    %deploy, %shard, per_second, ?asked, ?soak,
                    "the soak is shorter than was asked for: what Discord replays covers no more"
                );
            })
            .counted(Counted::SoakShortened)
            .kept(),
            News::Migration {
                deploy,
                shard,
                from,
                to,
                epoch,
                phase,
            } => Meaning::line(move || {
                let (from, to) = (short(from), short(to));
                // It was never without an owner: it was not sealed.
                let gap = self.gap.map(|gap| gap.length).unwrap_or_default();
                // None: it moves to another slot.
                let deploy = deploy.map(tracing::field::display);
                match phase {
                    MovePhase::Moved => info!(deploy, %shard, from, to, %epoch, ?gap, "shard moved"),
                    MovePhase::Back => info!(deploy, %shard, from, to, %epoch, ?gap, "shard is back"),
                    // How it got there is not for everybody.
                    MovePhase::Copying
                    | MovePhase::Dialling
                    | MovePhase::Sealing
                    | MovePhase::Resuming
                    | MovePhase::TakingBack => {
                        debug!(deploy, %shard, from, to, %epoch, %phase, "shard moves");
                    }
                }
            }),
            News::DeployEnded {
                deploy,
                outcome,
                moved,
                migrating,
                total,
                losses,
            } => {
                let ended = Meaning::line(move || match outcome {
                    Outcome::Done if losses.any() => error!(
                        %deploy, moved, ?migrating, ?total,
                        sessions_lost = losses.sessions, events_given_up = losses.events,
                        "deploy done, and something was lost meanwhile"
                    ),
                    Outcome::Done => info!(%deploy, moved, ?migrating, ?total, "deploy done"),
                    Outcome::Aborted { .. }
                    | Outcome::RolledBack { .. }
                    | Outcome::Forced { .. }
                    | Outcome::HandedOn => {
                        warn!(%deploy, %outcome, moved, ?migrating, ?total, "deploy ended");
                    }
                });
                let well = *outcome == Outcome::Done && !losses.any();
                let wrong = || format!("the deploy ended: {outcome}{losses}");
                ended
                    .counted(Counted::Deploy(outcome))
                    .kept()
                    .wrong((!well).then(wrong))
            }
            News::SlaveJoined {
                slave,
                build,
                slot,
                back,
                host,
            } => Meaning::line(move || {
                let host = host.as_deref();
                info!(slave = short(slave), build, slot, host, back, "slave joined");
            })
            .kept_if(!back),
            News::SlaveGone {
                slave, dead, held, ..
            } => {
                let gone = Meaning::line(move || {
                    let evidence = dead.map(tracing::field::debug);
                    let slave = short(slave);
                    info!(slave, dead = dead.is_some(), evidence, held, "slave gone");
                });
                match dead {
                    None => gone.kept_if(*held > 0),
                    // Of a process its end is told, and of the operator's word the fence.
                    Some(evidence) => gone
                        .counted_if(*evidence == Evidence::Lease, Counted::LeaseOver)
                        .kept_if(*evidence == Evidence::Lease)
                        .wrong((*held > 0).then(|| died_with(slave, *evidence, *held))),
                }
            }
            News::SlaveEnded(death) => Meaning::line(move || ended(death))
                .counted(Counted::Death(death.ending))
                .kept(),
            News::AgentJoined { host, program } => {
                Meaning::line(move || info!(host, program, "the agent of a host joined")).kept()
            }
            News::AgentGone { host } => Meaning::line(move || {
                warn!(host, "the agent of a host is away; its slaves go on");
            })
            .kept(),
            News::ShardServing {
                shard,
                epoch,
                slave,
            } => Meaning::line(move || {
                info!(%shard, %epoch, slave = short(slave), "shard serves");
            }),
            News::StateLost { shard, slave } => Meaning::line(move || {
                warn!(%shard, slave = short(slave), "state lost: the bot wants a new session for it");
            })
            .kept()
            .wrong(Some(format!("shard {shard} lost its state"))),
            News::SessionLost { shard, slave } => Meaning::line(move || {
                error!(%shard, slave = short(slave), "session lost: a span of events is missing");
            })
            .counted(Counted::SessionLost)
            .kept()
            .wrong(Some(format!("shard {shard} lost its session"))),
            News::EventGivenUp {
                shard,
                sequence,
                events,
                kind,
                guild,
                slave,
                unfinished,
            } => Meaning::line(move || {
                let kind = kind.as_deref().unwrap_or("unknown");
                let slave = slave.map_or_else(|| "unknown".to_owned(), |slave| short(&slave));
                error!(
                    %shard, %sequence, events, kind, guild = guild.unwrap_or(0), slave,
                    unfinished = ?unfinished.unwrap_or_default(),
                    "an event is given up: no slave finished it, and Discord no longer replays it"
                );
            })
            .counted(Counted::EventGivenUp)
            .kept()
            .wrong(Some(format!("event {sequence} of shard {shard} was given up"))),
            News::Launching {
                slot,
                attempt,
                backoff,
            } => Meaning::line(move || info!(slot, attempt, ?backoff, "starting a slave"))
                .counted(Counted::Launch),
            News::Disbelieved { slave, detail } => {
                Meaning::line(move || warn!(slave = short(slave), detail, "not believed"))
                    .counted(Counted::Disbelieved)
                    .kept()
            }
            News::Alarm { detail } => {
                Meaning::line(move || error!(detail, "an operator must act"))
                    .counted(Counted::Alarm)
                    .kept()
                    .wrong(Some(detail.clone()))
            }
        }
    }
}

/// Its last lines stand in the log already, where they were written.
fn ended(death: &Death) {
    let Death {
        slave,
        slot,
        build,
        pid,
        host,
        ..
    } = death;
    let host = host.as_deref();
    let slave = slave.map_or_else(|| "-".to_owned(), |slave| short(&slave));
    let build = build.as_deref().unwrap_or("-");
    if death.ending.is_well() {
        info!(
            slave,
            build,
            slot,
            host,
            pid,
            how = death.how(),
            "slave ended"
        );
    } else {
        warn!(
            slave,
            build,
            slot,
            host,
            pid,
            how = death.told(),
            "slave ended"
        );
    }
}

fn died_with(slave: &SlaveId, evidence: Evidence, held: usize) -> String {
    match evidence {
        Evidence::Process => format!("slave {slave:.8} died with {held} shards"),
        Evidence::Lease | Evidence::Operator => {
            format!(
                "slave {slave:.8} had {held} shards, and {}",
                evidence.told()
            )
        }
    }
}

/// As a person says it.
fn short(slave: &SlaveId) -> String {
    format!("{slave:.8}")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use baton_core::event::Losses;
    use baton_protocol::{DeployId, ShardId};

    use super::*;

    const SLAVE: SlaveId = SlaveId(1);

    fn meaning_of(news: News) -> (bool, Option<String>) {
        let stamped = Stamped::at(0, news);
        let meaning = stamped.meaning();
        (meaning.is_kept, meaning.wrong)
    }

    fn gone(dead: Option<Evidence>, held: usize) -> News {
        News::SlaveGone {
            slave: SLAVE,
            dead,
            held,
            slot: "main".to_owned(),
            build: "v1".to_owned(),
            pid: 7,
            host: None,
        }
    }

    fn ended(outcome: Outcome, events: u32) -> News {
        News::DeployEnded {
            deploy: DeployId(3),
            outcome,
            moved: 1,
            migrating: Duration::ZERO,
            total: Duration::ZERO,
            losses: Losses {
                sessions: 0,
                events,
            },
        }
    }

    #[test]
    fn whatever_took_something_from_the_bot_is_wrong_and_a_developer_reads_what() {
        let aborted = Outcome::Aborted {
            reason: "by an operator".to_owned(),
        };
        for (news, what) in [
            (
                gone(Some(Evidence::Process), 2),
                "slave 00000000 died with 2 shards",
            ),
            (
                gone(Some(Evidence::Operator), 1),
                "slave 00000000 had 1 shards, and the operator said that it is dead",
            ),
            (
                ended(Outcome::Done, 1),
                "the deploy ended: done, but 1 event was given up",
            ),
            (
                ended(aborted, 0),
                "the deploy ended: aborted before anything moved: by an operator",
            ),
            (
                News::SessionLost {
                    shard: ShardId(4),
                    slave: SLAVE,
                },
                "shard 4 lost its session",
            ),
        ] {
            assert_eq!(meaning_of(news).1.as_deref(), Some(what));
        }
        for news in [
            gone(Some(Evidence::Process), 0),
            gone(None, 2),
            ended(Outcome::Done, 0),
        ] {
            assert_eq!(meaning_of(news.clone()).1, None, "{news:?}");
        }
    }

    #[test]
    fn of_a_slave_that_is_gone_is_kept_what_nothing_else_tells() {
        for (dead, held, is_kept) in [
            (None, 2, true),
            (None, 0, false),
            // Its end is told.
            (Some(Evidence::Process), 2, false),
            // The fence is told.
            (Some(Evidence::Operator), 2, false),
            (Some(Evidence::Lease), 0, true),
        ] {
            assert_eq!(meaning_of(gone(dead, held)).0, is_kept, "{dead:?} {held}");
        }
    }
}
