//! Connections that are dialled ahead of a handover.

use std::time::Duration;

use crate::common::{
    FakeMaster, LONG, Peer, Recorder, Running, config, discord, logged, run, until, with_session,
};
use baton_discord::{Discord, DiscordConfig, Fault, FaultName, What, When};
use baton_protocol::{
    Epoch, ShardId, Ticket, ToMaster, ToSlave,
    message::{Dial, ResumeAfter, Unit},
};
use baton_slave::{Mark, SlaveConfig};

/// One shard, an old slave that serves it, and a new one that dials ahead.
pub struct Scene {
    pub discord: Discord,
    pub old: Running,
    pub old_peer: Peer,
    pub new: Running,
    pub new_peer: Peer,
}

async fn scene(change: impl FnOnce(&mut SlaveConfig)) -> Scene {
    scene_at(far_reaching(|_| {}).await, change).await
}

/// A held connection is taken for as long as Discord surely replays what came since its
/// dial. That is 2,250 events here, which take a while to come.
pub async fn far_reaching(change: impl FnOnce(&mut DiscordConfig)) -> Discord {
    discord(|config| {
        config.guilds_per_shard = 40;
        change(config);
    })
    .await
}

pub async fn scene_at(discord: Discord, change: impl FnOnce(&mut SlaveConfig)) -> Scene {
    scene_of(discord, Recorder::default, change).await
}

/// The same with other bots.
pub async fn scene_of(
    discord: Discord,
    bot: fn() -> Recorder,
    change: impl FnOnce(&mut SlaveConfig),
) -> Scene {
    let scene = quiet(discord, bot, change).await;
    crate::common::traffic(&scene.discord, 50.0);
    scene.flows(&scene.old).await;
    scene
}

/// The same without traffic.
pub async fn quiet(
    discord: Discord,
    bot: fn() -> Recorder,
    change: impl FnOnce(&mut SlaveConfig),
) -> Scene {
    let master = FakeMaster::new(1).await;
    let old = run(config(&master, &discord), bot());
    let mut old_peer = master.accept().await;
    old_peer.start(&[0], 1, 1).await;
    let mut config = config(&master, &discord);
    change(&mut config);
    let new = run(config, bot());
    let new_peer = master.accept().await;
    Scene {
        discord,
        old,
        old_peer,
        new,
        new_peer,
    }
}

impl Scene {
    pub async fn flows(&self, at: &Running) {
        let before = at.bot.told().len();
        until("more events", || at.bot.told().len() > before + 20).await;
    }

    /// The old one's newest checkpoint, with its session.
    pub async fn checkpoint(&mut self) -> Ticket {
        let waited = self.old_peer.wait("a session", |message| match message {
            ToMaster::Checkpoint(checkpoint) => checkpoint.shards.first()?.session.clone(),
            _ => None,
        });
        waited.await
    }

    /// The last of its checkpoints that came.
    pub async fn checkpoint_now(&mut self) -> Ticket {
        self.old_peer.catch_up().await;
        self.old_peer.checkpoints[&ShardId(0)].clone()
    }

    pub async fn dials(&mut self, ticket: Ticket) -> Result<(), String> {
        self.asks(ticket).await;
        self.answer().await
    }

    async fn asks(&mut self, ticket: Ticket) {
        let (shard, epoch) = (ShardId(0), Epoch(1));
        let dial = Dial {
            shard,
            epoch,
            ticket,
        };
        self.new_peer.order(ToSlave::Dial(Box::new(dial))).await;
    }

    async fn answer(&mut self) -> Result<(), String> {
        let waited = self.new_peer.wait("dialled", |message| match message {
            ToMaster::Dialled(dialled) => {
                assert_eq!((dialled.shard, dialled.epoch), (ShardId(0), Epoch(1)));
                Some(dialled.failed.clone())
            }
            _ => None,
        });
        let failed = waited.await;
        if failed.is_empty() {
            Ok(())
        } else {
            Err(failed)
        }
    }

    /// How many websockets were opened.
    pub fn connections(&self) -> usize {
        logged(&self.discord, What::Connected).len()
    }

    pub fn resumes(&self) -> usize {
        logged(&self.discord, What::Resume).len()
    }

    /// Every dispatch went to one handler, once, unmarked and in order.
    pub async fn is_exact(&self) {
        crate::common::traffic(&self.discord, 0.0);
        let ledger = || {
            let mut sent = self.discord.ledger(0, usize::MAX);
            sent.retain(|entry| entry.kind.name() != "RESUMED");
            sent.iter().map(|entry| entry.seq).collect::<Vec<_>>()
        };
        let told = || {
            let mut told = self.old.bot.told();
            told.extend(self.new.bot.told());
            told
        };
        until("the last event", || told().len() >= ledger().len()).await;
        let handed: Vec<_> = told().iter().map(|told| told.sequence).collect();
        assert_eq!(handed, ledger());
        assert!(told().iter().all(|told| told.mark == Mark::None));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_that_was_dialled_ahead_goes_on_with_every_event_once_on_that_connection() {
    let mut scene = scene(|_| {}).await;
    let ticket = scene.checkpoint().await;
    scene.dials(ticket).await.unwrap();
    // What is handled meanwhile is replayed once more, and dropped.
    scene.flows(&scene.old).await;
    assert_eq!(scene.resumes(), 0, "held");
    let ticket = scene.old_peer.seal(0, 1, LONG).await;
    scene.new_peer.resume(2, ResumeAfter::Seal, ticket).await;
    assert_eq!(scene.connections(), 2);
    scene.flows(&scene.new).await;
    scene.is_exact().await;
    assert_eq!((scene.connections(), scene.resumes()), (2, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_connection_that_died_is_replaced_without_a_pause() {
    let mut scene = scene(|config| config.timings.redial_first = LONG).await;
    let ticket = scene.checkpoint().await;
    scene.dials(ticket).await.unwrap();
    let ticket = scene.old_peer.seal(0, 1, LONG).await;
    until("the end of the old one's", || {
        !logged(&scene.discord, What::CloseReceived).is_empty()
    })
    .await;
    // Of the held one, which is the only one now.
    scene.discord.fault(Fault::new(FaultName::Reset)).unwrap();
    until("the reset", || {
        !logged(&scene.discord, What::Lost).is_empty()
    })
    .await;
    scene.new_peer.resume(2, ResumeAfter::Seal, ticket).await;
    scene.flows(&scene.new).await;
    scene.is_exact().await;
    assert_eq!(scene.resumes(), 1);
    // Where no close frame came the library dials by itself, in the same poll, and is
    // dropped in the middle of that. Discord may have seen that one, too.
    let connections = scene.connections();
    assert!((3..=4).contains(&connections), "{connections}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_held_too_long_is_dialled_anew_and_said_once() {
    let mut scene = scene(|config| config.timings.hold = Duration::from_millis(50)).await;
    let ticket = scene.checkpoint().await;
    scene.dials(ticket.clone()).await.unwrap();
    until("two more dials", || scene.connections() >= 4).await;
    scene.asks(ticket).await;
    scene.answer().await.unwrap();
    assert_eq!(scene.resumes(), 0);
    let ticket = scene.old_peer.seal(0, 1, LONG).await;
    scene.new_peer.resume(2, ResumeAfter::Seal, ticket).await;
    scene.is_exact().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dial_without_hello_is_tried_at_both_addresses_and_said_to_have_failed() {
    let mut scene = scene(|config| config.timings.hello = Duration::from_millis(100)).await;
    let ticket = scene.checkpoint().await;
    let mut silent = Fault::new(FaultName::NoHello);
    silent.count = 2;
    scene.discord.fault(silent).unwrap();
    let why = scene.dials(ticket).await.unwrap_err();
    assert_eq!(why, "no HELLO within 100ms");
    assert_eq!(scene.connections(), 3);
    let ticket = scene.old_peer.seal(0, 1, LONG).await;
    scene.new_peer.resume(2, ResumeAfter::Seal, ticket).await;
    scene.is_exact().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_for_a_session_that_is_no_more_is_not_used() {
    let mut scene = scene(|_| {}).await;
    let ticket = scene.checkpoint().await;
    let mut former = ticket.clone();
    with_session(&mut former, |session| {
        session.id = "a session of before".to_owned();
    });
    scene.dials(former).await.unwrap();
    let ticket = scene.old_peer.seal(0, 1, LONG).await;
    scene.new_peer.resume(2, ResumeAfter::Seal, ticket).await;
    scene.is_exact().await;
    assert_eq!((scene.connections(), scene.resumes()), (3, 1));
    assert_eq!(logged(&scene.discord, What::Refused).len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_not_needed_goes_without_a_word() {
    let mut scene = scene(|_| {}).await;
    let ticket = scene.checkpoint().await;
    scene.dials(ticket).await.unwrap();
    let unit = Unit {
        shard: ShardId(0),
        epoch: Epoch(1),
    };
    scene.new_peer.order(ToSlave::Forget(unit)).await;
    until("its end", || !logged(&scene.discord, What::Lost).is_empty()).await;
    assert_eq!(scene.resumes(), 0);
    scene.flows(&scene.old).await;
    scene.is_exact().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_of_other_parameters_is_not_dialled_for() {
    let mut scene = scene(|_| {}).await;
    let mut ticket = scene.checkpoint().await;
    with_session(&mut ticket, |session| session.parameters.intents += 1);
    let why = scene.dials(ticket).await.unwrap_err();
    assert!(why.contains("intents"), "{why}");
    assert_eq!(scene.connections(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn op_9_on_a_connection_that_was_dialled_ahead_is_answered_after_its_pause() {
    let pause = Duration::from_millis(300);
    let mut scene = scene(|config| config.timings.invalid_session = pause).await;
    let ticket = scene.checkpoint().await;
    scene.dials(ticket).await.unwrap();
    let ticket = scene.old_peer.seal(0, 1, LONG).await;
    let later = Fault::new(FaultName::Op9True).at(When::Resume);
    scene.discord.fault(later).unwrap();
    scene.new_peer.resume(2, ResumeAfter::Seal, ticket).await;
    scene.flows(&scene.new).await;
    scene.is_exact().await;
    let resumes = logged(&scene.discord, What::Resume);
    assert_eq!(resumes.len(), 2, "{resumes:?}");
    let apart = resumes[1].at_us - resumes[0].at_us;
    assert!(u128::from(apart) >= pause.as_micros(), "{apart} us");
}
