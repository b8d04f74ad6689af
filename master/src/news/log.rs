//! News as lines of the log.

use std::sync::Arc;

use baton_core::event::News;

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
            stamped.meaning().log();
        }
    }
}
