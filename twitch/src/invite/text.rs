//! Queries, cookies and HTML.

use std::fmt::Write;

use http::{HeaderMap, header};

/// As it stands in a query.
pub(super) fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            _ => {
                // A string takes everything.
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

/// The parameter of a query, if it is there exactly once and is text.
pub(super) fn parameter(query: &str, name: &str) -> Option<String> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let mut values = pairs
        .filter(|(key, _)| *key == name)
        .map(|(_, value)| value);
    let value = values.next()?;
    match values.next() {
        None => decoded(value),
        Some(_) => None,
    }
}

fn decoded(text: &str) -> Option<String> {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                u8::try_from(16 * digit()? + digit()?).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(out).ok()
}

/// A cookie, if it is there exactly once.
pub(super) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lines = headers.get_all(header::COOKIE).iter();
    let pairs = lines.filter_map(|line| line.to_str().ok());
    let pairs = pairs.flat_map(|line| line.split(';'));
    let pairs = pairs.filter_map(|pair| pair.trim().split_once('='));
    let mut values = pairs
        .filter(|(key, _)| *key == name)
        .map(|(_, value)| value);
    let value = values.next()?;
    values.next().is_none().then_some(value)
}

/// As it stands in HTML, also within quotes.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_read_once_and_as_it_was_written() {
        let query = format!("a={}&b=x+y&c=1&c=2&d=%zz&e=%f&f=%ff", encoded("1 &=+%é"));
        assert_eq!(parameter(&query, "a").as_deref(), Some("1 &=+%é"));
        assert_eq!(parameter(&query, "b").as_deref(), Some("x y"));
        for name in ["c", "d", "e", "f", "g"] {
            assert_eq!(parameter(&query, name), None, "{name}");
        }
    }

    #[test]
    fn a_cookie_is_found_among_others_and_not_believed_if_there_are_two() {
        let mut headers = HeaderMap::new();
        headers.append(
            header::COOKIE,
            http::HeaderValue::from_static("a=1; b=2; c=3"),
        );
        assert_eq!(cookie(&headers, "b"), Some("2"));
        assert_eq!(cookie(&headers, "d"), None);
        headers.append(header::COOKIE, http::HeaderValue::from_static("b=4"));
        assert_eq!(cookie(&headers, "b"), None);
    }

    #[test]
    fn nothing_of_a_text_is_markup() {
        assert_eq!(
            escaped("<a href='\"&\">"),
            "&lt;a href=&#39;&quot;&amp;&quot;&gt;"
        );
    }
}
