//! M1: both slaves of a deploy are told that shards will move, and say when they are
//! ready for it.

use baton_protocol::{SlaveId, ToSlave, message::ShardMigrationStart};

use crate::{
    deploy::{Answer, Deploy, Stage},
    fleet::Fleet,
    out::Out,
};

impl Deploy {
    /// Asks each slave that has not answered whether it is ready for the move.
    pub(crate) fn ask_prepared(&self, fleet: &Fleet, out: &mut Out) {
        let Stage::Preparing { to, new, old } = self.stage else {
            return;
        };
        let shards = u32::try_from(self.size(fleet)).unwrap_or(u32::MAX);
        let start = |from_this_slave, shards| {
            ToSlave::ShardMigrationStart(ShardMigrationStart {
                deploy: self.id,
                from_this_slave,
                shards,
            })
        };
        if new == Answer::Due {
            out.send(to, start(false, shards));
        }
        if old == Answer::Due
            && let Some(from) = self.from
        {
            out.send(from, start(true, 0));
        }
    }

    /// One of them answers.
    pub(crate) fn prepared(&mut self, slave: SlaveId, answer: &ShardMigrationStart, out: &mut Out) {
        if answer.deploy != self.id {
            return;
        }
        let Stage::Preparing { to, new, old } = &mut self.stage else {
            return;
        };
        if slave == *to && !answer.from_this_slave {
            *new = Answer::Given;
        } else if Some(slave) == self.from && answer.from_this_slave {
            *old = Answer::Given;
        }
        out.touch(self.slot);
    }
}
