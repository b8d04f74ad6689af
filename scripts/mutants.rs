// The `main` of the build scripts of `master` and `slave`, each of which has a
// CRATE and its MUTANTS.

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
