//! One shard begins anew where it is: its owner seals it and RESUMEs it at the next
//! epoch, on a connection of its own. Heals one that is open and of no use. It is the
//! way back of a migration (`migration.rs`), so nothing is lost and nothing comes
//! twice, whatever dies meanwhile.

use baton_protocol::ShardId;

use super::{
    Core,
    event::{News, RequestId},
    shard::Phase,
};

impl Core {
    pub(super) fn restart_asked(&mut self, request: RequestId, id: ShardId) {
        if let Err(reason) = self.restart(id) {
            self.tell(News::RequestRefused { request, reason });
        }
    }

    pub(super) fn restart(&mut self, id: ShardId) -> Result<(), String> {
        let Some(shard) = self.fleet.shards.get(&id) else {
            let last = self.settings.shard_count.saturating_sub(1);
            return Err(format!(
                "this fleet has no shard {id}: they are 0 to {last}"
            ));
        };
        if let Some(deploy) = self.deploy_in(shard.slot) {
            return Err(deploy.busy());
        }
        self.may_move()?;
        let Phase::Serving { owner, epoch, .. } = shard.phase else {
            if let Some(trouble) = &shard.trouble {
                return Err(format!("shard {id} failed: {trouble}"));
            }
            return Err(format!(
                "shard {id} does not serve: the master sees to it already; baton-master status \
                 shows it"
            ));
        };
        if shard.ticket.is_none() {
            return Err(format!("shard {id} has no session that could be resumed"));
        }
        if self.fleet.slots[shard.slot].owner != Some(owner) || !self.fleet.can_take(owner) {
            return Err(format!(
                "slave {owner} of shard {id} is not connected or is leaving"
            ));
        }
        self.seal(id, owner, epoch, owner);
        Ok(())
    }
}
