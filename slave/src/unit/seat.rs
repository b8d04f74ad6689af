//! The place of one unit in this process: its orders come here, and what it says goes from
//! here.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use baton_protocol::{
    Epoch, Sequence, SequenceRanges, ShardId, Ticket,
    message::{CarriedEvent, Step},
};
use bytes::Bytes;
use tokio::{
    sync::{Mutex, mpsc},
    time::{Instant, sleep_until},
};

use super::Order;
use crate::{
    shard::{self, Context, FromShard, Left, Said, Turn},
    telemetry::{Position, Standing},
};

/// See the [module](super). What is said at an epoch that is not the unit's newest counts for
/// nothing.
pub struct Seat {
    unit: ShardId,
    instance: u64,
    /// Shared with who watches the task: they outlive its panic.
    orders: Arc<Mutex<mpsc::Receiver<shard::Order>>>,
    /// What is carried out before them, after a panic.
    first: VecDeque<shard::Order>,
    not_before: Option<Instant>,
    say: mpsc::UnboundedSender<FromShard>,
    standing: Standing,
    context: Arc<Context>,
}

/// How a unit begins in the place of one whose task panicked.
#[derive(Debug)]
pub(crate) struct Begins {
    /// Whether it served.
    pub(crate) served: bool,
    pub(crate) not_before: Instant,
    /// What it carries out first.
    pub(crate) orders: Vec<shard::Order>,
}

/// What is left of a seat whose task panicked.
pub(crate) struct Watched {
    unit: ShardId,
    instance: u64,
    orders: Arc<Mutex<mpsc::Receiver<shard::Order>>>,
    say: mpsc::UnboundedSender<FromShard>,
}

impl Seat {
    pub(crate) fn new(
        unit: ShardId,
        instance: u64,
        context: Arc<Context>,
        standing: Standing,
        say: mpsc::UnboundedSender<FromShard>,
        left: Left,
        begins: Option<Begins>,
    ) -> Self {
        let (first, not_before) = match begins {
            Some(begins) => (begins.orders.into(), Some(begins.not_before)),
            None => (VecDeque::new(), None),
        };
        Self {
            unit,
            instance,
            orders: Arc::new(Mutex::new(left.into_orders())),
            first,
            not_before,
            say,
            standing,
            context,
        }
    }

    /// Which unit this is.
    #[must_use]
    pub const fn unit(&self) -> ShardId {
        self.unit
    }

    /// How many units the fleet has; 0 until a master said so.
    #[must_use]
    pub fn units(&self) -> u32 {
        self.context.shard_count()
    }

    /// Whether this process may act for its units: a lease that is over forbids it, until a
    /// leader is heard. Then nothing may be handed out; an [`Order::Seal`] follows.
    #[must_use]
    pub fn may_act(&self) -> bool {
        !self.context.lease.is_shut()
    }

    /// The next order. Survives being cancelled.
    pub async fn order(&mut self) -> Order {
        loop {
            if let Some(until) = self.not_before {
                sleep_until(until).await;
                self.not_before = None;
            }
            let order = match self.first.pop_front() {
                Some(order) => Some(order),
                None => self.orders.lock().await.recv().await,
            };
            // No more orders: the table was full when it wanted this one to end.
            let Some(order) = order else {
                return Order::Leave;
            };
            if let Some(order) = read(order) {
                return order;
            }
        }
    }

    // ---- what it says --------------------------------------------------------

    /// So much of an [`Order::Prepare`] is done: a number that grows while it gets further.
    /// The master gives it time as long as it does.
    pub fn prepares(&self, owner: Epoch, done: u64) {
        self.say(
            owner,
            Said::Prepares {
                copied: owner,
                done,
            },
        );
    }

    /// The answer to [`Order::Prepare`], or why it cannot be.
    pub fn prepared(&self, owner: Epoch, outcome: Result<(), String>) {
        let failed = outcome.err().unwrap_or_default();
        self.say(
            owner,
            Said::Dialled {
                copied: owner,
                failed,
            },
        );
    }

    /// There is a session: from here another process can go on. It is said before
    /// [`serving`](Self::serving).
    pub fn session(&self, epoch: Epoch, ticket: Ticket) {
        self.standing.says_ticket();
        self.say(epoch, Said::Session(Box::new(ticket)));
    }

    /// The unit serves. `went_on`: where another one stopped, or after a connection was lost.
    pub fn serving(&self, epoch: Epoch, went_on: bool) {
        self.say(
            epoch,
            Said::Serving {
                resumed: went_on,
                replayed: 0,
            },
        );
    }

    /// It starts, and gets further.
    pub fn starting(&self, epoch: Epoch) {
        self.progress(epoch, Step::Dialling);
    }

    /// It serves, and has no connection right now.
    pub fn reconnecting(&self, epoch: Epoch) {
        self.progress(epoch, Step::Reconnecting);
    }

    fn progress(&self, epoch: Epoch, step: Step) {
        self.say(
            epoch,
            Said::Progress {
                step,
                replayed: 0,
                refused: String::new(),
            },
        );
    }

    /// The answer to [`Order::Seal`].
    pub fn sealed(&self, epoch: Epoch, ticket: Ticket) {
        self.standing.says_ticket();
        self.say(epoch, Said::Sealed(Box::new(ticket)));
    }

    /// What became of what was running at the seal.
    pub fn settled(&self, epoch: Epoch, unfinished: SequenceRanges, events: Vec<CarriedEvent>) {
        self.say(epoch, Said::Settled { unfinished, events });
    }

    /// It cannot be served here.
    pub fn failed(&self, epoch: Epoch, detail: String) {
        self.say(
            epoch,
            Said::Failed {
                close_code: 0,
                detail,
            },
        );
    }

    /// Where it stands, for the next checkpoint.
    pub fn stands(
        &self,
        epoch: Epoch,
        received: Sequence,
        handled: Sequence,
        finished_above: SequenceRanges,
    ) {
        self.standing.note(Position {
            epoch,
            generation: 0,
            received,
            handled,
            finished_above,
            oldest: None,
        });
    }

    /// Writes to the once-per-bot work. Of no effect while no master listens.
    pub fn write_to_work(&self, epoch: Epoch, body: Bytes) {
        self.say(epoch, Said::Letter(body));
    }

    /// An event was handed out, for what the slave says about itself.
    pub fn counts_handed(&self) {
        self.context.counters.handed.add();
    }

    /// An event is finished; `failed`: its handler panicked.
    pub fn counts_finished(&self, failed: bool) {
        self.context.counters.finished.add();
        if failed {
            self.context.counters.failed.add();
        }
    }

    fn say(&self, epoch: Epoch, said: Said) {
        // The receiver is gone: the process is ending.
        let _ = self.say.send(FromShard {
            shard: self.unit,
            instance: self.instance,
            epoch,
            said,
        });
    }

    /// What is left of it when its task panics.
    pub(crate) fn watched(&self) -> Watched {
        Watched {
            unit: self.unit,
            instance: self.instance,
            orders: self.orders.clone(),
            say: self.say.clone(),
        }
    }
}

impl std::fmt::Debug for Seat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seat")
            .field("unit", &self.unit)
            .finish_non_exhaustive()
    }
}

impl Watched {
    /// Its task panicked.
    pub(crate) fn last_word(self) {
        // Its seat is gone with the task: nobody else has them.
        let Some(orders) = Arc::into_inner(self.orders) else {
            tracing::error!(unit = %self.unit, "the seat of this unit outlived its task");
            return;
        };
        let orders = orders.into_inner();
        let left = Left::of(orders, BTreeMap::new());
        // The receiver is gone: the process is ending.
        let _ = self.say.send(FromShard {
            shard: self.unit,
            instance: self.instance,
            epoch: Epoch(0),
            said: Said::Died(Box::new(left)),
        });
    }
}

/// What it means to a unit; `None`: it is of what only Discord's shards do.
fn read(order: shard::Order) -> Option<Order> {
    Some(match order {
        shard::Order::Turn(turn) => match turn {
            Turn::Start { epoch } => Order::Start { epoch },
            Turn::Resume {
                epoch,
                after,
                ticket,
                care: _,
            } => Order::GoLive {
                epoch,
                after,
                ticket,
            },
            Turn::Seal { epoch, drain, .. } | Turn::SealLate { epoch, drain, .. } => {
                Order::Seal { epoch, drain }
            }
            Turn::Forget { epoch } => Order::Forget { epoch },
            Turn::Leave => Order::Leave,
        },
        shard::Order::Dial { epoch, ticket } => Order::Prepare { epoch, ticket },
        shard::Order::Settled { unfinished, events } => Order::Settled { unfinished, events },
        shard::Order::Letter(body) => Order::Letter(body),
        shard::Order::GiveUpState
        | shard::Order::ServeOn
        | shard::Order::Try { .. }
        | shard::Order::Permit { .. }
        | shard::Order::Copy { .. }
        | shard::Order::CopyHeard { .. }
        | shard::Order::StateIn(_)
        | shard::Order::Overtake { .. } => return None,
    })
}
