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

    /// Who leads and who would, where masters share a store.
    pub(super) fn masters(&self) -> Vec<String> {
        let leadership = &self.status["leadership"];
        if !leadership.is_object() {
            return Vec::new();
        }
        let standbys = list(&leadership["standbys"]).iter();
        let standbys: Vec<_> = standbys.map(|standby| text(&standby["host"])).collect();
        let leads = format!("{} leads", text(&leadership["host"]));
        let mut lines = vec![match standbys[..] {
            [] => self.paint.busy(&format!(
                "masters    {leads}; no standby master: nobody follows if it is lost"
            )),
            [..] => format!(
                "masters    {leads}; {}: {}",
                count(standbys.len() as u64, "standby master"),
                standbys.join(", ")
            ),
        }];
        if let Some(away) = leadership["store_away_ms"].as_u64() {
            lines.push(self.paint.bad(&format!(
                "           the store has not answered for {}: what serves goes on, nothing begins; {}",
                span(away),
                text(&leadership["store"])
            )));
        }
        if let Some(trouble) = leadership["trouble"].as_str() {
            lines.push(self.paint.bad(&format!("           {trouble}")));
        }
        lines
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
