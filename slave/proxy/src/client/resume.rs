//! RESUME.

use std::sync::Arc;

use baton_protocol::ShardId;
use serde::Deserialize;

use super::{
    At, Connection, Phase,
    identify::{Entry, shard_of_session},
};
use crate::{
    shard::{Resumed, Shard},
    wire::end::End,
};

/// What a RESUME asks for.
#[derive(Deserialize)]
pub(super) struct Resume {
    token: String,
    /// `null` of a library that has none: discord.py comes like that when it could not
    /// connect.
    session_id: Option<String>,
    seq: Option<u64>,
}

impl Resume {
    /// The shard whose session it is.
    pub(super) fn shard(&self) -> Option<ShardId> {
        shard_of_session(self.session_id.as_ref()?).filter(|_| self.seq.is_some())
    }
}

impl Connection {
    pub(super) async fn resume(&mut self, data: &str) -> Result<(), End> {
        let resume: Resume = serde_json::from_str(data)
            .map_err(|_| End::undecoded("RESUME needs token, session_id and seq"))?;
        self.authenticate(&resume.token)?;
        self.enter(Entry::Resume(resume), None).await
    }

    pub(super) async fn resumed(&mut self, resume: &Resume, shard: Arc<Shard>) -> Result<(), End> {
        let attachment = self.attachment();
        let (id, sequence) = (resume.session_id.as_deref(), resume.seq);
        let (id, sequence) = (id.unwrap_or_default(), sequence.unwrap_or_default());
        let resumed = shard.with(|core| core.resume(&attachment, id, sequence));
        match resumed {
            Resumed::Here { key, replayed } => {
                tracing::info!(connection = self.id, shard = %shard.id, replayed, "a client resumes");
                self.sight = shard.with(|core| core.sight(key));
                self.phase = Phase::Live(At { shard, key });
                self.more = true;
                Ok(())
            }
            Resumed::Gone(why) => {
                tracing::warn!(
                    connection = self.id, shard = %shard.id, why,
                    "a client cannot resume and has to begin anew"
                );
                self.invalid_session().await
            }
            // Op 9 would make it begin anew, and take the shard back.
            Resumed::Replaced => Err(End::close(
                4004,
                "a newer client of this shard has taken over",
            )),
            Resumed::InvalidSequence => Err(End::close(4007, "invalid seq: it was never sent")),
        }
    }
}
