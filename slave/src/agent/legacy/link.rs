//! The link to a Go master: ids 1 to 10, no handshake, one write a frame.

use std::{io, ops::ControlFlow, time::Duration};

use baton_protocol::{
    Connection, Frame, Trust,
    go::{ToMaster, ToSlave},
};
use tokio::time::{Instant, timeout};

use crate::{
    agent::{
        link_error::LinkError,
        link_state::Wire,
        pipe::{Pipe, Read, connect_tcp, stays_on_host},
    },
    config::Address,
};

/// Answers that wait for a master that does not read. One more and its
/// connection is given up.
const ANSWER_QUEUE: usize = 1024;

/// A connection on which the hello was said.
pub(crate) struct Link {
    /// When it was.
    pub(super) since: Instant,
    pipe: Pipe<ToSlave>,
}

/// What a dial needs to know.
pub(super) struct Introduction {
    pub(super) address: Address,
    /// Whether shards are owned here.
    pub(super) running: bool,
    /// How long the hello is held back, so that others can say theirs first.
    pub(super) grace: Duration,
    pub(super) deadline: Duration,
}

impl Link {
    /// Dials and says hello.
    pub(super) async fn dial(introduction: Introduction) -> Result<Self, LinkError> {
        let Introduction {
            address,
            running,
            grace,
            deadline,
        } = introduction;
        let connection = timeout(deadline, connect(&address))
            .await
            .map_err(|_| LinkError::Slow(deadline))??;
        let (mut receiver, mut sender) = connection.split();
        // The Go master says nothing before the hello.
        if let Ok(said) = timeout(grace, receiver.recv()).await
            && said?.is_none()
        {
            return Err(LinkError::Closed);
        }
        sender.send(&ToMaster::Hello { running }.to_frame()).await?;
        Ok(Self {
            since: Instant::now(),
            pipe: Pipe::start((receiver, sender), ANSWER_QUEUE, None, understand),
        })
    }
}

impl Wire for Link {
    type Order = ToSlave;
    type Word = ToMaster;

    async fn order(&mut self) -> Option<ToSlave> {
        self.pipe.order().await
    }

    fn say(&self, word: &ToMaster) -> bool {
        self.pipe.say(word.to_frame())
    }

    async fn finish(self, patience: Duration) {
        self.pipe.finish(patience).await;
    }
}

async fn connect(address: &Address) -> Result<Connection, LinkError> {
    let failed = |source| LinkError::Dial {
        address: address.clone(),
        source,
    };
    let Address::Tcp(to) = address else {
        return Err(failed(io::ErrorKind::Unsupported.into()));
    };
    let socket = connect_tcp(address, to).await?;
    // A legacy master proves nothing.
    stays_on_host(address, &socket)?;
    let mut connection = Connection::new(socket);
    connection.trust(Trust::Known);
    Ok(connection)
}

/// As the Go client: a frame that means nothing to us is skipped.
fn understand(frame: Frame) -> Read<ToSlave> {
    let id = frame.id;
    ControlFlow::Continue(match ToSlave::from_frame(frame) {
        // The Go slave's own: no code here can read it.
        Ok(ToSlave::GuildState(_)) => {
            tracing::trace!(id, "a frame without a meaning here");
            None
        }
        Ok(order) => Some(order),
        Err(error) => {
            tracing::debug!(id, %error, "a frame that is no order");
            None
        }
    })
}
