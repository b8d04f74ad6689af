//! What a bench ran on.

use std::{fs::File, io::Write, time::Instant};

use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use super::median;
use crate::error::{Error, Result};

/// What it ran on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Machine {
    /// Processors that this process may use.
    pub cores: usize,
    /// The processor's name.
    pub processor: String,
    /// The kernel.
    pub kernel: String,
    /// Until 4 KiB that are added to a file are on the disk: the median.
    pub sync_ms: Option<f64>,
}

impl Machine {
    /// This one.
    #[must_use]
    pub fn here() -> Self {
        let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let name = info
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            processor: name.map_or_else(String::new, |(_, name)| name.to_owned()),
            kernel: rustix::system::uname()
                .release()
                .to_string_lossy()
                .into_owned(),
            sync_ms: syncs().ok().and_then(|ms| median(ms.into_iter())),
        }
    }
}

/// Where the journals of the run are too.
fn syncs() -> Result<Vec<f64>> {
    let folder = TempDir::with_prefix("baton-").map_err(Error::io("make a folder"))?;
    let failed = |error| Error::io("write a file")(error);
    let mut file = File::create(folder.path().join("file")).map_err(failed)?;
    let one = |_| {
        let began = Instant::now();
        file.write_all(&[1; 4096]).map_err(failed)?;
        file.sync_data().map_err(failed)?;
        Ok(began.elapsed().as_secs_f64() * 1000.0)
    };
    (0..50).map(one).collect()
}
