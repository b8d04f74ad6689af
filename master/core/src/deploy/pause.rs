//! The operator holds a deploy: it begins no further shard. Those in hand finish,
//! and everything serves where it is. A pause ends with its deploy, and with the
//! master: the next one goes on.

use crate::{
    Core,
    deploy::Stage,
    event::{News, RequestId},
};

/// What is asked of the running deploy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    /// To begin no further shard.
    Hold,
    /// To go on.
    Continue,
}

impl Core {
    pub(crate) fn pause_asked(&mut self, request: RequestId, pause: Pause) {
        if let Err(reason) = self.may_pause(pause) {
            let reason = reason.to_owned();
            self.out.tell(News::RequestRefused { request, reason });
            return;
        }
        if let Some(deploy) = &mut self.deploy {
            deploy.paused = pause == Pause::Hold;
        }
        self.deploy_step();
    }

    fn may_pause(&self, pause: Pause) -> Result<(), &'static str> {
        let Some(deploy) = &self.deploy else {
            return Err("no deploy is under way");
        };
        match deploy.stage {
            Stage::Work { .. } | Stage::Soaking { .. } | Stage::Retiring { .. } => Err(
                "every shard has moved: there is nothing to hold; baton-master abort sends it back",
            ),
            Stage::RollingBack { .. } => Err("the deploy is rolling back; it is not held"),
            Stage::Starting { .. } | Stage::Preparing { .. } | Stage::Moving { .. } => {
                match (deploy.paused, pause) {
                    (true, Pause::Hold) => Err("the deploy is paused already"),
                    (false, Pause::Continue) => Err("the deploy is not paused"),
                    (true, Pause::Continue) | (false, Pause::Hold) => Ok(()),
                }
            }
        }
    }

    /// Whether the running deploy begins no further shard.
    pub(crate) fn is_paused(&self) -> bool {
        self.deploy
            .as_ref()
            .is_some_and(|deploy| deploy.paused && matches!(deploy.stage, Stage::Moving { .. }))
    }
}
