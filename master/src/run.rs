//! The daemon: puts the parts together, serves until it is asked to leave.

mod before;
mod signals;

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use baton_core::{Core, event::Time};
use baton_protocol::{LaunchId, Term, auth::Secret};
use futures_util::{FutureExt, future::BoxFuture};
use serde::Serialize;
use tokio::{
    sync::{Semaphore, broadcast, mpsc, watch},
    time::{Instant, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

use self::{
    before::{living, shard_count},
    signals::Signals,
};
use crate::{
    admin::{Admin, Disks, Facts, Guard, MAX_STREAMS},
    aside::Aside,
    budget::Asker,
    config::Config,
    counters::Counters,
    doors::http::{self, Door},
    driver::{Driver, Ending, Parts, QUEUE},
    error::Error,
    history::History,
    journal::{Home, Journal},
    keeper::{Anew, Keeper, Kept, Maker},
    legacy, listener,
    metrics::Metrics,
    news::{Log, Observer, STREAM},
    notice::Notice,
    peer::{Context, Hushes, MAX_JOINED, Strangers},
    process::{Launcher, Outputs, keep_small},
    reload::{Reloader, Source},
    runtime_dir::{Lock, RuntimeDir, make_dir, same},
    service,
    sockets::Sockets,
    vital,
};

/// What a started master tells its starter, as one line of JSON.
#[derive(Clone, Debug, Serialize)]
pub struct Ready {
    /// Where slaves dial by TCP.
    pub listen: String,
    /// Where the operator's commands dial.
    pub admin: String,
    /// The same over TCP, where that is configured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin_http: Option<String>,
    /// Its runtime directory.
    pub runtime_dir: PathBuf,
}

/// Peers and requests get this long to end when the master leaves.
const FAREWELL: Duration = Duration::from_secs(3);

/// Runs a master until it is asked to leave (`SIGTERM`, `SIGINT`); slaves serve
/// on. `ready` is called when slaves can dial.
///
/// `SIGUSR1` deploys the first slot's own command again. `SIGHUP` reads the
/// configuration of `source` again ([`reload`](crate::reload)). A service manager may
/// pass its sockets, and hears how it is ([`service`]).
///
/// # Errors
/// It cannot start: the error says what to change. Or it had to leave with a
/// shard in hand.
pub async fn run(config: Config, source: Source, ready: impl FnOnce(&Ready)) -> Result<(), Error> {
    // Before anything else, so that none of them ends the process.
    let mut signals = Signals::new()?;
    for worry in config.worries() {
        warn!("{worry}");
    }
    let dir = RuntimeDir::open(&config.runtime_dir)?;
    make_dir("data_dir", &config.data_dir)?;
    let lock = Lock::take(dir.path())?;
    let _data_lock = if same(dir.path(), &config.data_dir) {
        None
    } else {
        Some(Lock::take(&config.data_dir)?)
    };
    let passed = service::Sockets::take(config.listen, &dir.slave_socket())?;
    let tcp = match passed.tcp {
        Some(tcp) => tcp,
        None => listener::bind(config.listen).await?,
    };
    let ran_before = dir.has_secret(&config.data_dir);
    let secret = dir.secret(&config.data_dir)?;
    if config.legacy {
        return run_legacy(&config, &dir, secret, tcp, signals, ready).await;
    }
    let home = Home::new(dir.fleet(), &secret, ran_before);
    let opened = Journal::open(&config.data_dir, configured(&config), &home)?;
    let asker = Asker::new(&config);
    let (shard_count, bot) = tokio::select! {
        known = shard_count(&config, &opened, asker.as_ref()) => known?,
        () = signals.leave() => return Ok(()),
    };
    config.check_shards(shard_count)?;
    let (watches, unseen, mut recovered) =
        living(&opened.journal, opened.recovered, opened.boot.as_deref()).await?;
    recovered.launches =
        LaunchId::random().map_err(|error| Error::Failed(format!("no random numbers: {error}")))?;

    let (unix, maker) = match passed.unix {
        Some(unix) => (unix, Maker::Service),
        None => (dir.bind(&dir.slave_socket())?, Maker::Us),
    };
    let admin_socket = dir.bind(&dir.admin_socket())?;
    let admin_tcp = match config.admin_listen {
        Some(address) => Some(listener::bind_as("admin_listen", address).await?),
        None => None,
    };
    let address = local_address(&tcp)?;
    let (notices, queue) = mpsc::channel(QUEUE);
    let (news, _) = broadcast::channel(STREAM);
    let defaults = watch::Sender::new(config.usual_deploy());
    let closing = CancellationToken::new();
    let tasks = TaskTracker::new();
    let metrics = Arc::<Metrics>::default();
    let history = Arc::new(History::open(&config.data_dir, opened.term));
    let other_secret = opened.term.fleet != home.fleet;
    if other_secret {
        warn!(
            "the secret is another one than that with which this fleet began: slaves by TCP that \
             know the one before are not let in"
        );
    }
    let kept = Kept::new(other_secret);
    let context = Arc::new(Context {
        term: opened.term,
        secret: secret.clone(),
        own: std::process::id(),
        checkpoint: config.limits.checkpoint,
        ping: config.limits.ping,
        hang: config.limits.hang,
        notices: notices.clone(),
        counters: Counters::default(),
        metrics: Arc::clone(&metrics),
        strangers: Strangers::default(),
        hush: Hushes::default(),
        room: Arc::new(Semaphore::new(MAX_JOINED)),
        closing: closing.clone(),
    });
    let (over_tcp, over_unix) = (http::places(), http::places());
    let admin = Admin {
        notices: notices.clone(),
        news: news.clone(),
        peers: Arc::clone(&context),
        history: Arc::clone(&history),
        defaults: defaults.subscribe(),
        facts: facts(&config, &dir, opened.term, address),
        started: Instant::now(),
        doors: vec![
            ("listen", Arc::clone(&context.strangers.tcp)),
            ("slave.sock", Arc::clone(&context.strangers.unix)),
            ("admin_listen", Arc::clone(&over_tcp)),
            ("admin.sock", Arc::clone(&over_unix)),
        ],
        streams: Arc::new(Semaphore::new(MAX_STREAMS)),
        disks: Disks::default(),
        kept: kept.clone(),
        closing: closing.clone(),
    };
    let keeper = Keeper::new(
        dir.clone(),
        &config.data_dir,
        secret.clone(),
        maker,
        lock,
        kept,
    );
    let launcher = launcher(&config, &dir, secret, opened.commands, opened.before);
    keep_small(
        config
            .slots
            .iter()
            .filter_map(|slot| slot.log.clone())
            .collect(),
    );
    let observers: Vec<Arc<dyn Observer>> = vec![
        metrics,
        Arc::clone(&history) as _,
        Arc::new(Log::default()),
        Arc::new(news),
    ];
    let driver = Driver::new(Parts {
        core: Core::new(config.settings(shard_count), recovered, Time::default()),
        journal: opened.journal,
        launcher,
        watches,
        unseen,
        notices: notices.clone(),
        observers,
        aside: Aside::new(&config.data_dir),
        shard_in_hand: config.limits.shard_in_hand,
        fail_on_error: config.fail_on_error,
    });
    if let Some(bot) = &bot {
        // The queue is empty, the driver not yet running.
        let _ = notices.send(Notice::Budget(bot.budget)).await;
    }
    if let Some(asker) = asker {
        let closing = closing.clone();
        let asking = asker.keep_asking(bot.is_some(), notices.clone(), closing);
        vital::spawn(&tasks, notices.clone(), "budget", asking);
    }
    let alive = service::keep_alive(Some(notices.clone()), closing.clone());
    vital::spawn(&tasks, notices.clone(), "watchdog", alive);
    let reloader = Reloader {
        source,
        config: config.clone(),
        shard_count,
        notices: notices.clone(),
        defaults,
    };
    let usual = config.usual_deploy();
    let vital = |name, task: BoxFuture<'static, ()>| {
        vital::spawn(&tasks, notices.clone(), name, task);
    };
    let forwarding = signals.forward(notices.clone(), usual, Some(reloader), closing.clone());
    vital("signals", forwarding.boxed());
    let listening = listener::tcp(Arc::clone(&context), tcp, tasks.clone());
    vital("listener", listening.boxed());
    let sockets = Sockets::new(
        Arc::clone(&context),
        admin.clone(),
        over_unix,
        tasks.clone(),
    );
    sockets.take_slaves(unix);
    sockets.take_operators(admin_socket);
    let opened_anew = move |anew: Anew| {
        anew.slave
            .into_iter()
            .for_each(|unix| sockets.take_slaves(unix));
        let operators = anew.admin.into_iter();
        operators.for_each(|unix| sockets.take_operators(unix));
    };
    let keeping = keeper.keep(notices.clone(), closing.clone(), opened_anew);
    vital("keeper", keeping.boxed());
    let mut admin_http = None;
    if let Some(tcp) = admin_tcp {
        let address = local_address(&tcp)?;
        info!(
            %address,
            operators = config.admin_token.is_some(),
            readers = config.admin_read_token.is_some(),
            "served over TCP: who has the operators' token may do everything, others look at most"
        );
        admin_http = Some(format!("http://{address}"));
        let guard = Guard::new(config.admin_token.clone(), config.admin_read_token.clone());
        let mut admin = admin.clone();
        // A flood of this door takes nothing from the other.
        admin.streams = Arc::new(Semaphore::new(MAX_STREAMS));
        let router = guard.around(admin.router());
        let door = Door::Tcp(tcp);
        let serving = http::serve(door, over_tcp, router, closing.clone());
        vital("operators over TCP", serving.boxed());
    }
    info!(listen = %address, runtime_dir = %dir.path().display(), term = %opened.term, shard_count, "master started");
    ready(&Ready {
        listen: address.to_string(),
        admin: format!("unix:{}", dir.admin_socket().display()),
        admin_http,
        runtime_dir: dir.path().to_owned(),
    });

    service::ready(&format!("{shard_count} shards, {}", opened.term));

    let (ending, journal) = driver.run(queue).await;
    closing.cancel();
    tasks.close();
    if timeout(FAREWELL, tasks.wait()).await.is_err() {
        warn!("some connections did not end in time");
    }
    journal.close().await;
    history.leaves();
    left(ending)
}

fn facts(config: &Config, dir: &RuntimeDir, term: Term, address: SocketAddr) -> Facts {
    Facts {
        name: config.name.clone(),
        host: rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned(),
        term,
        version: env!("CARGO_PKG_VERSION"),
        pid: std::process::id(),
        listen: address.to_string(),
        runtime_dir: dir.path().to_owned(),
        data_dir: config.data_dir.clone(),
        working_dir: std::env::current_dir().unwrap_or_default(),
    }
}

/// `commands` are what deploys brought, `before` what the slots had before those.
fn launcher(
    config: &Config,
    dir: &RuntimeDir,
    secret: Secret,
    commands: BTreeMap<String, Vec<String>>,
    before: BTreeMap<String, Vec<String>>,
) -> Launcher {
    let socket = dir.slave_socket();
    let launcher = Launcher::new(dir.path(), &socket, secret, &config.slots, commands);
    let mut launcher = launcher.with_api_url(&config.api_url);
    launcher.remember_before(before);
    launcher.take_token_from(config.token_file.clone());
    match Outputs::open(dir.path()) {
        Ok(outputs) => launcher.write_to(outputs),
        Err(error) => {
            warn!(%error, "slaves write where the master does: their last words will not be known")
        }
    }
    launcher
}

/// What the end of a driver is for the starter of the master.
fn left(ending: Ending) -> Result<(), Error> {
    match ending {
        Ending::Left => {
            info!("master left; the slaves keep serving");
            Ok(())
        }
        Ending::Overdue => Err(Error::Failed(
            "the master left although the shard in hand was not settled; start it again soon"
                .to_owned(),
        )),
        Ending::Deposed(reason) => Err(Error::Deposed(reason)),
        Ending::Broken(task) => Err(Error::Failed(format!(
            "the task {task:?} panicked, which is a fault in Baton: please report the lines above; \
             start the master again, the slaves keep serving"
        ))),
        Ending::Error(what) => Err(Error::Failed(format!(
            "fail_on_error: {what}; the slaves keep serving"
        ))),
    }
}

/// The Go master's flow: neither a journal nor an admin socket.
async fn run_legacy(
    config: &Config,
    dir: &RuntimeDir,
    secret: Secret,
    listener: tokio::net::TcpListener,
    signals: Signals,
    ready: impl FnOnce(&Ready),
) -> Result<(), Error> {
    let address = local_address(&listener)?;
    let (notices, mut queue) = mpsc::channel(QUEUE);
    let (deploy, deploys) = mpsc::channel(1);
    let stop = CancellationToken::new();
    tokio::spawn(signals.forward(notices, config.usual_deploy(), None, stop.clone()));
    let leaving = stop.clone();
    tokio::spawn(async move {
        // Signals ask for these two things only.
        while let Some(notice) = queue.recv().await {
            if matches!(notice, Notice::Leave) {
                leaving.cancel();
            } else {
                // One that is already under way is enough.
                let _ = deploy.try_send(());
            }
        }
    });
    info!(listen = %address, "legacy master started");
    ready(&Ready {
        listen: address.to_string(),
        admin: String::new(),
        admin_http: None,
        runtime_dir: dir.path().to_owned(),
    });
    service::ready("serves Go slaves");
    tokio::spawn(service::keep_alive(None, stop.clone()));
    legacy::runner::run(legacy::runner::Parts {
        listener,
        launcher: Launcher::new(
            dir.path(),
            &dir.slave_socket(),
            secret,
            &config.slots,
            BTreeMap::new(),
        )
        .with_api_url(&config.api_url),
        slot: config.usual_deploy().slot,
        contact: config.limits.contact,
        grace: config.limits.adopt_grace,
        deploys,
        stop,
    })
    .await;
    info!("master left; the slaves keep serving");
    Ok(())
}

fn configured(config: &Config) -> BTreeMap<String, Vec<String>> {
    let slots = config.slots.iter();
    slots
        .filter_map(|slot| Some((slot.name.clone(), slot.command.clone()?)))
        .collect()
}

fn local_address(listener: &tokio::net::TcpListener) -> Result<SocketAddr, Error> {
    listener
        .local_addr()
        .map_err(|error| Error::system("address of the listener", error))
}
