//! What an HTTP answer of Discord, or of what stands before it, says to who asked: how long to
//! stay away, and what a person can see of it.

use std::time::Duration;

use serde::Deserialize;

/// Longest time that an answer can ask for: Discord's longest limit is a day's.
pub const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// The part of a body that is shown, in characters.
const SHOWN: usize = 120;

/// The longest wait that an answer names, at most [`LONGEST_WAIT`]: in `Retry-After` or
/// `X-RateLimit-Reset-After`, or as `retry_after` of a JSON body, each in seconds that may
/// have a fraction. `None`: it names none. A date is not understood.
#[must_use]
pub fn retry_after<'a>(
    headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    body: &[u8],
) -> Option<Duration> {
    #[derive(Deserialize)]
    struct Limit {
        retry_after: f64,
    }
    let names = ["retry-after", "x-ratelimit-reset-after"];
    let in_headers = headers.into_iter().filter_map(|(name, value)| {
        let named = names.iter().any(|known| name.eq_ignore_ascii_case(known));
        let value = std::str::from_utf8(value).ok().filter(|_| named)?;
        value.trim().parse::<f64>().ok()
    });
    let in_body = serde_json::from_slice::<Limit>(body).ok();
    in_headers
        .chain(in_body.map(|limit| limit.retry_after))
        .filter(|seconds| seconds.is_finite() && *seconds > 0.0)
        .map(|seconds| {
            let wait = Duration::try_from_secs_f64(seconds);
            wait.map_or(LONGEST_WAIT, |wait| wait.min(LONGEST_WAIT))
        })
        .max()
}

/// The beginning of a body in one line for a person, ` (in brackets)`; empty for an empty one.
#[must_use]
pub fn shown(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(4 * SHOWN)]);
    let words: Vec<_> = text.split_whitespace().collect();
    let line: String = words.join(" ").chars().take(SHOWN).collect();
    match line.is_empty() {
        true => String::new(),
        false => format!(" ({})", line.escape_debug()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limited(headers: &[(&str, &str)], body: &str) -> Option<Duration> {
        let headers = headers
            .iter()
            .map(|(name, value)| (*name, value.as_bytes()));
        retry_after(headers, body.as_bytes())
    }

    #[test]
    fn the_wait_of_an_answer_is_taken_from_header_and_body_in_seconds_with_a_fraction() {
        let seconds = |seconds| Some(Duration::from_secs_f64(seconds));
        assert_eq!(limited(&[("retry-after", "65")], ""), seconds(65.0));
        assert_eq!(limited(&[("Retry-After", "64.57")], "{}"), seconds(64.57));
        assert_eq!(limited(&[], r#"{"retry_after": 2.5}"#), seconds(2.5));
        assert_eq!(
            limited(
                &[("retry-after", "1")],
                r#"{"retry_after": 1.337, "global": true}"#
            ),
            seconds(1.337)
        );
        assert_eq!(
            limited(&[("x-ratelimit-reset-after", "7.5")], ""),
            seconds(7.5)
        );
        assert_eq!(limited(&[("age", "7.5")], ""), None, "another header");
        let page = "<html><title>Error 1015</title>You are being rate limited</html>";
        for odd in [
            "",
            "soon",
            "-1",
            "NaN",
            "inf",
            "Wed, 21 Oct 2015 07:28:00 GMT",
        ] {
            assert_eq!(limited(&[("retry-after", odd)], page), None, "{odd}");
        }
        let most = limited(&[("retry-after", "1e300")], "");
        assert_eq!(most, Some(LONGEST_WAIT), "bounded");
    }
}
