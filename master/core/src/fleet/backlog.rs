//! A backlog that grows: more events come than handlers finish. Nothing is lost while
//! Discord replays the events that wait, but everything is late. An alarm tells the operator.

use std::time::Duration;

use baton_protocol::SlaveId;

use crate::Core;

/// The part of its time, in percent, in which a slave's shards take nothing.
const MOSTLY: u64 = 50;

/// For so long, at least.
const LASTS: Duration = Duration::from_secs(60);

impl Core {
    /// A slave said for how long its shards took nothing.
    pub(crate) fn backlog(&mut self, id: SlaveId) {
        let now = self.out.now;
        let Some(slave) = self.fleet.slaves.get_mut(&id) else {
            return;
        };
        if slave.backpressure.percent < MOSTLY {
            slave.full = None;
            return;
        }
        let (since, told) = *slave.full.get_or_insert((now, false));
        let lasts = now.since(since);
        if told || lasts < LASTS {
            return;
        }
        slave.full = Some((since, true));
        let (percent, late) = (slave.backpressure.percent, slave.lag.unwrap_or_default());
        let build = slave.hello.build.clone();
        self.out.alarm(format!(
            "slave {id:.8} (build {build}) falls behind: for {lasts:?} its shards took nothing for \
             {percent} % of the time, because their windows are full of running events. The \
             oldest came {late:?} ago. Make handlers faster, or give the slot more processes"
        ));
    }
}
