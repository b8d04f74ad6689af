//! What the core does, in short: what stands before what.

use super::*;

/// Orders in short, in their order: what stands before what.
pub(super) fn orders(actions: &[Action]) -> Vec<String> {
    actions.iter().filter_map(order_name).collect()
}

pub(super) fn order_name(action: &Action) -> Option<String> {
    match action {
        Action::Save(entries, durability) => {
            let rows: Vec<_> = entries.iter().filter_map(row_name).collect();
            let when = match durability {
                Durability::Now => "now",
                Durability::Soon => "soon",
            };
            (!rows.is_empty()).then(|| format!("save {when} {}", rows.join(", ")))
        }
        Action::Send(to, message) => Some(format!("{:x} {}", to.0, message_name(message))),
        Action::Refuse(slave, Refused { reason, .. }) => {
            Some(format!("refuse {:x} {reason:?}", slave.0))
        }
        Action::Launch { role, command, .. } => Some(match command {
            Some(command) => format!("launch {role:?} {}", command.join(" ")),
            None => format!("launch {role:?}"),
        }),
        Action::GiveUp { slot } => Some(format!("give up {slot}")),
        Action::Kill(slave, _) => Some(format!("kill {:x}", slave.0)),
        Action::HangUp(slave) => Some(format!("hang up {:x}", slave.0)),
        Action::Keep(aside) => Some(format!("keep {}", aside.event.sequence)),
        Action::Tell(_) => None,
        Action::Exit => Some("exit".to_owned()),
    }
}

fn row_name(entry: &Entry) -> Option<String> {
    match entry {
        Entry::Owner {
            shard,
            epoch,
            owner,
            hold,
            ..
        } => Some(format!("{shard}@{epoch} {hold:?} {:x}", owner.0)),
        Entry::Work { epoch, owner } => Some(format!("work@{epoch} {:x}", owner.0)),
        Entry::Command { command, .. } => Some(format!("command {}", command.join(" "))),
        Entry::Fenced(slave) => Some(format!("fenced {:x}", slave.0)),
        Entry::Pinned(_)
        | Entry::Slave(_)
        | Entry::Gone(_)
        | Entry::Ticket { .. }
        | Entry::Deploy(_)
        | Entry::GivenUp(_)
        | Entry::Seen
        | Entry::Identifies(_)
        | Entry::Leased { .. }
        | Entry::Whole => None,
        Entry::Arrangement(all) => {
            let moved = all.moved.iter();
            let moved = moved.map(|it| format!(" {} {}>{}", it.shards, it.configured, it.to));
            Some(format!("arrangement{}", moved.collect::<String>()))
        }
        Entry::LateSealRefused(refused) => Some(format!("late seals refused: {refused}")),
    }
}

pub(super) fn message_name(message: &ToSlave) -> String {
    match message {
        ToSlave::SoftStart => "SoftStart".to_owned(),
        ToSlave::FullStart(start) => {
            let units: Vec<_> = start
                .shards
                .iter()
                .map(|unit| format!("{}@{}", unit.shard, unit.epoch))
                .collect();
            format!("FullStart {}", units.join(" "))
        }
        ToSlave::ShardMigrationStart(start) => format!(
            "ShardMigrationStart {}",
            if start.from_this_slave { "from" } else { "to" }
        ),
        ToSlave::Seal(seal) => format!("Seal {}@{}", seal.shard, seal.epoch),
        ToSlave::Resume(resume) => {
            let without = match (resume.state_too_old, resume.alone) {
                (true, _) => " without its state",
                (false, true) => " alone",
                (false, false) => "",
            };
            format!(
                "Resume {}@{} after {:?} from {}{without}",
                resume.shard(),
                resume.epoch,
                resume.after,
                resume.ticket.resume_from()
            )
        }
        ToSlave::Shutdown => "Shutdown".to_owned(),
        ToSlave::Accepted(_) => "Accepted".to_owned(),
        ToSlave::IdentifyPermit(unit) => format!("IdentifyPermit {}@{}", unit.shard, unit.epoch),
        ToSlave::Settled(settled) => {
            format!(
                "Settled {}@{} {}",
                settled.shard, settled.epoch, settled.unfinished
            )
        }
        ToSlave::CopyState(unit) => format!("CopyState {}@{}", unit.shard, unit.epoch),
        ToSlave::Dial(dial) => format!(
            "Dial {}@{} from {}",
            dial.shard,
            dial.epoch,
            dial.ticket.resume_from()
        ),
        ToSlave::SealLate(late) => format!("SealLate {}@{}", late.shard, late.epoch),
        ToSlave::Try(tried) => format!("Try {}@{} {}", tried.shard, tried.epoch, tried.sequence),
        ToSlave::Overtake(unit) => format!("Overtake {}@{}", unit.shard, unit.epoch),
        ToSlave::StateAck(ack) => format!("StateAck {}@{} {}", ack.shard, ack.epoch, ack.bytes),
        ToSlave::PermitsLeased(leased) => {
            format!("PermitsLeased {} {}", leased.name, leased.count)
        }
        ToSlave::Post(post) => format!("Post {:?}", post.from),
        ToSlave::StopWork(work) => format!("StopWork {}", work.epoch),
        ToSlave::StartWork(work) => {
            format!(
                "StartWork {} {:?}",
                work.epoch,
                String::from_utf8_lossy(&work.ticket)
            )
        }
        ToSlave::Forget(unit) => format!("Forget {}@{}", unit.shard, unit.epoch),
        ToSlave::State(frame) => format!("State {}", frame.header().chunk),
        ToSlave::Ping(_) => "Ping".to_owned(),
        ToSlave::Refused(_) => panic!("the core never says {message:?}"),
    }
}

/// The next owner's order to go on, with its ticket.
pub(super) fn resume_of(actions: &[Action]) -> &Resume {
    let mut resumes = actions.iter().filter_map(|action| match action {
        Action::Send(_, ToSlave::Resume(resume)) => Some(&**resume),
        _ => None,
    });
    resumes.next().expect("an order to resume")
}

pub(super) fn ended(actions: &[Action]) -> Option<&Outcome> {
    let mut outcomes = actions.iter().filter_map(|action| match action {
        Action::Tell(News::DeployEnded { outcome, .. }) => Some(outcome),
        _ => None,
    });
    let outcome = outcomes.next();
    assert_eq!(outcomes.next(), None, "a deploy ends once");
    outcome
}

pub(super) fn alarms(actions: &[Action]) -> usize {
    actions
        .iter()
        .filter(|action| matches!(action, Action::Tell(News::Alarm { .. })))
        .count()
}

/// Why a request was refused; panics if anything else was done.
pub(super) fn refusal(actions: &[Action]) -> &str {
    match actions {
        [Action::Tell(News::RequestRefused { reason, .. })] => reason,
        other => panic!("{other:?}"),
    }
}
