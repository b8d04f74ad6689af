//! Copies of guilds in a real Redis.

use std::collections::BTreeMap;

use baton_brokers::{Kind, Redis, or_pass_over, parts, worker::address};
use baton_sink::{Change, Changed, Documents, Epoch, GuildCopies, Owned, ShardId};
use baton_testing::{Fleet, process::program};
use redis::aio::MultiplexedConnection;
use serde_json::Value;

use crate::{
    common::{until, until_true},
    redis::{config, connection},
    workers::{Language, Worker},
};

const KINDS: [&str; 3] = ["guild", "member", "role"];

fn copies(redis: &Redis) -> GuildCopies {
    GuildCopies::new(config(&redis.url())).unwrap()
}

const fn at(epoch: u64) -> Owned {
    Owned {
        shard: ShardId(3),
        epoch: Epoch(epoch),
        guild: 81,
    }
}

fn roles(roles: &[(u64, Option<&str>)]) -> Documents {
    let roles = roles.iter().map(|(id, it)| (*id, it.map(str::to_owned)));
    Documents::from([("role", roles.collect())])
}

/// The roles as they are there.
async fn there(redis: &Redis) -> BTreeMap<String, String> {
    let mut connection = connection(redis).await;
    let mut asks = redis::cmd("HGETALL");
    asks.arg("baton:guild:{3}:81:role");
    asks.query_async(&mut connection).await.unwrap()
}

#[tokio::test]
async fn an_older_owner_overwrites_and_removes_nothing_of_a_newer_ones() {
    let Some(redis) = or_pass_over(Redis::start()) else {
        return;
    };
    let copies = copies(&redis);
    let kinds = || KINDS.to_vec();
    let new = Change::Some(roles(&[(1, Some("new")), (2, Some("two"))]));
    assert_eq!(copies.change(at(5), &new).await, Ok(Changed::Anew));
    let before = there(&redis).await;
    assert_eq!(before.len(), 2);
    for late in [
        Change::Some(roles(&[(1, Some("old")), (2, None)])),
        Change::Begin(kinds()),
        Change::Part(roles(&[(1, Some("old"))])),
        Change::End(kinds()),
        Change::Gone(kinds()),
    ] {
        let answer = copies.change(at(4), &late).await;
        assert_eq!(answer, Ok(Changed::Fenced), "{late:?}");
        assert_eq!(there(&redis).await, before, "{late:?}");
    }
    let removes = Change::Some(roles(&[(2, None)]));
    assert_eq!(copies.change(at(5), &removes).await, Ok(Changed::Done));
    assert_eq!(there(&redis).await.len(), 1);
}

#[tokio::test]
async fn a_guild_that_is_copied_anew_is_there_at_once_and_one_that_was_left_is_gone() {
    let Some(redis) = or_pass_over(Redis::start()) else {
        return;
    };
    let copies = copies(&redis);
    let change = async |change: Change| copies.change(at(5), &change).await;
    let old = roles(&[(1, Some("one")), (2, Some("two"))]);
    change(Change::Some(old)).await.unwrap();
    change(Change::Begin(KINDS.to_vec())).await.unwrap();
    change(Change::Part(roles(&[(1, Some("anew"))])))
        .await
        .unwrap();
    assert_eq!(there(&redis).await["1"], "one", "until all of it is there");
    // An owner that died has left half of one.
    change(Change::Begin(KINDS.to_vec())).await.unwrap();
    change(Change::Part(roles(&[(7, Some("seven"))])))
        .await
        .unwrap();
    change(Change::End(KINDS.to_vec())).await.unwrap();
    let now = there(&redis).await;
    assert_eq!(now, BTreeMap::from([("7".to_owned(), "seven".to_owned())]));
    assert_eq!(copies.guilds(ShardId(3)).await, Ok(vec![81]));
    change(Change::Gone(KINDS.to_vec())).await.unwrap();
    assert_eq!(copies.guilds(ShardId(3)).await, Ok(vec![]));
    let mut connection = connection(&redis).await;
    let keys: Vec<String> = redis::cmd("KEYS")
        .arg("*")
        .query_async(&mut connection)
        .await
        .unwrap();
    assert_eq!(keys, ["baton:guilds:{3}"], "the fence stays");
}

fn bot(build: &str, redis: &Redis) -> Vec<String> {
    let program = program("baton-slave").unwrap().display().to_string();
    let url = redis.url();
    let flags = [
        "--build", build, "--state", "store", "--sink", "none", "--guilds", &url,
    ];
    let flags = flags.map(str::to_owned);
    std::iter::once(program).chain(flags).collect()
}

/// How many roles and channels the copies of a guild have.
async fn counts(connection: &mut MultiplexedConnection, shard: u32, guild: u64) -> [usize; 2] {
    let mut counts = [0; 2];
    for (count, kind) in counts.iter_mut().zip(["role", "channel"]) {
        let mut asks = redis::cmd("HLEN");
        asks.arg(format!("baton:guild:{{{shard}}}:{guild}:{kind}"));
        *count = asks.query_async(connection).await.unwrap();
    }
    counts
}

/// Whether each guild of a fleet is there as Discord has it.
async fn are_true(fleet: &Fleet, connection: &mut MultiplexedConnection) -> bool {
    for shard in 0..2 {
        for guild in fleet.discord().truth_guilds(shard).unwrap() {
            let Some(truth) = fleet.discord().truth_guild(guild) else {
                return false;
            };
            let truth: Value = serde_json::from_str(&truth).unwrap();
            let expected = ["roles", "channels"]
                .map(|list| truth["guild"][list].as_array().map_or(0, Vec::len));
            if counts(connection, shard, guild).await != expected {
                return false;
            }
        }
    }
    true
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guilds_are_copied_through_a_deploy_a_crash_and_a_server_that_comes_back_empty() {
    let Some(mut redis) = or_pass_over(Redis::start()) else {
        return;
    };
    let mut fleet = Fleet::builder()
        .shards(2)
        .start(bot("v1", &redis))
        .await
        .unwrap();
    fleet.serves().await.unwrap();
    let all = async |fleet: &Fleet, redis: &Redis, what: &str| {
        until_true(what, async || {
            let mut connection = connection(redis).await;
            are_true(fleet, &mut connection).await
        })
        .await;
    };
    all(&fleet, &redis, "each guild is there").await;
    fleet.deploy(bot("v2", &redis)).await.unwrap();
    all(&fleet, &redis, "each guild is there after a deploy").await;
    fleet.kill_bot().await.unwrap();
    fleet.serves().await.unwrap();
    all(&fleet, &redis, "each guild is there after a crash").await;
    redis.kill();
    redis.forget().unwrap();
    redis.start_again().unwrap();
    all(&fleet, &redis, "each guild is there again").await;

    // The worker of `docs/workers.md` reads them.
    let Some(library) = or_pass_over(parts::python("redis")) else {
        return;
    };
    let guild = fleet.discord().truth_guilds(0).unwrap()[0];
    let environment = vec![
        address(Kind::Redis, &redis.url()),
        ("GUILD", guild.to_string()),
        ("SHARDS", "2".to_owned()),
    ];
    let which = (Language::Python, "baton:guild:");
    let worker = Worker::new(which, redis.dir(), &library, environment);
    let _process = worker.start();
    let truth = fleet.discord().truth_guild(guild).unwrap();
    let truth: Value = serde_json::from_str(&truth).unwrap();
    let name = truth["guild"]["name"].as_str().unwrap().to_owned();
    until("it says the guild's name", || worker.said().contains(&name)).await;
}
