//! Commands of a client: checked here, so that a wrong one closes the client and not the
//! shard.

use baton_protocol::command::{Command, Wrong};

use super::Connection;
use crate::{shard::Shard, wire::end::End};

const UNDECODED: End = End::undecoded("the d of this payload is not as documented");

impl Connection {
    pub(super) fn command(&self, op: u64, data: &str) -> Result<(), End> {
        let intents = self.shared.upstream.fleet().intents;
        let nonce = match Command::read(op, data, intents) {
            Ok(command) => command.nonce,
            Err(Wrong::Op(_) | Wrong::Data { .. }) => return Err(UNDECODED),
            Err(Wrong::Intent) => {
                let reason = "disallowed intents: all members need GUILD_MEMBERS";
                return Err(End::close(4014, reason));
            }
        };
        // One that was taken over from would speak against its successor.
        let Some(at) = self.at() else {
            return Ok(());
        };
        let may = at.shard.with(|core| {
            let may = core.may_command(at.key, self.id, op);
            if let (true, Some(nonce)) = (may, &nonce) {
                core.asks(nonce, at.key);
            }
            may
        });
        if !may {
            tracing::debug!(
                connection = self.id,
                op,
                "a command is not this client's to send"
            );
            return Ok(());
        }
        self.send_up(&at.shard, format!(r#"{{"op":{op},"d":{data}}}"#))
    }

    pub(super) fn send_up(&self, shard: &Shard, command: String) -> Result<(), End> {
        shard.command(command).map_err(|_| {
            End::close(
                4008,
                "rate limited: too many commands of this shard wait already",
            )
        })
    }
}
