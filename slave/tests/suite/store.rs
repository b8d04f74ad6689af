//! State that stays where it is, in a store on a folder of its own.

mod beside;
mod trouble;

use std::path::PathBuf;

use baton_discord::{Discord, DiscordConfig, Fault, FaultName, ResumeWhileConnected};
use baton_protocol::{
    Epoch, Sequence, ShardId, Ticket, ToMaster, ToSlave,
    message::{Dial, ResumeAfter, Unit},
};
use baton_slave::{SlaveConfig, StateStatus};
use tempfile::TempDir;
use twilight_model::id::Id;

use crate::common::{
    FakeMaster, LONG, Peer, Recorder, Running, all_once_unmarked, config, discord, moment, run,
    sent, traffic, until,
};
use crate::lost::copy;

/// Slaves of one fleet, which share a folder.
struct Scene {
    discord: Discord,
    master: FakeMaster,
    dir: TempDir,
    sides: Vec<Side>,
}

struct Side {
    slave: Running,
    peer: Peer,
}

impl Scene {
    /// The first slave serves shard 0 at epoch 1, and events come.
    async fn new(change: impl FnOnce(&mut DiscordConfig)) -> Self {
        let mut scene = Self {
            discord: discord(change).await,
            master: FakeMaster::new(1).await,
            dir: tempfile::tempdir().unwrap(),
            sides: Vec::new(),
        };
        let side = scene.joins().await;
        scene.sides[side].peer.start(&[0], 1, 1).await;
        traffic(&scene.discord, 500.0);
        scene.flows(side).await;
        scene
    }

    /// One more slave, which serves nothing.
    async fn joins(&mut self) -> usize {
        self.joins_as(Recorder::with_store(&self.dir.path().join("store")), |_| {})
            .await
    }

    async fn joins_as(&mut self, bot: Recorder, change: impl FnOnce(&mut SlaveConfig)) -> usize {
        let mut config = config(&self.master, &self.discord);
        change(&mut config);
        let slave = run(config, bot);
        let peer = self.master.accept().await;
        self.sides.push(Side { slave, peer });
        self.sides.len() - 1
    }

    /// The folder of shard 0.
    fn folder(&self) -> PathBuf {
        let store = self.sides[0].slave.bot.store.as_ref().unwrap();
        store.dir().expect("a shard was served").join("shard-0")
    }

    async fn flows(&self, side: usize) {
        let bot = &self.sides[side].slave.bot;
        let before = bot.told().len();
        until("more events", || bot.told().len() > before + 20).await;
    }

    /// A shard goes from one slave to the other, which owns it at `epoch` then.
    async fn hands_over(&mut self, from: usize, to: usize, epoch: u64) -> Ticket {
        let ticket = self.sides[from].peer.seal(0, epoch - 1, LONG).await;
        let unfinished = self.sides[from].peer.settled(0).await;
        let next = &mut self.sides[to].peer;
        next.resume(epoch, ResumeAfter::Seal, ticket.clone()).await;
        next.settle(0, epoch - 1, unfinished).await;
        ticket
    }

    fn states(&self, side: usize) -> Vec<StateStatus> {
        let states = self.sides[side].slave.bot.states.lock().unwrap();
        states.iter().map(|(_, status)| *status).collect()
    }

    /// Everything that Discord sent was handed out once, and the state of this slave is what
    /// Discord says.
    async fn is_exact(&self, side: usize) {
        let moment = moment(&self.discord, 0, &self.sides[side].slave.bot).await;
        assert_eq!(moment.difference(), None);
        let bots: Vec<&Recorder> = self.sides.iter().map(|side| &*side.slave.bot).collect();
        all_once_unmarked(&self.discord, &bots).await;
        assert_eq!(self.discord.counters().total.identifies, 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_is_at_the_next_owner_without_a_copy_and_as_whole_on_the_way_back() {
    let mut scene = Scene::new(|config| {
        config.guilds_per_shard = 30;
        config.members_per_guild = 40;
    })
    .await;
    let new = scene.joins().await;
    for round in 0..4 {
        let (from, to) = if round % 2 == 0 { (0, new) } else { (new, 0) };
        scene.hands_over(from, to, round + 2).await;
        scene.flows(to).await;
    }
    scene.is_exact(0).await;
    assert_eq!(scene.states(0), [StateStatus::Complete; 3]);
    assert_eq!(scene.states(new), [StateStatus::Complete; 2]);
}

/// What reads the copy.
enum Reader {
    /// A store in the same folder.
    Shares,
    /// One in another.
    Apart,
    /// twilight's cache.
    Cache,
}

impl Scene {
    async fn joins_to_read(&mut self, reader: Reader) -> usize {
        let dir = self.dir.path();
        let bot = match reader {
            Reader::Shares => Recorder::with_store(&dir.join("store")),
            Reader::Apart => Recorder::with_store(&dir.join("apart")),
            Reader::Cache => Recorder::with_cache(),
        };
        self.joins_as(bot, |_| {}).await
    }

    /// Copies the state from one to the other, as the master does while the first serves.
    /// Gives how many pieces were taken in.
    async fn copies(&mut self, from: usize, to: usize, epoch: u64) -> u64 {
        let [from, to] = self.sides.get_disjoint_mut([from, to]).unwrap();
        copy(&mut from.peer, &mut to.peer, epoch).await.pieces
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_both_can_reach_is_not_copied_and_everything_else_is_in_either_form() {
    let mut scene = Scene::new(|config| {
        config.guilds_per_shard = 30;
        config.members_per_guild = 40;
    })
    .await;
    let mut owner = 0;
    for (epoch, (reader, pieces)) in (2..).zip([
        (Reader::Shares, 0),
        (Reader::Apart, 31),
        (Reader::Cache, 31),
        (Reader::Shares, 31),
        (Reader::Shares, 0),
    ]) {
        let next = scene.joins_to_read(reader).await;
        assert_eq!(
            scene.copies(owner, next, epoch - 1).await,
            pieces,
            "{epoch}"
        );
        scene.flows(owner).await;
        scene.hands_over(owner, next, epoch).await;
        scene.flows(next).await;
        assert_eq!(scene.states(next), [StateStatus::Complete], "{epoch}");
        owner = next;
    }
    scene.is_exact(owner).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_death_the_next_owner_has_it_whole_and_the_dead_one_cannot_change_it() {
    let mut scene = Scene::new(|_| {}).await;
    let new = scene.joins().await;
    scene.sides[0].peer.catch_up().await;
    let ticket = scene.sides[0].peer.checkpoints[&ShardId(0)].clone();
    // It is not dead at all.
    let peer = &mut scene.sides[new].peer;
    peer.resume(2, ResumeAfter::Death, ticket).await;
    scene.flows(new).await;
    assert_eq!(scene.states(new), [StateStatus::Complete]);
    let moment = moment(&scene.discord, 0, &scene.sides[new].slave.bot).await;
    assert_eq!(moment.difference(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_store_holds_and_the_dead_owner_did_not_finish_is_handed_out_and_not_applied() {
    let mut scene = Scene::new(|_| {}).await;
    scene.sides[0].peer.catch_up().await;
    let early = scene.sides[0].peer.checkpoints[&ShardId(0)].clone();
    scene.flows(0).await;
    traffic(&scene.discord, 0.0);
    let last = |scene: &Scene| scene.discord.ledger(0, usize::MAX).last().unwrap().seq;
    let store = scene.sides[0].slave.bot.store.clone().unwrap();
    let stands = || store.shard(ShardId(0)).unwrap().view().unwrap().stand();
    until("all of it is in the store", || {
        stands().sequence.get() == last(&scene)
    })
    .await;
    let new = scene.joins().await;
    let peer = &mut scene.sides[new].peer;
    peer.resume(2, ResumeAfter::Death, early.clone()).await;
    let expected = || {
        let sent = sent(&scene.discord).into_iter();
        let sequences = sent.map(|(_, sequence)| sequence);
        let behind = sequences.filter(|sequence| *sequence > early.handled.get());
        let mut expected: Vec<u64> = behind.collect();
        expected.retain(|sequence| !early.finished_above.contains(Sequence(*sequence)));
        expected
    };
    let told = || scene.sides[new].slave.bot.sequences();
    until("all that was not known finished", || told() == expected()).await;
    assert!(expected().len() > 20, "{:?}", expected().len());
    let moment = moment(&scene.discord, 0, &scene.sides[new].slave.bot).await;
    assert_eq!(moment.difference(), None);
    assert_eq!(scene.states(new), [StateStatus::Complete]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_seal_hands_the_store_over_too() {
    let mut scene = Scene::new(|config| {
        config.resume_while_connected = ResumeWhileConnected::Both;
    })
    .await;
    let new = scene.joins().await;
    scene.sides[0].peer.catch_up().await;
    let ticket = Box::new(scene.sides[0].peer.checkpoints[&ShardId(0)].clone());
    let unit = Unit {
        shard: ShardId(0),
        epoch: Epoch(1),
    };
    let next = &mut scene.sides[new].peer;
    let (shard, epoch) = (unit.shard, unit.epoch);
    let dial = Dial {
        shard,
        epoch,
        ticket: *ticket,
    };
    next.order(ToSlave::Dial(Box::new(dial))).await;
    next.wait("a connection", |message| match message {
        ToMaster::Dialled(dialled) => dialled.failed.is_empty().then_some(()),
        _ => None,
    })
    .await;
    scene.sides[0].peer.seals_late(unit).await;
    let next = &mut scene.sides[new].peer;
    next.order(ToSlave::Overtake(unit)).await;
    next.wait("RESUMED beside the owner", |message| match message {
        ToMaster::Overtaken(overtaken) => overtaken.failed.is_empty().then_some(()),
        _ => None,
    })
    .await;
    scene.flows(0).await;
    scene.hands_over(0, new, 2).await;
    scene.flows(new).await;
    scene.is_exact(new).await;
    assert_eq!(scene.states(new), [StateStatus::Complete]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_session_begins_with_nothing_of_the_one_before() {
    let mut scene = Scene::new(|_| {}).await;
    let store = scene.sides[0].slave.bot.store.clone().unwrap();
    let session = || store.shard(ShardId(0))?.view().ok()?.stand().session;
    let before = session().unwrap();
    scene
        .discord
        .fault(Fault::new(FaultName::Op9False))
        .unwrap();
    scene.sides[0].peer.serving(0).await;
    until("another session", || {
        session().is_some_and(|session| session != before)
    })
    .await;
    scene.flows(0).await;
    let moment = moment(&scene.discord, 0, &scene.sides[0].slave.bot).await;
    assert_eq!(moment.difference(), None);
    assert_eq!(scene.states(0), [StateStatus::Complete; 2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_shards_of_two_slaves_have_a_state_each() {
    const SHARDS: u32 = 8;
    let discord = discord(|config| config.shards = SHARDS).await;
    let master = FakeMaster::new(SHARDS).await;
    let dir = tempfile::tempdir().unwrap();
    let bot = || Recorder::with_store(&dir.path().join("store"));
    let one = run(config(&master, &discord), bot());
    let mut first = master.accept().await;
    let all: Vec<u32> = (0..SHARDS).collect();
    first.start(&all, 1, SHARDS).await;
    let two = run(config(&master, &discord), bot());
    let mut second = master.accept().await;
    traffic(&discord, 500.0);
    for shard in (0..SHARDS).step_by(2) {
        let ticket = first.seal(shard, 1, LONG).await;
        let unfinished = first.settled(shard).await;
        second.resume(2, ResumeAfter::Seal, ticket).await;
        second.settle(shard, 1, unfinished).await;
    }
    until("both have events", || {
        [&one, &two]
            .iter()
            .all(|slave| slave.bot.told().len() > 100)
    })
    .await;
    for shard in 0..SHARDS {
        let owner = if shard % 2 == 0 { &two } else { &one };
        let moment = moment(&discord, shard, &owner.bot).await;
        assert_eq!(moment.difference(), None, "shard {shard}");
        // Found by its guild, whichever shard that is in.
        let store = owner.bot.store.as_ref().unwrap();
        let guild = discord.truth_guilds(shard).unwrap()[0];
        let stands = store.of(Id::new(guild)).unwrap().shard();
        assert_eq!(stands, ShardId(shard));
    }
    assert_eq!(discord.counters().total.identifies, u64::from(SHARDS));
}
