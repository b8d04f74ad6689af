//! Processes that `/proc` does not show to this master, for tests: as if they were
//! another user's, or something were mounted over them.
//!
//! It exists only in builds with debug assertions. There `BATON_HIDDEN=FILE` names
//! a file with one pid a line: while it exists, these are not shown.

use std::io;

/// Whether `_pid` may be looked at.
///
/// # Errors
/// It is hidden.
#[cfg(not(debug_assertions))]
pub(super) const fn check(_pid: u32) -> io::Result<()> {
    Ok(())
}

/// Whether `pid` may be looked at.
///
/// # Errors
/// It is hidden.
#[cfg(debug_assertions)]
pub(super) fn check(pid: u32) -> io::Result<()> {
    #[cfg(test)]
    if tests::is_hidden(pid) {
        return Err(io::ErrorKind::NotFound.into());
    }
    let Some(file) = std::env::var_os("BATON_HIDDEN") else {
        return Ok(());
    };
    let text = std::fs::read_to_string(file).unwrap_or_default();
    if text.lines().any(|line| line.trim() == pid.to_string()) {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use std::{collections::BTreeSet, sync::Mutex};

    static HIDDEN: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

    /// Not shown to this process until it is dropped.
    #[derive(Debug)]
    pub(crate) struct Hidden(u32);

    pub(crate) fn hide(pid: u32) -> Hidden {
        HIDDEN.lock().expect("no test panicked").insert(pid);
        Hidden(pid)
    }

    pub(super) fn is_hidden(pid: u32) -> bool {
        HIDDEN.lock().expect("no test panicked").contains(&pid)
    }

    impl Drop for Hidden {
        fn drop(&mut self) {
            HIDDEN.lock().expect("no test panicked").remove(&self.0);
        }
    }
}
