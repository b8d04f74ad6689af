//! The master and its command line: see [`baton_master::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    baton_master::cli::main()
}
