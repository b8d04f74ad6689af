//! Times as Discord writes them: `2021-01-01T00:00:00.000000+00:00`, with or without the
//! fraction.

use std::fmt::Write as _;

/// Seconds and, where they are written, microseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Time {
    Micros(u64),
    Seconds(u64),
}

const MICROS: u64 = 1_000_000;
/// 2500-01-01: what fits into 7 and 5 bytes goes further.
const LATEST: u64 = 16_725_225_600;

/// Reads a text that is written back as it is; `None` for everything else.
pub(super) fn read(text: &str) -> Option<Time> {
    let bytes = text.as_bytes();
    if !matches!(bytes.len(), 25 | 32) || bytes[10] != b'T' || !text.ends_with("+00:00") {
        return None;
    }
    let number = |from: usize, digits: usize| {
        let part = &bytes[from..from + digits];
        let all = part.iter().all(u8::is_ascii_digit);
        all.then(|| {
            part.iter()
                .fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'))
        })
    };
    let days = days(number(0, 4)?, number(5, 2)?, number(8, 2)?)?;
    let seconds = days * 86_400 + number(11, 2)? * 3600 + number(14, 2)? * 60 + number(17, 2)?;
    if seconds >= LATEST {
        return None;
    }
    let time = match bytes.len() {
        32 => Time::Micros(seconds * MICROS + number(20, 6)?),
        _ => Time::Seconds(seconds),
    };
    let mut again = String::with_capacity(32);
    write(time, &mut again);
    (again == text).then_some(time)
}

/// Writes it as it was.
pub(super) fn write(time: Time, out: &mut String) {
    let seconds = match time {
        Time::Micros(micros) => micros / MICROS,
        Time::Seconds(seconds) => seconds,
    };
    let (year, month, day) = date(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    // Writing to a text does not fail.
    let _ = write!(
        out,
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"
    );
    if let Time::Micros(micros) = time {
        let _ = write!(out, ".{:06}", micros % MICROS);
    }
    out.push_str("+00:00");
}

const fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

const fn days_before_year(year: u64) -> u64 {
    let past = year - 1;
    past * 365 + past / 4 - past / 100 + past / 400
}

const MONTHS: [u64; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

fn month_length(year: u64, month: u64) -> u64 {
    let leap = u64::from(month == 2 && is_leap(year));
    MONTHS[month as usize - 1] + leap
}

/// Days since 1970.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    if year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let before: u64 = (1..month).map(|earlier| month_length(year, earlier)).sum();
    Some(days_before_year(year) - days_before_year(1970) + before + day - 1)
}

fn date(days: u64) -> (u64, u64, u64) {
    let mut year = 1970 + days / 366;
    let since = |year| days_before_year(year) - days_before_year(1970);
    while since(year + 1) <= days {
        year += 1;
    }
    let mut rest = days - since(year);
    let mut month = 1;
    while rest >= month_length(year, month) {
        rest -= month_length(year, month);
        month += 1;
    }
    (year, month, rest + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_as_it_was_read_and_anything_else_is_no_time() {
        for text in [
            "1970-01-01T00:00:00.000000+00:00",
            "2021-12-31T23:59:59.999999+00:00",
            "2024-02-29T12:00:00+00:00",
            "2000-03-01T00:00:01.000001+00:00",
            "2499-12-31T23:59:59+00:00",
        ] {
            let mut again = String::new();
            write(read(text).expect(text), &mut again);
            assert_eq!(again, text);
        }
        for text in [
            "2021-02-29T00:00:00+00:00",
            "2021-01-01T24:00:00+00:00",
            "2021-01-01T00:00:60+00:00",
            "2021-01-01 00:00:00+00:00",
            "2021-01-01T00:00:00+01:00",
            "2021-01-01T00:00:00.0000+00:00",
            "1969-12-31T23:59:59+00:00",
            "9999-12-31T23:59:59+00:00",
            "",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
        for day in (0..190_000).step_by(97) {
            let (year, month, of_month) = date(day);
            assert_eq!(days(year, month, of_month), Some(day));
        }
    }
}
