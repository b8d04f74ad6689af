//! Commands of slots: whether one can be started at all, judged before it has to be; and
//! how a build is named with it. A name is kept as `env BATON_BUILD=NAME` in front of the
//! program: what an operator could have written, so that every master, also an earlier
//! one, starts it right.

use std::{
    env,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// What tells a slave which build it is.
const BUILD: &str = "BATON_BUILD=";

/// A command without `env NAME=VALUE ...` in front of it, and these variables.
#[must_use]
pub fn without_env(command: &[String]) -> (&[String], &[String]) {
    let Some((first, rest)) = command.split_first() else {
        return (command, &[]);
    };
    if first != "env" && first != "/usr/bin/env" {
        return (command, &[]);
    }
    let variable = |word: &String| {
        let name = word.split_once('=').map_or("", |(name, _)| name);
        !name.is_empty() && !name.starts_with('-')
    };
    let variables = rest.iter().take_while(|word| variable(word)).count();
    let (variables, words) = rest.split_at(variables);
    match words.first() {
        Some(program) if !program.starts_with('-') => (words, variables),
        Some(_) | None => (command, &[]),
    }
}

/// The command of a build that is called `name`.
#[must_use]
pub fn named(command: &[String], name: &str) -> Vec<String> {
    let (words, variables) = without_env(command);
    let others = variables.iter().filter(|word| !word.starts_with(BUILD));
    let named = ["env".to_owned(), format!("{BUILD}{name}")];
    named
        .into_iter()
        .chain(others.cloned())
        .chain(words.iter().cloned())
        .collect()
}

/// What the build of a command is called, if its deployer said so.
#[must_use]
pub fn build_of(command: &[String]) -> Option<&str> {
    let (_, variables) = without_env(command);
    variables.iter().find_map(|word| word.strip_prefix(BUILD))
}

/// A command as a person reads it: words with blanks are quoted, and the name of the
/// build stands behind it.
#[must_use]
pub fn shown(command: &[String]) -> String {
    let (words, variables) = without_env(command);
    let build = build_of(command);
    let others = variables.iter().filter(|word| !word.starts_with(BUILD));
    let plain = |word: &String| {
        !word.is_empty()
            && word
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_./:=@%+,".contains(&byte))
    };
    let words = others.chain(words).map(|word| match plain(word) {
        true => word.clone(),
        false => format!("'{}'", printable(word).replace('\'', "'\\''")),
    });
    let words = words.collect::<Vec<_>>().join(" ");
    match build {
        Some(build) => format!("{words} (build {})", printable(build)),
        None => words,
    }
}

/// Control characters escaped.
fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_control() {
            printable.extend(letter.escape_default());
        } else {
            printable.push(letter);
        }
    }
    printable
}

/// Looks the program up as the kernel will: as a path if it has a slash, else
/// in `PATH`. Of `env NAME=VALUE ... PROGRAM` both are looked up.
///
/// # Errors
/// One line that names the program and what is wrong with it.
pub fn check_command(command: &[String]) -> Result<PathBuf, String> {
    let (words, variables) = without_env(command);
    if !variables.is_empty() {
        find(words)?;
    }
    find(command)
}

fn find(command: &[String]) -> Result<PathBuf, String> {
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

/// A command as a person typed it in `folder`, for a master that has a folder of its own:
/// the program gets its whole path, links in it kept.
///
/// # Errors
/// As [`check_command`].
pub fn from_here(mut command: Vec<String>, folder: &Path) -> Result<Vec<String>, String> {
    let at = command.len() - without_env(&command).0.len();
    let Some(word) = command.get_mut(at) else {
        return Err("the command is empty; name a program".to_owned());
    };
    let program = [word.clone()];
    let here = folder.join(&program[0]);
    let found = match (is_program(&here), program[0].contains('/')) {
        (true, true) => here,
        // As for a shell a name is looked for in PATH first.
        (true, false) => find(&program).unwrap_or(here),
        (false, _) => find(&program)?,
    };
    let found = std::path::absolute(folder.join(found))
        .map_err(|error| format!("command `{}`: {error}", program[0]))?;
    *word = match found.to_str() {
        Some(found) => found.to_owned(),
        None => {
            let found = found.display();
            return Err(format!("command `{found}`: its whole path is not UTF-8"));
        }
    };
    Ok(command)
}

/// Refuses a path that means something only in a folder that the master does not know,
/// or that is another one after its next start.
///
/// # Errors
/// One line that names the program.
pub fn whole_path(command: &[String]) -> Result<(), String> {
    match without_env(command).0.first() {
        Some(program) if program.contains('/') && !program.starts_with('/') => Err(format!(
            "command `{program}` is relative to the folder that the master was started in: give \
             its whole path"
        )),
        Some(_) | None => Ok(()),
    }
}

fn is_program(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn a_name_stands_before_the_program_once_and_behind_it_for_a_person() {
        let plain = words("/opt/my-bot --shards 3");
        let first = named(&plain, "v1");
        assert_eq!(first, words("env BATON_BUILD=v1 /opt/my-bot --shards 3"));
        assert_eq!(shown(&first), "/opt/my-bot --shards 3 (build v1)");
        let second = named(&first, "v2");
        assert_eq!(second, words("env BATON_BUILD=v2 /opt/my-bot --shards 3"));
        let other = named(&words("env A=b /opt/my-bot"), "v3");
        assert_eq!(other, words("env BATON_BUILD=v3 A=b /opt/my-bot"));
        assert_eq!(shown(&other), "A=b /opt/my-bot (build v3)");
    }

    #[test]
    fn what_is_no_variable_of_env_is_left_alone() {
        for text in [
            "my-bot A=b",
            "env",
            "env A=b",
            "env -i my-bot",
            "env --help",
        ] {
            assert_eq!(
                without_env(&words(text)),
                (&words(text)[..], &[][..]),
                "{text}"
            );
        }
        assert_eq!(
            shown(&["sh".to_owned(), "-c".to_owned(), "a b\n".to_owned()]),
            "sh -c 'a b\\n'"
        );
    }

    #[test]
    fn the_program_behind_env_is_looked_up_too() {
        assert!(check_command(&words("env BATON_BUILD=v1 true")).is_ok());
        let wrong = check_command(&words("env BATON_BUILD=v1 no-such-bot"));
        assert!(wrong.is_err_and(|reason| reason.contains("no-such-bot")));
    }

    #[test]
    fn a_program_is_the_one_of_the_folder_in_which_it_was_typed() {
        let folder = tempfile::tempdir().unwrap();
        let bot = folder.path().join("sub/my-bot");
        std::fs::create_dir(folder.path().join("sub")).unwrap();
        std::fs::write(&bot, "").unwrap();
        std::fs::set_permissions(&bot, std::fs::Permissions::from_mode(0o755)).unwrap();
        let typed = |program: &str, folder: &Path| {
            from_here(vec![program.to_owned(), "--build".to_owned()], folder)
        };
        let whole = vec![bot.display().to_string(), "--build".to_owned()];
        assert_eq!(
            typed("./my-bot", &folder.path().join("sub")),
            Ok(whole.clone())
        );
        assert_eq!(typed("sub/my-bot", folder.path()), Ok(whole.clone()));
        assert_eq!(
            typed("my-bot", &folder.path().join("sub")),
            Ok(whole.clone())
        );
        assert_eq!(typed(&whole[0], Path::new("/")), Ok(whole));
        assert!(
            typed("sh", folder.path()).unwrap()[0].ends_with("/sh"),
            "in PATH"
        );
        assert!(typed("./other", folder.path()).is_err());
        let variable = from_here(words("env A=b sub/my-bot"), folder.path()).unwrap();
        assert_eq!(variable[..2], words("env A=b")[..]);
        assert_eq!(variable[2], bot.display().to_string());
        assert!(from_here(Vec::new(), folder.path()).is_err());
    }

    #[test]
    fn a_path_that_is_not_whole_is_refused_where_its_folder_is_not_known() {
        let refused = |program: &str| whole_path(&[program.to_owned()]).is_err();
        assert!(whole_path(&words("env A=b ./my-bot")).is_err());
        assert!(refused("./my-bot") && refused("bin/my-bot") && refused("../my-bot"));
        assert!(!refused("/bin/my-bot") && !refused("my-bot"));
    }
}
