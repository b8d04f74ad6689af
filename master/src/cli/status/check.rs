//! `status --check`: the fleet in one line, with an exit code as monitors want it of
//! their plugins.

use std::time::Duration;

use serde_json::Value;

use super::{
    super::{OperatorArguments, say, text::count},
    table::counts,
};
use crate::{
    admin::client::{self, Client},
    error::{EXIT_USAGE, Error},
};

/// A monitor gives its plugin about ten seconds in all, and calls one that takes longer
/// broken, whatever it finds.
const PATIENCE: Duration = Duration::from_secs(8);

/// What a monitor gets: the exit code, and the word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Ok,
    Warning,
    Critical,
    Unknown,
}

impl Level {
    const fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Warning => 1,
            Self::Critical => 2,
            Self::Unknown => 3,
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Warning => "WARNING",
            Self::Critical => "CRITICAL",
            Self::Unknown => "UNKNOWN",
        }
    }
}

/// What is to be well.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// The slaves on this host; `None`: the fleet.
    pub(super) host: Option<String>,
    /// Whether one slave is enough.
    pub(super) at_least_one: bool,
}

impl Asked {
    /// Where the master answers that; `None`: the whole fleet is asked for.
    ///
    /// # Errors
    /// No host has such a name.
    fn path(&self) -> Result<Option<String>, Error> {
        let mut parts = Vec::new();
        if let Some(host) = &self.host {
            let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
            if host.is_empty() || !host.chars().all(is_name) {
                return Err(Error::Configuration(format!(
                    "--host: `{host}` is no name of a host"
                )));
            }
            parts.push(format!("host={host}"));
        }
        if self.at_least_one {
            parts.push("at_least_one=true".to_owned());
        }
        Ok((!parts.is_empty()).then(|| format!("/readyz?{}", parts.join("&"))))
    }
}

/// Never fails: what goes wrong is an exit code too.
pub(super) async fn run(operator: &OperatorArguments, asked: Asked) -> u8 {
    let prepared = operator
        .client()
        .and_then(|client| Ok((client, asked.path()?)));
    let (level, line) = match prepared {
        Ok((client, None)) => ask(client).await,
        Ok((client, Some(path))) => ask_part(client, &path).await,
        Err(error) => unasked(&error),
    };
    say(&format!("{} - {line}", level.word()));
    level.code()
}

async fn ask(client: Client) -> (Level, String) {
    match client.within(PATIENCE).get("/v1/status").await {
        Ok(status) => judged(&status),
        Err(error) => unasked(&error),
    }
}

/// A host, or any one slave.
async fn ask_part(client: Client, path: &str) -> (Level, String) {
    match client.within(PATIENCE).text(path).await {
        Ok(said) => match said.trim().strip_prefix("ready: ") {
            Some(said) => (Level::Ok, said.to_owned()),
            None => (
                Level::Unknown,
                "this master is of an earlier build and does not look at one host".to_owned(),
            ),
        },
        Err(error) => unasked(&error),
    }
}

fn unasked(error: &Error) -> (Level, String) {
    let another_user = client::is_of_another_user(error);
    match error.exit_code() == EXIT_USAGE || another_user {
        true => (Level::Unknown, error.line()),
        false => (Level::Critical, error.line()),
    }
}

/// The worst that the doctor found, and slaves that died lately.
fn judged(status: &Value) -> (Level, String) {
    let mut level = Level::Ok;
    let mut said = vec![counts(status)];
    for finding in status["doctor"].as_array().into_iter().flatten() {
        let found = match finding["level"].as_str() {
            Some("error") => Level::Critical,
            _ => Level::Warning,
        };
        level = level.max(found);
        let text = |key: &str| finding[key].as_str().unwrap_or("?").to_owned();
        said.push(format!("{}: {}", text("check"), text("detail")));
    }
    let died = status["died_last_hour"].as_object().into_iter().flatten();
    let died: u64 = died.filter_map(|(_, died)| died.as_u64()).sum();
    if died > 0 {
        level = level.max(Level::Warning);
        said.push(format!("{} ended in the last hour", count(died, "slave")));
    }
    // Always one line.
    let line = said
        .join("; ")
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    let shards = status["shards"].as_array().map_or(0, Vec::len);
    let serving = status["shards"].as_array().into_iter().flatten();
    let serving = serving.filter(|shard| {
        matches!(
            shard["state"].as_str(),
            Some("serving" | "copying" | "dialling")
        )
    });
    // Behind a bar stands what a monitor draws.
    let line = line.replace('|', "/");
    (
        level,
        format!("{line} | serving={};;;0;{shards}", serving.count()),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_worst_that_was_found_is_the_exit_code() {
        let shards = json!([{"state": "serving"}, {"state": "copying"}]);
        let well = json!({"shards": shards, "doctor": [], "died_last_hour": {}});
        assert_eq!(
            judged(&well),
            (
                Level::Ok,
                "2 of 2 shards serving (1 about to move) | serving=2;;;0;2".to_owned()
            )
        );
        let mut status = well.clone();
        status["died_last_hour"] = json!({"main": 2});
        assert_eq!(judged(&status).0, Level::Warning);
        status["doctor"] = json!([{"level": "warning", "check": "lag", "detail": "a | b\nc"}]);
        let (level, line) = judged(&status);
        assert_eq!(
            (level, level.code(), line.lines().count()),
            (Level::Warning, 1, 1)
        );
        assert!(line.contains("lag: a / b c; 2 slaves ended"), "{line}");
        status["doctor"][0]["level"] = "error".into();
        assert_eq!(judged(&status).0.code(), 2);
        let absent = Error::Failed("no master listens".to_owned());
        assert_eq!(unasked(&absent).0, Level::Critical);
        let wrong = Error::Configuration("cannot be read".to_owned());
        assert_eq!(unasked(&wrong).0.code(), 3);
    }

    #[test]
    fn a_host_is_asked_for_by_its_name_and_what_is_none_is_refused() {
        let asked = |host: Option<&str>, at_least_one| {
            let host = host.map(str::to_owned);
            Asked { host, at_least_one }.path()
        };
        assert_eq!(asked(None, false).ok(), Some(None));
        let path = asked(Some("db-1.example"), true).expect("a host");
        let expected = "/readyz?host=db-1.example&at_least_one=true";
        assert_eq!(path.as_deref(), Some(expected));
        for wrong in ["", "a b", "a&at_least_one", "a/b"] {
            let error = asked(Some(wrong), false).expect_err("no name");
            assert_eq!(unasked(&error).0, Level::Unknown);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_master_that_is_stopped_is_critical_within_the_ten_seconds_of_a_plugin() {
        let dir = tempfile::tempdir().expect("a folder");
        let socket = dir.path().join("admin.sock");
        let _listener = tokio::net::UnixListener::bind(&socket).expect("a socket");
        let began = tokio::time::Instant::now();
        let (level, line) = ask(Client::new(&socket)).await;
        assert_eq!(level, Level::Critical);
        assert!(line.contains("did not answer within 8s"), "{line}");
        assert!(began.elapsed() < Duration::from_secs(10));
    }
}
