//! Programs of the workspace that are run by others.

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
