//! Processes that are not shown to this master, for tests: by `/proc`, as if they were another
//! user's, or something were mounted over them; or not by the kernel either, as if they were of
//! another host.
//!
//! It exists only in builds with debug assertions. There `BATON_HIDDEN=FILE` names a file with
//! one pid a line, `PID` or `PID everywhere`: while it exists, these are not shown.

use std::io;

/// Whether `/proc` shows this process.
///
/// # Errors
/// It does not.
pub(super) fn check(pid: u32) -> io::Result<()> {
    #[cfg(test)]
    if tests::is_hidden(pid) {
        return Err(io::ErrorKind::NotFound.into());
    }
    shown(|line| line == pid.to_string())?;
    check_everywhere(pid)
}

/// Whether the kernel shows it.
///
/// # Errors
/// It does not.
pub(super) fn check_everywhere(pid: u32) -> io::Result<()> {
    shown(|line| line == format!("{pid} everywhere"))
}

#[cfg(not(debug_assertions))]
fn shown(_hides: impl Fn(&str) -> bool) -> io::Result<()> {
    Ok(())
}

#[cfg(debug_assertions)]
fn shown(hides: impl Fn(&str) -> bool) -> io::Result<()> {
    let Some(file) = std::env::var_os("BATON_HIDDEN") else {
        return Ok(());
    };
    let text = std::fs::read_to_string(file).unwrap_or_default();
    match text.lines().any(|line| hides(line.trim())) {
        true => Err(io::ErrorKind::NotFound.into()),
        false => Ok(()),
    }
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
