//! The agent of a host: the master's hand there. It launches, watches and kills the slaves of its host for
//! whoever leads, and what it says is dead, is dead.
//!
//! ```text
//! masters ◀──one link, dialled again for ever──▶ agent ──▶ Processes ──▶ slaves, which dial
//!                                                            │            the masters themselves
//!                                              agent.json ◀──┘
//! ```
//!
//! It decides nothing. It outlives every master; and its own end ends no slave, unless it was told to
//! (`--on-exit stop`), or is process 1 of its container.

mod ledger;
mod link;
mod processes;
mod reaper;
#[cfg(test)]
mod tests;
mod turns;
mod watching;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use baton_protocol::{
    Address, AgentId, ProcessIdentity, Term, Version,
    auth::Secret,
    message::agent::{AgentHello, FromAgent, ToAgent},
};
use serde::Serialize;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tracing::{error, info, warn};

use self::{
    ledger::Ledger,
    link::{Link, LinkError},
    processes::{Event, Processes},
};
use crate::{
    error::Error,
    process::{Common, Listeners, Outputs, we_are_on},
    runtime_dir::{Lock, agent_secret, make_dir},
    service,
};

/// What tasks tell waits here.
const QUEUE: usize = 1024;

/// After the grace, killed slaves are dead within this time, or the agent ends before them.
const KILLED: Duration = Duration::from_secs(2);

/// What is said last is written within this time.
const FAREWELL: Duration = Duration::from_secs(1);

/// What becomes of slaves when the agent is asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum OnExit {
    /// They serve on, and the next agent knows them.
    Leave,
    /// They are asked to end, and killed when the grace is over.
    Stop,
}

/// How an agent runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// The name of its host.
    pub host: String,
    /// Where the masters are, as it was given.
    pub join: String,
    /// The same, for the slaves that it launches; `None`: as for itself.
    pub slaves_join: Option<String>,
    /// The folder with the agent's certificate.
    pub tls_dir: Option<PathBuf>,
    /// The folder with the certificate of the host's slaves.
    pub slaves_tls_dir: Option<PathBuf>,
    /// Its folder.
    pub runtime_dir: PathBuf,
    /// What becomes of slaves at its end; `None`: they are left, unless it is process 1.
    pub on_exit: Option<OnExit>,
    /// How long slaves have to end, where they are stopped.
    pub grace: Duration,
    /// The file with the bot's token; `None`: it is in the agent's environment.
    pub token_file: Option<PathBuf>,
}

/// What a started agent tells its starter, as one line of JSON.
#[derive(Clone, Debug, Serialize)]
pub struct Ready {
    /// The name of its host.
    pub host: String,
    /// Its process id.
    pub pid: u32,
    /// Its folder.
    pub runtime_dir: PathBuf,
}

/// Runs an agent until it is asked to end (`SIGTERM`, `SIGINT`). `ready` is called when it knows what was
/// launched before.
///
/// # Errors
/// It cannot start: the error says what to change.
pub async fn run(options: Options, ready: impl FnOnce(&Ready)) -> Result<(), Error> {
    let mut signals = Signals::new()?;
    let here =
        ProcessIdentity::current().map_err(|error| Error::system("read /proc/self", error))?;
    // A slave that dials by TLS is of the host that its certificate names: of this one.
    we_are_on(options.host.parse().ok());
    let is_init = here.pid == 1;
    let on_exit = match (options.on_exit, is_init) {
        (Some(OnExit::Leave), true) => {
            return Err(Error::Configuration(
                "--on-exit leave: as process 1, the end of the agent ends every process of its \
                 container: leave --on-exit out, or run the agent under another process 1"
                    .to_owned(),
            ));
        }
        (Some(given), _) => given,
        (None, true) => OnExit::Stop,
        (None, false) => OnExit::Leave,
    };
    let wrong = |key: &str, reason: String| Error::Configuration(format!("{key}: {reason}"));
    let tls_dir = options.tls_dir.as_deref();
    let masters = addresses(&options.join, tls_dir).map_err(|reason| wrong("--join", reason))?;
    let slaves = options.slaves_join.as_ref().unwrap_or(&options.join);
    addresses(slaves, options.slaves_tls_dir.as_deref())
        .map_err(|reason| wrong("--slaves-join", reason))?;
    make_dir("runtime_dir", &options.runtime_dir)?;
    let dir = options
        .runtime_dir
        .canonicalize()
        .map_err(|error| Error::system("runtime_dir", error))?;
    if let Some(pid) = Lock::holder(&dir) {
        return Err(Error::Configuration(format!(
            "runtime_dir: the master with pid {pid} uses {}: give the agent a folder of its own",
            dir.display()
        )));
    }
    let _lock = Lock::take_for_agent(&dir)?;
    let secret = agent_secret(&dir)?;
    let outputs = Outputs::open(&dir)
        .inspect_err(|error| {
            warn!(%error, "slaves write where the agent does: their last words will not be known");
        })
        .ok();
    let common = Common {
        host: options.host.clone(),
        masters: options.slaves_join.clone().unwrap_or(options.join),
        runtime_dir: dir.clone(),
        secret: secret.clone(),
        token_file: options.token_file,
        tls_dir: options.slaves_tls_dir,
        outputs,
        listeners: Arc::new(Listeners::new(&dir, Vec::new())),
    };
    let (events, happened) = mpsc::channel(QUEUE);
    let processes = Processes::adopt(common, here.clone(), Ledger::open(&dir)?, events);
    let reaping = is_init.then(|| AbortOnDropHandle::new(tokio::spawn(reaper::reap())));
    let id =
        AgentId::random().map_err(|error| Error::Failed(format!("no random numbers: {error}")))?;
    let agent = Agent {
        hello: AgentHello {
            version: Version::NEWEST,
            lowest: Version::OLDEST,
            term: Term::default(),
            agent: id,
            host: options.host.clone(),
            process: here.clone(),
            program: env!("CARGO_PKG_VERSION").to_owned(),
            ..AgentHello::default()
        },
        masters,
        tls_dir: options.tls_dir,
        next: 0,
        failures: 0,
        secret,
        processes,
        happened,
        link: Way::Wait(Instant::now()),
        heard: Instant::now(),
    };
    let pid = here.pid;
    info!(host = options.host, pid, runtime_dir = %dir.display(), "agent started");
    ready(&Ready {
        host: options.host.clone(),
        pid,
        runtime_dir: dir,
    });
    service::ready(&format!("agent of host {}", options.host));
    let alive = CancellationToken::new();
    let beats = AbortOnDropHandle::new(tokio::spawn(service::keep_alive(None, alive)));
    agent.run(&mut signals, on_exit, options.grace).await;
    drop((reaping, beats));
    Ok(())
}

/// The signals that mean something to an agent.
struct Signals {
    term: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> Result<Self, Error> {
        let listen = |kind| signal(kind).map_err(|error| Error::system("signals", error));
        Ok(Self {
            term: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    async fn end(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// One agent that runs.
struct Agent {
    hello: AgentHello,
    masters: Vec<Address>,
    /// The folder with its certificate.
    tls_dir: Option<PathBuf>,
    /// Which of them is dialled next.
    next: usize,
    /// Dials that failed in a row.
    failures: u32,
    secret: Secret,
    processes: Processes,
    happened: mpsc::Receiver<Event>,
    link: Way,
    /// When the master said something last.
    heard: Instant,
}

/// Addresses of masters, with commas between them.
///
/// # Errors
/// One of them is none, leaves this host in clear, or needs a certificate that there is not.
fn addresses(text: &str, tls_dir: Option<&Path>) -> Result<Vec<Address>, String> {
    let list = Address::list(text)?;
    if let Some(open) = list.iter().find(|address| address.is_open()) {
        return Err(format!(
            "{open} is not on this host, and TCP in clear stays on its host: give tls://{open}, and \
             a certificate of this host (baton-master certs issue)"
        ));
    }
    let is_tls = |address: &&Address| matches!(address, Address::Tls(_));
    match list.iter().find(is_tls) {
        Some(tls) if tls_dir.is_none() => Err(format!(
            "{tls}: name the folder with this host's certificate (BATON_TLS_DIR for the agent's, \
             BATON_SLAVES_TLS_DIR for its slaves'; baton-master certs issue makes them)"
        )),
        Some(_) | None => Ok(list),
    }
}

/// The way to a master.
enum Way {
    /// Until the next dial.
    Wait(Instant),
    Dial(AbortOnDropHandle<Result<Link, LinkError>>),
    Linked(Link),
}

/// What an agent waits for.
enum Next {
    Order(Option<ToAgent>),
    Dialled(Result<Link, LinkError>),
    Due,
    Silent,
    Happened(Event),
    End,
}

impl Agent {
    async fn run(mut self, signals: &mut Signals, on_exit: OnExit, grace: Duration) {
        loop {
            let next = self.next(signals, None).await;
            if !matches!(next, Next::End) {
                self.take(next);
                continue;
            }
            match on_exit {
                OnExit::Leave => info!("asked to end; the slaves serve on"),
                OnExit::Stop => {
                    info!(?grace, "asked to end; the slaves are asked too");
                    service::stopping();
                    self.stop(signals, grace).await;
                }
            }
            break;
        }
        if let Way::Linked(link) = self.link {
            link.finish(FAREWELL).await;
        }
    }

    /// Has what was launched end, and tells how it did.
    async fn stop(&mut self, signals: &mut Signals, grace: Duration) {
        self.processes.stop();
        let (over, killed) = (Instant::now() + grace, Instant::now() + grace + KILLED);
        let mut was_killed = false;
        while !self.processes.all_ended() {
            let until = if was_killed { killed } else { over };
            let next = self.next(signals, Some(until)).await;
            if !matches!(next, Next::End) {
                self.take(next);
                continue;
            }
            // Asked once more, it waits no longer; so it does when the grace is over.
            if was_killed {
                break;
            }
            warn!("slaves that did not end in time are killed");
            self.processes.kill_all();
            was_killed = true;
        }
    }

    /// What comes next; `until`: not later than this, [`Next::End`].
    async fn next(&mut self, signals: &mut Signals, until: Option<Instant>) -> Next {
        let Self {
            link,
            happened,
            heard,
            masters,
            ..
        } = self;
        let way = async {
            match link {
                Way::Wait(until) => {
                    sleep_until(*until).await;
                    Next::Due
                }
                Way::Dial(dial) => {
                    Next::Dialled(dial.await.unwrap_or_else(|_| Err(LinkError::Closed)))
                }
                Way::Linked(link) => {
                    let ping = Duration::from_millis(link.accepted.ping_ms);
                    let silent = *heard + turns::silence(masters.len(), ping);
                    tokio::select! {
                        biased;
                        order = link.order() => Next::Order(order),
                        () = sleep_until(silent) => Next::Silent,
                    }
                }
            }
        };
        tokio::select! {
            biased;
            () = signals.end() => Next::End,
            () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => Next::End,
            Some(event) = happened.recv() => Next::Happened(event),
            next = way => next,
        }
    }

    fn take(&mut self, next: Next) {
        match next {
            Next::Order(Some(order)) => {
                self.heard = Instant::now();
                self.order(order);
            }
            Next::Order(None) => {
                warn!("the link to the master is lost; the slaves go on");
                self.redial();
            }
            Next::Silent => {
                warn!("the master says nothing: link closed");
                self.next_master();
            }
            Next::Due => self.dial(),
            Next::Dialled(Ok(link)) => self.linked(link),
            Next::Dialled(Err(error)) => self.not_linked(&error),
            Next::Happened(event) => {
                if let Some(message) = self.processes.happened(event) {
                    self.say(message);
                }
            }
            // Who calls sees to it.
            Next::End => {}
        }
    }

    fn order(&mut self, order: ToAgent) {
        let answer = match order {
            ToAgent::Ping(ping) => Some(FromAgent::Pong(ping)),
            ToAgent::Launch(order) => self.processes.launch(*order),
            ToAgent::GiveUp(of) => {
                self.processes.give_up(of.launch);
                None
            }
            ToAgent::Noted(of) => {
                self.processes.noted(of.launch);
                None
            }
            ToAgent::Watch(look) => Some(self.processes.watching().watch(look)),
            ToAgent::Kill(of) => {
                self.processes.watching().kill(of.slave);
                None
            }
            ToAgent::Unwatch(of) => {
                self.processes.watching().unwatch(of.slave);
                None
            }
            ToAgent::Refused(refused) => {
                error!(detail = refused.detail, "the master refuses this agent");
                // Not at once again.
                self.failures = self.failures.max(SEVERAL);
                return self.next_master();
            }
            ToAgent::Welcome(_) | ToAgent::Accepted(_) => {
                warn!("the master greets twice: link closed");
                return self.redial();
            }
        };
        if let Some(answer) = answer {
            self.say(answer);
        }
    }

    /// Says something, if a master listens. It hears everything that counts on the next link.
    fn say(&mut self, message: FromAgent) {
        if let Way::Linked(link) = &self.link
            && !link.say(message)
        {
            warn!("the master does not read: link closed");
            self.redial();
        }
    }

    fn dial(&mut self) {
        let address = self.masters[self.next % self.masters.len()].clone();
        let (hello, report) = (self.hello.clone(), self.processes.report());
        let (secret, tls_dir) = (self.secret.clone(), self.tls_dir.clone());
        let limit = turns::answer(self.masters.len());
        let dial =
            async move { Link::dial(&address, tls_dir, hello, report, &secret, limit).await };
        self.link = Way::Dial(AbortOnDropHandle::new(tokio::spawn(dial)));
    }

    fn linked(&mut self, link: Link) {
        info!(term = %link.term, "a master accepted this agent");
        self.hello.term = link.term;
        self.heard = Instant::now();
        self.failures = 0;
        self.link = Way::Linked(link);
        for message in self.processes.untold() {
            self.say(message);
        }
    }

    fn not_linked(&mut self, error: &LinkError) {
        let master = format!("{:?}", self.masters[self.next % self.masters.len()]);
        // Said once, and then as often as it costs nothing.
        if self.failures.is_power_of_two() || self.failures == 0 {
            warn!(master, failures = self.failures, "the master {error}");
        }
        self.next_master();
    }

    /// It is the next one's turn.
    fn next_master(&mut self) {
        self.next = (self.next + 1) % self.masters.len();
        self.redial();
    }

    /// A master is dialled: at once, if not all of them had their turn, else after a pause that
    /// grows with each round.
    fn redial(&mut self) {
        let pause = turns::pause(self.failures, self.masters.len());
        self.failures = self.failures.saturating_add(1);
        self.link = Way::Wait(Instant::now() + pause);
    }
}

/// After a refusal the next dial waits as after so many failures.
const SEVERAL: u32 = 5;
