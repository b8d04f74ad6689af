//! Rules that can be broken on purpose, one at a time: `scripts/mutants` does it, to see a
//! test go red. The module `mutants` of each crate that has some is this file.

/// Whether this rule is broken: never, but in a build for `scripts/mutants` that was started
/// with this name. A name that `scripts/mutants.txt` does not have is not compiled.
#[cfg(not(mutants))]
macro_rules! mutant {
    ($name:tt) => {
        cfg!(mutant = $name)
    };
}

#[cfg(mutants)]
macro_rules! mutant {
    ($name:tt) => {
        $crate::mutants::is_asked_for($name)
    };
}

/// Whether `BATON_MUTANT` names this mutant of this crate.
#[cfg(mutants)]
pub(crate) fn is_asked_for(name: &str) -> bool {
    static ASKED: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    let asked = ASKED.get_or_init(|| {
        let asked = std::env::var("BATON_MUTANT").unwrap_or_default();
        let mut names = include_str!("mutants.txt").lines().map(|line| {
            let (name, _) = line.split_once('|').unwrap_or_default();
            name.trim()
        });
        let is_known = asked.is_empty() || names.any(|name| name == asked);
        assert!(
            is_known,
            "BATON_MUTANT={asked:?} is no mutant; scripts/mutants --list shows them"
        );
        asked
    });
    let this = env!("CARGO_PKG_NAME").trim_start_matches("baton-");
    asked.split_once('/') == Some((this, name))
}
