//! The daemon: puts the parts together, serves until it is asked to leave.

mod before;
mod place;
mod serving;
mod signals;

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, sync::Arc};

use baton_core::{Core, event::Time};
use baton_protocol::{LaunchId, Term, auth::Secret};
use serde::Serialize;
use tokio::{
    sync::{Semaphore, broadcast, mpsc, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::{
    before::{living, shard_count},
    place::{Place, local_address},
    serving::{OperatorPlaces, Serving},
    signals::Signals,
};
use crate::{
    admin::{Admin, Disks, Facts, MAX_STREAMS},
    aside::Aside,
    budget::Asker,
    config::Config,
    counters::Counters,
    doors::{Places, http},
    driver::{Driver, Ending, Parts, QUEUE},
    error::Error,
    history::History,
    journal::{Home, Journal},
    keeper::{Keeper, Kept},
    legacy, listener,
    news::{Log, Observer, STREAM},
    notice::Notice,
    peer::{Context, Hushes, MAX_JOINED, Strangers},
    process::{Launcher, Outputs, keep_small},
    reload::{Reloader, Source},
    runtime_dir::RuntimeDir,
    service,
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
    let mut place = Place::take(&config).await?;
    if config.legacy {
        return run_legacy(&config, place, signals, ready).await;
    }
    let home = Home::new(place.dir.fleet(), &place.secret, place.ran_before);
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

    let (slaves, maker) = place.slave_socket()?;
    let operators = place.dir.bind(&place.dir.admin_socket())?;
    let admin_tcp = match config.admin_listen {
        Some(address) => Some(listener::bind_as("admin_listen", address).await?),
        None => None,
    };
    let Place {
        dir,
        lock,
        data_lock: _data_lock,
        secret,
        tcp,
        ..
    } = place;
    let address = local_address(&tcp)?;
    let (notices, queue) = mpsc::channel(QUEUE);
    let (news, _) = broadcast::channel(STREAM);
    let defaults = watch::Sender::new(config.usual_deploy());
    let closing = CancellationToken::new();
    let history = Arc::new(History::open(&config.data_dir, opened.term));
    let kept = Kept::new(is_another(opened.term, &home));
    let context = context(&config, opened.term, &secret, &notices, &closing);
    let places = OperatorPlaces {
        over_tcp: http::places(),
        over_unix: http::places(),
    };
    let admin = Admin {
        notices: notices.clone(),
        news: news.clone(),
        peers: Arc::clone(&context),
        history: Arc::clone(&history),
        defaults: defaults.subscribe(),
        facts: facts(&config, &dir, opened.term, address),
        started: Instant::now(),
        doors: doors(&context, &places),
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
    keep_small(logs(&config));
    let observers: Vec<Arc<dyn Observer>> = vec![
        Arc::clone(&context.metrics) as _,
        Arc::clone(&history) as _,
        Arc::new(Log::default()),
        Arc::new(news),
    ];
    let driver = Driver::new(Parts {
        core: Core::new(config.settings(shard_count), recovered, Time::default()),
        journal: opened.journal,
        launcher: launcher(&config, &dir, secret, opened.commands, opened.before),
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
    let serving = Serving::new(notices.clone(), closing);
    if let Some(asker) = asker {
        serving.ask_discord(asker, bot.is_some());
    }
    serving.keep_alive();
    let reloader = Reloader {
        source,
        config: config.clone(),
        shard_count,
        notices,
        defaults,
    };
    serving.hear(signals, &config, reloader);
    let sockets = (tcp, slaves, operators);
    serving.listen(context, admin.clone(), places.over_unix, sockets, keeper);
    let admin_http = match admin_tcp {
        Some(tcp) => Some(serving.listen_to_operators(tcp, &config, admin, places.over_tcp)?),
        None => None,
    };
    info!(listen = %address, runtime_dir = %dir.path().display(), term = %opened.term, shard_count, "master started");
    ready(&Ready {
        listen: address.to_string(),
        admin: format!("unix:{}", dir.admin_socket().display()),
        admin_http: admin_http.map(|address| format!("http://{address}")),
        runtime_dir: dir.path().to_owned(),
    });
    service::ready(&format!("{shard_count} shards, {}", opened.term));

    let (ending, journal) = driver.run(queue).await;
    serving.end().await;
    journal.close().await;
    history.leaves();
    left(ending)
}

/// Whether the secret is another one than that with which this fleet began.
fn is_another(term: Term, home: &Home) -> bool {
    let another = term.fleet != home.fleet;
    if another {
        warn!(
            "the secret is another one than that with which this fleet began: slaves by TCP that \
             know the one before are not let in"
        );
    }
    another
}

fn context(
    config: &Config,
    term: Term,
    secret: &Secret,
    notices: &mpsc::Sender<Notice>,
    closing: &CancellationToken,
) -> Arc<Context> {
    Arc::new(Context {
        term,
        secret: secret.clone(),
        own: std::process::id(),
        checkpoint: config.limits.checkpoint,
        ping: config.limits.ping,
        hang: config.limits.hang,
        notices: notices.clone(),
        counters: Counters::default(),
        metrics: Arc::default(),
        strangers: Strangers::default(),
        hush: Hushes::default(),
        room: Arc::new(Semaphore::new(MAX_JOINED)),
        closing: closing.clone(),
    })
}

/// The places of each door, by the key that opens it.
fn doors(context: &Context, places: &OperatorPlaces) -> Vec<(&'static str, Arc<Places>)> {
    vec![
        ("listen", Arc::clone(&context.strangers.tcp)),
        ("slave.sock", Arc::clone(&context.strangers.unix)),
        ("admin_listen", Arc::clone(&places.over_tcp)),
        ("admin.sock", Arc::clone(&places.over_unix)),
    ]
}

/// The files that slaves of slots with a `log` write.
fn logs(config: &Config) -> Vec<PathBuf> {
    let slots = config.slots.iter();
    slots.filter_map(|slot| slot.log.clone()).collect()
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
    place: Place,
    signals: Signals,
    ready: impl FnOnce(&Ready),
) -> Result<(), Error> {
    let Place {
        dir,
        lock: _lock,
        data_lock: _data_lock,
        secret,
        tcp: listener,
        ..
    } = place;
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
