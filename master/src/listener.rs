//! Takes connections of slaves: TCP, and the unix socket in the runtime
//! directory.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    time::sleep,
};
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::{
    doors::{Crowd, Place, Places, secure},
    error::Error,
    peer::{self, Context, Origin},
    process::Dialled,
};

/// After a failed accept (too many open files) the next one waits this long.
const PAUSE: Duration = Duration::from_millis(100);

/// Binds the TCP address for slaves.
///
/// # Errors
/// [`Error::Configuration`]: it is taken, or not an address of this host.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, Error> {
    bind_as("listen", address).await
}

/// Binds the TCP address that a key of the configuration names.
///
/// # Errors
/// [`Error::Configuration`]: it is taken, or not an address of this host.
pub async fn bind_as(key: &str, address: SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(address).await.map_err(|error| {
        let reason = if error.kind() == io::ErrorKind::AddrInUse {
            "another process uses it; stop that one or choose another port (0: any)".to_owned()
        } else if error.kind() == io::ErrorKind::AddrNotAvailable {
            "this host has no such address".to_owned()
        } else {
            error.to_string()
        };
        Error::Configuration(format!("{key}: {address}: {reason}"))
    })
}

/// A socket that slaves dial.
trait Listens: Send + Sync + 'static {
    /// A connection that was taken.
    type Socket: Send + 'static;
    /// Who dialled it.
    type Dialler: Copy + Send + 'static;

    /// Takes the next one.
    fn take(&self) -> impl Future<Output = io::Result<(Self::Socket, Self::Dialler)>> + Send;

    /// A place for its handshake.
    fn place(context: &Context, dialler: Self::Dialler) -> Option<Place>;

    /// Serves one until it ends.
    fn serve(
        context: Arc<Context>,
        socket: Self::Socket,
        dialler: Self::Dialler,
        place: Place,
    ) -> impl Future<Output = ()> + Send + 'static;
}

impl Listens for TcpListener {
    type Socket = TcpStream;
    type Dialler = SocketAddr;

    async fn take(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (socket, from) = self.accept().await?;
        // Without it the connection is slower than it could be, and that is all.
        let _ = socket.set_nodelay(true);
        Ok((socket, from))
    }

    fn place(context: &Context, from: SocketAddr) -> Option<Place> {
        place(context, &context.strangers.tcp, "listen", Some(from.ip()))
    }

    fn serve(
        context: Arc<Context>,
        socket: TcpStream,
        from: SocketAddr,
        place: Place,
    ) -> impl Future<Output = ()> + Send + 'static {
        secure::serve(context, socket, from, place)
    }
}

impl Listens for UnixListener {
    type Socket = UnixStream;
    type Dialler = ();

    async fn take(&self) -> io::Result<(UnixStream, ())> {
        Ok((self.accept().await?.0, ()))
    }

    fn place(context: &Context, (): ()) -> Option<Place> {
        place(context, &context.strangers.unix, "slave.sock", None)
    }

    fn serve(
        context: Arc<Context>,
        socket: UnixStream,
        (): (),
        place: Place,
    ) -> impl Future<Output = ()> + Send + 'static {
        let origin = origin(&socket);
        peer::serve(context, socket, origin, place)
    }
}

/// Takes TCP connections until the master closes. Every peer's task is in
/// `tasks`.
pub async fn tcp(context: Arc<Context>, listener: TcpListener, tasks: TaskTracker) {
    take(context, listener, tasks).await;
}

/// Takes connections of the unix socket until the master closes.
pub async fn unix(context: Arc<Context>, listener: UnixListener, tasks: TaskTracker) {
    take(context, listener, tasks).await;
}

async fn take<L: Listens>(context: Arc<Context>, listener: L, tasks: TaskTracker) {
    loop {
        let accepted = tokio::select! {
            () = context.closing.cancelled() => return,
            accepted = listener.take() => accepted,
        };
        let (socket, dialler) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                untaken(&context, &error).await;
                continue;
            }
        };
        let Some(place) = L::place(&context, dialler) else {
            continue;
        };
        tasks.spawn(L::serve(Arc::clone(&context), socket, dialler, place));
    }
}

async fn untaken(context: &Context, error: &io::Error) {
    if context.hush.untaken.lets() {
        warn!(%error, "a connection could not be taken");
    }
    sleep(PAUSE).await;
}

/// A place for the handshake. Where strangers hold all of them, or those of one address half
/// of them, the one that has waited longest loses its own.
fn place(
    context: &Context,
    strangers: &Arc<Places>,
    door: &str,
    from: Option<IpAddr>,
) -> Option<Place> {
    let (taken, crowd) = strangers.take_for(from);
    let places = strangers.most();
    if crowd == Crowd::Room {
        return taken;
    }
    context.counters.too_many.add();
    if !context.hush.crowded.lets() {
        return taken;
    }
    match from.filter(|_| crowd == Crowd::FullOfOne) {
        Some(from) => warn!(
            door, %from, places,
            "one address holds half of the places for a handshake; the oldest of them is cut off"
        ),
        None => warn!(
            door,
            places, "strangers hold all places for a handshake; the oldest of them is cut off"
        ),
    }
    taken
}

/// The kernel's word for which process dialled, and whose it is.
fn origin(socket: &UnixStream) -> Origin {
    let own = rustix::process::geteuid().as_raw();
    let Ok(peer) = socket.peer_cred() else {
        return Origin::UnixStranger(Dialled::Local(None));
    };
    // Zero: of a pid namespace that is not seen from ours.
    let pid = peer.pid().and_then(|pid| u32::try_from(pid).ok());
    let dialled = Dialled::Local(pid.filter(|pid| *pid > 0));
    if peer.uid() == own {
        Origin::UnixOwner(dialled)
    } else {
        Origin::UnixStranger(dialled)
    }
}
