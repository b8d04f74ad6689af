//! An event that is never finished, and what became of it.

use std::{fs, sync::Arc, time::Duration};

use serde::Serialize;
use serde_json::Value;
use tokio::time::sleep;

use super::{
    patience::Patience,
    scene::{Scene, Setup, Who},
};
use crate::{
    error::{Error, Result},
    records::Handled,
};

/// So many events Discord replays: few enough to be behind the event at once, and some
/// seconds of traffic, so that a process that is started again comes in time.
const REPLAYED: u32 = 300;

/// So many are finished behind it.
const BEHIND: u32 = REPLAYED + 60;

/// They are finished, and the master knows of it, within this time.
const KNOWN: Duration = Duration::from_secs(30);

/// Where slaves read which event it is, from the runtime folder.
const FILE: &str = "kept";

/// See the [module](self).
#[derive(Clone, Debug)]
pub(super) struct Unending {
    shard: u32,
    session: Arc<str>,
    seq: u64,
    /// The process that has it first, and never finishes it.
    pid: u32,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Fate {
    /// It came to the next owner with its mark, and was finished there.
    Carried,
    /// The master gave it up, and said which it was.
    GivenUp,
    /// It is with its handler still, and the status names it.
    Held,
    /// Nobody knows of it.
    Lost,
}

/// Whose handlers never finish it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeps {
    /// Only those of the process that gets it first.
    First,
    /// Those of every process.
    Everybody,
}

/// Has slaves keep what [`comes`] chooses.
pub(super) fn prepare(setup: &mut Setup, keeps: Keeps) {
    setup.keeps = Some(keeps);
    setup.slave.extend(["--keeps", FILE].map(str::to_owned));
    let flags = ["--replay-buffer".to_owned(), REPLAYED.to_string()];
    setup.discord.extend(flags);
    setup.limits.insert("replay_buffer", REPLAYED.to_string());
}

/// The next message is never finished, and more events are finished behind it than
/// Discord replays. Waits until the status names it.
///
/// # Errors
/// The status does not.
pub(super) async fn comes(scene: &mut Scene, keeps: Keeps) -> Result<()> {
    let file = scene.folder().join("run").join(FILE);
    let pid = scene.present(Who::Old).await?;
    fs::write(&file, "armed").map_err(Error::io("arm an event"))?;
    let mut patience = Patience::of(KNOWN);
    let late = |what: &str| Error::Late(format!("an event that is never finished: {what}"));
    let (shard, session, seq) = loop {
        if let Some(chosen) = chosen(scene, &file).await? {
            break chosen;
        }
        if patience.is_over().await {
            return Err(late("none was kept"));
        }
        sleep(Duration::from_millis(20)).await;
    };
    let flood = serde_json::json!({ "name": "flood", "shard": shard, "events": BEHIND });
    scene.fleet.discord.fault(&flood).await?;
    loop {
        let status = scene.fleet.status().await?;
        let known = &status["shards"][shard as usize];
        let behind = known["behind"].as_u64().unwrap_or(0);
        if behind > u64::from(REPLAYED) && known["unfinished"]["sequence"] == seq {
            break;
        }
        if patience.is_over().await {
            return Err(late(&format!("the status does not name {seq}: {known}")));
        }
        sleep(Duration::from_millis(20)).await;
    }
    if keeps == Keeps::First {
        fs::write(&file, "over").map_err(Error::io("end the keeping of an event"))?;
    }
    scene.unending = Some(Unending {
        shard,
        session,
        seq,
        pid,
    });
    Ok(())
}

/// Shard, session and sequence of the event that a slave has written down.
async fn chosen(scene: &Scene, file: &std::path::Path) -> Result<Option<(u32, Arc<str>, u64)>> {
    let says = fs::read_to_string(file).map_err(Error::io("read which event is kept"))?;
    let Some((session, seq)) = says.split_once(' ') else {
        return Ok(None);
    };
    let Ok(seq) = seq.parse() else {
        return Ok(None);
    };
    let sent = scene.fleet.discord.ledger().await?;
    let mut of_session = sent.iter().filter(|sent| &*sent.session == session);
    let shard = of_session.next().map(|sent| sent.shard);
    Ok(shard.map(|shard| (shard, session.into(), seq)))
}

impl Unending {
    /// What names its dispatch.
    pub(super) fn key(&self) -> (Arc<str>, u64) {
        (Arc::clone(&self.session), self.seq)
    }

    /// Whether this is the event, finished by a process to which it was carried.
    pub(super) fn is_carried(&self, event: &Handled) -> bool {
        event.key() == self.key() && event.pid != self.pid
    }

    /// What became of it.
    pub(super) fn fate(&self, handled: &[Handled], news: &[Value], status: &Value) -> Fate {
        if handled.iter().any(|event| self.is_carried(event)) {
            return Fate::Carried;
        }
        let is_it = |event: &Value| event["shard"] == self.shard && event["sequence"] == self.seq;
        if given_up(news).any(is_it) {
            return Fate::GivenUp;
        }
        let shard = &status["shards"][self.shard as usize];
        if shard["unfinished"]["sequence"] == self.seq {
            return Fate::Held;
        }
        Fate::Lost
    }
}

/// What masters said that nobody has any more.
pub(super) fn given_up(news: &[Value]) -> impl Iterator<Item = &Value> {
    news.iter()
        .filter(|event| event["type"] == "event_given_up")
}

/// What of that no operator hears: there is no alarm, or the deploy in which it happened
/// does not say so at its end.
pub(super) fn untold(news: &[Value], ended: Option<&Value>) -> Vec<String> {
    let mut untold: Vec<String> = given_up(news)
        .map(|event| {
            let (shard, seq) = (&event["shard"], &event["sequence"]);
            format!("event {seq} of shard {shard} is given up")
        })
        .filter(|said| !news.iter().any(|event| is_alarm(event, said)))
        .map(|said| format!("no alarm: {said}"))
        .collect();
    if let Some(ended) = ended {
        let at = |event: &Value| event["at_us"].as_u64();
        let mut accepted = news.iter().filter(|event| {
            event["type"] == "deploy_accepted" && event["deploy"] == ended["deploy"]
        });
        let began = accepted.next().and_then(at);
        let happened = given_up(news)
            .filter(|event| at(event) >= began && at(event) <= at(ended))
            .count();
        if ended["events_given_up"] != happened {
            let said = &ended["events_given_up"];
            untold.push(format!("{said} of {happened} given up, says the deploy"));
        }
    }
    untold
}

fn is_alarm(event: &Value, says: &str) -> bool {
    event["type"] == "alarm"
        && event["detail"]
            .as_str()
            .is_some_and(|detail| detail.contains(says))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event() -> Unending {
        Unending {
            shard: 1,
            session: "s".into(),
            seq: 7,
            pid: 10,
        }
    }

    fn finished(pid: u32, seq: u64) -> Handled {
        Handled {
            pid,
            shard: 1,
            epoch: 1,
            session: "s".into(),
            seq,
            kind: "MESSAGE_CREATE".into(),
            n: 0,
            handed_us: 0,
            finished_us: 0,
            mark: None,
        }
    }

    #[test]
    fn only_the_event_itself_is_carried_given_up_or_held() {
        let said = |shard: u32, seq: u64| {
            vec![json!({"type": "event_given_up", "shard": shard, "sequence": seq, "events": 1})]
        };
        let status = |seq: u64| json!({"shards": [{}, {"unfinished": {"sequence": seq}}]});
        let fate = |handled: &[Handled], news: &[Value], status: &Value| {
            event().fate(handled, news, status)
        };
        assert_eq!(fate(&[finished(11, 7)], &[], &Value::Null), Fate::Carried);
        assert_eq!(fate(&[], &said(1, 7), &Value::Null), Fate::GivenUp);
        assert_eq!(fate(&[], &[], &status(7)), Fate::Held);
        for (handled, news, status) in [
            (vec![finished(11, 8)], vec![], Value::Null),
            (vec![], said(0, 7), Value::Null),
            (vec![], said(1, 6), Value::Null),
            (vec![], vec![], status(6)),
        ] {
            assert_eq!(fate(&handled, &news, &status), Fate::Lost);
        }
    }

    #[test]
    fn what_is_given_up_is_told_by_an_alarm_and_by_the_deploy_in_which_it_is() {
        let accepted = json!({"type": "deploy_accepted", "deploy": 1, "at_us": 10});
        let given_up = json!({
            "type": "event_given_up", "shard": 1, "sequence": 7, "events": 1, "at_us": 20
        });
        let alarm = json!({"type": "alarm", "detail": "event 7 of shard 1 is given up (READY)"});
        let ended = |at_us: u64, count: u64| json!({"type": "deploy_ended", "deploy": 1, "at_us": at_us, "events_given_up": count});
        let news = [accepted, given_up, alarm];
        assert_eq!(untold(&news, Some(&ended(30, 1))), [""; 0]);
        assert_eq!(untold(&news, Some(&ended(15, 0))), [""; 0], "after its end");
        assert_eq!(untold(&news, None), [""; 0]);
        assert_eq!(untold(&news, Some(&ended(30, 0))).len(), 1);
        assert_eq!(untold(&news[..2], None).len(), 1, "without the alarm");
    }
}
