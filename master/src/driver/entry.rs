//! Who may come in: no process speaks for a slave whose process is another one, and no
//! process is two slaves.

use baton_core::event::News;
use baton_protocol::{
    Hosts, ProcessIdentity, SlaveId, ToSlave,
    message::{Hello, Refused, RefusedReason},
};

use super::Driver;
use crate::{
    link::Link,
    process::{Dialled, own_host},
};

impl Driver {
    /// Whether a newcomer may be the slave that it says it is; else the reason for its refusal
    /// not, and nothing else changes.
    pub(super) fn may_enter(&mut self, hello: &Hello, owns_nothing: bool, link: &Link) -> bool {
        let in_its_way = self
            .in_its_way(hello, link)
            .and_then(|()| self.is_at_home(hello, owns_nothing));
        let refused = match in_its_way {
            Ok(()) => return true,
            Err(refused) => refused,
        };
        self.tell(News::Disbelieved {
            slave: hello.slave,
            detail: refused.detail.clone(),
        });
        // An outbox that is full has other troubles.
        let _ = link.send(ToSlave::Refused(refused));
        false
    }

    fn in_its_way(&mut self, hello: &Hello, link: &Link) -> Result<(), Refused> {
        let (id, process) = (hello.slave, &hello.process);
        let refused = |reason, detail| Err(Refused { reason, detail });
        if let Some(first) = self.core.hello(id).map(|hello| &hello.process)
            && !first.is(process)
            && !mutant!("id-of-another")
        {
            let detail = format!(
                "slave {id:.8} is process {}, which is not known to be dead; process {} comes with \
                 its id. Each run of a slave draws an id of its own",
                named(first),
                named(process)
            );
            return refused(RefusedReason::Taken, detail);
        }
        let is_proved = proves(link, process);
        if let Some(first) = self.connections.get(id)
            && proves(first, process)
            && !is_proved
        {
            let detail = format!(
                "slave {id:.8} is connected by the unix socket: no other connection speaks for it"
            );
            return refused(RefusedReason::Taken, detail);
        }
        if let Some(other) = self.core.slave_in(process)
            && other != id
            && process.pid != 0
            && !mutant!("process-twice")
        {
            let first = self.connections.get(other);
            if is_proved && !first.is_some_and(|first| proves(first, process)) {
                self.disown(other, process.pid);
                return Ok(());
            }
            let detail = format!(
                "process {} is slave {other:.8}, which is not known to be dead: no process is two \
                 slaves",
                process.pid
            );
            return refused(RefusedReason::Other, detail);
        }
        Ok(())
    }

    /// Whether a newcomer fills a slot of its own host: no host brings a build into another
    /// one's slots. Who is known, or holds shards, is heard whatever the slot says by now.
    fn is_at_home(&self, hello: &Hello, owns_nothing: bool) -> Result<(), Refused> {
        let is_new = self.core.hello(hello.slave).is_none() && owns_nothing;
        let (Some(host), Some(own)) = (&hello.process.host_name, own_host()) else {
            return Ok(());
        };
        let home = self.core.host_of(&hello.slot).unwrap_or(own.as_str());
        let is_home = home
            .parse::<Hosts>()
            .is_ok_and(|home| home.have(host.as_str()));
        if !is_new || is_home || mutant!("slot-of-another-host") {
            return Ok(());
        }
        Err(Refused {
            reason: RefusedReason::Certificate,
            detail: format!(
                "slot {:?} is filled by slaves of host {home}, and this one is of host {host}: give \
                 the slot host = \"{host}\", or name a slot of that host in BATON_SLOT",
                hello.slot
            ),
        })
    }

    /// The kernel says that this slave's process is another slave: it is not killed for
    /// what this one does, and its death is not this one's.
    fn disown(&mut self, slave: SlaveId, pid: u32) {
        self.supervisor.forget(slave);
        self.tell(News::Disbelieved {
            slave,
            detail: format!("it named process {pid}, which is another slave"),
        });
    }

    /// The core accepted no slave with this id: nothing is kept of it, or a process that
    /// comes with ever new ids would be watched ever more often.
    pub(super) fn forget_stranger(&mut self, slave: SlaveId) {
        if self.core.hello(slave).is_none() && !mutant!("strangers-watched") {
            self.supervisor.forget(slave);
            self.connections.forget(slave);
        }
    }
}

/// A process for a person: its pid, and its host where that has a name.
fn named(process: &ProcessIdentity) -> String {
    match &process.host_name {
        Some(host) => format!("{} of host {host}", process.pid),
        None => process.pid.to_string(),
    }
}

/// Whether the kernel says that `process` dialled.
pub(super) fn proves(link: &Link, process: &ProcessIdentity) -> bool {
    link.dialled() == Dialled::Local(Some(process.pid))
}
