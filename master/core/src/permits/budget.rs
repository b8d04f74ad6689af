//! The budget of a day, and the part of it that only an operator's word spends.

use std::time::Duration;

use baton_protocol::text;

use crate::{
    event::{Identifies, IdentifyBudget, News, RequestId, Time},
    fleet::Fleet,
    out::Out,
    permits::{Budget, Permits},
    settings::Settings,
    timers::Timer,
};

impl Budget {
    /// What the master before had left of it; the service's usual one, where none is known.
    pub(super) fn recovered(
        settings: &Settings,
        known: Option<&Identifies>,
        now: Time,
    ) -> Option<Self> {
        let whole = |total| Self {
            total,
            remaining: total,
            resets: now.after(settings.service.budget_period()),
        };
        match known.filter(|known| known.total > 0) {
            Some(known) if known.resets_in.is_zero() => Some(whole(known.total)),
            Some(known) => Some(Self {
                total: known.total,
                remaining: known.remaining.min(known.total),
                resets: now.after(known.resets_in),
            }),
            None => settings.service.budget(settings.shard_count).map(whole),
        }
    }
}

impl Permits {
    /// Permits left, of how many, and the time until the reset.
    pub(crate) fn left(&self, now: Time) -> Option<(u32, u32, Duration)> {
        let budget = self.budget?;
        Some((budget.remaining, budget.total, budget.resets.since(now)))
    }

    /// Permits of the budget that are not given unless an operator says so.
    pub(super) fn reserve(&self, now: Time, percent: u32) -> u32 {
        let released = self.released.is_some_and(|until| now < until);
        match self.budget {
            Some(budget) if !released && !mutant!("reserve-spent") => {
                let part = u64::from(budget.total) * u64::from(percent.min(100)) / 100;
                u32::try_from(part).unwrap_or(u32::MAX)
            }
            Some(_) | None => 0,
        }
    }

    /// Whether the budget has nothing that may be given; when it is whole again.
    pub(crate) fn is_empty(&self, now: Time, percent: u32) -> Option<(u32, Time)> {
        let budget = self.budget?;
        let reserve = self.reserve(now, percent);
        (budget.remaining <= reserve).then_some((budget.remaining, budget.resets))
    }

    pub(super) fn budget_is_empty(
        &mut self,
        left: u32,
        resets: Time,
        fleet: &Fleet,
        out: &mut Out,
    ) {
        let wait = resets.since(out.now);
        out.start(Timer::Budget, wait);
        if std::mem::replace(&mut self.said_empty, true) {
            return;
        }
        out.touch_all(&fleet.slots.ids());
        let more = match left {
            0 => String::new(),
            left => format!(
                ". {left} are left in reserve (limits.identify_reserve): baton-master identify \
                 spends them"
            ),
        };
        out.alarm(format!(
            "the identify budget is used up: shards without a session wait {wait}{more}",
            wait = text::span(wait)
        ));
    }

    /// What the driver learnt of the budget.
    pub(crate) fn set_budget(
        &mut self,
        budget: IdentifyBudget,
        fleet: &Fleet,
        settings: &Settings,
        out: &mut Out,
    ) {
        // What is on its way may not have arrived when that was counted.
        let out_now = self.refusals.out(out.now);
        self.budget = Some(Budget {
            total: budget.total,
            remaining: budget.remaining.saturating_sub(out_now),
            resets: out.now.after(budget.reset_after),
        });
        self.write_down(out);
        out.stop(Timer::Budget);
        self.give_at_once(budget.at_once.max(1), settings, out);
        self.again(fleet, settings, out);
    }

    pub(crate) fn budget_resets(&mut self, fleet: &Fleet, settings: &Settings, out: &mut Out) {
        if let Some(budget) = &mut self.budget {
            budget.remaining = budget.total;
            budget.resets = out.now.after(settings.service.budget_period());
        }
        self.again(fleet, settings, out);
    }

    /// So many are given in one window from now on: shards may need other permits.
    fn give_at_once(&mut self, at_once: u32, settings: &Settings, out: &mut Out) {
        if at_once == self.at_once {
            return;
        }
        out.stop_permits();
        let window = settings.identify_window;
        // What was given before fills one window of every permit.
        let given = self.given.values();
        let opens = given.map(|given| given.opens(window, true));
        if let Some(until) = opens.max() {
            self.not_before = self.not_before.max(until);
        }
        self.given.clear();
        self.at_once = at_once;
        self.waiting = std::mem::take(&mut self.waiting)
            .into_iter()
            .map(|((_, id), unit)| ((settings.service.permit(id, at_once), id), unit))
            .collect();
    }

    /// The operator's word: shards without a session try now, and the reserve may be spent
    /// until the budget is whole again.
    pub(crate) fn release(
        &mut self,
        request: RequestId,
        fleet: &Fleet,
        settings: &Settings,
        out: &mut Out,
    ) {
        if self.waiting.is_empty() && !self.breaker.is_open() {
            let reason = "no shard waits to IDENTIFY: baton-master status shows them".to_owned();
            out.tell(News::RequestRefused { request, reason });
            return;
        }
        self.may_be_tried(fleet, settings, out);
        self.breaker.close();
        self.released = self.budget.map(|budget| budget.resets);
        self.write_down(out);
        out.stop(Timer::Budget);
        self.again(fleet, settings, out);
    }
}
