//! The new slave of a deploy that is watched: how it ended, and what it said last.

use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use super::{screen::Screen, text};
use crate::{
    admin::client::Events,
    cli::death::{how, last_lines, whose},
};

/// Last words of a slave that ended meanwhile, in lines.
const LINES: usize = 20;

/// How a slave ended is known so soon after it is known to be dead.
const DEATH: Duration = Duration::from_secs(1);

/// The slave that joined last, which a deploy that fails may have failed for; null: there
/// is none, or it has ended.
#[derive(Default)]
pub(super) struct Candidate(Value);

impl Candidate {
    pub(super) fn of(joined: &Value) -> Self {
        Self(joined["slave"].clone())
    }

    pub(super) fn note_end(&mut self, death: &Value) {
        if death["slave"] == self.0 {
            self.0 = Value::Null;
        }
    }

    /// That a slave died ends its deploy at once. How it died is known a moment later.
    pub(super) async fn last_words(&mut self, events: &mut Events, screen: &Screen) {
        let until = Instant::now() + DEATH;
        while !self.0.is_null() {
            let Ok(Some(event)) = timeout_at(until, events.next()).await else {
                return;
            };
            if event["type"] == "slave_ended" {
                self.note_end(&event);
                died(screen, &event);
            }
        }
    }
}

/// A slave ended otherwise than it was told to: how, and what it said last.
pub(super) fn died(screen: &Screen, death: &Value) {
    if death["well"] == true {
        return;
    }
    screen.line(&format!(
        "  {} of slot {} ended: {}",
        whose(death),
        text(&death["slot"]),
        how(death)
    ));
    last_lines(death, LINES)
        .iter()
        .for_each(|line| screen.line(line));
}
