// The `main` of the build scripts of the crates that have mutants. Each says which CRATE
// it is; the table beside this file has the names.

const TABLE: &str = include_str!("mutants.txt");

fn main() {
    let names: Vec<&str> = TABLE
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split('|').next())
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .collect();
    let own: Vec<String> = names
        .iter()
        .filter_map(|name| name.strip_prefix(CRATE)?.strip_prefix('/'))
        .map(|name| format!("{name:?}"))
        .collect();
    println!("cargo::rerun-if-env-changed=BATON_MUTANT");
    println!(
        "cargo::rustc-check-cfg=cfg(mutant, values({}))",
        own.join(", ")
    );
    let Ok(asked) = std::env::var("BATON_MUTANT") else {
        return;
    };
    if !names.contains(&asked.as_str()) {
        println!(
            "cargo::error=BATON_MUTANT={asked:?} is no mutant; there are {}",
            names.join(", ")
        );
    } else if let Some((CRATE, name)) = asked.split_once('/') {
        println!("cargo::rustc-cfg=mutant={name:?}");
    }
}
