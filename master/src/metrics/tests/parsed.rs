//! The text as a program reads it.

use std::collections::{BTreeMap, BTreeSet};

/// Every type by name, and every value by name and labels.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    pub(super) types: BTreeMap<String, String>,
    pub(super) values: BTreeMap<String, f64>,
}

impl Parsed {
    /// Reads the text and checks its form: a family has help and a type once, all
    /// its values follow, names say their unit, counts end in `_total`.
    pub(super) fn of(text: &str) -> Self {
        let mut parsed = Self::default();
        let mut helped = BTreeSet::new();
        let mut family = String::new();
        let body = text.strip_suffix("# EOF\n").expect("it ends with # EOF");
        for line in body.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, help) = help.split_once(' ').unwrap();
                assert!(help.len() > 5 && helped.insert(name.to_owned()), "{line}");
            } else if let Some(of) = line.strip_prefix("# TYPE ") {
                let (name, kind) = of.split_once(' ').unwrap();
                assert!(helped.contains(name), "{line}");
                assert!(
                    name.starts_with("baton_") || name.starts_with("process_"),
                    "{line}"
                );
                let before = parsed.types.insert(name.to_owned(), kind.to_owned());
                assert_eq!(before, None, "{line}");
                family = name.to_owned();
            } else if let Some(of) = line.strip_prefix("# UNIT ") {
                let (name, unit) = of.split_once(' ').unwrap();
                assert!(
                    name == family && name.ends_with(&format!("_{unit}")),
                    "{line}"
                );
            } else {
                let (series, value) = line.rsplit_once(' ').unwrap();
                let name = series.split('{').next().unwrap();
                let suffix = name.strip_prefix(&family).expect(line);
                let fits = match parsed.types[&family].as_str() {
                    "counter" => suffix == "_total",
                    "gauge" => suffix.is_empty(),
                    "info" => suffix == "_info",
                    "histogram" => ["_sum", "_count", "_bucket"].contains(&suffix),
                    other => panic!("{other}: {line}"),
                };
                assert!(fits, "{line}");
                let value = value.parse().expect(line);
                let before = parsed.values.insert(series.to_owned(), value);
                assert_eq!(before, None, "{line}");
            }
        }
        parsed
    }

    pub(super) fn value(&self, series: &str) -> f64 {
        let value = self.values.get(series);
        *value.unwrap_or_else(|| panic!("no {series} in {:#?}", self.values.keys()))
    }

    pub(super) fn names(&self, kind: &str) -> Vec<&str> {
        let types = self.types.iter().filter(|(_, of)| *of == kind);
        types.map(|(name, _)| name.as_str()).collect()
    }
}
