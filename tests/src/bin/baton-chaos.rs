//! The fault matrix, row by row and phase by phase: see [`baton_tests::chaos`].

use std::{
    io::{IsTerminal, Write},
    process::ExitCode,
    sync::Arc,
};

use baton_tests::chaos::{
    deploys,
    phase::Phase,
    report,
    row::Row,
    rows,
    run::{Again, Report, run},
};
use clap::Parser;
use tokio::{sync::Semaphore, task::JoinSet};

/// Starts real fleets under traffic, strikes each at a known phase of a
/// migration, and judges every event.
///
/// Ends with 0 only if every run was clean. A row that could not be run is
/// missing, not clean. The last line of standard output is one JSON object.
#[derive(Parser)]
#[command(name = "chaos", version)]
struct Arguments {
    /// One phase of each row
    #[arg(long)]
    quick: bool,
    /// Only the JSON object
    #[arg(long)]
    json: bool,
    /// Only this row, or those whose name contains this
    #[arg(long, value_name = "NAME")]
    row: Vec<String>,
    /// Only this phase
    #[arg(long, value_name = "M0..M7")]
    phase: Vec<Phase>,
    /// Show the rows and what they are about
    #[arg(long)]
    list: bool,
    /// Seed of traffic and guilds
    #[arg(long, default_value_t = 1, value_name = "N")]
    traffic_seed: u64,
    /// Runs at one time
    #[arg(long, default_value_t = 4, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    jobs: u16,
    /// Seal shards late in every row
    #[arg(long)]
    late_seal: bool,
    /// Only the rows of a fleet of several hosts: agents, hosts that are cut off or lost, leases,
    /// several masters and their store
    #[arg(long)]
    fleet: bool,
    /// An agent launches the slaves in every row, as on another host, and not the master
    #[arg(long)]
    agent: bool,
    /// Instead of the rows: so many deploys in a row, a kill in every second one
    #[arg(long, value_name = "N", conflicts_with_all = ["quick", "row", "phase", "list"])]
    deploys: Option<u32>,
    /// With --deploys: state is in a store, which must end as it began, too
    #[arg(long, requires = "deploys")]
    store: bool,
    /// How often each run is repeated
    #[arg(long, default_value_t = 1, value_name = "N")]
    repeat: u32,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) if error.use_stderr() => {
            let text = error.render().to_string();
            let line = text.split("\n\n").next().unwrap_or_default();
            let line: Vec<&str> = line
                .trim_start_matches("error: ")
                .split_whitespace()
                .collect();
            say(&format!(
                "chaos: {}; see scripts/chaos --help",
                line.join(" ")
            ));
            return ExitCode::from(2);
        }
        // Help and version.
        Err(error) => error.exit(),
    };
    if let Some(count) = arguments.deploys {
        return deploys(&arguments, count).await;
    }
    let chosen = choose(&arguments);
    if arguments.list {
        return list(&chosen);
    }
    if chosen.is_empty() {
        say("chaos: no row is like that; see scripts/chaos --list");
        return ExitCode::from(2);
    }
    let runs = chosen.len() * arguments.repeat as usize;
    let reports = tokio::select! {
        reports = run_all(&arguments, chosen) => reports,
        // Fleets end with their tasks.
        _ = tokio::signal::ctrl_c() => return ExitCode::from(130),
    };
    if !arguments.json {
        let failed: Vec<&Report> = reports.iter().filter(|run| !run.wrong.is_empty()).collect();
        if !failed.is_empty() {
            print("\nwrong:");
        }
        for report in failed {
            print(&report::line(report));
        }
    }
    print(&report::sum(&reports, runs).to_string());
    ExitCode::from(u8::from(!report::is_clean(&reports, runs)))
}

async fn deploys(arguments: &Arguments, count: u32) -> ExitCode {
    let show = |line: &str| {
        if !arguments.json {
            print(line);
        }
    };
    let asked = deploys::Asked {
        seed: arguments.traffic_seed,
        late_seal: arguments.late_seal,
        store: arguments.store,
    };
    let outcome = tokio::select! {
        outcome = deploys::run(count, asked, show) => outcome,
        _ = tokio::signal::ctrl_c() => return ExitCode::from(130),
    };
    match outcome {
        Ok(outcome) => {
            let examples = outcome.findings.examples.iter();
            let examples = examples.filter(|_| !outcome.wrong.is_empty());
            for line in outcome.wrong.iter().chain(examples) {
                show(line);
            }
            print(&outcome.to_json().to_string());
            ExitCode::from(u8::from(!outcome.wrong.is_empty()))
        }
        Err(error) => {
            say(&format!("chaos: {error}"));
            ExitCode::from(1)
        }
    }
}

/// Rows and phases that are asked for.
fn choose(arguments: &Arguments) -> Vec<(Row, Phase)> {
    let all = match arguments.fleet {
        true => rows::of_a_fleet(),
        false => rows::all(),
    };
    // A whole name means that row only.
    let is_whole = |name: &String| all.iter().any(|row| row.name == name.as_str());
    let meant = |row: &Row, name: &String| {
        row.name == name.as_str() || (!is_whole(name) && row.name.contains(name.as_str()))
    };
    let names = &arguments.row;
    let mut chosen = Vec::new();
    for row in &all {
        let is_chosen = match names[..] {
            [] => true,
            _ => names.iter().any(|name| meant(row, name)),
        };
        if !is_chosen {
            continue;
        }
        for phase in row.phases {
            let wanted = match arguments.phase[..] {
                [] => !arguments.quick || (*phase == row.quick && !row.unhurried),
                _ => arguments.phase.contains(phase),
            };
            if wanted {
                chosen.push((*row, *phase));
            }
        }
    }
    chosen
}

fn list(chosen: &[(Row, Phase)]) -> ExitCode {
    let mut rest = chosen;
    while let [(row, _), ..] = rest {
        let count = rest.iter().take_while(|(other, _)| other.name == row.name);
        let phases: Vec<String> = count.map(|(_, phase)| phase.to_string()).collect();
        print(&format!(
            "{:<26} {:<24} {}",
            row.name,
            phases.join(" "),
            row.about
        ));
        rest = &rest[phases.len()..];
    }
    print(&format!("{} runs", chosen.len()));
    ExitCode::SUCCESS
}

async fn run_all(arguments: &Arguments, chosen: Vec<(Row, Phase)>) -> Vec<Report> {
    let again = if arguments.quick {
        Again::No
    } else {
        Again::Deploy
    };
    let room = Arc::new(Semaphore::new(usize::from(arguments.jobs)));
    let mut runs = JoinSet::new();
    for round in 0..arguments.repeat {
        for (row, phase) in &chosen {
            let (mut row, phase, room) = (*row, *phase, Arc::clone(&room));
            row.late |= arguments.late_seal;
            row.agent |= arguments.agent;
            let seed = arguments.traffic_seed.wrapping_add(u64::from(round));
            runs.spawn(async move {
                let _place = room.acquire_owned().await;
                run(&row, phase, seed, again).await
            });
        }
    }
    if !arguments.json {
        print(&report::head());
    }
    let mut reports = Vec::new();
    while let Some(report) = runs.join_next().await {
        match report {
            Ok(report) => {
                if !arguments.json {
                    print(&report::line(&report));
                } else if !report::is_clean(std::slice::from_ref(&report), 1) {
                    say(&report::line(&report));
                }
                reports.push(report);
            }
            Err(error) => say(&format!("chaos: a run ended badly: {error}")),
        }
    }
    reports.sort_by_key(|report| {
        chosen
            .iter()
            .position(|(row, phase)| row.name == report.row && *phase == report.phase)
    });
    reports
}

/// A reader that went away is no reason to panic.
fn print(line: &str) {
    let mut out = std::io::stdout();
    let _ = writeln!(out, "{line}");
    if out.is_terminal() {
        let _ = out.flush();
    }
}

fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
