//! How events come in: as long as there is room for them.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::mpsc,
    time::{Instant, Interval, MissedTickBehavior, interval},
};

use super::{Core, Shard, item::Event};
use crate::upstream::{Begin, Dispatch};

/// Events that are taken in at once.
const AT_ONCE: usize = 64;
/// How often a shard looks after those who are away, and after room that another gave back.
const LOOK: Duration = Duration::from_millis(200);

/// What comes from upstream.
#[derive(Debug)]
pub(crate) enum Fed {
    Begin(Begin),
    Dispatch(Dispatch),
}

/// Takes in what comes until it ends. Then the shard has left.
pub(crate) async fn feed(shard: Arc<Shard>, mut fed: mpsc::Receiver<Fed>, arrived: impl Fn()) {
    let mut batch = Vec::with_capacity(AT_ONCE);
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    'fed: loop {
        tokio::select! {
            count = fed.recv_many(&mut batch, AT_ONCE) => if count == 0 {
                break;
            },
            _ = look.tick() => shard.with(|core| core.tick(Instant::now())),
        }
        for next in batch.drain(..) {
            match next {
                Fed::Begin(begin) => {
                    shard.begin(&begin);
                    arrived();
                }
                Fed::Dispatch(dispatch) => {
                    // Read outside of the lock.
                    let event = Event::read(&dispatch);
                    let has_room = shard.with(|core| {
                        core.push(&dispatch, event);
                        core.has_room(Instant::now())
                    });
                    if !has_room && !wait_for_room(&shard, &fed, &mut look).await {
                        break 'fed;
                    }
                }
            }
        }
    }
    shard.with(Core::leave);
    arrived();
}

/// What follows waits upstream meanwhile. `false`: upstream has left first, so that what
/// follows is for the shard's next owner.
async fn wait_for_room(shard: &Shard, fed: &mpsc::Receiver<Fed>, look: &mut Interval) -> bool {
    while !shard.with(|core| core.has_room(Instant::now())) {
        if fed.is_closed() {
            return false;
        }
        tokio::select! {
            () = shard.room.notified() => {}
            _ = look.tick() => shard.with(|core| core.tick(Instant::now())),
        }
    }
    true
}
