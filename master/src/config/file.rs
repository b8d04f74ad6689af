//! The file: read, and everything that is wrong with it named with its line.

use std::{collections::BTreeMap, fmt, fs, path::Path};

use toml::{
    Spanned,
    de::{DeTable, DeValue, Deserializer, Error as TomlError},
};

use super::{
    options::{Limits, Options},
    origin::Origin,
};
use crate::error::Error;

/// So many mistakes are named at most.
const MOST: usize = 50;

/// A key is meant when it is at least so similar to the one that is written.
const SIMILAR: f64 = 0.75;

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Where it stands, `FILE:LINE`; `None`: not in a file.
    pub place: Option<String>,
    /// What is wrong and what to do, naming the key.
    pub reason: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(f, "{place}: {}", self.reason),
            None => f.write_str(&self.reason),
        }
    }
}

impl Mistake {
    /// What kept a file from being read.
    #[must_use]
    pub fn of(error: &Error) -> Self {
        Self::anywhere(error.line())
    }

    pub(super) fn anywhere(reason: impl Into<String>) -> Self {
        Self {
            place: None,
            reason: reason.into(),
        }
    }
}

/// As a person reads the file; what does not stand in it comes last.
#[must_use]
pub fn in_order(mut mistakes: Vec<Mistake>) -> Vec<Mistake> {
    let line = |mistake: &Mistake| {
        let place = mistake.place.as_deref();
        let line = place.and_then(|place| place.rsplit_once(':')?.1.parse::<usize>().ok());
        line.unwrap_or(usize::MAX)
    };
    mistakes.sort_by_key(line);
    mistakes
}

/// All mistakes as one error: the first, and how many more there are.
pub(super) fn as_error(mistakes: &[Mistake]) -> Error {
    let first = mistakes.first().map(Mistake::to_string);
    let first = first.unwrap_or_else(|| "the configuration is wrong".to_owned());
    Error::Configuration(match mistakes.len().saturating_sub(1) {
        0 => first,
        1 => format!("{first} (and one more mistake: baton-master check-config shows it)"),
        more => format!("{first} (and {more} more mistakes: baton-master check-config shows them)"),
    })
}

/// What the file says; what is wrong is left out and named.
pub(super) fn examine(path: &Path) -> Result<(Options, Vec<Mistake>), Error> {
    let text = fs::read_to_string(path).map_err(|error| {
        Error::Configuration(format!(
            "configuration file {} cannot be read: {error}",
            path.display()
        ))
    })?;
    Ok(parse(&path.display().to_string(), &text))
}

pub(super) fn parse(file: &str, text: &str) -> (Options, Vec<Mistake>) {
    let place = |at: usize| Some(format!("{file}:{}", line(text, at)));
    let mistake = |error: &TomlError, reason: String| Mistake {
        place: place(error.span().map_or(0, |span| span.start)),
        reason,
    };
    let (document, mut broken) = DeTable::parse_recoverable(text);
    broken.sort_by_key(|error| error.span().map(|span| span.start));
    let broken: Vec<Mistake> = broken
        .iter()
        .take(MOST)
        .map(|error| mistake(error, one_line(error.message())))
        .collect();
    let mut found = BTreeMap::new();
    lines(text, "", document.get_ref(), &mut found);
    let origin = Origin::new(file, found);
    let (options, mistakes) = sound(document, origin);
    // What could be read of a broken file tells a command where its master is. What else
    // is wrong with it may only seem so.
    match broken.is_empty() {
        true => (options, mistakes),
        false => (options, broken),
    }
}

/// The document without what is wrong in it, and what that is.
fn sound(mut document: Spanned<DeTable<'_>>, origin: Origin) -> (Options, Vec<Mistake>) {
    let mut mistakes = Vec::new();
    while mistakes.len() < MOST {
        let deserializer = Deserializer::from(document.clone());
        match serde_path_to_error::deserialize::<_, Options>(deserializer) {
            Ok(mut options) => {
                options.origin = origin;
                return (options, mistakes);
            }
            Err(error) => {
                let key = error.path().to_string();
                let reason = reason(&key, error.inner().message());
                mistakes.push(Mistake {
                    place: origin.place(&key),
                    reason,
                });
                // Without it, the next one shows.
                if !remove(document.get_mut(), &key) {
                    break;
                }
            }
        }
    }
    (Options::default(), mistakes)
}

/// From 1.
fn line(text: &str, at: usize) -> usize {
    let before = &text.as_bytes()[..at.min(text.len())];
    1 + before.iter().filter(|byte| **byte == b'\n').count()
}

fn lines(text: &str, above: &str, table: &DeTable<'_>, found: &mut BTreeMap<String, usize>) {
    for (key, value) in table.iter() {
        let name = key.get_ref();
        let path = match above {
            "" => name.to_string(),
            above => format!("{above}.{name}"),
        };
        found.insert(path.clone(), line(text, key.span().start));
        lines_of_value(text, &path, value, found);
    }
}

fn lines_of_value(
    text: &str,
    path: &str,
    value: &Spanned<DeValue<'_>>,
    found: &mut BTreeMap<String, usize>,
) {
    match value.get_ref() {
        DeValue::Table(table) => lines(text, path, table, found),
        DeValue::Array(array) => {
            for (index, item) in array.iter().enumerate() {
                let path = format!("{path}[{index}]");
                found.insert(path.clone(), line(text, item.span().start));
                lines_of_value(text, &path, item, found);
            }
        }
        DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_) => {}
    }
}

/// Takes a key out; `false`: it is not there.
fn remove(table: &mut DeTable<'_>, key: &str) -> bool {
    let end = key.find(['.', '[']).unwrap_or(key.len());
    let (name, rest) = key.split_at(end);
    if rest.is_empty() {
        return table.remove(name).is_some();
    }
    let Some(value) = table.get_mut(name) else {
        return false;
    };
    if remove_below(value.get_mut(), rest) {
        return true;
    }
    table.remove(name).is_some()
}

/// `rest` is `.name...` or `[index]...`.
fn remove_below(value: &mut DeValue<'_>, rest: &str) -> bool {
    if let (DeValue::Table(table), Some(key)) = (&mut *value, rest.strip_prefix('.')) {
        return remove(table, key);
    }
    let index = rest.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    if let (DeValue::Array(array), Some((index, rest))) = (value, index)
        && let Ok(index) = index.parse::<usize>()
        && let Some(item) = array.get_mut(index)
        && !rest.is_empty()
    {
        return remove_below(item.get_mut(), rest);
    }
    false
}

fn one_line(message: &str) -> String {
    message.lines().collect::<Vec<_>>().join("; ")
}

/// What is written is of another kind than what is wanted: what to write instead.
fn in_words(message: &str) -> String {
    let Some((found, wanted)) = message
        .strip_prefix("invalid type: ")
        .or_else(|| message.strip_prefix("invalid value: "))
        .and_then(|rest| rest.split_once(", expected "))
    else {
        return message.to_owned();
    };
    let text = found
        .strip_prefix("string ")
        .map(|text| text.trim_matches('"'));
    let number = found
        .split_once(" `")
        .map(|(_, number)| number.trim_end_matches('`'));
    let is = match (text, number) {
        (Some(text), _) => format!("\"{text}\" is one text"),
        (None, Some(value)) => format!("{value} stands without quotes"),
        (None, None) => format!("it is a {found}"),
    };
    let write = match (wanted, text) {
        ("a sequence", Some(text)) => {
            let words: Vec<_> = text
                .split_whitespace()
                .map(|word| format!("\"{word}\""))
                .collect();
            format!("write its words as a list: [{}]", words.join(", "))
        }
        ("a sequence", None) => "write a list of texts: [\"a\", \"b\"]".to_owned(),
        ("a string" | "path string", _) => match number {
            Some(value) => format!("write it with quotes: \"{value}\""),
            None => "write one text in quotes".to_owned(),
        },
        ("a boolean", _) => "write true or false, without quotes".to_owned(),
        (wanted, _) if wanted.starts_with("a tuple") => {
            "write the first and the last, such as [0, 15]".to_owned()
        }
        ("a map", _) => "write a table, such as { NAME = \"value\" }".to_owned(),
        (wanted, _) if wanted.starts_with(['u', 'i']) => {
            "write a whole number without quotes".to_owned()
        }
        (wanted, _) if wanted.starts_with("struct ") => {
            "write a table: its name in brackets, and its keys below".to_owned()
        }
        (wanted, _) => format!("write {wanted}"),
    };
    format!("{is}; {write}")
}

/// The key and what is wrong with it; for one that does not exist, the one that
/// was meant.
fn reason(path: &str, message: &str) -> String {
    let Some(unknown) = message.strip_prefix("unknown field `") else {
        return match path {
            "" | "." => one_line(message),
            path => format!("{path}: {}", in_words(&one_line(message))),
        };
    };
    // unknown field `a`, expected one of `b`, `c`
    let mut names = unknown.split('`').step_by(2);
    let unknown = names.next().unwrap_or_default();
    let known: Vec<&str> = names.collect();
    let top = !path.contains(['.', '[']);
    if top && Limits::NAMES.contains(&unknown) {
        return format!("unknown key `{unknown}`: it is a limit, write it under [limits]");
    }
    let similar = |name: &&str| strsim::jaro_winkler(unknown, name);
    let nearest = known
        .iter()
        .copied()
        .max_by(|one, other| similar(one).total_cmp(&similar(other)))
        .filter(|name| similar(name) >= SIMILAR);
    match nearest {
        Some(nearest) => format!("unknown key `{unknown}`; did you mean `{nearest}`?"),
        None => format!("unknown key `{unknown}`; known here: {}", known.join(", ")),
    }
}
