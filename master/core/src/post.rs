//! Letters between the once-per-bot work, the units and operators.
//!
//! The core knows where each of them is, and nothing of what they write. A letter is delivered
//! at most once, and only to who is there: the work and the units write again what matters until
//! it is answered. An operator is told at once that nobody is there.

use baton_protocol::{
    ShardId, SlaveId, ToSlave,
    message::{Correspondent, Post},
};
use bytes::Bytes;

use crate::{
    event::{News, RequestId},
    fleet::Fleet,
    out::Out,
    work::WorkUnit,
};

/// Where letters go.
pub(crate) struct Letters<'a> {
    pub(crate) fleet: &'a Fleet,
    pub(crate) work: &'a WorkUnit,
    pub(crate) out: &'a mut Out,
}

impl Letters<'_> {
    /// What a slave sends off. It writes for its own work and units only.
    pub(crate) fn posted(&mut self, slave: SlaveId, post: Post) {
        let is_its_own = match post.from {
            Correspondent::Work => self.work.owner() == Some(slave),
            Correspondent::Unit(unit) => self.serves(unit) == Some(slave),
            Correspondent::Operator(_) => false,
        };
        if !is_its_own || post.body.len() > Post::MAX_BYTES {
            return;
        }
        match post.to {
            Correspondent::Operator(request) => self.out.tell(News::Answered {
                request: RequestId(request),
                body: post.body,
            }),
            Correspondent::Work | Correspondent::Unit(_) => {
                self.deliver(post);
            }
        }
    }

    /// What an operator asks the work.
    pub(crate) fn ask(&mut self, request: RequestId, body: Bytes) {
        let post = Post {
            from: Correspondent::Operator(request.0),
            to: Correspondent::Work,
            body,
        };
        if !self.deliver(post) {
            let reason = "no slave that is connected runs the once-per-bot work right now: \
                          baton-master status shows why"
                .to_owned();
            self.out.tell(News::RequestRefused { request, reason });
        }
    }

    /// Whether somebody is there.
    fn deliver(&mut self, post: Post) -> bool {
        let to = match post.to {
            Correspondent::Work => self.work.owner(),
            Correspondent::Unit(unit) => self.serves(unit),
            Correspondent::Operator(_) => None,
        };
        let to = to.filter(|slave| self.fleet.is_joined(*slave));
        if let Some(slave) = to {
            self.out.send(slave, ToSlave::Post(post));
        }
        to.is_some()
    }

    fn serves(&self, unit: ShardId) -> Option<SlaveId> {
        let (owner, _) = self.fleet.shards.get(unit)?.phase.claimant()?;
        Some(owner)
    }
}
