//! Everything that runs beside the driver: each task is one without which a master is
//! none, and its panic ends the master.

use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, UnixListener},
    sync::{Semaphore, mpsc},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

use super::{place::local_address, signals::Signals};
use crate::{
    admin::{Admin, Guard, MAX_STREAMS},
    config::Config,
    discord::budget::Asker,
    doors::{
        Places,
        http::{self, Door},
    },
    error::Error,
    keeper::{Anew, Keeper},
    listener,
    notice::Notice,
    peer::Context,
    reload::Reloader,
    service,
    sockets::Sockets,
    vital,
};

/// Peers and requests get this long to end when the master leaves.
const FAREWELL: Duration = Duration::from_secs(3);

/// The tasks of one master.
pub(super) struct Serving {
    notices: mpsc::Sender<Notice>,
    tasks: TaskTracker,
    closing: CancellationToken,
}

impl Serving {
    /// None yet. All of them end when `closing` is set.
    pub(super) fn new(notices: mpsc::Sender<Notice>, closing: CancellationToken) -> Self {
        Self {
            notices,
            tasks: TaskTracker::new(),
            closing,
        }
    }

    fn vital(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        vital::spawn(&self.tasks, self.notices.clone(), name, task);
    }

    /// Asks Discord for the budget, again and again; `asked`: it answered already.
    pub(super) fn ask_discord(&self, asker: Asker, asked: bool) {
        let asking = asker.keep_asking(asked, self.notices.clone(), self.closing.clone());
        self.vital("budget", asking);
    }

    /// Runs until it has told the driver something, or the master closes.
    pub(super) fn tell(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let closing = self.closing.clone();
        self.vital(name, async move {
            tokio::select! {
                () = closing.cancelled() => {}
                () = task => {}
            }
        });
    }

    /// Tells the service manager that the driver lives.
    pub(super) fn keep_alive(&self) {
        let alive = service::keep_alive(Some(self.notices.clone()), self.closing.clone());
        self.vital("watchdog", alive);
    }

    /// Hears signals; `SIGUSR1` asks for the deploy that `config` calls the usual one.
    pub(super) fn hear(&self, signals: Signals, config: &Config, reloader: Reloader) {
        let (notices, closing) = (self.notices.clone(), self.closing.clone());
        let usual = config.usual_deploy();
        self.vital(
            "signals",
            signals.forward(notices, usual, Some(reloader), closing),
        );
    }

    /// Takes slaves by TCP and by the unix socket, and operators by theirs. `keeper` has
    /// the sockets made again that somebody removes.
    pub(super) fn listen(
        &self,
        context: Arc<Context>,
        admin: Admin,
        over_unix: Arc<Places>,
        (tcp, slaves, operators): (TcpListener, UnixListener, UnixListener),
        keeper: Keeper,
    ) {
        let listening = listener::tcp(Arc::clone(&context), tcp, self.tasks.clone());
        self.vital("listener", listening);
        let sockets = Sockets::new(context, admin, over_unix, self.tasks.clone());
        sockets.take_slaves(slaves);
        sockets.take_operators(operators);
        let opened_anew = move |anew: Anew| {
            anew.slave
                .into_iter()
                .for_each(|unix| sockets.take_slaves(unix));
            let operators = anew.admin.into_iter();
            operators.for_each(|unix| sockets.take_operators(unix));
        };
        let keeping = keeper.keep(self.notices.clone(), self.closing.clone(), opened_anew);
        self.vital("keeper", keeping);
    }

    /// Takes operators over TCP; gives the address.
    ///
    /// # Errors
    /// The socket has none.
    pub(super) fn listen_to_operators(
        &self,
        tcp: TcpListener,
        config: &Config,
        mut admin: Admin,
        context: Arc<Context>,
        over_tcp: Arc<Places>,
    ) -> Result<SocketAddr, Error> {
        let address = local_address(&tcp)?;
        info!(
            %address,
            operators = config.admin_token.is_some(),
            readers = config.admin_read_token.is_some(),
            tls = config.certificate.is_some(),
            "served over TCP: who has the operators' token, or an operator's certificate, may do \
             everything, others look at most"
        );
        let guard = Guard::new(config.admin_token.clone(), config.admin_read_token.clone());
        // A flood of this door takes nothing from the other.
        admin.streams = Arc::new(Semaphore::new(MAX_STREAMS));
        let router = guard.around(admin.router());
        let serving = http::serve(
            Door::Tcp(tcp, context),
            over_tcp,
            router,
            self.closing.clone(),
        );
        self.vital("operators over TCP", serving);
        Ok(address)
    }

    /// The driver has ended: what is under way may end, for a while.
    pub(super) async fn end(self) {
        self.closing.cancel();
        self.tasks.close();
        if timeout(FAREWELL, self.tasks.wait()).await.is_err() {
            warn!("some connections did not end in time");
        }
    }
}
