//! How a fleet is set up, and its start.

use std::{collections::BTreeMap, fs, net::SocketAddr, path::Path, time::Duration};

use crate::{
    error::{Error, Result},
    fleet::{Fleet, MARK, Parts},
    parts::{Ready, folders},
    process::{Process, command},
};
use baton_discord::{Discord, DiscordConfig, Traffic};

/// The token of a bot that does not exist, and the only one that is accepted.
pub(crate) const TOKEN: &str = "MTA1.simulated.token";

/// Sets a [`Fleet`] up. Made by [`Fleet::builder`].
#[derive(Clone, Debug)]
pub struct Builder {
    discord: DiscordConfig,
    rate: f64,
    soak: Duration,
    patience: Duration,
    limits: BTreeMap<String, String>,
    environment: BTreeMap<String, String>,
    listen: Option<SocketAddr>,
}

impl Default for Builder {
    fn default() -> Self {
        let window = Duration::from_millis(100);
        let discord = DiscordConfig {
            token: Some(TOKEN.to_owned()),
            shards: 4,
            max_concurrency: 16,
            identify_window: window,
            ..DiscordConfig::default()
        };
        let limits = [
            ("contact", "300ms"),
            ("identify_window", "100ms"),
            ("canary_time", "0s"),
        ];
        let text = |(name, value): (&str, &str)| (name.to_owned(), format!("{value:?}"));
        Self {
            discord,
            rate: 20.0,
            soak: Duration::from_secs(1),
            patience: Duration::from_secs(30),
            limits: limits.into_iter().map(text).collect(),
            environment: BTreeMap::new(),
            listen: None,
        }
    }
}

impl Builder {
    /// Shards of the bot, 1 to 4096; 4 unless said otherwise.
    #[must_use]
    pub const fn shards(mut self, shards: u32) -> Self {
        self.discord.shards = shards;
        self
    }

    /// Events of each shard in a second; 20 unless said otherwise.
    #[must_use]
    pub const fn events_per_second(mut self, rate: f64) -> Self {
        self.rate = rate;
        self
    }

    /// How long the old process stays ready after a deploy; 1 s unless said otherwise.
    #[must_use]
    pub const fn soak(mut self, soak: Duration) -> Self {
        self.soak = soak;
        self
    }

    /// How long shards may take until they serve, or what came is handled; 30 s unless
    /// said otherwise.
    #[must_use]
    pub const fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// One setting below `[limits]` in the master's configuration, as TOML writes it:
    /// `limit("canary_time", "\"2s\"")`. Unless said otherwise the canary is not looked
    /// at, so that a test is quick.
    #[must_use]
    pub fn limit(mut self, name: &str, value: &str) -> Self {
        self.limits.insert(name.to_owned(), value.to_owned());
        self
    }

    /// One variable more in the bot's environment. It has `DISCORD_TOKEN`,
    /// `BATON_GATEWAY_URL` and `BATON_API_URL` of the fleet already, and of the test's
    /// own environment nothing but `PATH`, `HOME` and `RUST_BACKTRACE`.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Where the bot serves clients of its own (`listen` of a slot): the master has the socket,
    /// and passes it to each process of the bot. The port is not 0. Nowhere unless said
    /// otherwise.
    #[must_use]
    pub const fn listen(mut self, address: SocketAddr) -> Self {
        self.listen = Some(address);
        self
    }

    /// Everything else that the simulated Discord can be set to.
    #[must_use]
    pub fn discord(mut self, change: impl FnOnce(&mut DiscordConfig)) -> Self {
        change(&mut self.discord);
        self
    }

    /// Starts Discord, a master, and the bot by this command line; returns when every
    /// shard serves.
    ///
    /// # Errors
    /// A part does not start, or the bot does not serve in time: the error has the last
    /// lines of the log.
    pub async fn start<A: Into<String>>(
        self,
        command_line: impl IntoIterator<Item = A>,
    ) -> Result<Fleet> {
        let folder = tempfile::Builder::new().prefix("baton-testing-").tempdir();
        let folder = folder.map_err(Error::io("make a folder"))?;
        folders(folder.path(), &["logs", "run"])?;
        let mut settings = self.discord.clone();
        settings.traffic = self.traffic();
        let discord = Discord::start(settings).await?;
        let command_line: Vec<String> = command_line.into_iter().map(Into::into).collect();
        let config = folder.path().join("baton.toml");
        let text = self.toml(folder.path(), &discord, &command_line, "127.0.0.1:0");
        fs::write(&config, text).map_err(Error::io("write the master's configuration"))?;
        let (master, ready) = self.start_master(folder.path(), &discord).await?;
        // The next master listens where the bot redials.
        let text = self.toml(folder.path(), &discord, &command_line, &ready.listen);
        fs::write(&config, text).map_err(Error::io("write the master's configuration"))?;
        let fleet = Fleet::new(Parts {
            builder: self,
            discord,
            master,
            admin: ready.admin,
            folder,
        });
        fleet.serves().await?;
        Ok(fleet)
    }

    pub(crate) const fn shard_count(&self) -> u32 {
        self.discord.shards
    }

    pub(crate) const fn patience_of(&self) -> Duration {
        self.patience
    }

    pub(crate) fn traffic(&self) -> Traffic {
        Traffic::at_rate(self.rate)
    }

    pub(crate) async fn start_master(
        &self,
        folder: &Path,
        discord: &Discord,
    ) -> Result<(Process, Ready)> {
        let config = folder.join("baton.toml").display().to_string();
        let mut command = command("baton-master", ["run", "--json-ready", "--config", &config])?;
        command
            .env("DISCORD_TOKEN", TOKEN)
            .env("BATON_GATEWAY_URL", discord.url())
            .env("BATON_API_URL", discord.rest_url())
            .env(MARK, folder)
            .envs(&self.environment);
        let logs = folder.join("logs");
        let (master, line) = Process::start("master", &logs, command, true).await?;
        Ok((master, Ready::read(&line)?))
    }

    fn toml(&self, folder: &Path, discord: &Discord, bot: &[String], listen: &str) -> String {
        let mut toml = format!(
            "name = \"test\"\n\
             runtime_dir = {run:?}\n\
             listen = {listen:?}\n\
             api_url = {rest:?}\n\
             shard_count = {shards}\n\
             [limits]\n\
             soak = \"{soak}ms\"\n",
            run = folder.join("run").display().to_string(),
            rest = discord.rest_url(),
            shards = self.discord.shards,
            soak = self.soak.as_millis(),
        );
        for (name, value) in &self.limits {
            toml.push_str(&format!("{name} = {value}\n"));
        }
        toml.push_str(&format!("[[slot]]\nname = \"main\"\ncommand = {bot:?}\n"));
        if let Some(listen) = self.listen {
            toml.push_str(&format!("listen = \"{listen}\"\n"));
        }
        toml
    }
}
