//! The daemon: puts the parts together, serves until it is asked to leave.

mod before;
mod place;
mod serving;
mod shared;
mod signals;
mod standby;

use std::{
    collections::BTreeMap,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::Arc,
};

use baton_core::{Core, event::Time};
use baton_protocol::{Term, auth::Secret};
use serde::Serialize;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::{
    before::known,
    place::{Place, local_address},
    serving::Serving,
    shared::{OperatorPlaces, Shared},
    signals::Signals,
    standby::Lead,
};
use crate::{
    admin::Facts,
    aside::Aside,
    certs::{Held, SOON, now},
    config::Config,
    driver::{Driver, Ending, Parts, QUEUE},
    error::Error,
    keeper::Keeper,
    lead::Leadership,
    legacy, listener,
    notice::Notice,
    process::{Launcher, Listeners, Outputs, keep_small, we_are_on},
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

impl Ready {
    fn new(listen: SocketAddr, dir: &RuntimeDir, admin_http: Option<SocketAddr>) -> Self {
        Self {
            listen: listen.to_string(),
            admin: format!("unix:{}", dir.admin_socket().display()),
            admin_http: admin_http.map(|address| format!("http://{address}")),
            runtime_dir: dir.path().to_owned(),
        }
    }
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
    we_are_on(config.certificate.as_ref().map(|held| held.host()));
    if let Some(held) = &config.certificate {
        let (name, validity, now) = (held.name(), held.validity(), now());
        match validity.left(now) {
            ..SOON => warn!(%name, "the master's certificate: {}; renew it", validity.told(now)),
            _ => info!(%name, "the master's certificate: {}", validity.told(now)),
        }
    }
    let mut place = Place::take(&config).await?;
    if config.legacy {
        return run_legacy(&config, place, signals, ready).await;
    }
    let mut ready = Some(ready);
    let leadership = match standby::lead(&config, &mut place, &mut signals, &mut ready).await? {
        Lead::Alone => None,
        Lead::Leads(leadership) => Some(*leadership),
        Lead::Leave => return Ok(()),
    };
    let config = match leadership {
        Some(_) => as_it_is_now(config).await,
        None => config,
    };
    let result = serve(config, source, place, signals, ready, leadership.as_ref()).await;
    match leadership {
        Some(leadership) => {
            let stepped_down = leadership.post.steps_down();
            leadership.give_back().await;
            as_one_of_several(result, stepped_down)
        }
        None => result,
    }
}

/// A master may have stood by for long: its certificate may have been renewed meanwhile. One
/// that cannot be read leaves the one before.
async fn as_it_is_now(mut config: Config) -> Config {
    let Some(dir) = config.tls_dir.clone() else {
        return config;
    };
    let reading = tokio::task::spawn_blocking(move || Held::read(&dir));
    match reading.await.unwrap_or_else(|ended| Err(ended.to_string())) {
        Ok(held) => config.certificate = Some(Arc::new(held)),
        Err(reason) => warn!(reason, "tls_dir: the certificate before goes on to count"),
    }
    we_are_on(config.certificate.as_ref().map(|held| held.host()));
    config
}

/// A master that is not alone is started again, and stands by.
fn as_one_of_several(result: Result<(), Error>, stepped_down: bool) -> Result<(), Error> {
    match result {
        Ok(()) if stepped_down => Err(Error::NotLeading(
            "this master stepped down: it stands by when it is started again".to_owned(),
        )),
        Err(Error::Deposed(_)) => Err(Error::NotLeading(
            "another master took the term, or the store lost it: this one stands by when it is \
             started again"
                .to_owned(),
        )),
        result => result,
    }
}

/// Serves as the one master, until it is asked to leave.
async fn serve(
    config: Config,
    source: Source,
    mut place: Place,
    mut signals: Signals,
    ready: Option<impl FnOnce(&Ready)>,
    leadership: Option<&Leadership>,
) -> Result<(), Error> {
    let Some(known) = known(&config, &place, &mut signals, leadership).await? else {
        return Ok(());
    };
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
        for_slots,
        ..
    } = place;
    let address = local_address(&tcp)?;
    let listeners = open_for_slots(&config, &dir, for_slots).await;
    let (notices, queue) = mpsc::channel(QUEUE);
    let (term, shard_count) = (known.term, known.shard_count);
    let post = leadership.map(|leadership| Arc::clone(&leadership.post));
    let shared = Shared::new(&config, &known, &secret, notices.clone(), post);
    let defaults = watch::Sender::new(config.usual_deploy());
    let places = OperatorPlaces::default();
    let facts = facts(&config, &dir, term, address);
    let admin = shared.admin(facts, defaults.subscribe(), &places);
    let keeper = Keeper::new(
        dir.clone(),
        &config.data_dir,
        secret.clone(),
        maker,
        lock,
        shared.kept.clone(),
    );
    keep_small(logs(&config));
    let elsewhere = known.recovered.slaves.values();
    let elsewhere = elsewhere.filter(|hello| config.is_elsewhere(hello));
    let elsewhere = elsewhere.map(|hello| hello.slave).collect();
    let driver = Driver::new(Parts {
        elsewhere,
        agent_patience: config.limits.contact,
        core: Core::new(
            config.settings(shard_count),
            known.recovered,
            Time::default(),
        ),
        journal: known.journal,
        launcher: launcher(
            &config,
            &dir,
            secret,
            known.commands,
            known.before,
            listeners,
        ),
        watches: known.watches,
        unseen: known.unseen,
        notices: notices.clone(),
        observers: shared.observers(),
        aside: Aside::new(&config.data_dir),
        shard_in_hand: config.limits.shard_in_hand,
        fail_on_error: config.fail_on_error,
    });
    if let Some(bot) = &known.bot {
        // The queue is empty, the driver not yet running.
        let _ = notices.send(Notice::Budget(bot.budget)).await;
    }
    let serving = Serving::new(notices.clone(), shared.closing);
    if let Some(asker) = known.asker {
        serving.ask_discord(asker, known.bot.is_some());
    }
    serving.keep_alive();
    if let Some(leadership) = leadership {
        serving.tell("leadership", leadership.tell(notices.clone()));
    }
    let reloader = Reloader {
        source,
        config: config.clone(),
        shard_count,
        notices,
        defaults,
        peers: Arc::clone(&shared.context),
    };
    serving.hear(signals, &config, reloader);
    let sockets = (tcp, slaves, operators);
    let context = Arc::clone(&shared.context);
    serving.listen(
        shared.context,
        admin.clone(),
        places.over_unix,
        sockets,
        keeper,
    );
    let admin_http = match admin_tcp {
        Some(tcp) => {
            Some(serving.listen_to_operators(tcp, &config, admin, context, places.over_tcp)?)
        }
        None => None,
    };
    info!(listen = %address, runtime_dir = %dir.path().display(), %term, shard_count, "master started");
    if let Some(ready) = ready {
        ready(&Ready::new(address, &dir, admin_http));
    }
    service::ready(&format!("{shard_count} shards, {term}"));

    let (ending, journal) = driver.run(queue).await;
    serving.end().await;
    journal.close().await;
    shared.history.leaves();
    left(ending)
}

/// The files that slaves of slots with a `log` write.
fn logs(config: &Config) -> Vec<PathBuf> {
    let here = config.slots.iter().filter(|slot| slot.host.is_none());
    here.filter_map(|slot| slot.log.clone()).collect()
}

fn facts(config: &Config, dir: &RuntimeDir, term: Term, address: SocketAddr) -> Facts {
    Facts {
        name: config.name.clone(),
        host: config.host_name(),
        term,
        version: env!("CARGO_PKG_VERSION"),
        pid: std::process::id(),
        listen: address.to_string(),
        runtime_dir: dir.path().to_owned(),
        data_dir: config.data_dir.clone(),
        working_dir: std::env::current_dir().unwrap_or_default(),
    }
}

/// The sockets that slaves of slots get: opened now, so that clients wait there rather than
/// being refused. One that another process has is tried again at each launch.
async fn open_for_slots(
    config: &Config,
    dir: &RuntimeDir,
    passed: Vec<TcpListener>,
) -> Arc<Listeners> {
    let listeners = Arc::new(Listeners::new(dir.path(), passed));
    let slots = config.slots.clone();
    let opening = Arc::clone(&listeners);
    let opened = tokio::task::spawn_blocking(move || {
        for slot in slots {
            let Some(address) = slot.listen.filter(|_| slot.host.is_none()) else {
                continue;
            };
            if let Err(error) = opening.of(address) {
                warn!(
                    slot = slot.name, listen = %address, %error,
                    "the socket for the slot's clients cannot be opened"
                );
            }
        }
    });
    // It cannot panic, and is not stopped.
    let _ = opened.await;
    listeners
}

/// `commands` are what deploys brought, `before` what the slots had before those.
fn launcher(
    config: &Config,
    dir: &RuntimeDir,
    secret: Secret,
    commands: BTreeMap<String, Vec<String>>,
    before: BTreeMap<String, Vec<String>>,
    listeners: Arc<Listeners>,
) -> Launcher {
    let socket = dir.slave_socket();
    let launcher = Launcher::new(dir.path(), &socket, secret, &config.slots, commands);
    let mut launcher = launcher.with_api_url(&config.api_url);
    launcher.remember_before(before);
    launcher.take_token_from(config.token_file.clone());
    launcher.pass_on(listeners);
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
        Ending::NotLeading(why) => Err(Error::NotLeading(format!(
            "this master leads no more: {why}; it stands by when it is started again"
        ))),
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
