//! The text of a file that holds a token: read by masters and by slaves, so said once.

/// The token in the text of a file. The file may hold the token alone, or `KEY=token` as
/// in a file of environment variables (`DISCORD_TOKEN` is looked for first), with quotes,
/// with comments (`#`) and empty lines, with a byte order mark, and with the ends of lines
/// of any system.
///
/// # Errors
/// Why there is no token in it, for a person. The text itself is not in it.
pub fn token_in(bytes: &[u8]) -> Result<String, &'static str> {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Err("it is not UTF-8 text: save it as UTF-8, or with ASCII characters only");
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = text.lines().map(str::trim);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    let (mut named, mut bare) = (Vec::new(), Vec::new());
    for line in lines {
        match pair(line) {
            Some(pair) => named.push(pair),
            None => bare.push(line),
        }
    }
    let discord = named.iter().find(|(key, _)| *key == "DISCORD_TOKEN");
    let value = match (discord, named.as_slice(), bare.as_slice()) {
        (Some((_, value)), _, _) | (None, [(_, value)], []) => *value,
        (None, [], [value]) => *value,
        (None, [], []) => {
            return Err("there is no token in it: put it there, alone in its line");
        }
        (None, _, _) => {
            return Err("it has several lines: keep the token's alone");
        }
    };
    let value = unquoted(value)?;
    let value = value.strip_prefix("Bot ").unwrap_or(value).trim();
    if value.is_empty() {
        return Err("there is no token in it: put it there, alone in its line");
    }
    if !value.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(
            "its token has a blank, or a character that no token has: copy it once more, without \
             what stands around it",
        );
    }
    Ok(value.to_owned())
}

/// `KEY=value`; a token may end with `=` and is no such pair then.
fn pair(line: &str) -> Option<(&str, &str)> {
    let line = line.strip_prefix("export ").unwrap_or(line);
    let (key, value) = line.split_once('=')?;
    let key = key.trim();
    let is_name = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    let named =
        key.bytes().all(is_name) && key.starts_with(|first: char| first.is_ascii_uppercase());
    let padding = value.bytes().all(|byte| byte == b'=') && key != "DISCORD_TOKEN";
    (named && !padding).then_some((key, value.trim()))
}

fn unquoted(value: &str) -> Result<&str, &'static str> {
    for quote in ['"', '\''] {
        if let Some(rest) = value.strip_prefix(quote) {
            return rest
                .strip_suffix(quote)
                .ok_or("its token begins with a quote and does not end with one: take it away");
        }
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_however_it_was_written_down() {
        for text in [
            "abc.DEF-1_2",
            "abc.DEF-1_2\n",
            "  abc.DEF-1_2 \r\n\r\n",
            "\u{feff}abc.DEF-1_2\n",
            "# ours\n\nabc.DEF-1_2\n",
            "\"abc.DEF-1_2\"\n",
            "'abc.DEF-1_2'",
            "DISCORD_TOKEN=abc.DEF-1_2\n",
            "DISCORD_TOKEN = \"abc.DEF-1_2\"\r\n",
            "export DISCORD_TOKEN='abc.DEF-1_2'\n",
            "BOT_TOKEN=abc.DEF-1_2\n",
            "OTHER=1\nDISCORD_TOKEN=abc.DEF-1_2\nMORE=2\n",
            "Bot abc.DEF-1_2",
        ] {
            assert_eq!(
                token_in(text.as_bytes()),
                Ok("abc.DEF-1_2".to_owned()),
                "{text:?}"
            );
        }
        for padded in ["QUJDRA==", "ABCD=", "abc=="] {
            assert_eq!(token_in(padded.as_bytes()), Ok(padded.to_owned()));
        }
    }

    #[test]
    fn what_holds_no_token_is_refused_with_the_reason_and_without_the_text() {
        for (text, reason) in [
            (&b""[..], "no token"),
            (b"# DISCORD_TOKEN=...\n", "no token"),
            (b"DISCORD_TOKEN=\n", "no token"),
            (b"\"s3cret", "quote"),
            (b"s3cret two", "blank"),
            (b"one\ntwo\n", "several lines"),
            (b"A=1\nB=2\n", "several lines"),
            (b"\xff\xfes\0", "UTF-8"),
            (b"s3cr\0et", "character"),
        ] {
            let refused = token_in(text).expect_err("no token");
            assert!(refused.contains(reason), "{refused}");
            assert!(!refused.contains("s3cret"));
        }
    }
}
