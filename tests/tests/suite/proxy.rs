//! A client of the gateway that `baton-slave --proxy` is, in a fleet.

mod client;
mod voice;

use std::{collections::BTreeMap, net::SocketAddr, process::Stdio, time::Duration};

use baton_testing::{Fleet, process::program};
use baton_tests::fleet::own_proxy;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{process::Command, task::JoinHandle, time::sleep};

use self::client::Client;

/// The token of the fleet's bot.
const TOKEN: &str = "MTA1.simulated.token";
/// GUILDS, GUILD_VOICE_STATES, GUILD_MESSAGES, MESSAGE_CONTENT.
const INTENTS: u64 = 1 | 128 | 512 | 32_768;

fn bot(build: &str, address: SocketAddr, store: &str) -> Vec<String> {
    let program = program("baton-slave").unwrap().display().to_string();
    let (address, intents) = (address.to_string(), INTENTS.to_string());
    let flags = [
        "--build",
        build,
        "--sink",
        "none",
        "--intents",
        &intents,
        "--state",
        "store",
        "--store",
        store,
        "--proxy",
        &address,
    ];
    std::iter::once(program)
        .chain(flags.map(str::to_owned))
        .collect()
}

fn identify(shard: (u32, u32)) -> Value {
    json!({"op": 2, "d": {
        "token": TOKEN, "intents": INTENTS, "properties": {"browser": "tests"}, "shard": shard,
    }})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_in_any_language_loses_nothing_when_it_is_killed_or_the_slave_is_or_is_replaced() {
    let address = own_proxy();
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store").display().to_string();
    // Nobody passes the socket on: each slave binds it when the one before lets go of it.
    let builder = Fleet::builder().shards(1);
    let mut fleet = builder.start(bot("v1", address, &store)).await.unwrap();

    let (first, living) = Client::start(address);
    first.until_messages(20).await;
    let guilds = first.seen().guilds.clone();
    assert!(!guilds.is_empty());
    living.abort();
    sleep(Duration::from_millis(200)).await;

    // Another process of the bot: it gets what the first one did not acknowledge.
    let (client, living) = Client::start(address);
    client.until_messages(20).await;
    assert_eq!(client.seen().guilds, guilds);
    fleet.assert_nothing_lost().await;
    master_knows_of_a_client(&fleet, address).await;

    fleet.deploy(bot("v2", address, &store)).await.unwrap();
    client.until_messages(20).await;
    fleet.assert_nothing_lost().await;
    client.saw_one_session();
    assert_eq!(client.seen().resumes, 1, "at the new slave");

    // Its session outlives the slave, and it says itself what it has.
    fleet.kill_bot().await.unwrap();
    client.until("resumed", |seen| seen.resumes == 2).await;
    client.until_messages(20).await;
    fleet.assert_nothing_lost().await;
    client.saw_one_session();
    assert_eq!(fleet.discord().counters().total.identifies, 1);
    living.abort();
}

/// Who is there, and at which address.
async fn master_knows_of_a_client(fleet: &Fleet, address: SocketAddr) {
    let mut clients = Value::Null;
    for _ in 0..600 {
        let status = fleet.status().await.unwrap();
        clients = status["slaves"][0]["clients"].clone();
        let library = json!([{"name": "tests", "clients": 1}]);
        if clients["attended"] == 1 && clients["libraries"] == library {
            assert_eq!(clients["address"], address.to_string());
            assert_eq!(
                (&clients["sessions"], &clients["lost"]),
                (&2.into(), &0.into())
            );
            return;
        }
        sleep(Duration::from_millis(50)).await;
    }
    panic!("the master does not hear of the client: {clients}");
}

/// Clients of a fleet whose master has the socket.
struct Served {
    fleet: Fleet,
    address: SocketAddr,
    store: String,
    clients: Vec<Client>,
    living: Vec<JoinHandle<()>>,
    _folder: TempDir,
}

const SHARDS: u32 = 4;

impl Served {
    async fn start(builder: baton_testing::Builder) -> Self {
        let address = own_proxy();
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("store").display().to_string();
        let builder = builder.shards(SHARDS).listen(address);
        let fleet = builder.start(bot("v1", address, &store)).await.unwrap();
        let all = (0..SHARDS).map(|shard| Client::of(address, (shard, SHARDS)));
        let (clients, living): (Vec<_>, Vec<_>) = all.unzip();
        let served = Self {
            fleet,
            address,
            store,
            clients,
            living,
            _folder: folder,
        };
        served.get_messages(5).await;
        served
    }

    fn build(&self, name: &str) -> Vec<String> {
        bot(name, self.address, &self.store)
    }

    /// Each client gets so many messages more.
    async fn get_messages(&self, more: usize) {
        for client in &self.clients {
            client.until_messages(more).await;
        }
    }

    /// What the master's command line does.
    fn command(&self, verb: &str, arguments: &[String]) -> Command {
        let config = self.fleet.folder().join("baton.toml");
        let mut command = Command::new(program("baton-master").unwrap());
        command.arg(verb).arg("--config").arg(config);
        command.args(arguments);
        command
    }

    /// Nobody waits for the end of this deploy.
    fn begins_to_deploy(&self, build: &str) {
        let mut words = vec!["--".to_owned()];
        words.extend(self.build(build));
        let mut command = self.command("deploy", &words);
        drop(command.stdout(Stdio::null()).spawn().unwrap());
    }

    /// `v2` is deployed, and has the first shard.
    async fn deploys_as_far_as_the_canary(&self) {
        self.begins_to_deploy("v2");
        let is_canary = |status: &Value| builds(status).get("v2") == Some(&1);
        self.until("the canary", is_canary).await;
    }

    async fn until_all_are_at(&self, build: &str) {
        let all = BTreeMap::from([(build.to_owned(), SHARDS as usize)]);
        let what = format!("all at {build}");
        self.until(&what, |status| builds(status) == all).await;
    }

    async fn until(&self, what: &str, condition: impl Fn(&Value) -> bool) {
        let mut last = Value::Null;
        for _ in 0..3000 {
            if let Ok(status) = self.fleet.status().await {
                if condition(&status) {
                    return;
                }
                last = status;
            }
            sleep(Duration::from_millis(10)).await;
        }
        panic!("not {what}: {last}");
    }

    /// Nothing was lost, nothing came twice, and Discord saw one IDENTIFY a shard.
    async fn all_is_well(mut self) {
        self.get_messages(10).await;
        self.fleet.assert_nothing_lost().await;
        for client in &self.clients {
            client.saw_one_session();
        }
        let identifies = self.fleet.discord().counters().total.identifies;
        assert_eq!(identifies, u64::from(SHARDS));
        self.living.iter().for_each(JoinHandle::abort);
    }
}

/// How many shards each build has.
fn builds(status: &Value) -> BTreeMap<String, usize> {
    let mut builds = BTreeMap::new();
    for shard in status["shards"].as_array().unwrap() {
        let owner = &shard["owner"];
        let slaves = status["slaves"].as_array().unwrap();
        let owner = slaves.iter().find(|slave| slave["slave"] == *owner);
        if let Some(build) = owner.and_then(|owner| owner["build"].as_str()) {
            *builds.entry(build.to_owned()).or_default() += 1;
        }
    }
    builds
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_go_on_at_the_next_slave_in_a_deploy_and_in_the_next_one() {
    let mut served = Served::start(Fleet::builder().events_per_second(100.0)).await;
    for build in ["v2", "v3"] {
        let build = served.build(build);
        served.fleet.deploy(build).await.unwrap();
        served.get_messages(20).await;
    }
    for client in &served.clients {
        assert_eq!(client.seen().resumes, 2);
    }
    served.all_is_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deploy_that_is_aborted_gives_clients_back_to_the_old_slave() {
    let builder = Fleet::builder().soak(Duration::from_secs(60));
    let served = Served::start(builder).await;
    served.begins_to_deploy("v2");
    served.until_all_are_at("v2").await;
    served.get_messages(10).await;
    let aborted = served.command("abort", &[]).output().await.unwrap();
    assert!(aborted.status.success(), "{aborted:?}");
    served.until_all_are_at("v1").await;
    for client in &served.clients {
        client.until("back", |seen| seen.resumes == 2).await;
    }
    served.all_is_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_canary_is_watched_clients_of_other_shards_notice_nothing() {
    let builder = Fleet::builder()
        .events_per_second(100.0)
        .limit("canary_time", "\"8s\"")
        .limit("canary_events", "0");
    let served = Served::start(builder).await;
    served.deploys_as_far_as_the_canary().await;
    served.get_messages(10).await;
    let connections = |client: &Client| client.seen().connections;
    let first: usize = served.clients.iter().map(connections).sum();
    assert_eq!(first, 5, "one client connected again");
    served.until_all_are_at("v2").await;
    for client in &served.clients {
        client.until("moved", |seen| seen.resumes == 1).await;
    }
    served.all_is_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn if_the_old_slave_is_killed_in_its_deploy_clients_go_on_at_the_new_one() {
    let builder = Fleet::builder()
        .limit("canary_time", "\"30s\"")
        .limit("canary_events", "0");
    let served = Served::start(builder).await;
    served.deploys_as_far_as_the_canary().await;
    let status = served.fleet.status().await.unwrap();
    let slaves = status["slaves"].as_array().unwrap();
    let old = slaves.iter().find(|slave| slave["build"] == "v1").unwrap();
    let pid = i32::try_from(old["pid"].as_i64().unwrap()).unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    served.until_all_are_at("v2").await;
    served.fleet.serves().await.unwrap();
    for client in &served.clients {
        client.until("moved", |seen| seen.resumes >= 1).await;
    }
    served.all_is_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_master_gets_the_socket_back_and_passes_it_on() {
    let builder = Fleet::builder()
        .limit("canary_time", "\"2s\"")
        .limit("canary_events", "0");
    let mut served = Served::start(builder).await;
    served.deploys_as_far_as_the_canary().await;
    served.fleet.kill_master().await.unwrap();
    served.until_all_are_at("v2").await;
    for client in &served.clients {
        client.until("moved", |seen| seen.resumes == 1).await;
    }
    let settled = |status: &Value| status["slaves"].as_array().unwrap().len() == 1;
    served.until("the old one ended", settled).await;
    let build = served.build("v3");
    served.fleet.deploy(build).await.unwrap();
    for client in &served.clients {
        client.until("moved", |seen| seen.resumes == 2).await;
    }
    served.all_is_well().await;
}
