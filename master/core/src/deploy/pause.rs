//! The operator holds a deploy: it begins no further shard. Those in hand finish,
//! and everything serves where it is. A pause ends with its deploy, and with the
//! master: the next one goes on.

use crate::{
    deploy::{Deploy, Stage},
    event::Pause,
};

impl Deploy {
    /// Does what is asked; else why not.
    pub(crate) fn pause(&mut self, pause: Pause) -> Result<(), &'static str> {
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
