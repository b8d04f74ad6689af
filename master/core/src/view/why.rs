//! Why a shard gets no events, and what becomes of it: words for whoever looks at it.

use baton_protocol::{ShardId, SlaveId};

use crate::{
    event::Time,
    fleet::SlotId,
    master_stage::MasterStage,
    permits::Permits,
    settings::Settings,
    shard::{Claim, ClaimStage, Free, How, Phase, Shard},
    view::Picture,
};

impl Picture<'_> {
    /// `None`: its events come. Every other shard has a reason.
    pub(crate) fn why(&self, id: ShardId, shard: &Shard, now: Time) -> Option<String> {
        let claimant = shard.phase.claimant().map(|(owner, _)| owner);
        if let Some(owner) = claimant.filter(|owner| !self.fleet.is_joined(*owner)) {
            return Some(not_connected(owner));
        }
        let words = match &shard.phase {
            Phase::Unknown {
                row: Some((owner, _)),
            } => not_connected(*owner),
            Phase::Unknown { row: None } => {
                "this master began a moment ago, and slaves that run may say that they have it"
                    .to_owned()
            }
            Phase::Free(free) => match &shard.trouble {
                Some(trouble) => trouble.clone(),
                None => self.why_free(shard.slot, *free),
            },
            Phase::Claimed(claim) => self.why_claimed(id, shard, *claim, now)?,
        };
        Some(words)
    }

    fn why_claimed(&self, id: ShardId, shard: &Shard, claim: Claim, now: Time) -> Option<String> {
        let owner = claim.owner;
        let words = match claim.stage {
            ClaimStage::Starting(start) => {
                let starts = match start.how {
                    How::Full => {
                        let settings = self.settings;
                        let next = self.permits.why_without_session(id, owner, settings, now);
                        let lost = shard.session_lost.then_some("its session is over; ");
                        format!("{}{next}", lost.unwrap_or_default())
                    }
                    How::Resume(_) if self.deploys.goes_back(shard.slot) => {
                        format!("the deploy goes back: slave {owner} resumes its session")
                    }
                    How::Resume(_) => format!("slave {owner} resumes its session"),
                };
                let starts = match &shard.refused {
                    Some(refused) => format!("{starts}: {refused}"),
                    None => starts,
                };
                match &shard.trouble {
                    Some(trouble) => format!("{starts}; before: {trouble}"),
                    None => starts,
                }
            }
            ClaimStage::Sealing { to, .. } if owner == to => {
                format!("it begins anew at slave {owner}, which gives its ticket")
            }
            ClaimStage::Sealing { to, .. } => {
                format!("it moves to slave {to}, and slave {owner} gives its ticket")
            }
            ClaimStage::Serving | ClaimStage::Copying { .. } | ClaimStage::Dialling { .. } => {
                let seconds = now.since(shard.away?).as_secs();
                let refused = shard.refused.as_ref();
                let refused = refused.map_or_else(String::new, |why| format!(": {why}"));
                format!(
                    "slave {owner} lost its connection {seconds} s ago; it dials, and \
                     resumes its session{refused}"
                )
            }
        };
        Some(words)
    }

    fn why_free(&self, slot: SlotId, free: Free) -> String {
        if let Some(slave) = free.parked {
            return format!("slave {slave} could not serve it");
        }
        if self.stage == MasterStage::Adopting {
            return "this master began a moment ago, and collects what slaves say".to_owned();
        }
        if self.saves.fail() {
            return "the journal cannot be written, so nobody is given it".to_owned();
        }
        let known = &self.fleet.slots[slot];
        match self.deploys.target(slot, self.fleet) {
            Some(slave) => format!("slave {slave} is to serve it, and cannot take it yet"),
            None if known.failed_launches > 0 => format!(
                "no slave is there for its slot {}; {} starts failed",
                known.name, known.failed_launches
            ),
            None => format!("no slave is there for its slot {}", known.name),
        }
    }
}

impl Permits {
    /// What a shard waits for that has no session: its permit, or what its owner does with it.
    fn why_without_session(
        &self,
        id: ShardId,
        owner: SlaveId,
        settings: &Settings,
        now: Time,
    ) -> String {
        if !self.waits(id) {
            return if self.is_out(id, now) {
                format!("slave {owner} may IDENTIFY, and its session has not come")
            } else {
                format!("slave {owner} connects, for a new session")
            };
        }
        let outlook = self.outlook(settings, now);
        if let Some(held) = &outlook.held {
            let next = held.next.as_secs();
            let waits = match held.trial {
                Some(trial) if trial == id => format!("it tries for all, for {next} s"),
                Some(trial) => format!("shard {trial} tries for all, for {next} s or longer"),
                None => format!("one shard tries for all, in {next} s or later"),
            };
            return format!("IDENTIFYs are held up ({}): {waits}", held.why);
        }
        if outlook.scarce {
            return "the day's IDENTIFYs are kept back, because sessions ended again and again: \
                    one shard after the other tries. baton-master identify spends them"
                .to_owned();
        }
        match (self.is_empty(now, settings.identify_reserve), outlook.pause) {
            (Some((left, resets)), _) => {
                let minutes = resets.since(now).as_secs().div_ceil(60);
                match left {
                    0 => format!("no IDENTIFY is left for {minutes} min"),
                    left => format!(
                        "no IDENTIFY is left for {minutes} min but the {left} of the reserve: \
                         baton-master identify spends them"
                    ),
                }
            }
            (None, Some(pause)) => format!(
                "{} in a row an IDENTIFY came to nothing: one shard tries for all, in {} s or \
                 later",
                times(outlook.refused),
                pause.as_secs()
            ),
            (None, None) => format!(
                "it waits for its turn to IDENTIFY, one of {}",
                outlook.waiting
            ),
        }
    }
}

fn times(count: u32) -> String {
    match count {
        1 => "1 time".to_owned(),
        count => format!("{count} times"),
    }
}

fn not_connected(owner: SlaveId) -> String {
    format!(
        "slave {owner} has it and is not connected: it may serve. If you know that it is dead: \
         baton-master fence {owner}"
    )
}
