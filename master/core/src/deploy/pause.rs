//! What an operator says of a deploy that runs: that it is to end, or to be held.
//!
//! One that is held begins no further shard. Those in hand finish,
//! and everything serves where it is. A pause ends with its deploy, and with the
//! master: the next one goes on.

use crate::{
    deploy::{Deploy, Stage, Succession},
    event::{News, Pause, RequestId, STOPPED},
    fleet::SlotId,
};

impl Succession<'_> {
    /// The deploy that an operator means: of the slot that is named, or the only one.
    fn deploy_meant(&self, slot: Option<&str>) -> Result<SlotId, String> {
        if let Some(name) = slot {
            let Some(slot) = self.fleet.slots.named(name) else {
                return Err(format!("this fleet has no slot {name:?}"));
            };
            let deploy = self.deploys.of(slot);
            let none = || format!("no deploy of slot {name:?} is under way");
            return deploy.map(|_| slot).ok_or_else(none);
        }
        match self.deploys.slots()[..] {
            [] => Err("no deploy is under way".to_owned()),
            [slot] => Ok(slot),
            [..] => {
                let deploys = self.deploys.iter();
                let names: Vec<_> = deploys.map(|deploy| deploy.order.slot.as_str()).collect();
                Err(format!(
                    "deploys of several slots are under way ({}): name the slot of one",
                    names.join(", ")
                ))
            }
        }
    }

    pub(crate) fn pause_asked(&mut self, request: RequestId, slot: Option<&str>, pause: Pause) {
        let paused = self.deploy_meant(slot).and_then(|slot| {
            let deploy = self.deploys.stepping(slot);
            let paused = deploy.map_or(Ok(()), |deploy| deploy.pause(pause));
            paused.map(|()| slot).map_err(str::to_owned)
        });
        match paused {
            Ok(slot) => self.tell_step(slot),
            Err(reason) => self.out.tell(News::RequestRefused { request, reason }),
        }
    }

    pub(crate) fn abort_asked(&mut self, request: RequestId, slot: Option<&str>) {
        let aborted = self.deploy_meant(slot).and_then(|slot| {
            let stage = self.deploys.of(slot).map(|deploy| &deploy.stage);
            let refusal = match stage {
                Some(Stage::Retiring { .. }) => "everything moved, and the old slave is leaving",
                Some(Stage::RollingBack { .. }) => "the deploy is rolling back already",
                Some(
                    Stage::Starting { .. }
                    | Stage::Preparing { .. }
                    | Stage::Moving { .. }
                    | Stage::Work { .. }
                    | Stage::Soaking { .. },
                )
                | None => return Ok(slot),
            };
            Err(refusal.to_owned())
        });
        match aborted {
            Ok(slot) => self.fail_deploy(slot, None, STOPPED.to_owned()),
            Err(reason) => self.out.tell(News::RequestRefused { request, reason }),
        }
    }
}

impl Deploy {
    /// Does what is asked; else why not.
    fn pause(&mut self, pause: Pause) -> Result<(), &'static str> {
        match self.stage {
            Stage::Work { .. } | Stage::Soaking { .. } | Stage::Retiring { .. } => Err(
                "every shard has moved: there is nothing to hold; baton-master abort sends it back",
            ),
            Stage::RollingBack { .. } => Err("the deploy is rolling back; it is not held"),
            Stage::Starting { .. } | Stage::Preparing { .. } | Stage::Moving { .. } => {
                match (self.paused, pause) {
                    (true, Pause::Hold) => return Err("the deploy is paused already"),
                    (false, Pause::Continue) => return Err("the deploy is not paused"),
                    (true, Pause::Continue) | (false, Pause::Hold) => {}
                }
                self.paused = pause == Pause::Hold;
                Ok(())
            }
        }
    }

    /// Whether it begins no further shard.
    pub(crate) const fn is_paused(&self) -> bool {
        self.paused && matches!(self.stage, Stage::Moving { .. })
    }
}
