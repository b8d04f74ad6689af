//! What makes two states the same: everything that decides what can come next.
//! Times do not, as the clock stands still, and neither do words for people. Every
//! field is named here, so that one which is added has to be thought about.

use std::{
    fmt::{Debug, Write},
    hash::{Hash, Hasher},
    mem::discriminant,
};

use super::{
    master::{Journal, Master},
    slave::{Row, Slave},
    *,
};
use crate::{
    deploy::{Deploy, Soak, Stage},
    fleet::{self, Fleet},
    shard::{Free, Phase, Shard},
};

/// 64 bits of what it is fed: among a million states two are taken for one with a
/// chance of one in 10^7.
#[derive(Debug, Default)]
pub(super) struct Identity {
    mixed: u64,
    text: String,
}

impl Hasher for Identity {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.write_u64(u64::from_le_bytes(*word));
        }
        for byte in rest {
            self.write_u64(u64::from(*byte));
        }
        self.write_u64(bytes.len() as u64);
    }

    fn write_u64(&mut self, word: u64) {
        let mixed = self.mixed ^ word ^ 0x9e37_79b9_7f4a_7c15;
        let product = u128::from(mixed) * 0xd6e8_feb8_6659_fd93_u128;
        self.mixed = (product >> 64) as u64 ^ product as u64 ^ self.mixed.rotate_left(23);
    }

    fn finish(&self) -> u64 {
        self.mixed
    }
}

/// Hashes how something is shown.
pub(super) fn debugged(identity: &mut Identity, shown: &impl Debug) {
    let mut text = std::mem::take(&mut identity.text);
    let shows = write!(text, "{shown:?}");
    debug_assert!(shows.is_ok());
    identity.write(text.as_bytes());
    text.clear();
    identity.text = text;
}

fn ranges(sequences: &SequenceRanges, hasher: &mut Identity) {
    sequences.iter().for_each(|sequence| sequence.hash(hasher));
    u8::MAX.hash(hasher);
}

fn ticket(ticket: Option<&Ticket>, hasher: &mut Identity) {
    if let Some(ticket) = ticket {
        (ticket.handled, ticket.state_at).hash(hasher);
        ranges(&ticket.finished_above, hasher);
        ranges(&ticket.in_doubt, hasher);
    }
}

impl World {
    pub(super) fn identity(&self) -> u64 {
        let Self {
            master,
            journal,
            slaves,
            links,
            dead,
            happened,
            to_happen,
            connected,
            handed,
            finished,
            given_up,
            handing,
            faults,
            troubled,
            next_slave,
            late: _,
            moves: _,
            dies_in: _,
            actions: _,
            broken: _,
            story: _,
        } = self;
        let mut hasher = Identity::default();
        if let Some(master) = master {
            master.identify(&mut hasher);
        }
        journal.identity.hash(&mut hasher);
        for (id, slave) in slaves {
            id.hash(&mut hasher);
            slave.identify(&mut hasher);
        }
        for link in links {
            link.identify(&mut hasher);
        }
        dead.hash(&mut hasher);
        (happened, to_happen, connected).hash(&mut hasher);
        (handed, finished, given_up, handing).hash(&mut hasher);
        (faults, troubled, next_slave).hash(&mut hasher);
        hasher.finish()
    }
}

impl Slave {
    fn identify(&self, hasher: &mut Identity) {
        let Self {
            hello: _,
            accepted,
            row,
            work,
            leaving,
            doomed,
        } = self;
        (accepted, work, leaving, doomed).hash(hasher);
        if let Some(row) = row {
            let Row {
                epoch,
                holding,
                window,
                conn,
                ordered,
                after_death,
                seal,
                settled,
                session_told,
                changed,
                late,
            } = row;
            (epoch, window, conn, ordered, after_death).hash(hasher);
            (session_told, changed, late).hash(hasher);
            discriminant(holding).hash(hasher);
            ticket(seal.as_ref(), hasher);
            debugged(hasher, settled);
        }
    }
}

impl Journal {
    /// It changes less often than it is looked at.
    pub(super) fn identify(&mut self) {
        let Self {
            rows,
            unsaved,
            synced,
            work_synced,
            identity,
        } = self;
        let mut hasher = Identity::default();
        let Recovered {
            late_seal_refused,
            // What is ordered is ordered once, before anything.
            arrangement: _,
            pinned: _,
            shards,
            work,
            slaves,
            last_deploy,
            // There is one slot.
            deploys: _,
            launches: _,
            // Nobody identifies.
            identifies: _,
            leases,
            // Which follows from how the only deploy ended.
            given_up: _,
            tickets,
            journal: _,
            floor: _,
            // Nobody is fenced here.
            fenced: _,
        } = rows;
        (synced, work_synced, last_deploy, late_seal_refused).hash(&mut hasher);
        debugged(
            &mut hasher,
            &(shards, work, slaves.keys(), tickets, unsaved, leases),
        );
        *identity = hasher.finish();
    }
}

impl Master {
    fn identify(&self, hasher: &mut Identity) {
        let Self {
            core,
            watched,
            launched,
        } = self;
        watched.hash(hasher);
        launched.iter().for_each(|(slave, _)| slave.hash(hasher));
        let Core {
            settings: _,
            out,
            fleet,
            deploys,
            // Nobody identifies.
            permits: _,
            // Nor asks for permits that have names.
            named: _,
            work,
            stage,
            // Discord refuses no RESUME here.
            learnt,
        } = core;
        let (timers, unwritten) = out.identity();
        (deploys.last(), unwritten).hash(hasher);
        (discriminant(stage), discriminant(&learnt.late())).hash(hasher);
        debugged(hasher, work);
        timers.for_each(|timer| timer.hash(hasher));
        identify_fleet(fleet, hasher);
        for deploy in deploys.iter() {
            identify_deploy(deploy, hasher);
        }
        debugged(hasher, &deploys.moves.identity());
    }
}

fn identify_fleet(fleet: &Fleet, hasher: &mut Identity) {
    let Fleet {
        slaves,
        slots,
        shards,
        // A number that nothing depends on.
        launches: _,
        pinned: _,
        // Nobody is fenced, and no journal is lost.
        fenced: _,
        journal: _,
        astray,
        // All are on one host.
        sights: _,
        // Nobody orders that.
        cordoned: _,
        held: _,
    } = fleet;
    astray.hash(hasher);
    for (id, slave) in slaves {
        let fleet::Slave {
            hello,
            slot: _,
            presence,
            standing,
            holds,
            serving,
            without_session,
            unsettled,
            left_behind,
            built,
            origin,
            past,
            record: _,
            lag: _,
            usual_lag: _,
            heard: _,
            // No slot has one here.
            lease: _,
            hearing: _,
            store: _,
            backpressure: _,
            // Nobody asks for it here.
            asks_to_leave: _,
            memory: _,
            full: _,
            // Nobody lies.
            clients: _,
            sink: _,
            disbelieved: _,
            // All are on one host.
            unacknowledged: _,
            doubted: _,
        } = slave;
        (id, holds, serving, without_session, unsettled, built).hash(hasher);
        left_behind.hash(hasher);
        (discriminant(&hello.role), discriminant(presence)).hash(hasher);
        (discriminant(standing), discriminant(origin)).hash(hasher);
        discriminant(past).hash(hasher);
    }
    for (_, slot) in slots.iter() {
        identify_slot(slot, hasher);
    }
    identify_shard(&shards[SHARD], hasher);
}

fn identify_slot(slot: &fleet::Slot, hasher: &mut Identity) {
    let fleet::Slot {
        name: _,
        host: _,
        members: _,
        size: _,
        launches: _,
        agent_away: _,
        lease: _,
        is_out: _,
        owner,
        free,
        unknown,
        launch,
        failed_launches,
        // Of one slot it is the last of all.
        last_deploy: _,
        last_deploy_at: _,
        // Only how long a deadline is depends on these.
        filled: _,
        deaths: _,
        rests_until: _,
        // There are no standbys here.
        reserve: _,
        // Nothing is lost, and nobody has too much memory.
        losses: _,
        relieved: _,
        unwanted,
    } = slot;
    (owner, free, unknown, failed_launches, unwanted).hash(hasher);
    discriminant(launch).hash(hasher);
}

fn identify_shard(shard: &Shard, hasher: &mut Identity) {
    let Shard {
        slot,
        home,
        configured: _,
        epoch,
        holder,
        floor: _,
        phase,
        ticket: kept,
        copies,
        // What is too much never comes, nor so many events.
        on_its_way: _,
        copied_again: _,
        // No heartbeat goes out here.
        overtaken: _,
        // Nothing takes long to prepare.
        prepared: _,
        dialled_from: _,
        basis,
        replays,
        doubt,
        failures,
        // Nothing is measured where time stands still.
        trouble: _,
        rate: _,
        // Only what is shown depends on these.
        refused: _,
        away: _,
        kept: _,
        session_lost: _,
        heard: _,
        alone: _,
        oldest: _,
        // Too few events come for these, and too few slaves die.
        received: _,
        began: _,
        in_hand: _,
        care: _,
        // Nobody says for how long a connection was silent.
        healed: _,
    } = shard;
    (slot, home).hash(hasher);
    (epoch, copies, failures, discriminant(replays)).hash(hasher);
    if let Some(kept) = kept {
        (kept.epoch, discriminant(&kept.after)).hash(hasher);
        ticket(Some(&kept.ticket), hasher);
    }
    debugged(hasher, &(basis, doubt, holder));
    match phase {
        Phase::Free(Free {
            since: _,
            after,
            reserved,
            parked,
        }) => debugged(hasher, &(after, reserved, parked)),
        claimed => debugged(hasher, claimed),
    }
}

fn identify_deploy(deploy: &Deploy, hasher: &mut Identity) {
    let Deploy {
        id,
        slot: _,
        order,
        from,
        stage,
        queue,
        in_flight,
        forced,
        began: _,
        given,
        soak: _,
        before: _,
        first_stop: _,
        last_served: _,
        // Nobody holds it here.
        paused: _,
        returns,
    } = deploy;
    (id, from, queue, returns, order.late_seal).hash(hasher);
    in_flight.iter().for_each(|shard| shard.hash(hasher));
    u8::MAX.hash(hasher);
    (forced.is_some(), given.is_some()).hash(hasher);
    discriminant(stage).hash(hasher);
    match stage {
        Stage::Soaking { to, soak } => {
            let Soak {
                // Nothing is measured here.
                done: _,
                backpressure,
                lengthened,
                asked,
            } = soak;
            (to, backpressure.is_some(), lengthened, asked).hash(hasher);
        }
        Stage::RollingBack {
            to,
            shard,
            reason: _,
        } => (to, shard).hash(hasher),
        Stage::Starting { launch: _, pid } => pid.hash(hasher),
        other => debugged(hasher, other),
    }
}
