//! What is left out of a replay, and told to be lost where no slave carries it. The rules
//! are those of `shard/reach.rs`.

use baton_protocol::{
    Sequence, SequenceRanges, ShardId, SlaveId, Ticket, Version,
    message::{Pong, ResumeAfter, Unfinished},
};

use crate::{
    event::{News, Time},
    fleet::Fleet,
    out::Out,
    shard::{
        Kept,
        reach::{Above, Oldest, Replayed, Replays, floor, shorten},
    },
};

impl Fleet {
    /// Bounds what `to` has replayed when it goes on with the ticket of a shard.
    pub(crate) fn bound_replay(
        &mut self,
        id: ShardId,
        after: ResumeAfter,
        to: SlaveId,
        replays: Replays,
        out: &mut Out,
    ) {
        let carries = after == ResumeAfter::Seal && self.carries(id, to);
        let in_hand = self.in_hand(id, to);
        let shard = &mut self.shards[id];
        let replays = shard.replayed(replays);
        let highest = shard.highest();
        let Some(kept) = &mut shard.ticket else {
            return;
        };
        kept.ticket.replay_from = Sequence(0);
        let near = floor(highest, replays, carries);
        if near <= kept.ticket.handled || mutant!("replay-unbounded") {
            return;
        }
        let open = kept.ticket.unfinished(after, highest);
        let before = |first: Sequence| Sequence(first.get().saturating_sub(1));
        let from = open.first_above(near).map_or(highest, before);
        let lost = if carries {
            let far = floor(highest, replays, false);
            let given_back = &mut kept.ticket.given_back;
            let needed = given_back.first_above(far).map(before);
            let needed = needed.filter(|_| !mutant!("given-back-not-replayed"));
            let from = needed.map_or(from, |needed| from.min(needed));
            let lost = given_back.through(from);
            given_back.remove_through(from);
            // Nobody brings it, and its next owner is not to wait for it.
            kept.ticket.finished_above.insert_all(&lost);
            kept.ticket.replay_from = from;
            shard.began = from;
            lost
        } else {
            let given_back = kept.ticket.given_back.through(from);
            let all = open.through(from);
            let gone = match after {
                ResumeAfter::Death => all.without(&in_hand),
                ResumeAfter::Seal => all.clone(),
            };
            if gone == all {
                kept.ticket.cut(from);
            } else {
                kept.ticket.finished_above.insert_all(&gone);
                kept.ticket.replay_from = from;
            }
            shard.began = from;
            match after {
                ResumeAfter::Death => gone,
                ResumeAfter::Seal => given_back,
            }
        };
        out.ticket_changed(id);
        self.events_given_up(id, &lost, out);
        self.give_up_unfinished(id, out);
    }

    /// Where a connection may be dialled ahead that is to go on with this ticket.
    pub(crate) fn bound_dial(
        &self,
        id: ShardId,
        to: SlaveId,
        ticket: &mut Ticket,
        replays: Replays,
    ) {
        let shard = &self.shards[id];
        let owner = shard.phase.claimant().map(|(owner, _)| owner);
        let carries = [Some(to), owner]
            .into_iter()
            .all(|slave| self.is_newer(slave));
        let highest = shard.highest();
        let floor = floor(highest, shard.replayed(replays), carries);
        if floor <= ticket.handled || mutant!("replay-unbounded") {
            return;
        }
        let open = ticket.unfinished(ResumeAfter::Death, highest);
        let from = open
            .first_above(floor)
            .map_or(highest, |first| Sequence(first.get().saturating_sub(1)));
        if carries {
            ticket.replay_from = from;
        } else {
            ticket.cut(from);
        }
        let begins = ticket.handled.max(ticket.replay_from);
        let stands = shard.copies.get(&to).copied();
        ticket.state_at = stands.map_or(begins, |at| at.min(begins));
    }

    /// Whether what is in doubt at the last seal comes to `to` with its payload.
    fn carries(&self, id: ShardId, to: SlaveId) -> bool {
        let doubt = self.shards[id].doubt.as_ref();
        self.is_newer(Some(to)) && doubt.is_some_and(|doubt| self.is_newer(doubt.sealer()))
    }

    /// What `to` had in hand when it sealed the shard, before its last owner died, and
    /// no slave is known to have finished. It does not let go of it.
    fn in_hand(&self, id: ShardId, to: SlaveId) -> SequenceRanges {
        let shard = &self.shards[id];
        let same = |kept: &Kept| kept.ticket.session.is_same(&shard.in_hand.session);
        let of_session = shard.ticket.as_ref().is_some_and(same);
        if !of_session || !self.is_newer(Some(to)) || mutant!("in-hand-given-up") {
            return SequenceRanges::new();
        }
        let mut hands = shard.in_hand.hands.iter();
        let found = hands.find(|(slave, _)| *slave == to);
        found.map(|(_, events)| events.clone()).unwrap_or_default()
    }

    /// Whether payloads come to this slave, and from it, with what was in doubt.
    pub(crate) fn is_newer(&self, slave: Option<SlaveId>) -> bool {
        let slave = slave.and_then(|slave| self.slaves.get(&slave));
        slave.is_some_and(|slave| slave.speaks(Version::UNFINISHED))
    }

    /// These events are lost, and the alarm names them.
    pub(crate) fn events_given_up(&mut self, id: ShardId, gone: &SequenceRanges, out: &mut Out) {
        let Some(first) = gone.first() else {
            return;
        };
        let now = out.now;
        let shard = &self.shards[id];
        let named = shard
            .oldest
            .as_ref()
            .filter(|oldest| gone.contains(oldest.event.sequence));
        let (session, events) = (shard.highest(), gone.count());
        let sequence = named.map_or(first, |oldest| oldest.event.sequence);
        let what = match named {
            Some(oldest) => format!(
                "{}, guild {}, unfinished for {} s at slave {:.8}",
                oldest.event.kind,
                oldest.event.guild,
                oldest.age(now).as_secs(),
                oldest.slave,
            ),
            None => "its slave did not say what it is".to_owned(),
        };
        let more = match events {
            1 => String::new(),
            _ => format!(" (and {} numbers around it)", events - 1),
        };
        let news = News::EventGivenUp {
            shard: id,
            sequence,
            events,
            kind: named.map(|oldest| oldest.event.kind.clone()),
            guild: named.map(|oldest| oldest.event.guild),
            slave: named.map(|oldest| oldest.slave),
            unfinished: named.map(|oldest| oldest.age(now)),
        };
        let losses = &mut self.slots[shard.slot].losses;
        losses.events = losses.events.saturating_add(1);
        out.tell(news);
        out.alarm(format!(
            "event {sequence} of shard {id} is given up ({what}){more}: no slave finished it, and \
             it is not replayed any more: the session is at {session}. Give handlers a time \
             limit"
        ));
    }

    /// A slave names its oldest unfinished events.
    pub(crate) fn unfinished_named(&mut self, from: SlaveId, named: Vec<Unfinished>, at: Time) {
        let holds = self.slaves.get(&from).map(|slave| slave.holds.clone());
        for id in holds.unwrap_or_default() {
            let shard = &mut self.shards[id];
            shard.oldest = None;
        }
        for mut event in named.into_iter().take(Pong::MAX_UNFINISHED) {
            shorten(&mut event.kind);
            if let Some(shard) = self.shards.get_mut(event.shard)
                && shard.phase.is_claimed_by(from, event.epoch)
            {
                shard.oldest = Some(Oldest {
                    slave: from,
                    event,
                    at,
                });
            }
        }
    }
}
