//! `baton-master fence`: the operator's word that a slave is dead, or all slaves of a host.

use clap::Args;
use serde_json::{Value, json};

use super::{OperatorArguments, say};
use crate::{
    admin::FenceRequest,
    error::{EXIT_DONE, Error},
};

#[derive(Debug, Args)]
pub(super) struct FenceArguments {
    #[command(flatten)]
    operator: OperatorArguments,
    /// Its id as `status` shows it, or a beginning of it that no other slave has
    #[arg(value_name = "SLAVE", value_parser = id, required_unless_present = "host")]
    slave: Option<String>,
    /// All slaves of this host, which is gone: none of them, and no agent, answers
    #[arg(long, value_name = "NAME", conflicts_with_all = ["slave", "kill"])]
    host: Option<String>,
    /// Kill its process, if it lives on this host, or on one whose agent is connected
    #[arg(long)]
    kill: bool,
    /// As one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: FenceArguments) -> Result<u8, Error> {
    let FenceArguments {
        operator,
        slave,
        host,
        kill,
        json: as_json,
    } = arguments;
    let client = operator.client()?;
    let (done, told) = match (host, slave) {
        (Some(host), _) => {
            let done = client
                .post("/v1/fence-host", json!({ "host": host }))
                .await?;
            let told = of_host(&host, &done);
            (done, told)
        }
        (None, slave) => {
            let slave = slave.unwrap_or_default();
            let body = serde_json::to_value(FenceRequest { slave, kill }).unwrap_or(Value::Null);
            let done = client.post("/v1/fence", body).await?;
            let slave = done["slave"].as_str().unwrap_or("?");
            let told = format!(
                "slave {slave:.8} is dead: its shards go on without it; `baton-master status` shows where"
            );
            (done, told)
        }
    };
    say(&if as_json { done.to_string() } else { told });
    Ok(EXIT_DONE)
}

fn of_host(host: &str, done: &Value) -> String {
    let slaves = done["slaves"].as_array().map_or(&[][..], Vec::as_slice);
    let ids: Vec<_> = slaves.iter().filter_map(Value::as_str).collect();
    if ids.is_empty() {
        return format!("no slave of host {host} was known to live: nothing changed");
    }
    let ids: Vec<_> = ids.iter().map(|id| format!("{id:.8}")).collect();
    format!(
        "the slaves of host {host} are dead: {}. Their shards go on where other slaves are; \
         `baton-master status` shows where",
        ids.join(", ")
    )
}

fn id(text: &str) -> Result<String, String> {
    let hex = text.chars().all(|digit| digit.is_ascii_hexdigit());
    if hex && (1..=32).contains(&text.len()) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "`{text}` is not the id of a slave: 1 to 32 hex digits"
        ))
    }
}
