//! Programs of the workspace that are run by others, and what is left of them.

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Command;

use crate::{
    error::Result,
    process::{clean, command, program},
};

/// As [`command`], run by another program: `wrapper` and its arguments, then the
/// command line itself.
///
/// # Errors
/// It is not built.
pub fn wrapped(wrapper: &[String], name: &str, arguments: &[&str]) -> Result<Command> {
    let Some((outer, first)) = wrapper.split_first() else {
        return command(name, arguments);
    };
    let mut command = Command::new(outer);
    command.args(first).arg(program(name)?).args(arguments);
    clean(&mut command);
    Ok(command)
}

/// Kills every process whose command line holds `text`, but this one.
pub fn kill_all_with(text: &str) {
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return;
    };
    for entry in processes.flatten() {
        let pid = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<i32>().ok());
        let Some(pid) = pid.filter(|pid| pid.cast_unsigned() != std::process::id()) else {
            continue;
        };
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if String::from_utf8_lossy(&line).contains(text)
            && let Some(pid) = Pid::from_raw(pid)
        {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}
