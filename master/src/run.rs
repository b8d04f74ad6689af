//! The daemon: puts the parts together, serves until it is asked to leave.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, sync::Arc};

use baton_protocol::{SlaveId, auth::Secret};
use serde::Serialize;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{Semaphore, broadcast, mpsc},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{error, info, warn};

use crate::{
    admin::{Admin, Facts},
    budget::{self, GatewayBot},
    config::Config,
    core::{
        Core,
        event::{DeployOrder, Durability, Recovered, Time},
    },
    counters::Counters,
    driver::{Driver, Ending, NEWS, Notice, Parts, QUEUE},
    error::Error,
    journal::{Journal, Opened, forget},
    legacy,
    listener,
    peer::{Context, MAX_JOINED},
    process::{Launcher, Watch, WatchError},
    runtime_dir::{Lock, RuntimeDir, make_dir},
};

/// What a started master tells whoever started it, as one line of JSON.
#[derive(Clone, Debug, Serialize)]
pub struct Ready {
    /// Where slaves dial by TCP.
    pub listen: String,
    /// Where the operator's commands dial.
    pub admin: String,
    /// Its runtime directory.
    pub runtime_dir: PathBuf,
}

/// Runs a master until it is asked to leave (`SIGTERM`, `SIGINT`). `ready` is
/// called when slaves can dial.
///
/// `SIGUSR1` deploys the first slot's own command again. `SIGHUP` is ignored.
///
/// # Errors
/// It cannot start: the error says what to change.
pub async fn run(config: Config, ready: impl FnOnce(&Ready)) -> Result<Ending, Error> {
    let dir = RuntimeDir::open(&config.runtime_dir)?;
    make_dir("data_dir", &config.data_dir)?;
    let _lock = Lock::take(dir.path())?;
    let _data_lock = if same(dir.path(), &config.data_dir) {
        None
    } else {
        Some(Lock::take(&config.data_dir)?)
    };
    let tcp = listener::bind(config.listen).await?;
    let secret = dir.secret()?;
    if config.legacy {
        return run_legacy(&config, &dir, secret, tcp, ready).await;
    }
    let opened = Journal::open(&config.data_dir, configured(&config))?;
    let (shard_count, bot) = shard_count(&config, &opened).await?;
    config.check_shards(shard_count)?;
    let (watches, recovered) = living(&opened.journal, opened.recovered).await?;

    let unix = dir.bind(&dir.slave_socket())?;
    let admin_socket = dir.bind(&dir.admin_socket())?;
    let address = local_address(&tcp)?;
    let (notices, queue) = mpsc::channel(QUEUE);
    let (news, _) = broadcast::channel(NEWS);
    let closing = CancellationToken::new();
    let tasks = TaskTracker::new();
    let context = Arc::new(Context {
        term: opened.term,
        secret: secret.clone(),
        checkpoint: config.limits.checkpoint,
        ping: config.limits.ping,
        hang: config.limits.hang,
        notices: notices.clone(),
        counters: Counters::default(),
        room: Arc::new(Semaphore::new(MAX_JOINED)),
        closing: closing.clone(),
    });
    let admin = Admin {
        notices: notices.clone(),
        news: news.clone(),
        peers: Arc::clone(&context),
        defaults: order(&config),
        facts: Facts {
            term: opened.term,
            version: env!("CARGO_PKG_VERSION"),
            pid: std::process::id(),
            listen: address.to_string(),
            runtime_dir: dir.path().to_owned(),
            data_dir: config.data_dir.clone(),
        },
        started: Instant::now(),
        closing: closing.clone(),
    };
    let launcher = Launcher::new(
        dir.path(),
        &dir.slave_socket(),
        secret,
        &config.slots,
        opened.commands,
    );
    let driver = Driver::new(Parts {
        core: Core::new(config.settings(shard_count), recovered, Time::default()),
        journal: opened.journal,
        launcher,
        watches,
        notices: notices.clone(),
        news,
        shard_in_hand: config.limits.shard_in_hand,
    });
    if let Some(bot) = bot {
        let budget = Notice::Budget(with_configured_concurrency(&config, bot));
        // The queue is empty, the driver not yet running.
        let _ = notices.send(budget).await;
    }
    spawn_signals(&config, &notices, &closing)?;
    tasks.spawn(listener::tcp(Arc::clone(&context), tcp, tasks.clone()));
    tasks.spawn(listener::unix(context, unix, tasks.clone()));
    let serving = axum::serve(admin_socket, admin.router());
    let serving = serving.with_graceful_shutdown(closing.clone().cancelled_owned());
    tasks.spawn(async move {
        if let Err(error) = serving.await {
            error!(%error, "the admin socket failed");
        }
    });
    info!(listen = %address, runtime_dir = %dir.path().display(), term = %opened.term, shard_count, "master started");
    ready(&Ready {
        listen: address.to_string(),
        admin: format!("unix:{}", dir.admin_socket().display()),
        runtime_dir: dir.path().to_owned(),
    });

    let (ending, journal) = driver.run(queue).await;
    closing.cancel();
    tasks.close();
    tasks.wait().await;
    journal.close().await;
    info!("master left; the slaves serve on");
    Ok(ending)
}

/// The ancestor's flow: neither a journal nor an admin socket.
async fn run_legacy(
    config: &Config,
    dir: &RuntimeDir,
    secret: Secret,
    listener: tokio::net::TcpListener,
    ready: impl FnOnce(&Ready),
) -> Result<Ending, Error> {
    let address = local_address(&listener)?;
    let (notices, mut queue) = mpsc::channel(QUEUE);
    let (deploy, deploys) = mpsc::channel(1);
    let stop = CancellationToken::new();
    spawn_signals(config, &notices, &stop)?;
    let leaving = stop.clone();
    tokio::spawn(async move {
        while let Some(notice) = queue.recv().await {
            match notice {
                Notice::Leave => leaving.cancel(),
                // One that is already under way is enough.
                _ => drop(deploy.try_send(())),
            }
        }
    });
    info!(listen = %address, "legacy master started");
    ready(&Ready {
        listen: address.to_string(),
        admin: String::new(),
        runtime_dir: dir.path().to_owned(),
    });
    legacy::runner::run(legacy::runner::Parts {
        listener,
        launcher: Launcher::new(
            dir.path(),
            &dir.slave_socket(),
            secret,
            &config.slots,
            BTreeMap::new(),
        ),
        slot: order(config).slot,
        contact: config.limits.contact,
        deploys,
        stop,
    })
    .await;
    info!("master left; the slaves serve on");
    Ok(Ending::Left)
}

fn same(one: &std::path::Path, other: &std::path::Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => one == other,
    }
}

/// A deploy where nothing else is said: the first slot, its own command.
fn order(config: &Config) -> DeployOrder {
    DeployOrder {
        slot: config.slots.first().map(|slot| slot.name.clone()).unwrap_or_default(),
        command: None,
        canary: config.limits.canary,
        width: config.limits.width,
        soak: config.limits.soak,
    }
}

fn configured(config: &Config) -> BTreeMap<String, Vec<String>> {
    let slots = config.slots.iter();
    slots
        .filter_map(|slot| Some((slot.name.clone(), slot.command.clone()?)))
        .collect()
}

/// What is pinned wins; a configuration that says otherwise is an error, since
/// the sessions of the fleet have the pinned count.
async fn shard_count(
    config: &Config,
    opened: &Opened,
) -> Result<(u32, Option<GatewayBot>), Error> {
    let bot = match &config.token {
        Some(token) => Some(budget::ask(config, token).await),
        None => None,
    };
    let known = opened.shard_count.or(config.shard_count);
    if let (Some(pinned), Some(wanted)) = (opened.shard_count, config.shard_count)
        && pinned != wanted
    {
        return Err(Error::Configuration(format!(
            "shard_count: the fleet's sessions have {pinned} shards, the configuration says {wanted}; set it to {pinned}, or stop every slave, delete the journal in {} and start cold",
            config.data_dir.display()
        )));
    }
    let (count, bot) = match (known, bot) {
        (Some(count), Some(Ok(bot))) => (count, Some(bot)),
        (Some(count), Some(Err(error))) => {
            warn!(error = error.line(), "the IDENTIFY budget is not known");
            (count, None)
        }
        (Some(count), None) => (count, None),
        (None, Some(Ok(bot))) => (bot.shards, Some(bot)),
        (None, Some(Err(error))) => return Err(error),
        (None, None) => {
            return Err(Error::Configuration(
                "no token: set DISCORD_TOKEN or token_file, so that Discord can be asked for the shard count, or set shard_count".to_owned(),
            ));
        }
    };
    if opened.shard_count.is_none() {
        let pinned = opened.journal.pin_shard_count(count).await;
        pinned.map_err(|reason| Error::Failed(format!("journal: {reason}")))?;
    }
    Ok((count, bot))
}

fn with_configured_concurrency(
    config: &Config,
    bot: GatewayBot,
) -> crate::core::event::IdentifyBudget {
    let mut budget = bot.budget;
    if let Some(max_concurrency) = config.max_concurrency {
        budget.max_concurrency = max_concurrency;
    }
    budget
}

/// Slaves that the journal knew: those alive are watched, those dead forgotten.
async fn living(
    journal: &Journal,
    mut recovered: Recovered,
) -> Result<(BTreeMap<SlaveId, Watch>, Recovered), Error> {
    let mut watches = BTreeMap::new();
    let mut dead = Vec::new();
    for (slave, hello) in &recovered.slaves {
        match Watch::open(&hello.process) {
            Ok(watch) => {
                watches.insert(*slave, watch);
            }
            Err(WatchError::Dead) => dead.push(*slave),
            Err(error) => {
                warn!(slave = %format_args!("{slave:.8}"), %error, "the death of this slave cannot be known");
            }
        }
    }
    if !dead.is_empty() {
        let saved = journal.save(forget(&dead), Durability::Soon).await;
        saved.map_err(|reason| Error::Failed(format!("journal: {reason}")))?;
    }
    recovered.slaves.retain(|slave, _| !dead.contains(slave));
    Ok((watches, recovered))
}

fn local_address(listener: &tokio::net::TcpListener) -> Result<SocketAddr, Error> {
    listener
        .local_addr()
        .map_err(|error| Error::system("address of the listener", error))
}

fn spawn_signals(
    config: &Config,
    notices: &mpsc::Sender<Notice>,
    closing: &CancellationToken,
) -> Result<(), Error> {
    let listen = |kind| signal(kind).map_err(|error| Error::system("signals", error));
    let mut term = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut deploy = listen(SignalKind::user_defined1())?;
    let mut hang_up = listen(SignalKind::hangup())?;
    let notices = notices.clone();
    let closing = closing.clone();
    let order = order(config);
    tokio::spawn(async move {
        loop {
            let notice = tokio::select! {
                () = closing.cancelled() => return,
                Some(()) = term.recv() => Notice::Leave,
                Some(()) = interrupt.recv() => Notice::Leave,
                Some(()) = deploy.recv() => Notice::Deploy {
                    order: order.clone(),
                    answer: None,
                },
                () = ignored(&mut hang_up) => continue,
            };
            if notices.send(notice).await.is_err() {
                return;
            }
        }
    });
    Ok(())
}

async fn ignored(signal: &mut Signal) {
    signal.recv().await;
    info!("SIGHUP: nothing is reloaded");
}
