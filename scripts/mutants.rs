// The `main` of the build scripts of the crates that have mutants. Each says which CRATE
// it is; the table beside this file has the names. With BATON_MUTANTS all of them are
// compiled in, and BATON_MUTANT chooses one when a test is started (`mutant.rs`).

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
    println!("cargo::rerun-if-env-changed=BATON_MUTANTS");
    println!("cargo::rustc-check-cfg=cfg(mutants)");
    println!(
        "cargo::rustc-check-cfg=cfg(mutant, values({}))",
        own.join(", ")
    );
    if std::env::var_os("BATON_MUTANTS").is_some() {
        println!("cargo::rustc-cfg=mutants");
    }
}
