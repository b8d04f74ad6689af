//! `baton-master doctor`: what is wrong with the fleet, or will be; without a master,
//! what would keep one from starting.

mod listen;

use std::{
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use clap::Args;
use serde_json::{Value, json};

use super::{OperatorArguments, say, text::Paint};
use crate::{
    admin::client,
    config::{Config, Options, default_file, examine, in_order},
    discord::budget::Asker,
    discord::probe::{Plan, Probed, probe},
    doctor::{Finding, Host, certificate},
    error::{EXIT_DONE, EXIT_FAILED, Error},
    journal,
    runtime_dir::{Lock, make_dir},
};

#[derive(Debug, Args)]
pub(super) struct DoctorArguments {
    #[command(flatten)]
    operator: OperatorArguments,
    /// As one JSON object: `ok`, `master` (whether one answers) and `findings`
    #[arg(long)]
    json: bool,
    /// Ask Discord, with a session of its own that COSTS ONE IDENTIFY, what it documents
    /// nowhere: whether a session can be resumed while its connection is open (what
    /// --late-seal needs), whether heartbeats trim the replay, and how long a session
    /// lives without a connection. What is found is kept in data_dir
    #[arg(long)]
    probe: bool,
    /// With --probe: leave the session without a connection for no longer than this; all
    /// of it takes about twice as long
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "3m", requires = "probe")]
    probe_longest: Duration,
}

pub(super) async fn run(arguments: DoctorArguments) -> Result<u8, Error> {
    let (config, mut findings) = configuration(&arguments.operator)?;
    if arguments.probe {
        let Some(config) = &config else {
            let next = "the probe needs a configuration that is right";
            return Err(Error::Configuration(format!("{next}: see check-config")));
        };
        ask_discord(config, arguments.probe_longest).await?;
    }
    findings.extend(config.as_ref().map(|config| value(&probed(config))));
    let config_worries = config.as_ref().map_or_else(Vec::new, Config::worries);
    let client = arguments.operator.client()?;
    let master = match client.get("/v1/doctor").await {
        Ok(answer) => {
            findings.extend(answer["findings"].as_array().into_iter().flatten().cloned());
            if let (Some(config), Ok(status)) = (&config, client.get("/v1/status").await) {
                let found = listen::in_use(&config.slots, &status);
                findings.extend(found.iter().map(value));
            }
            true
        }
        Err(error) => {
            let holder = config.as_ref().and_then(holder);
            findings.push(value(&absent(holder.as_deref(), &error)));
            if let Some(config) = config {
                let found = before_a_start(&config, holder.as_deref());
                findings.extend(found.iter().map(value));
            }
            false
        }
    };
    let worries = config_worries.into_iter();
    let next = "the tokens are what keeps others from acting as the bot, or as its operator";
    findings.extend(worries.map(|worry| value(&Finding::warning("permissions", worry, next))));
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

/// The master that runs with this configuration, whether it answers or not.
fn holder(config: &Config) -> Option<String> {
    let dirs = [&config.runtime_dir, &config.data_dir];
    dirs.into_iter().find_map(|dir| Lock::holder(dir))
}

/// No master answers: none runs, or one that cannot be reached.
fn absent(holder: Option<&str>, error: &Error) -> Finding {
    match holder {
        Some(pid) => Finding::error(
            "master",
            format!(
                "a master runs (process {pid}, which holds the lock) and does not answer: {error}"
            ),
            "do not start another one. If its socket was removed it makes a new one within a \
             second or two; else look into its log, and restart it: its slaves keep serving",
        ),
        // Only its own user can see whether one runs.
        None if client::is_of_another_user(error) => Finding::error(
            "master",
            error.to_string(),
            "what stands below is what this user sees, and is nothing that the master would see",
        ),
        None => Finding::error(
            "master",
            error.to_string(),
            "start it; its slaves keep serving meanwhile, and nothing moves",
        ),
    }
}

/// What the configuration says, if it is one, and what is wrong with it.
fn configuration(operator: &OperatorArguments) -> Result<(Option<Config>, Vec<Value>), Error> {
    let file = operator.config.clone().or_else(default_file);
    let given = Options {
        runtime_dir: operator.runtime_dir.clone(),
        ..Options::default()
    };
    let (options, mistakes) = examine(file.as_deref(), given)?;
    let mut wrong = mistakes;
    let config = match Config::check_all(options, None) {
        Ok(config) => Some(config),
        Err(more) => {
            wrong.extend(more);
            None
        }
    };
    let next = "correct it; a running master goes on with what it has";
    let mut findings: Vec<_> = in_order(wrong)
        .iter()
        .map(|mistake| value(&Finding::error("configuration", mistake.to_string(), next)))
        .collect();
    if findings.is_empty() {
        let named = file.map_or_else(
            || "there is no file: every key has its default".to_owned(),
            |file| format!("{} is good", file.display()),
        );
        findings.push(value(&Finding::ok("configuration", named)));
    }
    Ok((config, findings))
}

/// Finds out what Discord does, and keeps it.
async fn ask_discord(config: &Config, longest: Duration) -> Result<(), Error> {
    let (Some(asker), Some(token)) = (Asker::new(config), config.token.clone()) else {
        return Err(Error::Configuration(
            "no token: set DISCORD_TOKEN or token_file".to_owned(),
        ));
    };
    let answer = asker.answer().await?;
    let (count, left) = (answer.shards, answer.budget.remaining);
    if left <= count {
        return Err(Error::Failed(format!(
            "{left} IDENTIFYs are left today, and a start of all {count} shards takes as many: ask tomorrow"
        )));
    }
    eprintln!("this costs one IDENTIFY of the {left} that are left today");
    let plan = Plan {
        url: answer.url,
        token,
        // The first one gets every direct message twice.
        shard: (count - 1, count),
        longest,
    };
    let probed = probe(&plan, |step| eprintln!("{step}")).await?;
    let dir = &config.data_dir;
    make_dir("data_dir", dir)?;
    probed
        .write(dir)
        .map_err(|error| Error::system(format!("write what was found to {}", dir.display()), error))
}

/// What a probe found, against the master's configuration.
fn probed(config: &Config) -> Finding {
    const CHECK: &str = "probe";
    let Some(probed) = Probed::read(&config.data_dir) else {
        let detail = "what Discord does not document was not tried (--probe tries it)";
        return Finding::ok(CHECK, detail);
    };
    let window = config.limits.resume_window;
    if probed
        .refused_after
        .is_some_and(|refused| refused <= window)
    {
        let next = "set limits.resume_window to a time after which it was resumed: until then a \
                    shard waits for a session that is over";
        let detail = format!("{probed}, and limits.resume_window is {window:?}");
        return Finding::warning(CHECK, detail, next);
    }
    if config.late_seal && probed.takes_late_seals() == Some(false) {
        let next = "set late_seal = false: the first deploy that tries it loses a session by it";
        return Finding::warning(CHECK, probed.to_string(), next);
    }
    Finding::ok(CHECK, probed.to_string())
}

/// What a master would stumble over.
fn before_a_start(config: &Config, holder: Option<&str>) -> Vec<Finding> {
    let mut findings = Vec::from_iter(port(config.listen, holder));
    findings.push(certificate(config.certificate.as_deref()));
    if holder.is_none() {
        findings.extend(listen::before_a_start(&config.slots, &config.runtime_dir));
    }
    if config.data_dir.is_dir() {
        let host = Host::look(&config.runtime_dir, &config.data_dir, &[]);
        findings.extend([host.disk(), host.permissions()]);
    }
    let file = config.data_dir.join(journal::FILE);
    if file.exists() {
        let next = "baton-master journal verify says more; a master that cannot read it sets it \
                    aside and goes on with what the slaves hold";
        findings.push(match journal::inspect::inspect(&file) {
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

/// Whether a master could listen there. Where one runs, it is the one that does.
fn port(address: SocketAddr, holder: Option<&str>) -> Option<Finding> {
    if holder.is_some() {
        return None;
    }
    Some(match TcpListener::bind(address) {
        Ok(_) => Finding::ok("port", format!("{address} is free")),
        Err(error) => Finding::error(
            "port",
            format!("{address} cannot be listened on: {error}"),
            "end what listens there, or give the master another `listen`",
        ),
    })
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
    use crate::doctor::Level;

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

    #[test]
    fn a_port_that_the_running_master_has_is_no_fault() {
        let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = taken.local_addr().expect("its address");
        let level = |holder| port(address, holder).map(|finding| finding.level);
        assert_eq!(level(None), Some(Level::Error));
        assert_eq!(level(Some("7")), None);
        drop(taken);
        assert_eq!(level(None), Some(Level::Ok));
    }
}
