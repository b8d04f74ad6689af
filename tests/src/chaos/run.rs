//! One run: a fleet, a phase, a blow, and what came of it.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::{task::spawn_blocking, time::sleep};

use super::{
    blow::strike,
    busy, crash,
    expect::{Expect, Serves},
    judge::{Findings, judge},
    overload,
    patience::Patience,
    phase::Phase,
    row::{Blow, Row},
    scene::{FIRST, SECOND, Scene, Setup, THIRD},
    unending::{self, Fate},
};
use crate::error::{Error, Result};

/// From the blow to calm, at most.
const CALM: Duration = Duration::from_secs(80);

/// What is still missing after so long is lost.
const SETTLE: Duration = Duration::from_secs(30);

/// No run takes longer on an idle host.
const WHOLE: Duration = Duration::from_secs(150);

/// An event that waits longer was noticed.
const UNNOTICED_MS: f64 = 1500.0;

/// What came of a run.
#[derive(Debug)]
pub struct Report {
    /// How busy the host was: by so much the limits of the run were stretched.
    pub stretch: f64,
    /// The row's name.
    pub row: &'static str,
    /// The phase.
    pub phase: Phase,
    /// What was found; `None`: it could not be judged.
    pub findings: Option<Findings>,
    /// How the deploy ended, or that there was none.
    pub outcome: String,
    /// The build that serves at the end.
    pub serves: String,
    /// IDENTIFYs that were due.
    pub identifies_due: u32,
    /// How long it took until another master led, where one had to.
    pub took_over: Option<Duration>,
    /// What is wrong; empty: it passed.
    pub wrong: Vec<String>,
    /// Whether it could not be run at all: missing, not passed.
    pub not_run: Option<String>,
    /// Whether that is no fault: what it needs is not installed, and need not be.
    pub is_excused: bool,
    /// The folder with logs and sinks, if something is wrong.
    pub folder: Option<PathBuf>,
    /// How long it took.
    pub took: Duration,
}

impl Report {
    /// IDENTIFYs beyond those that were due.
    #[must_use]
    pub fn needless_identifies(&self) -> u64 {
        let found = self.findings.as_ref().map_or(0, |found| found.identifies);
        found.saturating_sub(u64::from(self.identifies_due))
    }
}

/// Runs one row in one phase.
pub async fn run(row: &Row, phase: Phase, seed: u64, again: Again) -> Report {
    let began = Instant::now();
    let mut report = Report {
        stretch: spawn_blocking(busy::stretch).await.unwrap_or(1.0),
        row: row.name,
        phase,
        findings: None,
        outcome: "-".to_owned(),
        serves: "-".to_owned(),
        identifies_due: row.expected(phase).identifies.1,
        took_over: None,
        wrong: Vec::new(),
        not_run: None,
        is_excused: false,
        folder: None,
        took: Duration::ZERO,
    };
    let mut setup = Setup::usual(seed);
    setup.stretch = report.stretch;
    setup.late_seal = row.late;
    setup.agent = row.agent;
    (row.setup)(&mut setup);
    if let Blow::Crash(crash) = row.blow {
        crash::prepare(&mut setup, crash);
    }
    let here = match setup.broker {
        Some(kind) => baton_brokers::Server::is_here(kind),
        None if setup.leaders => baton_brokers::Nats::is_here(),
        None => Ok(()),
    };
    if let Err(missing) = here {
        report.not_run = Some(missing.to_string());
        report.is_excused = !baton_brokers::are_wanted();
        return report;
    }
    let late = || format!("not over after {WHOLE:?}");
    let started = Patience::of(WHOLE).wait(late, Scene::start(setup)).await;
    match started.flatten() {
        Ok(scene) => play(row, phase, again, scene, &mut report).await,
        Err(Error::NotBuilt(path)) => {
            report.not_run = Some(format!("{} is not built", path.display()));
        }
        Err(error) => report.wrong.push(format!("start: {}", error.chain())),
    }
    report.took = began.elapsed();
    report
}

/// Whether a plain deploy follows, which must go through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// It does.
    Deploy,
    /// It does not.
    No,
}

async fn play(row: &Row, phase: Phase, again: Again, mut scene: Scene, report: &mut Report) {
    let expect = row.expected(phase);
    let stretch = scene.setup.stretch;
    let acted = act(row, phase, again, &mut scene, &expect, report);
    let late = || format!("not over after {WHOLE:?}");
    let acted = Patience::of(WHOLE).wait(late, acted).await;
    match acted.flatten() {
        Ok(()) => {}
        Err(Error::NotBuilt(path)) => {
            report.not_run = Some(format!("{} is not built", path.display()));
        }
        Err(error) => report.wrong.push(error.chain()),
    }
    report.took_over = scene.took_over;
    let news = scene.news();
    let (orphans, folder) = scene.end().await;
    if !orphans.is_empty() {
        report
            .wrong
            .push(format!("processes left over: {orphans:?}"));
    }
    if report.wrong.is_empty() {
        let _ = fs::remove_dir_all(&folder);
    } else {
        let busy = format!("the host was busy: limits were stretched by {stretch:.1}");
        report.wrong.extend((stretch > 1.2).then_some(busy));
        write_news(&folder, &news);
        report.folder = Some(folder);
    }
}

async fn act(
    row: &Row,
    phase: Phase,
    again: Again,
    scene: &mut Scene,
    expect: &Expect,
    report: &mut Report,
) -> Result<()> {
    let before = scene.fleet.discord.counts().await?;
    let struck = strike(scene, row.blow, phase).await;
    if expect.resumes && struck.is_ok() {
        scene.reconnects(before).await?;
    }
    if !matches!(row.blow, Blow::Hang(_) | Blow::Discord(_)) {
        scene.heal().await?;
    }
    let calm = scene.calm(CALM).await;
    report.outcome = outcome(scene.outcome.as_ref());
    // One that was to strike twice may find one occasion only: the blow lands before or
    // behind the RESUME of its phase.
    if scene.fleet.discord.untried_faults().await? > 0 {
        report.wrong.push("a fault never came to pass".to_owned());
    }
    scene.heal().await?;
    if let Ok(status) = &calm {
        report.serves = serving(status);
    }
    struck?;
    calm?;
    sleep(Duration::from_millis(300)).await;
    if again == Again::Deploy || scene.setup.again {
        if scene.setup.flood.is_some() {
            overload::caught_up(scene).await?;
        }
        deploy_again(scene).await?;
        let status = scene.calm(CALM).await?;
        let serves = serving(&status);
        if serves != THIRD {
            report.wrong.push(format!(
                "a deploy afterwards did not go through: {serves} serves"
            ));
        }
    }
    scene.fleet.discord.traffic(0.0).await?;
    let limit = SETTLE + Duration::from_millis(scene.setup.handler_ms * 2);
    let findings = judge(scene, limit, expect).await?;
    report.wrong.extend(faults(expect, &findings, report));
    report
        .wrong
        .extend(unending::untold(&scene.news(), scene.outcome.as_ref()));
    report.findings = Some(findings);
    Ok(())
}

/// A plain deploy. A master that could not write a moment ago refuses it until it
/// has tried again.
async fn deploy_again(scene: &mut Scene) -> Result<()> {
    let mut patience = Patience::of(CALM);
    loop {
        match scene.deploy(THIRD, &[]).await {
            Err(error)
                if error.chain().contains("the journal cannot be written")
                    && !patience.is_over().await =>
            {
                sleep(Duration::from_millis(100)).await;
            }
            asked => return asked,
        }
    }
}

/// What is not as it must be.
fn faults(expect: &Expect, findings: &Findings, report: &Report) -> Vec<String> {
    let mut faults: Vec<String> = [
        (findings.lost, "lost"),
        (findings.duplicated_unmarked, "repeated without a mark"),
        (findings.needless_marks, "needless marks"),
        (findings.invented, "never sent"),
        (
            findings.out_of_order.saturating_sub(findings.doubts),
            "out of order",
        ),
        (findings.state_mismatches, "guilds whose state is not true"),
        (
            findings
                .identifies
                .saturating_sub(u64::from(expect.identifies.1)),
            "needless IDENTIFYs",
        ),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, what)| format!("{count} {what}"))
    .collect();
    if findings.identifies < u64::from(expect.identifies.0) {
        faults.push(format!(
            "{} IDENTIFYs where {} were due: was it struck?",
            findings.identifies, expect.identifies.0
        ));
    }
    if findings.lost_said > 0 && !expect.lost_said {
        faults.push(format!("{} lost with their session", findings.lost_said));
    }
    if findings.state_lost > 0 && !expect.state_lost {
        faults.push(format!("state of {} shards was lost", findings.state_lost));
    }
    if expect.unnoticed && findings.recovery_ms > UNNOTICED_MS * report.stretch {
        faults.push(format!(
            "an event waited for {:.0} ms",
            findings.recovery_ms
        ));
    }
    if let Some(limit) = expect.within {
        let limit = limit.as_secs_f64() * 1000.0 * report.stretch;
        if findings.recovery_ms > limit {
            faults.push(format!(
                "an event waited for {:.0} ms, longer than {limit:.0}",
                findings.recovery_ms
            ));
        }
    }
    if findings.fate != expect.fate {
        let (is, due) = (findings.fate, expect.fate);
        faults.push(format!(
            "the event that is never finished: {is:?} instead of {due:?}"
        ));
    }
    let due = u64::from(expect.fate == Some(Fate::GivenUp));
    if findings.given_up != due {
        faults.push(format!("{} events given up, not {due}", findings.given_up));
    }
    let build = match expect.serves {
        Serves::One => None,
        Serves::Old => Some(FIRST),
        Serves::New => Some(SECOND),
    };
    if build.is_some_and(|build| build != report.serves) {
        faults.push(format!("{} serves", report.serves));
    }
    let how = report.outcome.split(':').next().unwrap_or_default();
    // Nobody may have been there to tell.
    if !expect.ends.is_empty() && how != "unknown" && !expect.ends.contains(&how) {
        faults.push(format!("the deploy ended {}", report.outcome));
    }
    if findings.sent == 0 {
        faults.push("no event was sent".to_owned());
    }
    faults.extend(findings.strange.iter().take(8).cloned());
    faults
}

fn outcome(ended: Option<&Value>) -> String {
    let Some(ended) = ended else {
        return "unknown".to_owned();
    };
    let name = ended["outcome"].as_str().unwrap_or("unknown");
    match ended["reason"].as_str() {
        Some(reason) => format!("{name}: {reason}"),
        None => name.to_owned(),
    }
}

fn serving(status: &Value) -> String {
    let owner = &status["slots"][0]["slave"];
    let slaves = status["slaves"].as_array().into_iter().flatten();
    let build = slaves
        .filter(|slave| slave["slave"] == *owner)
        .find_map(|slave| slave["build"].as_str());
    build.unwrap_or("nobody").to_owned()
}

/// Keeps what masters told beside the logs.
pub(super) fn write_news(folder: &Path, news: &[Value]) {
    let lines: Vec<String> = news.iter().map(Value::to_string).collect();
    let _ = fs::write(folder.join("logs/news.jsonl"), lines.join("\n"));
}
