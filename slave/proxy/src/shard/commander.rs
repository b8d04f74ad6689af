//! How commands go up: in their order, and no more than Discord takes.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use baton_protocol::ShardId;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, sleep_until},
};

use crate::upstream::{CommandRefused, Upstream};

/// Commands that wait, at most. Who sends more is closed with 4008.
const WAITING: usize = 120;
/// Discord counts commands in it.
const WINDOW: Duration = Duration::from_secs(60);
/// Upstream is full: it is asked again after this.
const AGAIN: Duration = Duration::from_millis(250);

/// Starts the task that sends a shard's commands up, at most `limit` a minute. It ends
/// with its senders.
pub(super) fn start(
    shard: ShardId,
    upstream: Arc<dyn Upstream>,
    limit: usize,
) -> mpsc::Sender<String> {
    let (send, commands) = mpsc::channel(WAITING);
    tokio::spawn(carry(shard, upstream, limit, commands));
    send
}

async fn carry(
    shard: ShardId,
    upstream: Arc<dyn Upstream>,
    limit: usize,
    mut commands: mpsc::Receiver<String>,
) {
    let mut sent: VecDeque<Instant> = VecDeque::new();
    while let Some(command) = commands.recv().await {
        if sent.len() == limit
            && let Some(first) = sent.pop_front()
        {
            sleep_until(first + WINDOW).await;
        }
        sent.push_back(Instant::now());
        loop {
            match upstream.command(shard, command.clone()) {
                Ok(()) => break,
                Err(CommandRefused::Full) => sleep(AGAIN).await,
                Err(refused @ CommandRefused::Gone) => {
                    tracing::warn!(%shard, %refused, "a command is dropped");
                    break;
                }
            }
        }
    }
}
