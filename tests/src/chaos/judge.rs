//! What a run was worth: the ledger against the records, marks and IDENTIFYs
//! against what really happened, caches against the truth.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use serde::Serialize;
use serde_json::Value;
use tokio::time::sleep;

use super::{
    doubts,
    expect::Expect,
    marks,
    patience::Patience,
    scene::Scene,
    store::Stores,
    unending::{Fate, Unending, given_up},
};
use crate::{
    checker::{Exactness, Order},
    error::Result,
    records::{Handled, Records, Sent, read_records},
    truth,
};

/// What was found out about one run.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Findings {
    /// Dispatches sent.
    pub sent: u64,
    /// Never finished, of a session that stayed resumable (P1).
    pub lost: u64,
    /// Never finished, of a session that Discord ended, and said so.
    pub lost_said: u64,
    /// Finished again, with a mark (P2).
    pub repeated_marked: u64,
    /// Finished again without a mark (P2).
    pub duplicated_unmarked: u64,
    /// Marks that nothing justifies (P2).
    pub needless_marks: u64,
    /// Handled, and never sent.
    pub invented: u64,
    /// Against P3 or P7.
    pub out_of_order: u64,
    /// Events that may be out of order: slaves had them in doubt as their shards were sealed.
    pub doubts: u64,
    /// IDENTIFYs beyond the cold start.
    pub identifies: u64,
    /// Guilds whose cache is not true although nobody said so (P10).
    pub state_mismatches: u64,
    /// Shards whose state was said to be lost.
    pub state_lost: u64,
    /// Events that the master said to be given up.
    pub given_up: u64,
    /// What became of the event that is never finished by whoever has it first. It is
    /// in none of the counts above, but for one: `duplicated_unmarked`, if it was handed
    /// on without a mark.
    pub fate: Option<Fate>,
    /// The longest that an event waited after the strike, in milliseconds: until
    /// all shards served again.
    pub recovery_ms: f64,
    /// What clients of a proxy saw that Discord would not do.
    pub strange: Vec<String>,
    /// Examples, for a person.
    pub examples: Vec<String>,
}

/// Lets everything be handled and judges. Traffic must be paused.
///
/// # Errors
/// A record cannot be read, or a process does not answer.
pub async fn judge(scene: &Scene, limit: Duration, expect: &Expect) -> Result<Findings> {
    let Seen {
        newest,
        sent,
        records,
    } = settle(scene, limit, expect).await?;
    let (unending, news) = (scene.unending.as_ref(), scene.news());
    let status = scene.fleet.status().await?;
    let fate = fate(scene, &records, &status);
    let excused = u64::from(matches!(fate, Some(Fate::GivenUp | Fate::Held)));
    let unmarked = unending.map_or(0, |event| carried_unmarked(event, &records.handled));
    let order = match &scene.broker {
        Some(broker) => broker.order(),
        None => Order::Shards,
    };
    let exact = Exactness::in_order_of(order, &sent, &records.handled);
    let log = scene.fleet.discord.log().await?;
    let lost_said = lost_of_ended_sessions(&newest, &sent, &records.handled);
    let mut findings = Findings {
        sent: exact.events_sent,
        lost: exact.lost.saturating_sub(lost_said + excused),
        lost_said,
        duplicated_unmarked: exact.duplicated + unmarked,
        invented: exact.invented,
        out_of_order: exact.out_of_order,
        doubts: match expect.doubt_at_a_seal {
            true => doubts::at_seals(&scene.fleet.folder().join("logs"))?,
            false => 0,
        },
        identifies: scene.fleet.discord.counts().await?.identifies - scene.cold.identifies,
        recovery_ms: recovery_ms(scene, &sent, &records.handled),
        given_up: given_up(&news)
            .filter_map(|event| event["events"].as_u64())
            .sum(),
        fate,
        examples: exact
            .examples
            .into_iter()
            .filter(|example| !example.starts_with("marked"))
            .collect(),
        ..Findings::default()
    };
    match (&scene.clients, &scene.broker) {
        (Some(clients), _) => {
            findings.repeated_marked = exact.marked;
            findings.strange = clients.strange();
        }
        // Only repeats are marked here.
        (None, Some(broker)) if broker.may_repeat() => findings.repeated_marked = exact.marked,
        (None, Some(_)) => findings.needless_marks = exact.marked,
        (None, None) => marks::judge(
            scene,
            expect.marks.as_told(&news),
            &sent,
            &records.handled,
            &log,
            &mut findings,
        ),
    }
    judge_state(scene, &status, &records, &mut findings).await?;
    Ok(findings)
}

/// Its first process never finishes it: whoever does was to be told.
fn carried_unmarked(event: &Unending, handled: &[Handled]) -> u64 {
    let carried = handled.iter().filter(|other| event.is_carried(other));
    carried.filter(|event| event.mark.is_none()).count() as u64
}

fn fate(scene: &Scene, records: &Records, status: &Value) -> Option<Fate> {
    let event = scene.unending.as_ref()?;
    Some(event.fate(&records.handled, &scene.news(), status))
}

/// What was sent, and what came of it.
struct Seen {
    /// Discord's last session of each shard.
    newest: BTreeMap<u32, Arc<str>>,
    sent: Vec<Sent>,
    records: Records,
}

/// What slaves wrote down, or what their clients received.
async fn look(scene: &Scene, expect: &Expect) -> Result<Seen> {
    let all = scene.fleet.discord.ledger().await?;
    let newest = newest(&all);
    let (sent, records) = match &scene.clients {
        Some(clients) => {
            let marks = expect.marks.as_told(&scene.news());
            let (sent, handled) = clients.records(scene, &all, marks);
            let records = Records {
                handled,
                states: Vec::new(),
            };
            (sent, records)
        }
        None => match &scene.broker {
            Some(broker) => {
                let handled = broker.work().handled;
                let states = Vec::new();
                (all, Records { handled, states })
            }
            None => (all, read_records(&scene.folder().join("sinks"))?),
        },
    };
    Ok(Seen {
        newest,
        sent,
        records,
    })
}

/// Waits until every dispatch was finished, and what is never finished has come to its
/// end, or nothing changes any more.
async fn settle(scene: &Scene, limit: Duration, expect: &Expect) -> Result<Seen> {
    let unending = scene.unending.as_ref().map(Unending::key);
    let mut patience = Patience::of(limit);
    loop {
        let Seen {
            newest,
            sent,
            records,
        } = look(scene, expect).await?;
        let finished: BTreeSet<_> = records.handled.iter().map(Handled::key).collect();
        let missing = sent
            .iter()
            .map(Sent::key)
            .filter(|key| !finished.contains(key) && Some(key) != unending.as_ref());
        let missing = missing.count() as u64;
        let said = lost_of_ended_sessions(&newest, &sent, &records.handled);
        let status = scene.fleet.status().await?;
        let ended = fate(scene, &records, &status) == expect.fate;
        if (missing <= said && ended) || patience.is_over().await {
            // Repeats come after the first time: let them.
            sleep(Duration::from_millis(200)).await;
            return look(scene, expect).await;
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// Discord's last session of each shard.
pub(crate) fn newest(sent: &[Sent]) -> BTreeMap<u32, Arc<str>> {
    let mut newest: BTreeMap<u32, (u64, Arc<str>)> = BTreeMap::new();
    for dispatch in sent.iter().filter(|dispatch| dispatch.seq == 1) {
        let known = newest.entry(dispatch.shard).or_default();
        if known.0 <= dispatch.created_us {
            *known = (dispatch.created_us, Arc::clone(&dispatch.session));
        }
    }
    let sessions = newest.into_iter();
    sessions
        .map(|(shard, (_, session))| (shard, session))
        .collect()
}

/// What was sent to a session behind the last of its dispatches that was
/// finished, when another session followed: Discord ended it, and the span went
/// with it.
pub(crate) fn lost_of_ended_sessions(
    newest: &BTreeMap<u32, Arc<str>>,
    sent: &[Sent],
    handled: &[Handled],
) -> u64 {
    let mut last: BTreeMap<&Arc<str>, u64> = BTreeMap::new();
    for event in handled {
        let known = last.entry(&event.session).or_default();
        *known = event.seq.max(*known);
    }
    let over = |dispatch: &&Sent| {
        newest
            .get(&dispatch.shard)
            .is_some_and(|session| *session != dispatch.session)
    };
    sent.iter()
        .filter(over)
        .filter(|dispatch| {
            last.get(&dispatch.session)
                .is_none_or(|last| dispatch.seq > *last)
        })
        .count() as u64
}

/// How long the event that waited longest did, of those created from just before
/// the strike until everything was calm.
fn recovery_ms(scene: &Scene, sent: &[Sent], handled: &[Handled]) -> f64 {
    let mut first: BTreeMap<(Arc<str>, u64), u64> = BTreeMap::new();
    for event in handled {
        let known = first.entry(event.key()).or_insert(event.finished_us);
        *known = event.finished_us.min(*known);
    }
    let usual = scene.setup.handler_ms * 1000;
    let spans: Vec<_> = scene
        .strikes
        .iter()
        .map(|strike| strike.at_us.saturating_sub(100_000)..strike.calm_us.unwrap_or(u64::MAX))
        .collect();
    let longest = sent
        .iter()
        .filter(|dispatch| spans.iter().any(|span| span.contains(&dispatch.created_us)))
        .filter_map(|dispatch| {
            let finished = first.get(&dispatch.key())?;
            Some(finished.saturating_sub(dispatch.created_us + usual))
        })
        .max();
    longest.unwrap_or(0) as f64 / 1000.0
}

/// The last word on each shard's state, then every guild of what is called complete.
async fn judge_state(
    scene: &Scene,
    status: &Value,
    records: &Records,
    findings: &mut Findings,
) -> Result<()> {
    let pids: BTreeMap<&str, u32> = status["slaves"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|slave| {
            let pid = u32::try_from(slave["pid"].as_u64()?).ok()?;
            Some((slave["slave"].as_str()?, pid))
        })
        .collect();
    let stores = if scene.setup.is_stored() {
        Some(Stores::of(scene.folder()).await?)
    } else {
        None
    };
    for shard in status["shards"].as_array().into_iter().flatten() {
        let number = shard["shard"].as_u64().and_then(|n| u32::try_from(n).ok());
        let pid = shard["owner"].as_str().and_then(|owner| pids.get(owner));
        let (Some(number), Some(&pid)) = (number, pid) else {
            findings.state_mismatches += 1;
            findings
                .examples
                .push(format!("shard without an owner: {shard}"));
            continue;
        };
        let told = records
            .states
            .iter()
            .filter(|told| told.shard == number && told.pid == pid)
            .max_by_key(|told| told.epoch);
        if told.is_some_and(|told| &*told.state == "lost") {
            findings.state_lost += 1;
            continue;
        }
        let guilds = scene.fleet.discord.guilds(number).await?;
        for what in stores
            .iter()
            .flat_map(|all| all.wrong(number, guilds.len()))
        {
            findings.state_mismatches += 1;
            findings
                .examples
                .push(format!("the store of shard {number}: {what}"));
        }
        judge_guilds(scene, number, pid, guilds, findings).await?;
    }
    Ok(())
}

async fn judge_guilds(
    scene: &Scene,
    shard: u32,
    pid: u32,
    guilds: Vec<u64>,
    findings: &mut Findings,
) -> Result<()> {
    let slave = scene.inspects(pid);
    for guild in guilds {
        let is = scene.fleet.discord.truth(guild).await?;
        let difference = match slave.get::<Value>(&format!("/guild/{guild}")).await {
            Ok(cached) => truth::difference(&is, &cached),
            Err(error) => Some(error.to_string()),
        };
        if let Some(what) = difference {
            findings.state_mismatches += 1;
            findings
                .examples
                .push(format!("guild {guild} of shard {shard}: {what}"));
        }
    }
    Ok(())
}
