//! How things look to a person: spans of time, ranges of shards, colour.

use std::{
    io::{IsTerminal, stdout},
    time::{Duration, UNIX_EPOCH},
};

use anstyle::{AnsiColor, Style};
use baton_protocol::text::{is_hidden, push_readable};
use serde_json::Value;

/// Colour, on a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Paint {
    /// A terminal that shows colours, without `NO_COLOR`.
    Colour,
    /// A pipe, a file, or a person who wants none.
    Plain,
}

impl Paint {
    /// As standard output wants it.
    pub(super) fn of_stdout() -> Self {
        let said = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let refused = said("NO_COLOR").is_some() || said("TERM").is_some_and(|term| term == "dumb");
        if stdout().is_terminal() && !refused {
            Self::Colour
        } else {
            Self::Plain
        }
    }

    pub(super) fn good(self, text: &str) -> String {
        self.with(AnsiColor::Green.on_default(), text)
    }

    pub(super) fn busy(self, text: &str) -> String {
        self.with(AnsiColor::Yellow.on_default(), text)
    }

    pub(super) fn bad(self, text: &str) -> String {
        self.with(AnsiColor::Red.on_default().bold(), text)
    }

    pub(super) fn strong(self, text: &str) -> String {
        self.with(Style::new().bold(), text)
    }

    pub(super) fn faint(self, text: &str) -> String {
        self.with(Style::new().dimmed(), text)
    }

    fn with(self, style: Style, text: &str) -> String {
        match self {
            Self::Colour => format!("{style}{text}{style:#}"),
            Self::Plain => text.to_owned(),
        }
    }
}

/// A line for a terminal: its colours stay, everything else that is an order to it, or
/// not seen, is written out. A name or a reason from elsewhere, with any content, moves
/// no cursor, sets no title and turns no text around.
pub(super) fn safe(line: &str) -> std::borrow::Cow<'_, str> {
    if !line.chars().any(is_hidden) {
        return line.into();
    }
    let mut safe = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(letter) = rest.chars().next() {
        let colour = colour(rest);
        let taken = colour.map_or(letter.len_utf8(), str::len);
        match (colour, letter) {
            (Some(colour), _) => safe.push_str(colour),
            (None, '\n') => safe.push('\n'),
            (None, letter) => push_readable(&mut safe, letter),
        }
        rest = &rest[taken..];
    }
    safe.into()
}

/// The order for a colour that a text begins with.
fn colour(text: &str) -> Option<&str> {
    let numbers = text.strip_prefix("\u{1b}[")?;
    let end = numbers.find(|letter: char| !(letter.is_ascii_digit() || letter == ';'))?;
    numbers[end..].starts_with('m').then(|| &text[..end + 3])
}

/// Columns of the terminal; a pipe gets lines of any length.
pub(super) fn width() -> usize {
    if stdout().is_terminal()
        && let Ok((columns, _)) = crossterm::terminal::size()
    {
        return usize::from(columns).max(40);
    }
    1000
}

/// How a cell of a [`grid`] looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    Plain,
    Good,
    Busy,
    Bad,
}

/// One cell of a [`grid`].
pub(super) type Cell = (String, Look);

/// Rows below a head, each column as wide as what stands in it. A head that begins
/// with `>` is of a column of numbers. An empty row is left out.
pub(super) fn grid(paint: Paint, head: &[&str], rows: &[Vec<Cell>]) -> Vec<String> {
    let wide = |text: &str| text.chars().count();
    let titles = head.iter().map(|title| title.trim_start_matches('>'));
    let mut widths: Vec<usize> = titles.clone().map(wide).collect();
    for row in rows {
        for (width, (text, _)) in widths.iter_mut().zip(row) {
            *width = wide(text).max(*width);
        }
    }
    let last = head.len().saturating_sub(1);
    let padded = |column: usize, text: &str| match (column == last, head[column].starts_with('>')) {
        (_, true) => format!("{text:>width$}", width = widths[column]),
        (true, false) => text.to_owned(),
        (false, false) => format!("{text:<width$}", width = widths[column]),
    };
    let titles = titles
        .enumerate()
        .map(|(column, title)| padded(column, title));
    let titles = titles.collect::<Vec<_>>().join("  ");
    let rows = rows.iter().map(|row| {
        let cells = row.iter().take(head.len()).enumerate();
        let cells = cells.map(|(column, (text, look))| {
            let text = padded(column, text);
            match look {
                Look::Plain => text,
                Look::Good => paint.good(&text),
                Look::Busy => paint.busy(&text),
                Look::Bad => paint.bad(&text),
            }
        });
        cells.collect::<Vec<_>>().join("  ")
    });
    std::iter::once(paint.faint(&titles)).chain(rows).collect()
}

/// A cell without a colour.
pub(super) fn plain(text: impl Into<String>) -> Cell {
    (text.into(), Look::Plain)
}

/// `0-3, 7` for 0, 1, 2, 3, 7.
pub(super) fn ranges(ascending: &[u64]) -> String {
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for &shard in ascending {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == shard => *last = shard,
            Some(_) | None => ranges.push((shard, shard)),
        }
    }
    let shown = ranges.iter().map(|(first, last)| {
        if first == last {
            first.to_string()
        } else {
            format!("{first}-{last}")
        }
    });
    shown.collect::<Vec<_>>().join(", ")
}

/// [`ranges`], cut off where it gets longer than `width`: how many are missing
/// is said.
pub(super) fn ranges_within(ascending: &[u64], width: usize) -> String {
    let whole = ranges(ascending);
    if whole.len() <= width {
        return whole;
    }
    // The longest beginning that leaves room for the rest to be counted.
    let room = width.saturating_sub(" and 16384 more".len());
    let cut = whole[..room.min(whole.len())].rfind(',').unwrap_or(0);
    let shown = &whole[..cut];
    let last = shown.rsplit([',', '-', ' ']).next().unwrap_or_default();
    let last = last.parse::<u64>().ok();
    let rest = ascending.iter().filter(|shard| Some(**shard) > last);
    let rest = rest.count();
    if shown.is_empty() {
        return format!("{rest} shards");
    }
    format!("{shown} and {rest} more")
}

/// A span in milliseconds, as a person says it.
pub(super) fn span(ms: u64) -> String {
    baton_protocol::text::span(Duration::from_millis(ms))
}

/// A moment by the wall clock, in UTC, to the second; at most the end of the year 9999.
pub(super) fn clock(unix_ms: u64) -> String {
    const LAST: u64 = 253_402_300_799;
    let at = UNIX_EPOCH + Duration::from_secs((unix_ms / 1000).min(LAST));
    humantime::format_rfc3339_seconds(at).to_string()
}

/// Lines of at most `width` characters that are seen, broken at blanks; what goes on is
/// indented. Colours take no place. A word that is longer stays whole.
pub(super) fn wrapped(line: &str, width: usize) -> Vec<String> {
    const INDENT: &str = "    ";
    let seen = |word: &str| {
        let mut escape = false;
        let letters = word.chars().filter(|letter| {
            let shown = !escape && *letter != '\u{1b}';
            escape = (escape || *letter == '\u{1b}') && *letter != 'm';
            shown
        });
        letters.count()
    };
    if seen(line) <= width {
        return vec![line.to_owned()];
    }
    let mut lines = Vec::new();
    let mut now = String::new();
    for word in line.split_inclusive(' ') {
        let room = seen(&now) + seen(word.trim_end()) <= width;
        if !room && !now.trim().is_empty() {
            lines.push(now.trim_end().to_owned());
            now = INDENT.to_owned();
        }
        now.push_str(word);
    }
    lines.push(now);
    lines
}

/// `1 shard`, `2 shards`.
pub(super) fn count(number: u64, what: &str) -> String {
    match number {
        1 => format!("1 {what}"),
        _ => format!("{number} {what}s"),
    }
}

/// What a deploy did to its shards, as the core told it.
pub(super) fn gap(gap: &Value) -> Option<String> {
    let ms = |key: &str| gap[key].as_u64();
    let (p50, p99, most) = (ms("p50_ms")?, ms("p99_ms")?, ms("max_ms")?);
    Some(format!(
        "gap of a shard p50 {}, p99 {}, at most {}",
        span(p50),
        span(p99),
        span(most)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_is_as_wide_as_what_stands_in_it_and_numbers_stand_at_its_end() {
        let rows = [
            vec![plain("one"), plain("7"), plain("x")],
            vec![plain("three"), plain("1024"), plain("y")],
        ];
        assert_eq!(
            grid(Paint::Plain, &["NAME", ">N", "WHAT"], &rows),
            ["NAME      N  WHAT", "one       7  x", "three  1024  y"]
        );
    }

    #[test]
    fn shards_in_a_row_are_one_range() {
        assert_eq!(ranges(&[]), "");
        assert_eq!(ranges(&[5]), "5");
        assert_eq!(ranges(&[0, 1, 2, 7, 9, 10]), "0-2, 7, 9-10");
        let all: Vec<u64> = (0..1024).collect();
        assert_eq!(ranges(&all), "0-1023");
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let odd: Vec<u64> = (0..512).map(|shard| shard * 2 + 1).collect();
        let shown = ranges_within(&odd, 40);
        assert_eq!(shown, "1, 3, 5, 7, 9, 11, 13 and 505 more");
        assert_eq!(ranges_within(&[1, 2, 3], 40), "1-3");
        assert_eq!(ranges_within(&odd, 5), "512 shards");
    }

    #[test]
    fn a_span_is_told_with_what_matters_of_it() {
        let spans = [
            (0, "0 ms"),
            (999, "999 ms"),
            (4_249, "4.2 s"),
            (119_999, "119 s"),
            (120_000, "2 min"),
            (7_500_000, "2 h 05 min"),
            (273_600_000, "3 d 4 h"),
        ];
        for (ms, told) in spans {
            assert_eq!(span(ms), told);
        }
    }

    #[test]
    fn a_moment_is_told_by_the_wall_clock_whatever_it_is() {
        assert_eq!(clock(1_767_323_045_678), "2026-01-02T03:04:05Z");
        assert_eq!(clock(u64::MAX), "9999-12-31T23:59:59Z");
    }

    #[test]
    fn a_long_line_is_broken_at_blanks_and_loses_nothing() {
        let line = Paint::Colour.bad("one two three four five six");
        let lines = wrapped(&line, 12);
        assert_eq!(lines.len(), 4, "{lines:?}");
        assert!(lines[1].starts_with("    three"), "{lines:?}");
        assert_eq!(wrapped("short", 12), ["short"]);
        assert_eq!(
            wrapped("averyverylongword and", 12),
            ["averyverylongword", "    and"]
        );
    }

    #[test]
    fn colours_reach_a_terminal_and_no_other_order_does() {
        let ours = Paint::Colour.bad("wrong:");
        assert_eq!(safe(&ours), ours);
        assert_eq!(safe("two\nlines"), "two\nlines");
        assert_eq!(
            safe("v1\u{1b}[2J\u{1b}]0;x\u{7}\r\u{1b}[1;31mred\u{1b}"),
            "v1\\u001b[2J\\u001b]0;x\\u0007\\u000d\u{1b}[1;31mred\\u001b"
        );
        let json = serde_json::json!({ "build": "\u{9b}2J\u{202e}" }).to_string();
        let read: Value = serde_json::from_str(&safe(&json)).expect("JSON still");
        assert_eq!(read["build"], "\u{9b}2J\u{202e}");
    }

    #[test]
    fn without_colour_a_text_stays_what_it_is() {
        assert_eq!(Paint::Plain.bad("x"), "x");
        assert_ne!(Paint::Colour.bad("x"), "x");
    }
}
