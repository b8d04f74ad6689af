//! Open files: a connection is one, so a fleet of many shards needs many.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::error::{Error, Result};

/// What a process of a fleet has open beside its shards' connections.
const BESIDE: u64 = 256;

/// Lets this process, and those it starts from now on, have as many files open as
/// a fleet of `shards` shards needs: in a deploy the simulated Discord has two
/// connections of a shard.
///
/// # Errors
/// The host allows fewer.
pub fn allow(shards: u32) -> Result<()> {
    let needed = 2 * u64::from(shards) + BESIDE;
    let limit = getrlimit(Resource::Nofile);
    match enough(needed, limit.current, limit.maximum) {
        Enough::Already => Ok(()),
        Enough::With(soft) => {
            let limit = Rlimit {
                current: Some(soft),
                ..limit
            };
            setrlimit(Resource::Nofile, limit)
                .map_err(|error| Error::io("raise the limit of open files")(error.into()))
        }
        Enough::Not(most) => Err(Error::Files {
            shards,
            needed,
            most,
        }),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Enough {
    Already,
    /// With this soft limit.
    With(u64),
    /// At most so many are to be had.
    Not(u64),
}

/// No limit is `None`.
fn enough(needed: u64, soft: Option<u64>, hard: Option<u64>) -> Enough {
    match (soft, hard) {
        (None, _) => Enough::Already,
        (Some(soft), _) if soft >= needed => Enough::Already,
        (Some(_), Some(hard)) if hard < needed => Enough::Not(hard),
        (Some(_), _) => Enough::With(needed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_is_raised_as_far_as_the_hard_one_allows() {
        assert_eq!(enough(2304, Some(20_000), None), Enough::Already);
        assert_eq!(enough(2304, None, None), Enough::Already);
        assert_eq!(enough(2304, Some(1024), Some(4096)), Enough::With(2304));
        assert_eq!(enough(2304, Some(1024), None), Enough::With(2304));
        assert_eq!(enough(2304, Some(1024), Some(1024)), Enough::Not(1024));
    }
}
