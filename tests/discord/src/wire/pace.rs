//! How many commands a client may send in a minute.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

/// Commands of one connection in the last 60 s.
#[derive(Debug)]
pub(crate) struct Commands {
    limit: usize,
    times: VecDeque<Instant>,
}

impl Commands {
    pub(crate) fn new(limit: u32) -> Self {
        Self {
            limit: limit as usize,
            times: VecDeque::new(),
        }
    }

    /// Counts one command; false when it is one too many.
    pub(crate) fn count(&mut self) -> bool {
        let now = Instant::now();
        while self
            .times
            .front()
            .is_some_and(|at| now.duration_since(*at) >= Duration::from_secs(60))
        {
            self.times.pop_front();
        }
        if self.times.len() >= self.limit {
            return false;
        }
        self.times.push_back(now);
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::advance;

    use super::Commands;

    #[tokio::test(start_paused = true)]
    async fn a_hundred_and_twenty_commands_fit_into_a_minute() {
        let mut commands = Commands::new(120);
        for _ in 0..120 {
            assert!(commands.count());
        }
        assert!(!commands.count());
        advance(Duration::from_secs(60)).await;
        assert!(commands.count());
    }
}
