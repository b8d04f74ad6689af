//! The agents of other hosts: who speaks for which host, and what they say.

use std::time::Duration;

use baton_core::{
    Time,
    event::{AgentIs, Input, News},
};
use baton_protocol::text;
use tokio::time::sleep;
use tracing::info;

use super::Driver;
use crate::{
    notice::{AgentJoining, AgentNotice, Notice},
    supervise::{Missing, Word},
};

/// An agent that lives answers within this time.
const ANSWER: Duration = Duration::from_secs(2);

impl Driver {
    pub(super) fn agent(&mut self, now: Time, notice: AgentNotice) {
        match notice {
            AgentNotice::Joined(joining) => self.agent_joins(now, *joining),
            AgentNotice::Said {
                host,
                link,
                message,
            } => {
                let word = self.supervisor.agent_said(&host, link, message);
                self.hear_agent(now, &host, word);
            }
            AgentNotice::Left { host, link } => {
                if self.supervisor.agent_left(&host, link) {
                    self.agent_is_away(now, &host);
                    if let Some(second) = self.supervisor.second_agent(&host) {
                        self.agent_enters(now, second);
                    }
                }
            }
            AgentNotice::Unanswered { host, link } => {
                if let Some(second) = self.supervisor.second_agent_if(&host, link) {
                    info!(host, "the older connection of its agent answers nothing");
                    self.agent_enters(now, second);
                }
            }
        }
    }

    fn agent_joins(&mut self, now: Time, joining: AgentJoining) {
        let (host, link) = (joining.hello.host.clone(), joining.link.id());
        if let Some(joining) = self.supervisor.agent_joins(joining) {
            self.agent_enters(now, joining);
            return;
        }
        let notices = self.notices.clone();
        tokio::spawn(async move {
            sleep(ANSWER).await;
            let notice = Notice::Agent(AgentNotice::Unanswered { host, link });
            // Fails only when the driver has ended.
            let _ = notices.send(notice).await;
        });
    }

    fn agent_enters(&mut self, now: Time, joining: AgentJoining) {
        let (host, program) = (joining.hello.host.clone(), joining.hello.program.clone());
        let inputs = self.supervisor.agent_enters(joining);
        self.tell(News::AgentJoined {
            host: host.clone(),
            program,
        });
        self.hear(now, inputs);
        let is = AgentIs::Here;
        self.core.handle(now, Input::Agent { host, is });
    }

    fn agent_is_away(&mut self, now: Time, host: &str) {
        let host = host.to_owned();
        self.tell(News::AgentGone { host: host.clone() });
        let is = AgentIs::Away;
        self.core.handle(now, Input::Agent { host, is });
    }

    fn hear_agent(&mut self, now: Time, host: &str, word: Word) {
        let slot = match word {
            Word::Nothing => return,
            Word::Answered => {
                let (host, is) = (host.to_owned(), AgentIs::Here);
                return self.core.handle(now, Input::Agent { host, is });
            }
            Word::Died(slave) => return self.dies(now, slave),
            Word::Asked(slave) => {
                let stands = self.core.stands(slave);
                return self.supervisor.tell_standing(host, stands);
            }
            Word::Started(slot, input) => {
                self.hear(now, input);
                self.know_early(now);
                slot
            }
            Word::Exited(exit) => self.tell_exit(now, exit),
        };
        let next = self.supervisor.launch_next_at(host, &slot);
        self.hear(now, next);
    }

    /// Agents that have been away for too long: an operator hears of each once.
    pub(super) fn miss_agents(&mut self) {
        while let Some(missing) = self.supervisor.agent_missing() {
            let detail = self.is_missing(&missing);
            self.tell(News::Alarm { detail });
        }
    }

    fn is_missing(&self, missing: &Missing) -> String {
        let Missing {
            host,
            away,
            came,
            slaves,
        } = missing;
        let away = text::span(*away);
        let state = match came {
            true => format!("the agent of host {host:?} has been away for {away}"),
            false => format!("no agent of host {host:?} came in {away}"),
        };
        let connected = |slave: &&_| self.connections.get(**slave).is_some();
        let (all, here) = (slaves.len(), slaves.iter().filter(connected).count());
        let means = match (all, here) {
            (0, _) => "Nothing can be started there".to_owned(),
            (all, here) if all == here => format!(
                "Its {all} slaves are connected and go on, and no death there can be known, nor \
                 anything be started"
            ),
            (all, here) => format!(
                "{} of its {all} slaves are not connected either; whether they live is not known, and \
                 their shards wait. If the host is gone, and only then: baton-master fence --host \
                 {host}",
                all - here
            ),
        };
        format!("{state}. {means}. Start it there: baton-master agent --host {host} --join ADDRESS")
    }
}
