//! What this master, or one before it, found out about the service: what it refused.

use baton_protocol::ShardId;

use crate::{
    event::{Durability, Entry, News, RequestId},
    fleet::Fleet,
    out::Out,
    settings::Settings,
    shard::reach::Replays,
};

/// What is known of the service beside what is said of it.
#[derive(Clone, Debug)]
pub(crate) struct Learnt {
    late: Late,
    /// No RESUME reaches further back: the service refused one that did.
    refused: Option<u64>,
}

/// What is known of a service that is to take a RESUME beside an open connection.
/// A refusal costs a session, so it is kept beyond the deploy and the master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Late {
    Untried,
    Works,
    Refused,
}

impl Learnt {
    pub(crate) const fn new(late_seal_refused: bool) -> Self {
        let late = match late_seal_refused {
            true => Late::Refused,
            false => Late::Untried,
        };
        Self {
            late,
            refused: None,
        }
    }

    // ---- late seals ----------------------------------------------------------

    /// Whether it takes a RESUME beside an open connection.
    pub(crate) const fn late(&self) -> Late {
        self.late
    }

    /// It did.
    pub(crate) fn took_late(&mut self) {
        if self.late == Late::Untried {
            self.late = Late::Works;
        }
    }

    /// It did not, as the next owner of a shard says.
    pub(crate) fn refused_late(
        &mut self,
        id: ShardId,
        why: &str,
        settings: &Settings,
        out: &mut Out,
    ) {
        let for_good = if settings.service.refuses_late(why) && self.late != Late::Refused {
            self.late = Late::Refused;
            out.save(vec![Entry::LateSealRefused(true)], Durability::Soon);
            ", and so is every later one, until: baton-master retry-late-seal"
        } else {
            ""
        };
        out.alarm(format!(
            "shard {id} could not be resumed while its old connection was open ({why}): the rest of \
             this deploy is sealed strictly{for_good}"
        ));
    }

    /// The operator's word: the service may have changed its mind.
    pub(crate) fn try_late_again(&mut self, request: RequestId, out: &mut Out) {
        if self.late != Late::Refused {
            let reason = "no late seal was refused: there is nothing to forget".to_owned();
            out.tell(News::RequestRefused { request, reason });
            return;
        }
        self.late = Late::Untried;
        out.save(vec![Entry::LateSealRefused(false)], Durability::Now);
    }

    // ---- how far back a RESUME reaches ---------------------------------------

    /// How many events the service replays, as far as that is known.
    pub(crate) fn replays(&self, settings: &Settings) -> Replays {
        let refused = self.refused.unwrap_or(u64::MAX);
        let at_most = match settings.overlaps() {
            true => 0,
            false => u64::from(settings.replay_buffer).min(refused),
        };
        Replays {
            service: settings.service,
            at_most,
        }
    }

    /// A starting shard's owner was refused its RESUME. If that went far back, the
    /// distance may be why: the next one reaches back no more than half as far.
    pub(crate) fn refused_resume(
        &mut self,
        id: ShardId,
        fleet: &Fleet,
        settings: &Settings,
        out: &mut Out,
    ) {
        let shard = &fleet.shards[id];
        let (Some(kept), Some(_)) = (&shard.ticket, shard.phase.starting()) else {
            return;
        };
        let began = kept.ticket.resume_from().get();
        let behind = shard.highest().get().saturating_sub(began);
        let (least, most) = (settings.service.replays_always(), self.replays(settings));
        if behind / 2 >= least && behind < shard.replayed(most).saturating_mul(2) {
            let learned = behind / 2;
            self.refused = Some(learned.min(self.refused.unwrap_or(u64::MAX)));
            out.alarm(format!(
                "a RESUME of shard {id} was refused that began {behind} events back: from now \
                 on none begins more than {learned} back. Lower limits.replay_buffer to that, for \
                 the next master"
            ));
        }
    }
}
