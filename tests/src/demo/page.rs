//! A fleet under traffic that a person plays with, on the master's page.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    process::Stdio,
};

use super::{DemoOptions, LIMIT, Result, fleet_options};
use crate::{
    error::Error,
    fleet::{Fleet, FleetOptions, Special},
};

/// Where a master's page is by the documentation.
const PORT: u16 = 7448;

/// Starts a fleet whose slot has a command, deploys once, so that there is something
/// to look at, and serves until Ctrl-C. `ready` gets the address of the page.
///
/// # Errors
/// The fleet does not start, or a process of it ends.
pub async fn serve_page(
    options: &DemoOptions,
    say: impl Fn(&str),
    ready: impl FnOnce(&str),
) -> Result<()> {
    let mut special = Special {
        admin_listen: Some(address()),
        // A person plays for hours.
        slave_flags: ["--sink", "none"].map(str::to_owned).to_vec(),
        late_seal: options.late_seal,
        ..Special::default()
    };
    // Each IDENTIFY of a cold start is worth a look.
    special.limits.insert("identify_window", "50ms".to_owned());
    special.limits.insert("soak", "5s".to_owned());
    let mut fleet = Fleet::start(FleetOptions {
        launch: true,
        ..fleet_options(options, special)
    })
    .await?;
    let played = tokio::select! {
        played = serve(options, &mut fleet, &say, ready) => played,
        stopped = tokio::signal::ctrl_c() => stopped.map_err(Error::io("wait for Ctrl-C")),
    };
    say("ending every process");
    fleet.shut_down().await?;
    played
}

async fn serve(
    options: &DemoOptions,
    fleet: &mut Fleet,
    say: &impl Fn(&str),
    ready: impl FnOnce(&str),
) -> Result<()> {
    fleet.all_serving(LIMIT).await?;
    fleet.discord.traffic(options.rate).await?;
    say(&format!(
        "{} shards serve, {} events a second on each",
        options.shards, options.rate
    ));
    say("deploying build v2, so that there is something to roll back");
    let mut deploy = fleet.deploy_command("v2")?;
    deploy.stdout(Stdio::null()).stderr(Stdio::null());
    let ended = deploy.status().await;
    let ended = ended.map_err(Error::io("baton-master deploy"))?;
    if !ended.success() {
        return Err(Error::answer("baton-master deploy", ended));
    }
    let page = fleet.admin_http.clone();
    let page = page.ok_or_else(|| Error::answer("baton-master", "no page"))?;
    let token = fs::read_to_string(fleet.folder().join("admin-token"));
    let token = token.map_err(Error::io("read the operators' token"))?;
    // Behind the # it is the browser's own, and sent to nobody but as a token.
    let page = format!("{page}/#token={}", token.trim());
    ready(&page);
    say(&format!("the page: {page}"));
    say(
        "a deploy for its dialog, a build that Discord refuses (it goes back), and how to look from here:",
    );
    let words = |more: &[&str]| fleet.slave_command("v3", more).map(|words| words.join(" "));
    say(&format!("  {}", words(&[])?));
    say(&format!("  {}", words(&["--intents", "1"])?));
    let run = fleet.folder().join("run");
    say(&format!(
        "  baton-master status --watch --runtime-dir {}",
        run.display()
    ));
    say("Ctrl-C ends everything");
    std::future::pending().await
}

/// The documented one, if nobody has it.
fn address() -> String {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, PORT)).is_ok();
    format!("127.0.0.1:{}", if free { PORT } else { 0 })
}
