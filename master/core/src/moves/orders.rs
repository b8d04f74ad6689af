//! What operators say of where shards are to be: `move`, `drain`, `cordon`, `rebalance`, `hold`.
//!
//! An order changes where shards are to be, in one save, and is answered when that is on the
//! disk. Then they move by themselves (`steps.rs`), however often masters and slaves change
//! meanwhile.

use crate::{
    deploy::Succession,
    event::{Arranging, News, Planned, RequestId},
};

impl Succession<'_> {
    /// An operator says where shards are to be.
    pub(crate) fn arrange_asked(&mut self, request: RequestId, order: Arranging) {
        let homes = match self.homes(&order) {
            Ok(homes) => homes,
            Err(reason) => return self.out.tell(News::RequestRefused { request, reason }),
        };
        let moves = self.fleet.told(&homes);
        match &order {
            // All of them are closed before the first shard gets its place.
            Arranging::Cordon(hosts) | Arranging::Drain(hosts) => {
                self.fleet.cordoned.extend(hosts.iter().cloned());
            }
            Arranging::Uncordon(hosts) => {
                self.fleet.cordoned.retain(|host| !hosts.contains(host));
            }
            Arranging::Hold => self.fleet.held = true,
            Arranging::Release => self.fleet.held = false,
            Arranging::Move { .. } | Arranging::Rebalance | Arranging::Stay => {}
        }
        for (id, home) in homes {
            self.fleet.is_to_be_in(id, home, self.out);
            let to = self.deploys.moves.of(id).map(|it| it.to.0);
            let is_elsewhere = to.is_some_and(|to| to != home);
            if is_elsewhere && self.fleet.shards[id].phase.moving().is_some() {
                self.handover().cancel_copy(id);
            }
        }
        self.fleet.save_arrangement(self.out);
        self.tell_arranged(request, &order, moves);
        // What waited for it may begin.
        self.out.touch_all(&self.fleet.slots.ids());
    }

    fn tell_arranged(&mut self, request: RequestId, order: &Arranging, moves: Vec<Planned>) {
        let hosts = match order {
            Arranging::Cordon(hosts) | Arranging::Drain(hosts) | Arranging::Uncordon(hosts) => {
                hosts.clone()
            }
            Arranging::Hold
            | Arranging::Release
            | Arranging::Move { .. }
            | Arranging::Rebalance
            | Arranging::Stay => Vec::new(),
        };
        self.out.tell(News::Arranged {
            request,
            order: order.name(),
            hosts,
            moves,
        });
    }
}
