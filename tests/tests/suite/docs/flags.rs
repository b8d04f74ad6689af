//! Commands that cannot be run in a test: programs, flags and units that they name
//! exist.

use std::{fs, process::Command};

use baton_tests::process::program;

use super::{DOCUMENTS, Kind, of, root};

/// Programs that are not ours, and may be named.
const OTHERS: [&str; 9] = [
    "apt-get",
    "cargo",
    "docker",
    "journalctl",
    "kubectl",
    "loginctl",
    "sudoedit",
    "supervisorctl",
    "systemctl",
];

#[test]
fn commands_that_are_not_run_name_programs_flags_and_units_that_exist() {
    for document in DOCUMENTS {
        for block in of(document, |kind| matches!(kind, Kind::Flags | Kind::Systemd)) {
            let text = block.text.replace("\\\n", " ");
            for line in text.lines().filter(|line| !line.trim().is_empty()) {
                let words: Vec<&str> = line
                    .split_whitespace()
                    .skip_while(|word| *word == "sudo" || word.contains('='))
                    .collect();
                check(&words).unwrap_or_else(|wrong| panic!("{}: `{line}`: {wrong}", block.at));
            }
        }
    }
}

pub(crate) fn check(words: &[&str]) -> Result<(), String> {
    let (name, arguments) = words.split_first().ok_or("no command")?;
    if let Some(script) = name.strip_prefix("scripts/") {
        let text = fs::read_to_string(root().join(name)).map_err(|_| format!("no {script}"))?;
        return flags(arguments, &text);
    }
    let base = name.rsplit('/').next().unwrap_or(name);
    if base.starts_with("baton-") {
        return flags(arguments, &help(base, arguments)?);
    }
    if !OTHERS.contains(name) {
        return Err(format!("{name} is not known here"));
    }
    let units = arguments
        .iter()
        .filter(|word| word.starts_with("baton-master."));
    for unit in units {
        if !root()
            .join("scripts/packaging/systemd")
            .join(unit)
            .is_file()
        {
            return Err(format!("no unit {unit}"));
        }
    }
    Ok(())
}

/// The help of a program, or of the command of it that `arguments` begin with.
fn help(name: &str, arguments: &[&str]) -> Result<String, String> {
    let program = program(name).map_err(|error| error.to_string())?;
    let mut command = Command::new(program);
    if name == "baton-master" {
        let verbs = arguments.iter().take_while(|word| !word.starts_with('-'));
        // Some have commands of their own; a word behind one that has none changes no help.
        command.args(verbs.take(2));
    }
    let output = command.arg("--help").env_clear().output();
    let output = output.map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(format!("{name} has no such command"));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether a help names every flag; what follows `--` is another's.
fn flags(arguments: &[&str], help: &str) -> Result<(), String> {
    let ours = arguments.iter().take_while(|word| **word != "--");
    for word in ours.filter(|word| word.starts_with("--")) {
        let flag = word.split('=').next().unwrap_or(word);
        let known = help
            .split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'))
            .any(|word| word == flag);
        if !known {
            return Err(format!("{flag} is not in the help"));
        }
    }
    Ok(())
}

#[test]
fn a_flag_that_a_program_does_not_know_is_found() {
    assert!(check(&["baton-master", "deploy", "--soak", "1s", "--", "x", "--y"]).is_ok());
    assert!(check(&["baton-master", "deploy", "--soa", "1s"]).is_err());
    assert!(check(&["baton-master", "deply"]).is_err());
    assert!(check(&["scripts/install", "--supervisor"]).is_ok());
    assert!(check(&["systemctl", "stop", "baton-master.timer"]).is_err());
    assert!(check(&["rm", "x"]).is_err());
}
