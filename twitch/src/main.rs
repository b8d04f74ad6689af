//! `baton-twitch`: a process of a Twitch fleet that is complete by itself. Its events are JSON
//! lines on standard output. See `baton-twitch --help`.

mod program;

use std::process::ExitCode;

fn main() -> ExitCode {
    let _flush_at_the_end = baton_slave::log::catch_panics();
    match program::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let line = error.to_string();
            let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
            baton_slave::log::line(&format!("baton-twitch: {line}"));
            ExitCode::from(error.exit_code())
        }
    }
}
