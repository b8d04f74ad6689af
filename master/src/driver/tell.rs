//! News: to the observers, and to the askers.

use std::sync::Arc;

use baton_core::event::{Evidence, News, Outcome};

use super::{Driver, Ending};
use crate::news::Stamped;

impl Driver {
    /// Every observer hears of it before whoever asked for it is answered.
    pub(super) fn tell(&mut self, news: News) {
        let mut stamped = Stamped::now(news);
        stamped.gap = self.gaps.ended_by(stamped.at_us, &stamped.news);
        stamped.brought = self.answers.brought_by(&stamped.news);
        let stamped = Arc::new(stamped);
        self.observe(|observer| observer.happened(&stamped));
        if let News::Fenced { slave, .. } = &stamped.news {
            // It may be connected and not answer; its end is no news.
            if let Some(link) = self.connections.leave(*slave) {
                link.cut();
            }
            self.supervisor.forget(*slave);
        }
        self.answers.told(&stamped.news);
        if self.fail_on_error
            && self.ending.is_none()
            && let Some(wrong) = wrong(&stamped.news)
        {
            self.ending = Some(Ending::Error(wrong));
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
            dead: Some(evidence),
            held: held @ 1..,
        } => Some(match evidence {
            Evidence::Process => format!("slave {slave:.8} died with {held} shards"),
            Evidence::Lease | Evidence::Operator => {
                format!(
                    "slave {slave:.8} had {held} shards, and {}",
                    evidence.told()
                )
            }
        }),
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
