//! How much of a core the simulated Discord takes. Run with
//! `cargo test -p baton-discord --test load -- --ignored --nocapture`.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::common::{Client, identify};
use futures_util::StreamExt;
use serde_json::Value;

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
#[ignore = "takes ten seconds and says only how fast this machine is"]
async fn sixty_four_busy_shards_of_which_sixteen_are_probed() {
    let used = load(
        64,
        "50",
        &[r#"{"shards":[0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15],"on":true}"#],
    );
    println!("64 shards at 50/s, 16 probed: {:.2} cores", used.await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
#[ignore = "takes ten seconds and says only how fast this machine is"]
async fn a_thousand_quiet_shards() {
    println!(
        "1024 shards at 1/s: {:.2} cores",
        load(1024, "1", &[]).await
    );
}

/// Cores that the simulated Discord used over five seconds.
async fn load(shards: u32, rate: &str, probes: &[&str]) -> f64 {
    let mut process = Command::new(env!("CARGO_BIN_EXE_baton-discord"))
        .args(["--shards", &shards.to_string(), "--rate", rate, "--json"])
        .args(["--max-concurrency", "1024", "--identify-window", "0s"])
        .args(["--session-start-limit", "5000", "--guilds-per-shard", "5"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(process.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let ready: Value = serde_json::from_str(&line).unwrap();
    let url = ready["gateway"].as_str().unwrap();
    let mut readers = Vec::new();
    for shard in 0..shards {
        let mut client = Client::hello(url).await;
        client.send(identify((shard, shards))).await;
        readers.push(tokio::spawn(async move {
            let mut count = 0_u64;
            while let Some(Ok(_)) = client.ws.next().await {
                count += 1;
            }
            count
        }));
    }
    for probe in probes {
        let control = ready["control"].as_str().unwrap();
        let sent = Command::new("curl")
            .args(["-s", "-d", probe, &format!("{control}/probe")])
            .status();
        assert!(sent.unwrap().success());
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (start, before) = (Instant::now(), cpu(&process));
    tokio::time::sleep(Duration::from_secs(5)).await;
    let used = (cpu(&process) - before) / start.elapsed().as_secs_f64();
    process.kill().unwrap();
    process.wait().unwrap();
    let mut events = 0;
    for reader in readers {
        events += reader.await.unwrap();
    }
    println!("{events} events came");
    used
}

/// Seconds of processor time, with the usual hundred ticks a second.
fn cpu(process: &Child) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.id())).unwrap();
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    ticks / 100.0
}
