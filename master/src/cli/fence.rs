//! `baton-master fence`: the operator's word that a slave is dead.

use clap::Args;
use serde_json::Value;

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
    #[arg(value_name = "SLAVE", value_parser = id)]
    slave: String,
    /// Kill its process, if it lives on this host
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
        kill,
        json,
    } = arguments;
    let body = serde_json::to_value(FenceRequest { slave, kill }).unwrap_or(Value::Null);
    let done = operator.client()?.post("/v1/fence", body).await?;
    if json {
        say(&done.to_string());
    } else {
        let slave = done["slave"].as_str().unwrap_or("?");
        say(&format!(
            "slave {slave:.8} is dead: its shards go on without it; `baton-master status` shows where"
        ));
    }
    Ok(EXIT_DONE)
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
