//! `baton-master doctor`: what is wrong with the fleet, or will be; without a master,
//! what would keep one from starting.

use std::net::TcpListener;

use clap::Args;
use serde_json::{Value, json};

use super::{OperatorArguments, say, text::Paint};
use crate::{
    config::{Config, Options, default_file, examine},
    doctor::{Finding, Host},
    error::{EXIT_DONE, EXIT_FAILED, Error},
    journal,
};

#[derive(Debug, Args)]
pub(super) struct DoctorArguments {
    #[command(flatten)]
    operator: OperatorArguments,
    /// As one JSON object: `ok`, `master` (whether one answers) and `findings`
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: DoctorArguments) -> Result<u8, Error> {
    let (config, mut findings) = configuration(&arguments.operator)?;
    let client = arguments.operator.client()?;
    let master = match client.get("/v1/doctor").await {
        Ok(answer) => {
            findings.extend(answer["findings"].as_array().into_iter().flatten().cloned());
            true
        }
        Err(error) => {
            let next = "start it; its slaves serve on meanwhile, and nothing moves";
            findings.push(value(&Finding::error("master", error.to_string(), next)));
            if let Some(config) = config {
                let found = before_a_start(&config);
                findings.extend(found.iter().map(value));
            }
            false
        }
    };
    let ok = !findings.iter().any(|finding| finding["level"] == "error");
    if arguments.json {
        say(&json!({ "ok": ok, "master": master, "findings": findings }).to_string());
    } else {
        let paint = Paint::of_stdout();
        for finding in &findings {
            lines(finding, paint).iter().for_each(|line| say(line));
        }
    }
    Ok(if ok { EXIT_DONE } else { EXIT_FAILED })
}

/// What the configuration says, if it is one, and what is wrong with it.
fn configuration(operator: &OperatorArguments) -> Result<(Option<Config>, Vec<Value>), Error> {
    let file = operator.config.clone().or_else(default_file);
    let given = Options {
        runtime_dir: operator.runtime_dir.clone(),
        ..Options::default()
    };
    let (options, mistakes) = examine(file.as_deref(), given)?;
    let mut wrong: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
    let config = match Config::check_all(options, None) {
        Ok(config) => Some(config),
        Err(more) => {
            wrong.extend(more.iter().map(ToString::to_string));
            None
        }
    };
    let next = "correct it; a running master goes on with what it has";
    let mut findings: Vec<_> = wrong
        .into_iter()
        .map(|mistake| value(&Finding::error("configuration", mistake, next)))
        .collect();
    if findings.is_empty() {
        let named = file.map_or_else(
            || "there is no file, everything is as by default".to_owned(),
            |file| format!("{} is good", file.display()),
        );
        findings.push(value(&Finding::ok("configuration", named)));
    }
    Ok((config, findings))
}

/// What a master would stumble over.
fn before_a_start(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    let address = config.listen;
    findings.push(match TcpListener::bind(address) {
        Ok(_) => Finding::ok("port", format!("{address} is free")),
        Err(error) => Finding::error(
            "port",
            format!("{address} cannot be listened on: {error}"),
            "end what listens there, or give the master another `listen`",
        ),
    });
    if config.data_dir.is_dir() {
        let host = Host::look(&config.runtime_dir, &config.data_dir, &[]);
        findings.extend([host.disk(), host.permissions()]);
    }
    let file = config.data_dir.join(journal::FILE);
    if file.exists() {
        let next = "baton-master journal verify says more; a master that cannot read it sets it \
                    aside and goes on with what the slaves hold";
        findings.push(match journal::look::look(&file) {
            Ok(contents) => Finding::ok(
                "journal",
                format!(
                    "{} can be read: {} shards",
                    file.display(),
                    contents.shards.len()
                ),
            ),
            Err(error) => Finding::error("journal", error.to_string(), next),
        });
    }
    findings
}

fn value(finding: &Finding) -> Value {
    serde_json::to_value(finding).unwrap_or(Value::Null)
}

fn lines(finding: &Value, paint: Paint) -> Vec<String> {
    let text = |key: &str| finding[key].as_str().unwrap_or("").to_owned();
    let level = format!("{:<8}", text("level"));
    let level = match text("level").as_str() {
        "ok" => paint.good(&level),
        "warning" => paint.busy(&level),
        _ => paint.bad(&level),
    };
    let mut lines = vec![format!("{level} {:<14} {}", text("check"), text("detail"))];
    if let Some(next) = finding["next"].as_str() {
        lines.push(format!("{:8} {:<14} next: {next}", "", ""));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_a_line_and_what_to_do_another() {
        let warning = Finding::warning("disk", "3 MiB are free", "free space");
        assert_eq!(
            lines(&value(&warning), Paint::Plain),
            [
                "warning  disk           3 MiB are free",
                "                        next: free space"
            ]
        );
        let well = Finding::ok("shards", "2 of 2 serve");
        assert_eq!(
            lines(&value(&well), Paint::Plain),
            ["ok       shards         2 of 2 serve"]
        );
    }
}
