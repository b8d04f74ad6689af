//! What a client of IRC says: one line, taken apart. And the escapes of tags.

/// A line of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    /// In upper case.
    pub(crate) command: String,
    /// All parameters, the trailing one without its colon.
    pub(crate) params: Vec<&'a str>,
}

impl<'a> Line<'a> {
    /// Takes a line apart. `None`: it has no command.
    ///
    /// Tags and a prefix of a client mean nothing to Twitch, but they may be there.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let mut rest = text.trim_end_matches(['\r', '\n']).trim_start();
        for mark in ['@', ':'] {
            if rest.starts_with(mark) {
                rest = rest.split_once(' ')?.1.trim_start();
            }
        }
        let (command, mut rest) = rest.split_once(' ').unwrap_or((rest, ""));
        if command.is_empty() {
            return None;
        }
        let mut params = Vec::new();
        loop {
            rest = rest.trim_start_matches(' ');
            if let Some(trailing) = rest.strip_prefix(':') {
                params.push(trailing);
                break;
            }
            if rest.is_empty() {
                break;
            }
            let (param, more) = rest.split_once(' ').unwrap_or((rest, ""));
            params.push(param);
            rest = more;
        }
        Some(Self {
            command: command.to_ascii_uppercase(),
            params,
        })
    }
}

/// The value of a tag as it is written.
pub(crate) fn escape(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for c in value.chars() {
        match c {
            ';' => escaped.push_str("\\:"),
            ' ' => escaped.push_str("\\s"),
            '\\' => escaped.push_str("\\\\"),
            '\r' => escaped.push_str("\\r"),
            '\n' => escaped.push_str("\\n"),
            _ => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_taken_apart_with_or_without_tags_prefix_and_trailing() {
        let line = Line::parse("@a=b :me!x PrivMsg  #a :hello : world\r\n").unwrap();
        assert_eq!(line.command, "PRIVMSG");
        assert_eq!(line.params, ["#a", "hello : world"]);
        let line = Line::parse("JOIN #a,#b").unwrap();
        assert_eq!(line.params, ["#a,#b"]);
        assert_eq!(Line::parse("PING").unwrap().params, [""; 0]);
        assert_eq!(Line::parse("PING :").unwrap().params, [""]);
    }

    #[test]
    fn what_has_no_command_is_no_line() {
        for text in ["", "\r\n", "   ", "@tags", ":prefix", "@a=b :prefix "] {
            assert_eq!(Line::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn values_of_tags_are_escaped() {
        assert_eq!(escape("a b;c\\d\r\n"), "a\\sb\\:c\\\\d\\r\\n");
    }
}
