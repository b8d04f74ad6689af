//! Whether a command can be started at all, judged before it has to be.

use std::{
    env,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// Looks the program up as the kernel will: as a path if it has a slash, else
/// in `PATH`.
///
/// # Errors
/// One line that names the program and what is wrong with it.
pub fn check_command(command: &[String]) -> Result<PathBuf, String> {
    let Some(program) = command.first().filter(|program| !program.is_empty()) else {
        return Err("the command is empty; name a program".to_owned());
    };
    if program.contains('/') {
        let path = PathBuf::from(program);
        return match path.metadata() {
            Err(error) => Err(format!("command `{program}`: {error}")),
            Ok(_) if !is_program(&path) => Err(format!(
                "command `{program}` is not an executable file; chmod +x it or name another"
            )),
            Ok(_) => Ok(path),
        };
    }
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .map(|dir| dir.join(program))
        .find(|file| is_program(file))
        .ok_or_else(|| format!("command `{program}` is not found in PATH; give its whole path"))
}

fn is_program(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}
