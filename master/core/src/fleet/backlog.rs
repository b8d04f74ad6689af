//! A backlog that grows: more events come than handlers finish. Nothing is lost while
//! Discord replays the events that wait, but everything is late. An alarm tells the operator.

use std::time::Duration;

use baton_protocol::SlaveId;

use crate::{fleet::Slave, out::Out};

/// The part of its time, in percent, in which a slave's shards take nothing.
const MOSTLY: u64 = 50;

/// For so long, at least.
const LASTS: Duration = Duration::from_secs(60);

impl Slave {
    /// It said for how long its shards took nothing.
    pub(crate) fn backlog(&mut self, id: SlaveId, out: &mut Out) {
        if self.backpressure.percent < MOSTLY {
            self.full = None;
            return;
        }
        let (since, told) = *self.full.get_or_insert((out.now, false));
        let lasts = out.now.since(since);
        if told || lasts < LASTS {
            return;
        }
        self.full = Some((since, true));
        let (percent, late) = (self.backpressure.percent, self.lag.unwrap_or_default());
        let build = self.hello.build.clone();
        out.alarm(format!(
            "slave {id:.8} (build {build}) falls behind: for {lasts:?} its shards took nothing for \
             {percent} % of the time, because their windows are full of running events. The \
             oldest came {late:?} ago. Make handlers faster, or give the slot more processes"
        ));
    }
}
