//! What a deploy costs, beside its limits: see [`baton_tests::bench`].

use std::{io::Write, process::ExitCode};

use baton_tests::bench::{BenchOptions, run, table::markdown};
use clap::Parser;

/// Measures deploys beside the floor of the same machine, in one run.
#[derive(Parser)]
#[command(name = "bench", version)]
struct Arguments {
    /// Fewer rows, one run each
    #[arg(long)]
    quick: bool,
    /// One JSON object on the last line, instead of the tables
    #[arg(long)]
    json: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let options = BenchOptions {
        quick: arguments.quick,
    };
    let say = |line: &str| {
        let _ = writeln!(std::io::stderr(), "{line}");
    };
    let results = match run(options, say).await {
        Ok(results) => results,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "bench: {}", error.chain());
            return ExitCode::from(1);
        }
    };
    let text = if arguments.json {
        serde_json::to_string(&results).unwrap_or_default()
    } else {
        markdown(&results)
    };
    let _ = writeln!(std::io::stdout(), "{text}");
    ExitCode::SUCCESS
}
