//! Text from a peer, as a person may see it: on a terminal a control character is an
//! order, and some of the invisible ones turn around what stands beside them.

use std::{fmt::Write as _, time::Duration};

use crate::{
    discord::SessionParameters,
    message::{Hello, ToMaster},
};

/// Longest reason that a peer gives, in characters; what is longer is cut.
pub const MAX_REASON: usize = 1024;

/// Whether a character is an order to a terminal, or not seen.
#[must_use]
pub fn is_hidden(letter: char) -> bool {
    letter.is_control()
        || matches!(letter,
            '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

/// Appends a character, a hidden one as `\u001b`: as JSON would write it.
pub fn push_readable(text: &mut String, letter: char) {
    if is_hidden(letter) {
        // A string takes everything.
        let _ = write!(text, "\\u{:04x}", u32::from(letter));
    } else {
        text.push(letter);
    }
}

/// A span of time with as much of it as matters to a person: `120 ms`, `4.2 s`, `12 min`,
/// `2 h 05 min`, `3 d 4 h`.
#[must_use]
pub fn span(time: Duration) -> String {
    let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let (seconds, minutes, hours) = (ms / 1000, ms / 60_000, ms / 3_600_000);
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..10_000 => format!("{seconds}.{} s", ms % 1000 / 100),
        10_000..120_000 => format!("{seconds} s"),
        120_000..7_200_000 => format!("{minutes} min"),
        7_200_000..172_800_000 => format!("{hours} h {:02} min", minutes % 60),
        _ => format!("{} d {} h", hours / 24, hours % 24),
    }
}

/// A number of bytes with as much of it as matters to a person: `12 KiB`, `3.4 MiB`,
/// `212 MiB`, `1.5 GiB`.
#[must_use]
pub fn size(bytes: u64) -> String {
    let (unit, name) = match bytes {
        0..1_048_576 => (1 << 10, "KiB"),
        1_048_576..1_073_741_824 => (1 << 20, "MiB"),
        _ => (1 << 30, "GiB"),
    };
    match bytes / unit {
        whole @ 1..100 => format!("{whole}.{} {name}", bytes % unit * 10 / unit),
        whole => format!("{whole} {name}"),
    }
}

/// A text with its hidden characters written out, at most `limit` characters of it.
#[must_use]
pub fn readable(text: &str, limit: usize) -> String {
    let mut readable = String::with_capacity(text.len().min(limit));
    for (at, letter) in text.chars().enumerate() {
        if at == limit {
            readable.push_str("...");
            break;
        }
        push_readable(&mut readable, letter);
    }
    readable
}

/// A JSON text with each escape of half a surrogate pair replaced by that of U+FFFD. No
/// text may hold half a pair, but Discord may send one.
#[must_use]
pub fn without_lone_surrogates(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        out.push_str(before);
        let (half, next) = (surrogate(escape), escape.get(6..).and_then(surrogate));
        let (kept, taken) = match (half, next) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => (&escape[..12], 12),
            (Some(_), _) => ("\\ufffd", 6),
            // `\\` is one escape, so that what follows it is none.
            (None, _) => {
                let taken = escape.chars().take(2).map(char::len_utf8).sum();
                (&escape[..taken], taken)
            }
        };
        out.push_str(kept);
        rest = &escape[taken..];
    }
    out.push_str(rest);
    out
}

/// The surrogate that an escape at the beginning of a text stands for.
fn surrogate(escape: &str) -> Option<u32> {
    let digits = escape.strip_prefix("\\u")?.get(..4)?;
    let code = u32::from_str_radix(digits, 16).ok()?;
    (0xd800..=0xdfff).contains(&code).then_some(code)
}

impl Hello {
    /// Writes out the hidden characters of what a person will read.
    pub fn make_readable(&mut self) {
        let mut parameters = SessionParameters::open(&self.parameters);
        for name in [
            &mut self.slot,
            &mut self.build,
            &mut self.host,
            &mut parameters.encoding,
            &mut parameters.compression,
        ] {
            clean(name);
        }
        self.parameters = parameters.seal();
    }
}

impl ToMaster {
    /// Writes out the hidden characters of the reasons that a slave gives.
    #[must_use]
    pub fn readable(mut self) -> Self {
        #[allow(
            clippy::wildcard_enum_match_arm,
            reason = "most messages hold no text for a person"
        )]
        match &mut self {
            Self::Failed(failed) => clean(&mut failed.detail),
            Self::Progress(progress) => clean(&mut progress.refused),
            Self::Dialled(dialled) => clean(&mut dialled.failed),
            Self::Overtaken(overtaken) => clean(&mut overtaken.failed),
            Self::Pong(pong) => {
                if let Some(store) = &mut pong.store {
                    clean(&mut store.dir);
                    clean(&mut store.held_up_by);
                }
                if let Some(clients) = &mut pong.clients {
                    clients.texts().into_iter().for_each(clean);
                }
                if let Some(sink) = &mut pong.sink {
                    sink.texts().into_iter().for_each(clean);
                }
            }
            _ => {}
        }
        self
    }
}

/// Writes out the hidden characters of a text, and cuts it.
pub(crate) fn clean(text: &mut String) {
    if text.chars().any(is_hidden) || text.len() > MAX_REASON {
        *text = readable(text, MAX_REASON);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{
        Behind, Clients, Dialled, Failed, Library, Overtaken, Pong, Refusals, SinkReport, StoreRoom,
    };

    #[test]
    fn what_orders_a_terminal_about_or_is_not_seen_is_written_out() {
        let text = "v2\u{1b}]0;owned\u{7}\r\n\u{9b}2J \u{202e}live\u{200b} \u{e9}\u{1f980}";
        assert_eq!(
            readable(text, 100),
            "v2\\u001b]0;owned\\u0007\\u000d\\u000a\\u009b2J \\u202elive\\u200b \u{e9}\u{1f980}"
        );
        assert_eq!(readable("four", 3), "fou...");
    }

    #[test]
    fn half_a_surrogate_pair_is_replaced_and_everything_else_stays() {
        let same = r#"{"d":"\\ud83d \ud83d\ude00 \n é \""}"#;
        assert_eq!(without_lone_surrogates(same), same);
        let halves = r#"{"d":"\ud83d x \ude00\ud83d"}"#;
        let whole = r#"{"d":"\ufffd x \ufffd\ufffd"}"#;
        assert_eq!(without_lone_surrogates(halves), whole);
        let cut = r#"\ud8"#;
        assert_eq!(without_lone_surrogates(cut), cut);
    }

    fn of_store(dir: String, held_up_by: String) -> ToMaster {
        ToMaster::Pong(Pong {
            store: Some(Box::new(StoreRoom {
                dir,
                held_up_by,
                ..StoreRoom::default()
            })),
            ..Pong::default()
        })
    }

    fn of_clients(clients: Clients) -> ToMaster {
        ToMaster::Pong(Pong {
            clients: Some(Box::new(clients)),
            ..Pong::default()
        })
    }

    fn of_sink(broker: String, reason: String) -> ToMaster {
        ToMaster::Pong(Pong {
            sink: Some(Box::new(SinkReport {
                broker,
                reason,
                ..SinkReport::default()
            })),
            ..Pong::default()
        })
    }

    #[test]
    fn sizes_are_said_with_what_matters_of_them() {
        let cases = [
            (0, "0 KiB"),
            (1500, "1.4 KiB"),
            (64 << 20, "64.0 MiB"),
            (220 << 20, "220 MiB"),
            (3 << 29, "1.5 GiB"),
            (u64::MAX, "17179869183 GiB"),
        ];
        for (bytes, said) in cases {
            assert_eq!(size(bytes), said);
        }
    }

    #[test]
    fn every_text_that_a_slave_gives_a_person_is_made_readable() {
        let bad = || "a\u{1b}[2J".to_owned();
        let good = "a\\u001b[2J";
        let mut hello = Hello {
            slot: bad(),
            build: bad(),
            parameters: SessionParameters {
                encoding: bad(),
                compression: bad(),
                ..SessionParameters::default()
            }
            .seal(),
            ..Hello::default()
        };
        hello.make_readable();
        let parameters = SessionParameters::open(&hello.parameters);
        for text in [
            &hello.slot,
            &hello.build,
            &parameters.encoding,
            &parameters.compression,
        ] {
            assert_eq!(text, good);
        }
        for message in [
            ToMaster::Failed(Failed {
                detail: bad(),
                ..Failed::default()
            }),
            ToMaster::Dialled(Dialled {
                failed: bad(),
                ..Dialled::default()
            }),
            ToMaster::Overtaken(Overtaken {
                failed: bad(),
                ..Overtaken::default()
            }),
            of_store(bad(), String::new()),
            of_store(String::new(), bad()),
            of_sink(bad(), String::new()),
            of_sink(String::new(), bad()),
            of_clients(Clients {
                address: bad(),
                ..Clients::default()
            }),
            of_clients(Clients {
                libraries: vec![Library {
                    name: bad(),
                    clients: 1,
                }],
                ..Clients::default()
            }),
            of_clients(Clients {
                behind: vec![Behind {
                    library: bad(),
                    ..Behind::default()
                }],
                ..Clients::default()
            }),
            of_clients(Clients {
                behind: vec![Behind {
                    mirror: bad(),
                    ..Behind::default()
                }],
                ..Clients::default()
            }),
            of_clients(Clients {
                refused: vec![Refusals {
                    reason: bad(),
                    ..Refusals::default()
                }],
                ..Clients::default()
            }),
        ] {
            let shown = format!("{:?}", message.readable());
            assert!(
                !shown.contains("\\u{1b}") && shown.contains("u001b"),
                "{shown}"
            );
        }
        let long = ToMaster::Failed(Failed {
            detail: "x".repeat(1 << 20),
            ..Failed::default()
        });
        let ToMaster::Failed(failed) = long.readable() else {
            panic!("another message");
        };
        assert_eq!(failed.detail.len(), MAX_REASON + 3);
    }
}
