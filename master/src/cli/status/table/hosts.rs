//! The other hosts of the fleet, a line each, where there are any.

use serde_json::Value;

use super::parts::{Table, list, text};
use crate::cli::text::{count, span};

impl Table<'_> {
    /// The line of each host, and of one whose agent is away what that means.
    pub(super) fn hosts(&self) -> Vec<String> {
        let hosts = list(&self.status["hosts"]).iter();
        hosts
            .enumerate()
            .map(|(number, host)| {
                let title = if number == 0 { "hosts" } else { "" };
                format!("{title:<11}{}", self.host(host))
            })
            .collect()
    }

    fn host(&self, host: &Value) -> String {
        let name = text(&host["host"]);
        let since = host["since_ms"].as_u64();
        let (slaves, away) = (number(host, "slaves"), number(host, "slaves_away"));
        let slaves = match away {
            0 => count(slaves, "slave"),
            away => format!("{} of {} not connected", away, count(slaves, "slave")),
        };
        if host["connected"] == true {
            let since = since.map_or_else(String::new, |ms| format!(" for {}", span(ms)));
            let program = text(&host["program"]);
            return format!("{name}: agent {program} connected{since}, {slaves}");
        }
        let agent = match since {
            Some(ms) => format!("its agent has been away for {}", span(ms)),
            None => "no agent of it came yet".to_owned(),
        };
        self.paint.bad(&format!(
            "{name}: {agent}; nothing can be started there; {slaves}"
        ))
    }
}

fn number(host: &Value, key: &str) -> u64 {
    host[key].as_u64().unwrap_or(0)
}
