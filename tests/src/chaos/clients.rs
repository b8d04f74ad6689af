//! Clients of a proxy: what a bot in any language does, and is struck by.

use std::{net::SocketAddr, time::Duration};

use serde_json::json;
use tokio::time::sleep;

use super::{
    marks::Marks,
    patience::Patience,
    row::ClientHarm,
    scene::{Scene, Setup},
};
use crate::{
    clients::{
        bot::{Act, Bot, Dies, Reads},
        journal::{Journal, for_clients, of_those},
    },
    error::{Error, Result},
    fleet::own_proxy,
    records::{Handled, Sent},
};

/// A bot has its READYs within this time.
const READY: Duration = Duration::from_secs(30);

/// Between the death of a bot and its next start.
const DOWN: Duration = Duration::from_millis(200);

/// A bot that is slow takes so long over each payload: twice as long as it may.
const SLOW: Duration = Duration::from_millis(50);

/// A bot that is away misses events for so long.
const AWAY: Duration = Duration::from_millis(800);

/// Of the dispatches that it missed it sees so many.
const REPLAYED: u32 = 5;

/// What was said so shortly before a break may not have been heard.
const LATE_WORD_US: u64 = 1_000_000;

/// The clients of a run.
#[derive(Debug)]
pub(super) struct Clients {
    gateway: SocketAddr,
    shards: u32,
    lives: u32,
    /// The last one is the bot; those before it were taken over from, or are dead.
    bots: Vec<Bot>,
    journal: Journal,
}

impl Setup {
    /// Events go to clients of a proxy; each slave is one.
    pub fn proxy(&mut self) {
        self.store();
        let address = own_proxy();
        self.proxy = Some(address);
        self.discord.push("--stamp".to_owned());
        self.slave
            .extend(["--proxy".to_owned(), address.to_string()]);
    }
}

impl Clients {
    /// Starts a bot, and waits until it is ready on each shard.
    ///
    /// # Errors
    /// It does not get so far.
    pub(super) async fn start(gateway: SocketAddr, shards: u32) -> Result<Self> {
        let mut clients = Self {
            gateway,
            shards,
            lives: 0,
            bots: Vec::new(),
            journal: Journal::default(),
        };
        clients.starts(Dies::Never);
        clients.ready().await?;
        Ok(clients)
    }

    /// One more process of the bot.
    fn starts(&mut self, dies: Dies) {
        self.lives += 1;
        let bot = Bot::start(self.gateway, self.lives, self.shards, dies, &self.journal);
        self.bots.push(bot);
    }

    async fn ready(&self) -> Result<()> {
        let mut patience = Patience::of(READY);
        while self.journal.readies(self.lives) < self.shards {
            if patience.is_over().await {
                let text = format!("client {} has not every READY", self.lives);
                return Err(Error::Late(text));
            }
            sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// Waits until the bot, which is to die by itself, has.
    async fn over(&self) -> Result<()> {
        let mut patience = Patience::of(READY);
        while self.bots.last().is_some_and(|bot| !bot.is_over()) {
            if patience.is_over().await {
                return Err(Error::Late("a client did not die where it was to".into()));
            }
            sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    fn bot(&self) -> Result<&Bot> {
        let bot = self.bots.last();
        bot.ok_or_else(|| Error::answer("clients", "there is none"))
    }

    /// The bot reads again.
    pub(super) fn heal(&self) {
        for bot in &self.bots {
            bot.reads(Reads::AtOnce);
        }
    }

    /// All of them are gone.
    pub(super) fn end(&mut self) {
        self.bots.clear();
    }

    /// All that happened to them, for a person.
    pub(super) fn lines(&self) -> String {
        self.journal.lines()
    }

    /// What they saw that Discord would not do.
    pub(super) fn strange(&self) -> Vec<String> {
        self.journal.all_strange()
    }

    /// What of the ledger clients have to receive, and what they received of it. Where
    /// nothing may be repeated, nothing is marked.
    pub(super) fn records(
        &self,
        scene: &Scene,
        all: &[Sent],
        marks: Marks,
    ) -> (Vec<Sent>, Vec<Handled>) {
        for strike in &scene.strikes {
            self.journal.breaks_at(strike.at_us);
        }
        let late_us = (LATE_WORD_US as f64 * scene.setup.stretch) as u64;
        let sent = for_clients(all, &self.journal.greetings());
        let mut handled = of_those(self.journal.handled(late_us), &sent, all);
        if marks == Marks::None {
            for event in &mut handled {
                event.mark = None;
            }
        }
        (sent, handled)
    }
}

/// Strikes the clients of a run.
///
/// # Errors
/// They do not come back.
pub(super) async fn strike(scene: &mut Scene, harm: ClientHarm) -> Result<()> {
    if let ClientHarm::StoppedInAFlood(_, events) = harm {
        let flood = json!({ "name": "flood", "events": events });
        scene.fleet.discord.fault(&flood).await?;
    }
    let Some(clients) = &mut scene.clients else {
        return Err(Error::answer("clients", "the row has no proxy"));
    };
    match harm {
        ClientHarm::Killed => {
            clients.end();
            sleep(DOWN).await;
            clients.starts(Dies::Never);
            clients.ready().await
        }
        ClientHarm::Replaced => {
            clients.starts(Dies::Never);
            clients.ready().await
        }
        ClientHarm::KilledInReady => {
            clients.end();
            clients.starts(Dies::InReady);
            clients.over().await?;
            clients.starts(Dies::Never);
            clients.ready().await
        }
        ClientHarm::KilledInReplay => {
            clients.end();
            clients.starts(Dies::InReplay(REPLAYED));
            clients.ready().await?;
            clients.bot()?.act(Act::Away(AWAY));
            clients.over().await?;
            clients.starts(Dies::Never);
            clients.ready().await
        }
        ClientHarm::Slow(span) => {
            clients.bot()?.reads(Reads::Slowly(SLOW));
            sleep(span).await;
            clients.heal();
            Ok(())
        }
        ClientHarm::Stopped(span) | ClientHarm::StoppedInAFlood(span, _) => {
            clients.bot()?.reads(Reads::Nothing);
            sleep(span).await;
            clients.heal();
            Ok(())
        }
        ClientHarm::HalfOpen => {
            clients.bot()?.act(Act::HalfOpen);
            sleep(AWAY).await;
            Ok(())
        }
        ClientHarm::Garbage => {
            clients.bot()?.act(Act::Garbage);
            sleep(AWAY).await;
            Ok(())
        }
    }
}
