//! Which channels the bot is to be in, and where it is in them.

mod unix;

pub use self::unix::Unix;
