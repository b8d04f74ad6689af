//! What Discord sent, and whom it was handed to.

use baton_discord::Discord;
use baton_slave::Mark;

use super::{Recorder, traffic, until};

/// Session and sequence of every event that Discord has sent, in its order.
pub fn sent(discord: &Discord) -> Vec<(String, u64)> {
    let entries = discord.ledger(0, usize::MAX).into_iter();
    entries
        .filter(|entry| entry.kind.name() != "RESUMED")
        .map(|entry| (entry.session.to_string(), entry.seq))
        .collect()
}

/// Ends the traffic; then each event of every session was handed to one of these, once.
pub async fn all_once(discord: &Discord, bots: &[&Recorder]) {
    traffic(discord, 0.0);
    let sent = || sorted(sent(discord));
    let told = || {
        let told = bots.iter().flat_map(|bot| bot.told());
        sorted(told.map(|told| (told.session, told.sequence)).collect())
    };
    until("every event once", || sent() == told()).await;
}

/// As [`all_once`], and no event had a mark.
pub async fn all_once_unmarked(discord: &Discord, bots: &[&Recorder]) {
    all_once(discord, bots).await;
    let mut told = bots.iter().flat_map(|bot| bot.told());
    assert!(told.all(|told| told.mark == Mark::None));
}

fn sorted(mut events: Vec<(String, u64)>) -> Vec<(String, u64)> {
    events.sort();
    events
}
