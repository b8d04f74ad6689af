//! Numbers that nobody else has.

use std::{
    process,
    time::{SystemTime, UNIX_EPOCH},
};

/// A number that nobody else has. Without random bytes the process and the time are as good,
/// among the processes of one host.
pub(crate) fn unique() -> u128 {
    let mut bytes = [0; 16];
    match getrandom::fill(&mut bytes) {
        Ok(()) => u128::from_le_bytes(bytes),
        Err(_) => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            let now = now.map_or(0, |now| now.as_nanos());
            now << 32 | u128::from(process::id())
        }
    }
}
