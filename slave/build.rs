//! Weakens one rule where `scripts/mutants` asks for it, to see a test go red.
#![allow(clippy::print_stdout, reason = "cargo listens there")]

const CRATE: &str = "slave";

/// Every `mutant` in `src`.
const MUTANTS: &[&str] = &[
    "ahead-not-held",
    "checkpoint-of-received",
    "close-1000",
    "doubt-not-held",
    "finished-above-ignored",
    "heartbeat-unheeded",
    "identify-unasked",
    "lost-said-complete",
    "marked-after-seal",
    "old-epoch-obeyed",
    "older-term-obeyed",
    "parameters-unchecked",
    "piece-taken-twice",
    "polled-after-close",
    "resumed-at-hello",
    "settled-at-once",
];

fn main() {
    let values: Vec<_> = MUTANTS.iter().map(|name| format!("{name:?}")).collect();
    println!("cargo::rerun-if-env-changed=BATON_MUTANT");
    println!(
        "cargo::rustc-check-cfg=cfg(mutant, values({}))",
        values.join(", ")
    );
    let Ok(asked) = std::env::var("BATON_MUTANT") else {
        return;
    };
    match asked.split_once('/') {
        Some((CRATE, name)) if MUTANTS.contains(&name) => {
            println!("cargo::rustc-cfg=mutant={name:?}");
        }
        // Of the other crate, which knows it.
        Some(("master" | "slave", _)) if !asked.starts_with(CRATE) => {}
        Some(_) | None => println!(
            "cargo::error=BATON_MUTANT={asked:?} is no mutant; there are {}",
            MUTANTS
                .iter()
                .map(|name| format!("{CRATE}/{name}"))
                .collect::<Vec<_>>()
                .join(", ")
        ),
    }
}
