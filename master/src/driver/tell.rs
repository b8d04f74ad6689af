//! News: to the observers, and to the askers.

use std::sync::Arc;

use baton_core::event::News;

use super::{Driver, Ending};
use crate::news::{Brought, Stamped};

impl Driver {
    /// Every observer hears of it before whoever asked for it is answered.
    pub(super) fn tell(&mut self, news: News) {
        let mut stamped = Stamped::now(news);
        stamped.gap = self.gaps.ended_by(stamped.at_us, &stamped.news);
        let asked = self.answers.brought_by(&stamped.news);
        stamped.brought = asked.or_else(|| self.goes_on(&stamped.news));
        let stamped = Arc::new(stamped);
        self.observe(|observer| observer.happened(&stamped));
        if let News::Fenced { slave, .. } = &stamped.news {
            // It may be connected and not answer; its end is no news.
            if let Some(link) = self.connections.leave(*slave) {
                link.cut();
            }
            self.supervisor.forget(*slave);
        }
        self.note_rollout(&stamped.news);
        self.answers.told(&stamped.news);
        if self.fail_on_error
            && self.ending.is_none()
            && let Some(wrong) = stamped.meaning().wrong
        {
            self.ending = Some(Ending::Error(wrong));
        }
    }

    /// What a deploy brings that goes on under this master.
    fn goes_on(&self, news: &News) -> Option<Brought> {
        let News::DeployAccepted {
            slot,
            command,
            goes_on: true,
            ..
        } = news
        else {
            return None;
        };
        let before = self.supervisor.command(slot);
        let command = command.clone().or_else(|| before.clone());
        Some(Brought { command, before })
    }
}
