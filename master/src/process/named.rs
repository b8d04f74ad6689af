//! Whether a peer may be the process that its hello names. A slave that is killed,
//! or whose death frees shards, is known by that name: no process may give another's.

use baton_protocol::{ProcessIdentity, process::parent_of};

use super::{here::here, watch::is_here};

/// A chain of parents is no longer than this.
const GENERATIONS: usize = 64;

/// The kernel's word for who is at the other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialled {
    /// A process of this host, which dialled the unix socket; `None`: one that is
    /// not seen from our pid namespace.
    Local(Option<u32>),
    /// TCP tells nothing of it.
    Remote,
}

/// Compares the process that a hello names with what the kernel says. `own` is
/// the master's pid.
///
/// # Errors
/// One line for a person: it cannot be that process.
pub fn may_be(process: &ProcessIdentity, dialled: Dialled, own: u32) -> Result<(), String> {
    let here = here().map_err(|error| format!("/proc/self: {error}"))?;
    if !is_here(process, &here) {
        // No process that could be signalled from here.
        return Ok(());
    }
    let pid = process.pid;
    if pid == own {
        return Err(format!("the hello names the master's own process ({pid})"));
    }
    if pid == 1 || descends(own, pid) {
        return Err(format!(
            "the hello names process {pid}, which the master was started by"
        ));
    }
    match dialled {
        Dialled::Remote => Ok(()),
        Dialled::Local(Some(dialler)) if dialler == pid || descends(pid, dialler) => Ok(()),
        Dialled::Local(Some(dialler)) => Err(format!(
            "the hello names process {pid}, and process {dialler} dialled: a slave dials the \
             socket itself, or its parent does"
        )),
        Dialled::Local(None) => Err(format!(
            "the hello names process {pid} of the master's pid namespace, and the process \
             that dialled is in another one"
        )),
    }
}

/// Whether `ancestor` is a parent of `pid`, or a parent of its parent, and so on.
fn descends(pid: u32, ancestor: u32) -> bool {
    let mut child = pid;
    for _ in 0..GENERATIONS {
        match parent_of(child) {
            Ok(parent) if parent == ancestor => return true,
            Ok(0) | Err(_) => return false,
            Ok(parent) => child = parent,
        }
    }
    false
}
