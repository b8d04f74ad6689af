//! What an operator asks for: looks, deploys and the way back, and what is answered with
//! a yes or a reason.

use baton_core::{
    event::{Arranging, DeployOrder, Input, Planned, RequestId, Time},
    settings::SlotSettings,
    view::View,
};
use baton_protocol::DeployId;

use super::Driver;
use crate::{
    config::{Slot, named},
    news::Brought,
    notice::Answer,
};

impl Driver {
    pub(super) fn view(&self, now: Time) -> View {
        let mut view = self.core.view(now);
        for slot in &mut view.slots {
            slot.command = self.supervisor.command(&slot.name);
            slot.command_before = self.supervisor.command_before(&slot.name);
        }
        let is_connected = |slave| self.connections.get(slave).is_some();
        view.hosts = self.supervisor.host_views(is_connected);
        view
    }

    pub(super) fn deploy(
        &mut self,
        now: Time,
        mut order: DeployOrder,
        build: Option<&str>,
        answer: Option<Answer<DeployId>>,
    ) {
        let before = self.supervisor.command(&order.slot);
        if let Some(build) = build {
            let command = order.command.as_ref().or(before.as_ref());
            order.command = command.map(|command| named(command, build));
        }
        let command = order.command.clone().or_else(|| before.clone());
        let request = self.answers.deploy(Brought { command, before }, answer);
        self.core.handle(now, Input::Deploy { request, order });
    }

    /// Deploys the command that the slot had before.
    pub(super) fn roll_back(&mut self, now: Time, order: DeployOrder, answer: Answer<DeployId>) {
        match self.way_back(now, &order.slot) {
            Ok(command) => {
                let command = Some(command);
                self.deploy(now, DeployOrder { command, ..order }, None, Some(answer));
            }
            Err(reason) => {
                // The asker may be gone.
                let _ = answer.send(Err(reason));
            }
        }
    }

    /// There are other slots: their commands are known before the core launches anything.
    pub(super) fn recut(
        &mut self,
        now: Time,
        settings: Vec<SlotSettings>,
        slots: Vec<Slot>,
        answer: Answer<()>,
    ) {
        let here = self.supervisor.take_slots(&slots);
        self.wish(now, answer, |request| Input::Slots {
            request,
            slots: settings,
        });
        self.hear(now, here);
    }

    /// Where shards are to be, or what that would come to.
    pub(super) fn arrange(
        &mut self,
        now: Time,
        order: Arranging,
        dry_run: bool,
        answer: Answer<Vec<Planned>>,
    ) {
        if dry_run {
            // The asker may be gone.
            let _ = answer.send(self.core.would_arrange(&order));
            return;
        }
        let request = self.answers.arrange(answer);
        self.core.handle(now, Input::Arrange { request, order });
    }

    /// Asks the core for what it refuses at once, or takes.
    pub(super) fn wish(
        &mut self,
        now: Time,
        answer: Answer<()>,
        input: impl FnOnce(RequestId) -> Input,
    ) {
        let request = self.answers.wish(answer);
        self.core.handle(now, input(request));
    }

    /// The command that a rollback deploys.
    fn way_back(&self, now: Time, slot: &str) -> Result<Vec<String>, String> {
        let deploys = self.core.view(now).deploys;
        if let Some(running) = deploys.into_iter().find(|deploy| deploy.slot == slot) {
            let step = running.step;
            return Err(format!(
                "deploy {} of slot {:?} is under way ({step}): send it back with baton-master abort. \
                 A rollback is a deploy of its own, of the command before the present one",
                running.deploy, running.slot
            ));
        }
        self.supervisor.way_back(slot)
    }
}
