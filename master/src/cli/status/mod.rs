//! `baton-master status`: the fleet as a table or as JSON, once or live.

mod check;
mod table;
mod watch;

use std::{io::IsTerminal, time::Duration};

use clap::Args;

use super::{
    OperatorArguments, say,
    text::{Paint, width},
};
use crate::{
    config::LimitValue,
    error::{EXIT_DONE, Error},
};

#[derive(Debug, Args)]
pub(super) struct StatusArguments {
    #[command(flatten)]
    operator: OperatorArguments,
    /// Go on: a terminal shows it live in place (q ends it), a pipe gets a line
    /// whenever something changed
    #[arg(long, short)]
    watch: bool,
    /// How often the master is asked
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = interval, requires = "watch")]
    interval: Duration,
    /// As one JSON object; with --watch one a line
    #[arg(long)]
    json: bool,
    /// For a monitor: one line, and an exit code as of its plugins: 0 all is well, 1
    /// an operator should look, 2 an operator must act or no master answers, 3 unknown
    #[arg(long, conflicts_with_all = ["watch", "json"])]
    check: bool,
    /// With --check: of the slaves on this host alone, which is to have some; `local` is the
    /// master's own
    #[arg(long, value_name = "NAME", requires = "check")]
    host: Option<String>,
    /// With --check: well as long as one slave answers, of the host or of the fleet
    #[arg(long, requires = "check")]
    at_least_one: bool,
}

pub(super) async fn run(arguments: StatusArguments) -> Result<u8, Error> {
    if arguments.check {
        let asked = check::Asked {
            host: arguments.host,
            at_least_one: arguments.at_least_one,
        };
        return Ok(check::run(&arguments.operator, asked).await);
    }
    let client = arguments.operator.client()?;
    match (arguments.watch, arguments.json) {
        (false, json) => {
            let status = client.get("/v1/status").await?;
            if json {
                say(&status.to_string());
            } else {
                table::table(&status, Paint::of_stdout(), width(), table::Wrong::Last)
                    .iter()
                    .for_each(|line| say(line));
            }
            Ok(EXIT_DONE)
        }
        (true, true) => watch::objects(&client, arguments.interval).await,
        (true, false) if std::io::stdout().is_terminal() => {
            watch::screen(&client, arguments.interval).await
        }
        (true, false) => watch::lines(&client, arguments.interval).await,
    }
}

fn interval(text: &str) -> Result<Duration, String> {
    let time = <Duration as LimitValue>::parse(text)?;
    if time < Duration::from_millis(50) {
        return Err("a picture takes time: at least 50ms".to_owned());
    }
    Ok(time)
}
