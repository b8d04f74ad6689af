//! What a deploy costs, beside its limits: see [`baton_tests::bench`].

use std::{io::Write, path::PathBuf, process::ExitCode};

use baton_tests::bench::{BenchOptions, Part, Results, page, run, table};
use clap::Parser;

/// Measures deploys beside the floor of the same machine, in one run.
///
/// Ends with 1 if a part could not be measured, or a deploy broke a promise; a
/// target that was missed is no failure.
#[derive(Parser)]
#[command(name = "bench", version)]
struct Arguments {
    /// Fewer rows, one run each
    #[arg(long)]
    quick: bool,
    /// One JSON object on the last line, instead of the tables
    #[arg(long)]
    json: bool,
    /// The arithmetic for a large bot, instead of the tables
    #[arg(long, conflicts_with = "json")]
    page: bool,
    /// Only this part; may be given several times
    #[arg(long, value_name = "PART", conflicts_with = "from")]
    part: Vec<Part>,
    /// Measure nothing: show what an earlier run wrote with --json
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let say = |line: &str| {
        let _ = writeln!(std::io::stderr(), "{line}");
    };
    let results = match &arguments.from {
        Some(file) => match read(file) {
            Ok(results) => results,
            Err(why) => {
                say(&format!("bench: {}: {why}", file.display()));
                return ExitCode::from(2);
            }
        },
        None => {
            let options = BenchOptions {
                quick: arguments.quick,
                parts: arguments.part.clone(),
            };
            run(&options, say).await
        }
    };
    let text = if arguments.json {
        serde_json::to_string(&results).unwrap_or_default()
    } else if arguments.page {
        let missing = || "bench: a figure that the page needs was not measured".to_owned();
        page::markdown(&results).unwrap_or_else(missing)
    } else {
        table::markdown(&results)
    };
    let _ = writeln!(std::io::stdout(), "{}", text.trim_end());
    ExitCode::from(u8::from(!results.failures.is_empty()))
}

/// The last line of a run; the lines before are skipped.
fn read(file: &PathBuf) -> Result<Results, String> {
    let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
    let last = text.trim_end().lines().last().unwrap_or_default();
    serde_json::from_str(last).map_err(|error| error.to_string())
}
