//! Where a shard's state is, and who may write there.
//!
//! ```text
//! DIR/                               0700
//!   shard-3/                         0700
//!     users                          who has it open: a shared lock, and the pid namespace
//!     compact                        somebody asks the owner to compact it
//!     owner-EPOCH-TURN-GENERATION    a claim; the highest one says where the state is
//!     state-EPOCH-RANDOM/            a generation: an environment of the engine
//!     accepted-OFFER                 the next owner will go on where the state is
//!     damaged-TIME-GENERATION/       one that was set aside
//! ```
//!
//! Who claims a shard writes its epoch into the header of the generation that is there, in
//! a transaction. From then on a writer of an earlier epoch finds a later one in each of its
//! own transactions and changes nothing. Nobody has to be told.
//!
//! A former owner that is stopped in the middle of a change holds the engine's lock for as
//! long as it likes. The claimant waits for its patience, then copies the last committed
//! state into a generation of its own and claims that one. The former owner's file has no
//! name any more: when it wakes up it ends its change in a file that nobody reads.
//!
//! Claims need no lock, so that a claimant that is stopped holds up nobody. Each creates its
//! mark first and looks again then, so that of two claimants at least one sees the other:
//! the one with the lower epoch gives way, and the other begins again where that one led.

mod claim;
mod claims;
mod copy;
mod engine;
mod folder;
mod former;
mod generation;
mod lock;
mod users;

pub use self::{
    claim::Found,
    folder::{is_unused, own_folder},
};
pub(crate) use self::{
    claim::{Claimant, Claimed, claim, claim_at_once, move_to_new, receive},
    claims::{Claim, accept, current, damaged, is_accepted, kept},
    folder::{folder, free, mark, shard_folder, shard_of_folder, unmark},
    generation::{Generation, How, Txn, WriteTxn, header},
    users::{is_open, is_open_for},
};
