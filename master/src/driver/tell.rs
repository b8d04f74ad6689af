//! News: to the observers, and to the askers.

use std::sync::Arc;

use baton_core::event::{News, Outcome};

use super::{Driver, Ending};
use crate::news::{Brought, Stamped};

impl Driver {
    /// Every observer hears of it before whoever asked for it is answered.
    pub(super) fn tell(&mut self, news: News) {
        let mut stamped = Stamped::now(news);
        stamped.gap = self.gaps.ended_by(stamped.at_us, &stamped.news);
        stamped.brought = self.brought_by(&stamped.news);
        let stamped = Arc::new(stamped);
        self.observe(|observer| observer.happened(&stamped));
        self.answer(&stamped.news);
        if self.fail_on_error
            && self.ending.is_none()
            && let Some(wrong) = wrong(&stamped.news)
        {
            self.ending = Some(Ending::Error(wrong));
        }
    }

    /// What the deploy brings that was asked for, if the core took it.
    fn brought_by(&mut self, news: &News) -> Option<Brought> {
        if let News::RequestRefused { request, .. } = news {
            self.roads.remove(request);
        }
        let News::DeployAccepted {
            request: Some(request),
            ..
        } = news
        else {
            return None;
        };
        self.roads.remove(request)
    }

    fn answer(&mut self, news: &News) {
        match news {
            News::DeployAccepted {
                request: Some(request),
                deploy,
                ..
            } => {
                if let Some(answer) = self.deploys.remove(request) {
                    // The asker may be gone.
                    let _ = answer.send(Ok(*deploy));
                }
            }
            News::RequestRefused { request, reason } => {
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
