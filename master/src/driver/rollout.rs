//! A deploy of every slot, one after the other: `deploy --all`.
//!
//! ```text
//! first slot, alone ──done──▶ as many at once as may be ──done──▶ the rest ─▶ rollout ended
//!        └─────────── one does not come through ──────────▶ no further slot begins
//! ```
//!
//! Each is an ordinary deploy of its slot, with its own gates. Slots that are done keep their new
//! build if a later one fails: an operator decides what becomes of them. A rollout is of one
//! master: the next one has the deploy go on that runs, and begins no other.

use std::collections::{BTreeSet, VecDeque};

use baton_core::event::{Beside, DeployOrder, News, Outcome, RolloutOutcome, Time};
use baton_protocol::DeployId;

use super::Driver;
use crate::notice::{Answer, Rolling};

/// The slots that are deployed in turn.
#[derive(Debug)]
pub(super) struct Rollout {
    rolling: Rolling,
    left: VecDeque<String>,
    /// Slots whose deploy was asked for and did not begin yet.
    asked: BTreeSet<String>,
    under_way: Vec<(DeployId, String)>,
    done: Vec<String>,
    failed: Option<String>,
}

impl Driver {
    /// An operator asks for it: the first slot begins, or nothing does.
    pub(super) fn roll_out(&mut self, now: Time, rolling: Rolling, answer: Answer<DeployId>) {
        match self.slots_of(now, &rolling) {
            Ok(left) => {
                self.rollout = Some(Rollout {
                    rolling,
                    left,
                    asked: BTreeSet::new(),
                    under_way: Vec::new(),
                    done: Vec::new(),
                    failed: None,
                });
                self.next_of_rollout(now, Some(answer));
            }
            Err(reason) => {
                // The asker may be gone.
                let _ = answer.send(Err(reason));
            }
        }
    }

    /// The slots in their order, if each of them may be deployed.
    fn slots_of(&mut self, now: Time, rolling: &Rolling) -> Result<VecDeque<String>, String> {
        if let Some(rollout) = &self.rollout {
            return Err(format!(
                "a deploy of all slots is under way: {} done, {} to go; baton-master abort stops it",
                rollout.done.len(),
                rollout.left.len() + rollout.under_way.len()
            ));
        }
        let view = self.core.view(now);
        let all: Vec<String> = view.slots.into_iter().map(|slot| slot.name).collect();
        let mut slots = VecDeque::new();
        for named in rolling.first.iter().chain(&all) {
            if !all.contains(named) {
                return Err(format!(
                    "this fleet has no slot {named:?}: there are {}",
                    all.join(", ")
                ));
            }
            if !slots.contains(named) {
                slots.push_back(named.clone());
            }
        }
        for slot in &slots {
            let order = rolling.of_slot(slot, Beside::Nothing);
            if let Some(reason) = self.core.deploy_refused(&order) {
                return Err(format!("nothing was begun: {reason}"));
            }
        }
        Ok(slots)
    }

    /// News of its deploys.
    pub(super) fn note_rollout(&mut self, news: &News) {
        let Some(rollout) = &mut self.rollout else {
            return;
        };
        if let News::DeployAccepted { deploy, slot, .. } = news
            && rollout.asked.remove(slot)
        {
            rollout.under_way.push((*deploy, slot.clone()));
        }
        if let News::DeployEnded {
            deploy, outcome, ..
        } = news
            && let Some(at) = rollout.under_way.iter().position(|(of, _)| of == deploy)
        {
            let (_, slot) = rollout.under_way.remove(at);
            match outcome {
                Outcome::Done | Outcome::Forced { .. } => rollout.done.push(slot),
                Outcome::Aborted { .. } | Outcome::RolledBack { .. } | Outcome::HandedOn => {
                    rollout.failed = Some(format!("slot {slot:?}: {outcome}"));
                }
            }
        }
    }

    /// Begins what may be begun now. Whether the core has something to do.
    pub(super) fn rollout_goes_on(&mut self, now: Time) -> bool {
        let Some(rollout) = &self.rollout else {
            return false;
        };
        let busy = rollout.under_way.len() + rollout.asked.len();
        let over = rollout.left.is_empty() || rollout.failed.is_some();
        if over {
            if busy > 0 {
                return false;
            }
            self.end_rollout();
            return false;
        }
        // The first one is alone.
        let at_once = match rollout.done.is_empty() {
            true => 1,
            false => rollout.rolling.at_once,
        };
        if busy >= at_once {
            return false;
        }
        self.next_of_rollout(now, None);
        true
    }

    fn next_of_rollout(&mut self, now: Time, answer: Option<Answer<DeployId>>) {
        let Some(rollout) = &mut self.rollout else {
            return;
        };
        let Some(slot) = rollout.left.pop_front() else {
            return;
        };
        let order = rollout.rolling.of_slot(&slot, Beside::Others);
        let build = rollout.rolling.build.clone();
        if let Some(reason) = self.core.deploy_refused(&order) {
            rollout.left.push_front(slot.clone());
            rollout.failed = Some(format!("slot {slot:?}: {reason}"));
            if let Some(answer) = answer {
                let _ = answer.send(Err(reason));
            }
            return;
        }
        rollout.asked.insert(slot);
        self.deploy(now, order, build.as_deref(), answer);
    }

    fn end_rollout(&mut self) {
        let Some(rollout) = self.rollout.take() else {
            return;
        };
        let outcome = match rollout.failed.is_some() {
            true => RolloutOutcome::Stopped,
            false => RolloutOutcome::Done,
        };
        self.tell(News::RolloutEnded {
            outcome,
            reason: rollout.failed,
            done: rollout.done,
            left: rollout.left.into(),
        });
    }
}

impl Rolling {
    /// What is asked for one of the slots.
    fn of_slot(&self, slot: &str, beside: Beside) -> DeployOrder {
        DeployOrder {
            slot: slot.to_owned(),
            beside,
            ..self.order.clone()
        }
    }
}
