//! Events that were in doubt as their shard was sealed: the slave said so, in its log.

use std::{fs, path::Path};

use crate::error::{Error, Result};

/// How many events the slaves of a run had in doubt at seals, by the logs in this folder.
///
/// # Errors
/// A log cannot be read.
pub(super) fn at_seals(logs: &Path) -> Result<u64> {
    let read = || format!("read {}", logs.display());
    let mut doubts = 0;
    for entry in fs::read_dir(logs).map_err(Error::io(read()))? {
        let path = entry.map_err(Error::io(read()))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("slave-") {
            let log = fs::read(&path).map_err(Error::io(format!("read {}", path.display())))?;
            doubts += said(&String::from_utf8_lossy(&log));
        }
    }
    Ok(doubts)
}

fn said(log: &str) -> u64 {
    let seals = log.lines().filter(|line| line.contains(" sealed "));
    let counts =
        seals.filter_map(|line| line.split("in_doubt=").nth(1)?.trim().parse::<u64>().ok());
    counts.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_doubt_at_each_seal_is_counted() {
        let log = "INFO shard{shard=2 epoch=1}: sealing: sealed handled=199 in_doubt=0\n\
                   INFO shard{shard=1 epoch=1}: sealing: sealed handled=205 in_doubt=13\n\
                   INFO shard{shard=1 epoch=1}: run: resumes in_doubt=7\n\
                   INFO shard{shard=3 epoch=1}: sealing: sealed handled=214 in_doubt=2\n";
        assert_eq!(said(log), 15);
    }
}
