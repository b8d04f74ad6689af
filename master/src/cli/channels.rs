//! `baton-master channels`: which channels of Twitch the bot is to be in.
//!
//! The once-per-bot work knows them, wherever it runs: the master hands the question on and
//! prints what it answers.

use std::{fmt::Write as _, str::FromStr, time::SystemTime};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{OperatorArguments, say};
use crate::error::{EXIT_DONE, EXIT_FAILED, Error};

#[derive(Debug, Args)]
pub(super) struct ChannelsArguments {
    #[command(flatten)]
    operator: OperatorArguments,
    /// The answer as one JSON object
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show the channels: whether each is wanted, authorised and joined, and why not
    List,
    /// Show which unit has channels
    Where(Names),
    /// Have the bot be in channels
    ///
    /// Ends with 1 unless every one is resolved (it is joined next) or ignored (it is joined).
    Join(Joining),
    /// Have the bot leave channels
    Part(Names),
    /// Allow the bot to be in channels, as a broadcaster does on the invite page
    Authorise(Joining),
    /// Take that back: the bot leaves them
    Revoke(Names),
    /// Say that channels are alive: what nobody acknowledges for a week is left
    Acknowledge(Names),
    /// Have the bot say something in a channel
    ///
    /// It is said within 30 s, when its turn comes, or not at all.
    Say {
        /// Login of the broadcaster
        channel: String,
        /// What it says, on one line
        text: String,
        /// How it goes to Twitch, where that is not the usual way
        #[arg(long, value_name = "helix|irc", value_parser = ["helix", "irc"])]
        by: Option<String>,
        /// The id of the message that it answers
        #[arg(long, value_name = "ID")]
        reply_to: Option<String>,
        /// What has the same id is said once [default: another one each time]
        #[arg(long)]
        id: Option<String>,
    },
    /// Write a line of IRC as it is, on the connection that is in a channel
    ///
    /// Messages, joins and parts have words of their own.
    Write {
        /// Login of the broadcaster
        channel: String,
        /// The line
        line: String,
    },
    /// Show the units, or say how many shards the conduit is to have
    ///
    /// A number holds until `auto` is said: then it follows the channels again. With IRC it
    /// always does, and cannot be given.
    Units {
        /// So many units serve, at most the master's shard_count; or auto
        #[arg(value_name = "N|auto")]
        number: Option<Number>,
    },
}

/// How many units there are to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Number {
    /// As many as the channels need.
    Auto,
    /// So many, until somebody says otherwise.
    Held(u32),
}

impl FromStr for Number {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(units) if units > 0 => Ok(Self::Held(units)),
            _ if text == "auto" => Ok(Self::Auto),
            Ok(_) | Err(_) => Err("give a number above 0, or auto".to_owned()),
        }
    }
}

#[derive(Debug, Args)]
struct Names {
    /// Logins of the broadcasters
    #[arg(value_name = "CHANNEL", required = true)]
    channels: Vec<String>,
}

#[derive(Debug, Args)]
struct Joining {
    #[command(flatten)]
    names: Names,
    /// Read them by this account, and not by the usual one
    #[arg(long, value_name = "LOGIN")]
    account: Option<String>,
}

impl Verb {
    fn question(self) -> Value {
        let of = |verb: &str, names: Names, account: Option<String>| json!({ "verb": verb, "channels": names.channels, "account": account });
        match self {
            Self::List => json!({ "verb": "list" }),
            Self::Where(names) => of("where", names, None),
            Self::Join(joining) => of("join", joining.names, joining.account),
            Self::Part(names) => of("part", names, None),
            Self::Authorise(joining) => of("authorise", joining.names, joining.account),
            Self::Revoke(names) => of("revoke", names, None),
            Self::Acknowledge(names) => of("acknowledge", names, None),
            Self::Say {
                channel,
                text,
                by,
                reply_to,
                id,
            } => json!({
                "verb": "say",
                "channels": [channel],
                "text": text,
                "by": by,
                "reply_to": reply_to,
                "id": id.unwrap_or_else(another),
            }),
            Self::Write { channel, line } => {
                json!({ "verb": "write", "channels": [channel], "line": line })
            }
            Self::Units { number: None } => json!({ "verb": "units" }),
            Self::Units {
                number: Some(Number::Auto),
            } => json!({ "verb": "units", "auto": true }),
            Self::Units {
                number: Some(Number::Held(units)),
            } => json!({ "verb": "units", "units": units }),
        }
    }
}

/// An id that nobody has given.
fn another() -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = now.unwrap_or_default().as_nanos();
    format!("cli-{}-{now}", std::process::id())
}

pub(super) async fn run(arguments: ChannelsArguments) -> Result<u8, Error> {
    let client = arguments.operator.client()?;
    let mut question = arguments.verb.question();
    let mut rows: Vec<Value> = Vec::new();
    let answer = loop {
        let mut answer = client.post("/v1/work", question.clone()).await?;
        if let Some(error) = answer["error"].as_str() {
            return Err(Error::Failed(error.to_owned()));
        }
        // A list comes in pages.
        if let Some(page) = answer["channels"].as_array_mut() {
            rows.append(page);
        }
        match answer["after"].is_string() {
            true => question["after"] = answer["after"].take(),
            false => break answer,
        }
    };
    if !answer["units"].is_null() {
        say(&match arguments.json {
            true => answer.to_string(),
            false => units(&answer),
        });
        return Ok(EXIT_DONE);
    }
    if arguments.json {
        say(&json!({ "channels": rows }).to_string());
    } else {
        say(table(&rows).trim_end());
    }
    let refused = |row: &Value| {
        matches!(
            row["answer"].as_str(),
            Some("rejected" | "unauthorised" | "unknown")
        )
    };
    Ok(match rows.iter().any(refused) {
        true => EXIT_FAILED,
        false => EXIT_DONE,
    })
}

/// The units of IRC with their channels, or how many a conduit has, and who says so.
fn units(answer: &Value) -> String {
    let units = &answer["units"];
    match units.as_array() {
        Some(rows) if rows.is_empty() => "no units".to_owned(),
        Some(rows) => in_columns(rows, &["unit", "account", "channels"])
            .trim_end()
            .to_owned(),
        None => match answer["held"].as_bool() {
            Some(true) => format!("{units} units, as an operator said: until `units auto`"),
            Some(false) => format!("{units} units: their number follows the channels"),
            // Of an earlier build.
            None => format!("{units} units"),
        },
    }
}

/// The columns that a row of a list has, or of answers.
fn table(rows: &[Value]) -> String {
    let Some(first) = rows.first() else {
        return "no channels\n".to_owned();
    };
    let columns: &[&str] = if first.get("answer").is_some() {
        &["channel", "answer", "why"]
    } else if first.get("authorised").is_some() {
        &["channel", "state", "authorised", "unit", "account", "why"]
    } else {
        &["channel", "state", "unit", "why"]
    };
    in_columns(rows, columns)
}

fn in_columns(rows: &[Value], columns: &[&str]) -> String {
    let cell = |row: &Value, column: &str| match &row[column] {
        Value::Null => "-".to_owned(),
        Value::String(text) => baton_protocol::text::readable(text, 200),
        other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            other.to_string()
        }
    };
    let cells: Vec<Vec<String>> =
        std::iter::once(columns.iter().map(|name| (*name).to_owned()).collect())
            .chain(
                rows.iter()
                    .map(|row| columns.iter().map(|column| cell(row, column)).collect()),
            )
            .collect();
    let width = |at: usize| {
        cells
            .iter()
            .map(|row| row[at].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let mut text = String::new();
    for row in &cells {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            // Nothing fails that writes to a text.
            let _ = write!(line, "{cell:width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_shown_as_a_table_and_answers_with_their_reason() {
        let rows = [
            json!({ "channel": "one", "state": "joined", "unit": 3 }),
            json!({ "channel": "another", "state": "failed", "unit": 12, "why": "banned" }),
        ];
        assert_eq!(
            table(&rows),
            "channel  state   unit  why\n\
             one      joined  3     -\n\
             another  failed  12    banned\n"
        );
        let rows = [json!({ "channel": "one", "answer": "resolved" })];
        assert_eq!(
            table(&rows),
            "channel  answer    why\none      resolved  -\n"
        );
        assert_eq!(table(&[]), "no channels\n");
        let rows =
            [json!({ "channel": "one", "state": "left", "authorised": false, "account": null })];
        assert_eq!(
            table(&rows),
            "channel  state  authorised  unit  account  why\n\
             one      left   false       -     -        -\n"
        );
    }

    #[test]
    fn units_are_a_number_or_rows() {
        let of = |units: Value, held: Value| json!({ "units": units, "held": held });
        assert_eq!(units(&of(json!(24), Value::Null)), "24 units");
        let held = units(&of(json!(24), json!(true)));
        assert_eq!(held, "24 units, as an operator said: until `units auto`");
        let follows = units(&of(json!(2), json!(false)));
        assert_eq!(follows, "2 units: their number follows the channels");
        let rows = json!({ "units": [{ "unit": 0, "account": "bot", "channels": 90 }] });
        assert_eq!(units(&rows), "unit  account  channels\n0     bot      90");
    }

    #[test]
    fn units_are_a_number_that_holds_or_follow_the_channels() {
        let asked = |text: &str| {
            let number = Some(text.parse().expect("a number or auto"));
            Verb::Units { number }.question()
        };
        assert_eq!(asked("24"), json!({ "verb": "units", "units": 24 }));
        assert_eq!(asked("auto"), json!({ "verb": "units", "auto": true }));
        for wrong in ["0", "-1", "many"] {
            assert!(wrong.parse::<Number>().is_err(), "{wrong}");
        }
    }
}
