//! A slave that is let in, has a shard of its own, and says what is not true. Each lie
//! is judged by one sentence: nothing changes but a counter and the liar's own shard.
//!
//! What the same lies do inside of a deploy stands with the core: `tests::hostile`,
//! `plausible`, `dark`, `stalls`.

use baton_protocol::{
    Connection, Epoch, ProcessIdentity, Sequence, ShardId, SlaveId, Ticket, ToMaster, ToSlave,
    Version,
    discord::{self, SessionParameters},
    message::{
        Checkpoint, CheckpointEntry, Held, Hello, Holding, IdentifyCause, IdentifyRequest, Pong,
        Progress, Refused, RefusedReason, Report, Role, Sealed, Step, Unit,
    },
};
use serde_json::{Value, json};

use super::{hear, refused, say};
use crate::{
    fake::Fake,
    fleet::{Fleet, Master, is_alive, until},
};

/// The liar's own.
const OWN: ShardId = ShardId(2);

/// Shards 0 and 1 are an honest slave's, shard 2 is the liar's.
struct Scene {
    fleet: Fleet,
    master: Master,
    honest: Fake,
    liar: Liar,
    before: Value,
}

struct Liar {
    hello: Hello,
    connection: Connection,
    words: u64,
    _process: tokio::process::Child,
}

async fn scene() -> Scene {
    let fleet = Fleet::new(
        "shard_count = 3\n[[slot]]\nname = \"main\"\nshards = [0, 1]\n\
         [[slot]]\nname = \"liars\"\nshards = [2, 2]\n",
    );
    let master = fleet.master().await;
    let honest = fleet.slave("v1", Role::Candidate);
    until("the honest ones serve", || honest.serving() == 2).await;
    let mut liar = Liar::comes(&fleet).await;
    liar.serves().await;
    fleet.settled().await;
    until("the work is done", || honest.seen().work != Epoch(0)).await;
    let before = picture(&fleet.status().await);
    Scene {
        fleet,
        master,
        honest,
        liar,
        before,
    }
}

impl Scene {
    /// The sentence.
    async fn nothing_changed(&mut self) {
        // Everything that was said before is heard when this is.
        self.liar.words += 1;
        let words = self.liar.words;
        let pong = ToMaster::Pong(Pong {
            finished: words,
            ..Pong::default()
        });
        say(&mut self.liar.connection, pong).await;
        let heard = |status: &Value| {
            let slaves = status["slaves"].as_array().unwrap();
            slaves.iter().any(|slave| slave["finished"] == words)
        };
        self.fleet.shows("the liar is heard", heard).await;
        self.is_as_before().await;
    }

    async fn is_as_before(&self) {
        let after = picture(&self.fleet.status().await);
        assert_eq!(after, self.before, "{}", self.fleet.log());
        assert_eq!(self.honest.serving(), 2);
        assert_eq!(self.honest.seen().accepted, 1, "its link was never cut");
        assert!(is_alive(self.honest.process.pid));
        assert!(is_alive(self.master.child.id().unwrap()));
    }

    /// How often somebody was not believed.
    fn disbelieved(&self) -> usize {
        self.fleet.log().matches("not believed").count()
    }
}

impl Liar {
    async fn comes(fleet: &Fleet) -> Self {
        let child = tokio::process::Command::new("sleep")
            .arg("1000")
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let hello = Hello {
            version: Version::NEWEST,
            lowest: Version::OLDEST,
            slave: SlaveId::random().unwrap(),
            role: Role::Candidate,
            slot: "liars".to_owned(),
            build: "v1".to_owned(),
            parameters: SessionParameters {
                intents: 513,
                api_version: 10,
                encoding: "json".to_owned(),
                large_threshold: 50,
                ..SessionParameters::default()
            }
            .seal(),
            process: ProcessIdentity::of(child.id().unwrap()).unwrap(),
            nonce: "0123456789abcdef".into(),
            ..Hello::default()
        };
        let connection = dial(fleet, &hello, Vec::new()).await.unwrap();
        Self {
            hello,
            connection,
            words: 0,
            _process: child,
        }
    }

    /// Comes again, with this report.
    async fn reports(&mut self, fleet: &Fleet, shards: Vec<Held>) {
        self.connection = dial(fleet, &self.hello, shards).await.unwrap();
    }

    /// Serves its own shard, as it should.
    async fn serves(&mut self) {
        loop {
            let said = hear(&mut self.connection).await;
            if matches!(said, ToSlave::FullStart(_)) {
                let asks = IdentifyRequest {
                    shard: OWN,
                    epoch: Epoch(1),
                    cause: IdentifyCause::Cold,
                };
                self.says(ToMaster::IdentifyRequest(asks)).await;
            } else if matches!(said, ToSlave::IdentifyPermit(_)) {
                break;
            }
        }
        self.says(checkpoint(9)).await;
        self.says(progress(OWN, 1, Step::Serving, 0)).await;
    }

    async fn says(&mut self, message: ToMaster) {
        say(&mut self.connection, message).await;
    }
}

/// Says hello and reports; why it was refused.
async fn dial(fleet: &Fleet, hello: &Hello, shards: Vec<Held>) -> Result<Connection, Refused> {
    let running = !shards.is_empty();
    let report = Report {
        shards,
        ready: true,
        last: true,
        ..Report::default()
    };
    let (connection, answer) = super::dial(fleet, hello.clone(), running, report).await?;
    if matches!(answer, ToSlave::Accepted(_)) {
        return Ok(connection);
    }
    Err(refused(answer))
}

/// The fleet as an operator sees it, without the liar's own and without what only time
/// changes.
fn picture(status: &Value) -> Value {
    let honest = |list: &Value, is: &dyn Fn(&Value) -> bool| -> Vec<Value> {
        let list = list.as_array().unwrap();
        list.iter().filter(|one| is(one)).map(lasting).collect()
    };
    json!({
        "shards": honest(&status["shards"], &|shard| shard["shard"] != OWN.get()),
        "slaves": honest(&status["slaves"], &|slave| slave["slot"] == "main"),
        "slots": honest(&status["slots"], &|slot| slot["name"] == "main"),
        "work": status["work"],
        "deploy": status["deploy"],
        "adopting": status["adopting"],
        "journal_fails": status["journal_fails"],
        "late_seal_refused": status["late_seal_refused"],
        "identifies_refused": status["identifies_refused"],
        "bot": status["bot"],
    })
}

pub(super) fn lasting(one: &Value) -> Value {
    let mut one = one.clone();
    if let Some(fields) = one.as_object_mut() {
        let passing = [
            "_ms", "_ms_ago", "_1000_s", "_seconds", "_percent", "_shard",
        ];
        fields.retain(|name, _| !passing.iter().any(|end| name.ends_with(end)));
    }
    one
}

fn ticket(shard: ShardId, handled: u64) -> Ticket {
    Ticket {
        shard,
        session: discord::Session {
            resume_url: "ws://127.0.0.1:1".to_owned(),
            ..discord::Session::with_id(format!("session of {shard}"))
        }
        .seal(),
        handled: Sequence(handled),
        state_at: Sequence(handled),
        ..Ticket::default()
    }
}

/// Of its own shard it tells the truth; what a resume from the rest would lose.
fn held(shard: u32, epoch: u64, holding: Holding) -> Held {
    let shard = ShardId(shard);
    let handled = if shard == OWN { 9 } else { 1 << 40 };
    Held {
        epoch: Epoch(epoch),
        holding,
        ticket: ticket(shard, handled),
        untouched: false,
    }
}

fn checkpoint(handled: u64) -> ToMaster {
    let entry = CheckpointEntry {
        shard: OWN,
        epoch: Epoch(1),
        handled: Sequence(handled),
        session: Some(ticket(OWN, handled)),
        ..CheckpointEntry::default()
    };
    ToMaster::Checkpoint(Checkpoint {
        shards: vec![entry],
    })
}

fn progress(shard: ShardId, epoch: u64, step: Step, replayed: u64) -> ToMaster {
    ToMaster::Progress(Progress {
        shard,
        epoch: Epoch(epoch),
        step,
        replayed,
        refused: String::new(),
    })
}

fn resumed(shard: ShardId, epoch: u64) -> ToMaster {
    let epoch = Epoch(epoch);
    ToMaster::Resumed(Unit { shard, epoch })
}

#[tokio::test]
async fn an_epoch_that_nobody_gave_changes_nothing() {
    let mut scene = scene().await;
    for holding in [Holding::Serving, Holding::Sealed, Holding::Failed] {
        let lie = vec![held(0, 2, holding), held(2, 1, Holding::Serving)];
        scene.liar.reports(&scene.fleet, lie).await;
        scene.nothing_changed().await;
    }
    assert_eq!(scene.disbelieved(), 3);
}

#[tokio::test]
async fn an_epoch_near_the_end_of_all_numbers_changes_nothing() {
    let mut scene = scene().await;
    for epoch in [1 << 62, (1 << 63) - 1, u64::MAX] {
        let lie = vec![
            held(1, epoch, Holding::Serving),
            held(2, 1, Holding::Serving),
        ];
        scene.liar.reports(&scene.fleet, lie).await;
        scene.nothing_changed().await;
    }
    assert_eq!(scene.disbelieved(), 3);
}

#[tokio::test]
async fn a_hello_that_names_the_process_of_another_or_the_masters_changes_nothing() {
    let mut scene = scene().await;
    let own = ProcessIdentity::of(scene.master.child.id().unwrap()).unwrap();
    for process in [own, scene.honest.process.clone()] {
        let lie = Hello {
            slave: SlaveId::random().unwrap(),
            process,
            ..scene.liar.hello.clone()
        };
        assert!(dial(&scene.fleet, &lie, Vec::new()).await.is_err());
        scene.nothing_changed().await;
    }
}

#[tokio::test]
async fn a_ticket_above_everything_that_was_ever_sent_changes_nothing() {
    let mut scene = scene().await;
    scene.liar.says(checkpoint(1 << 63)).await;
    scene.nothing_changed().await;
    let sealed = Sealed {
        epoch: Epoch(1),
        ticket: ticket(OWN, 1 << 63),
    };
    scene.liar.says(ToMaster::Sealed(Box::new(sealed))).await;
    scene.nothing_changed().await;
    assert_eq!(scene.disbelieved(), 1, "said once a slave");
    let status = scene.fleet.status().await;
    assert_eq!(
        status["shards"][2]["handled"], 9,
        "not the liar's own either"
    );
}

#[tokio::test]
async fn a_resume_that_was_never_done_changes_nothing() {
    let mut scene = scene().await;
    for shard in [ShardId(0), ShardId(1), OWN] {
        for epoch in [0, 1, 2, u64::MAX] {
            scene.liar.says(resumed(shard, epoch)).await;
            let serves = progress(shard, epoch, Step::Serving, 0);
            scene.liar.says(serves).await;
        }
    }
    scene.nothing_changed().await;
}

#[tokio::test]
async fn progress_without_end_changes_nothing() {
    let mut scene = scene().await;
    for replayed in 0..2000 {
        for shard in [ShardId(0), OWN] {
            let lie = progress(shard, 1, Step::Replaying, replayed);
            scene.liar.says(lie).await;
        }
    }
    scene.nothing_changed().await;
}

#[tokio::test]
async fn the_id_of_a_connected_slave_changes_nothing() {
    let mut scene = scene().await;
    let id = scene.before["slaves"][0]["slave"].as_str().unwrap();
    let lie = Hello {
        slave: id.parse().unwrap(),
        slot: "main".to_owned(),
        ..scene.liar.hello.clone()
    };
    let refused = dial(&scene.fleet, &lie, Vec::new()).await.unwrap_err();
    assert_eq!(refused.reason, RefusedReason::Taken, "{}", refused.detail);
    scene.nothing_changed().await;
}
