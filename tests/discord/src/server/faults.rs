//! Carrying out what happens at once, and handing on what belongs to connections.

use std::{sync::Arc, time::Duration};

use super::Shared;
use crate::{
    conn::command::Command,
    error::Error,
    faults::{Fault, FaultName, When},
    traffic,
};

impl Shared {
    /// Carries out a fault now, or lets it wait for its moment.
    pub(crate) fn fault(self: &Arc<Self>, fault: Fault) -> Result<(), Error> {
        fault.validate()?;
        if fault.moment() != When::Now {
            return self.faults.arm(fault);
        }
        if fault.delay_ms == 0 {
            self.fault_now(&fault);
            return Ok(());
        }
        let shared = Arc::clone(self);
        self.tasks.spawn(async move {
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(fault.delay_ms)) => {
                    shared.fault_now(&Fault { delay_ms: 0, ..fault });
                }
                () = shared.stop.cancelled() => {}
            }
        });
        Ok(())
    }

    pub(crate) fn fault_now(&self, fault: &Fault) {
        match fault.name {
            FaultName::AcceptAndClose => self.faults.close_at_accept(fault.duration()),
            FaultName::RefuseConnect => self.faults.refuse_connect(fault.duration()),
            FaultName::Away => {
                self.faults.refuse_connect(fault.duration());
                self.cut_rest.notify_waiters();
                for commands in self.connections_of(None) {
                    let _ = commands.try_send(Command::Fault(Fault::new(FaultName::Reset)));
                }
            }
            FaultName::ResumeUrlDead => self.faults.kill_resume_url(fault.duration(), fault.shard),
            FaultName::ExpireSession => {
                self.sessions_of(fault.shard)
                    .for_each(|session| session.expire());
            }
            FaultName::Trim => {
                self.sessions_of(fault.shard)
                    .for_each(|session| session.trim_to(u64::MAX));
            }
            FaultName::Flood => {
                for index in 0..self.cells.len() {
                    if fault.shard.is_none_or(|shard| shard as usize == index) {
                        let traffic = self.orders[index].borrow().traffic.clone();
                        traffic::flood(&mut self.cell(index), &traffic, fault.events);
                    }
                }
            }
            FaultName::Op7
            | FaultName::Op7BeforeHello
            | FaultName::Op9True
            | FaultName::Op9False
            | FaultName::Close
            | FaultName::CloseOnResume
            | FaultName::Reset
            | FaultName::Drop
            | FaultName::NoHello
            | FaultName::NoResumed
            | FaultName::NoAck
            | FaultName::BadZstd
            | FaultName::BadJson
            | FaultName::UnknownOp
            | FaultName::HugeFrame
            | FaultName::Stall
            | FaultName::SlowReplay
            | FaultName::CloseOnIdentify
            | FaultName::CloseInReplay
            | FaultName::SlowHello
            | FaultName::OddHello
            | FaultName::SlowReady
            | FaultName::SlowResumed
            | FaultName::Bot429
            | FaultName::Bot429Body
            | FaultName::Bot429Bare
            | FaultName::Bot1015
            | FaultName::BotStatus
            | FaultName::BotAnswer => {
                for commands in self.connections_of(fault.shard) {
                    let _ = commands.try_send(Command::Fault(fault.clone()));
                }
            }
        }
    }
}
