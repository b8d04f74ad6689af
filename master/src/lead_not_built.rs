//! In the place of `lead`, in a build without the feature `nats`: the configuration refuses a
//! store, so none of this is ever there.

use std::{convert::Infallible, future::Future, sync::Arc};

use baton_protocol::auth::Secret;
use tokio::{
    net::{TcpListener, UnixListener},
    sync::mpsc,
};
use tokio_util::sync::CancellationToken;

use crate::{
    config::{Config, SharedStore},
    doors::http::Door,
    error::Error,
    journal::Home,
    notice::Notice,
    peer::Context,
    post::Post,
    store::Store,
};

pub(crate) struct Leadership {
    pub(crate) post: Arc<Post>,
    never: Infallible,
}

impl Leadership {
    pub(crate) fn store(&self, _secret: &Secret) -> Result<(Box<dyn Store>, String), Error> {
        match self.never {}
    }

    pub(crate) fn lost(&self) -> Option<String> {
        match self.never {}
    }

    pub(crate) fn tell(&self, _notices: mpsc::Sender<Notice>) -> impl Future<Output = ()> + use<> {
        std::future::pending()
    }

    pub(crate) async fn give_back(self) {
        match self.never {}
    }
}

pub(crate) struct Candidate {
    pub(crate) post: Arc<Post>,
    never: Infallible,
}

impl Candidate {
    pub(crate) async fn new(
        _config: &Config,
        _store: &SharedStore,
        _listen: &str,
        _home: &Home,
    ) -> Result<Self, Error> {
        Err(Error::Failed("built without NATS".to_owned()))
    }

    pub(crate) async fn look(&mut self) -> Option<Leadership> {
        match self.never {}
    }

    pub(crate) async fn lead_when_free(&mut self) -> Leadership {
        match self.never {}
    }

    pub(crate) async fn leave(self) {
        match self.never {}
    }
}

pub(crate) enum Doors {}

impl Doors {
    pub(crate) fn open(
        _context: Arc<Context>,
        _broken: mpsc::Receiver<Notice>,
        _tcp: TcpListener,
        _unix: UnixListener,
        _operators: Vec<Door>,
        _post: &Arc<Post>,
    ) -> Self {
        unreachable!("no candidate is there")
    }

    pub(crate) fn closing(&self) -> CancellationToken {
        match *self {}
    }

    pub(crate) async fn broken(&mut self) -> &'static str {
        match *self {}
    }

    pub(crate) async fn close(self) {
        match self {}
    }
}
