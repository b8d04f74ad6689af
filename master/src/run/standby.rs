//! A master of several: it stands by until it leads.

use std::sync::Arc;

use baton_protocol::Term;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::{
    Ready,
    place::{Place, local_address},
    signals::Signals,
};
use crate::{
    config::{Config, SharedStore},
    counters::Counters,
    doors::{Secure, http::Door},
    driver::QUEUE,
    error::Error,
    journal::Home,
    lead::{Candidate, Doors, Leadership},
    listener,
    peer::{Context, Hushes, MAX_JOINED, Strangers},
    post::{Post, not_leading},
    service,
};

/// Whether this master leads.
pub(super) enum Lead {
    /// It shares its journal with nobody.
    Alone,
    /// It does, until it hears otherwise.
    Leads(Box<Leadership>),
    /// It was asked to leave before.
    Leave,
}

/// Waits until this master leads. `ready` is called where that does not happen at once.
pub(super) async fn lead(
    config: &Config,
    place: &mut Place,
    signals: &mut Signals,
    ready: &mut Option<impl FnOnce(&Ready)>,
) -> Result<Lead, Error> {
    let Some(store) = &config.store else {
        return Ok(Lead::Alone);
    };
    let mut candidate = candidate(config, store, place).await?;
    if let Some(leadership) = candidate.look().await {
        return Ok(Lead::Leads(Box::new(leadership)));
    }
    let post = Arc::clone(&candidate.post);
    let (mut doors, heard) = open(config, place, &post).await?;
    info!("{}", not_leading(&post.standing()));
    if let Some(ready) = ready.take() {
        ready(&heard);
    }
    service::ready(&not_leading(&post.standing()));
    tokio::spawn(service::keep_alive(None, doors.closing()));
    let leads = tokio::select! {
        leadership = candidate.lead_when_free() => Some(leadership),
        () = signals.leave() => None,
        task = doors.broken() => {
            return Err(Error::Failed(format!(
                "the task {task:?} panicked, which is a fault in Baton: please report the lines above"
            )));
        }
    };
    doors.close().await;
    let Some(leadership) = leads else {
        service::stopping();
        candidate.leave().await;
        return Ok(Lead::Leave);
    };
    Ok(Lead::Leads(Box::new(leadership)))
}

async fn candidate(
    config: &Config,
    store: &SharedStore,
    place: &Place,
) -> Result<Candidate, Error> {
    let listen = local_address(&place.tcp)?.to_string();
    let home = Home::new(place.dir.fleet(), &place.secret, place.ran_before);
    Candidate::new(config, store, &listen, &home.shared()).await
}

/// What a standby master serves, and where.
async fn open(
    config: &Config,
    place: &mut Place,
    post: &Arc<Post>,
) -> Result<(Doors, Ready), Error> {
    let (tcp, unix) = place.again()?;
    let mut operators = vec![Door::Unix(place.dir.bind(&place.dir.admin_socket())?)];
    let (notices, broken) = mpsc::channel(QUEUE);
    let context = Context {
        // Of no master: nobody is let in by it.
        term: Term::default(),
        secret: place.secret.clone(),
        secure: Secure::new(config.certificate.clone()),
        own: std::process::id(),
        checkpoint: config.limits.checkpoint,
        ping: config.limits.ping,
        hang: config.limits.hang,
        notices,
        counters: Counters::default(),
        metrics: Arc::default(),
        strangers: Strangers::default(),
        hush: Hushes::default(),
        post: Some(Arc::clone(post)),
        room: Arc::new(Semaphore::new(MAX_JOINED)),
        closing: CancellationToken::new(),
    };
    let context = Arc::new(context);
    let mut admin_http = None;
    if let Some(address) = config.admin_listen {
        let tcp = listener::bind_as("admin_listen", address).await?;
        admin_http = Some(local_address(&tcp)?);
        operators.push(Door::Tcp(tcp, Arc::clone(&context)));
    }
    let address = local_address(&tcp)?;
    let ready = Ready::new(address, &place.dir, admin_http);
    let doors = Doors::open(context, broken, tcp, unix, operators, post);
    Ok((doors, ready))
}
