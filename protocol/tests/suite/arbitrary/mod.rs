//! Any message that either side can say.

mod health;
mod parts;

use std::time::Duration;

use baton_protocol::{
    DeployId, Epoch, FleetId, HostId, LaunchId, ProcessIdentity, Sequence, SequenceRanges, ShardId,
    SlaveId, Term, Ticket, ToMaster, ToSlave, Version,
    discord::{self, SessionParameters},
    go, handshake,
    message::{
        Absent, Accepted, Behind, CarriedEvent, Checkpoint, CheckpointEntry, Clients, CopyState,
        Correspondent, Dial, Dialled, Failed, FullStart, GivenUp, Held, Hello, Holding,
        IdentifyCause, IdentifyRequest, Library, MemoryUse, Overtaken, PermitsLeased,
        PermitsWanted, Ping, Pong, Post, Progress, Proof, Refusals, Refused, RefusedReason, Report,
        Resume, ResumeAfter, Role, Seal, Sealed, SetAside, Settled, ShardMigrationStart,
        SinkReport, StateAck, StateReady, Step, StoreRoom, Trying, Unfinished, Unit, Waiting,
        Welcome, Work,
    },
    state::{StateFrame, StateHeader},
};
use bytes::Bytes;
use proptest::{collection::vec, option, prelude::*, sample::select};

use self::health::pong;
use self::parts::{bytes, cause, parameters, process, reason, role, step, term, text};
pub(crate) use self::parts::{ranges, unit};
use crate::any;

/// Whatever comes at a master.
pub(crate) fn to_master() -> impl Strategy<Value = any::ToMaster> {
    prop_oneof![
        1 => from_newcomer().prop_map(any::ToMaster::Handshake),
        4 => from_joined().prop_map(any::ToMaster::Joined),
        1 => from_go_slave().prop_map(any::ToMaster::Go),
    ]
}

/// Whatever comes at a slave.
pub(crate) fn to_slave() -> impl Strategy<Value = any::ToSlave> {
    prop_oneof![
        1 => to_newcomer().prop_map(any::ToSlave::Handshake),
        4 => to_joined().prop_map(any::ToSlave::Joined),
        1 => to_go_slave().prop_map(any::ToSlave::Go),
    ]
}

fn from_newcomer() -> impl Strategy<Value = handshake::ToMaster> {
    prop_oneof![
        (any::<bool>(), hello()).prop_map(|(running, hello)| handshake::ToMaster::Hello {
            running,
            hello: Box::new(hello),
        }),
        bytes(64).prop_map(|proof| handshake::ToMaster::Proof(Proof { proof })),
        report().prop_map(handshake::ToMaster::Report),
    ]
}

/// Without a refusal, whose bytes are a joined slave's too.
fn to_newcomer() -> impl Strategy<Value = handshake::ToSlave> {
    welcome().prop_map(handshake::ToSlave::Welcome)
}

fn from_go_slave() -> impl Strategy<Value = go::ToMaster> {
    prop_oneof![
        any::<bool>().prop_map(|running| go::ToMaster::Hello { running }),
        go_migration().prop_map(go::ToMaster::ShardMigrationStart),
        go_session().prop_map(go::ToMaster::StopShard),
        go_session().prop_map(go::ToMaster::Resume),
        bytes(300).prop_map(go::ToMaster::GuildState),
        Just(go::ToMaster::ShardStopped),
    ]
}

fn to_go_slave() -> impl Strategy<Value = go::ToSlave> {
    prop_oneof![
        Just(go::ToSlave::FullStart),
        go_migration().prop_map(go::ToSlave::ShardMigrationStart),
        go_session().prop_map(go::ToSlave::StopShard),
        go_session().prop_map(go::ToSlave::Resume),
        bytes(300).prop_map(go::ToSlave::GuildState),
    ]
}

fn go_migration() -> impl Strategy<Value = go::Migration> {
    (any::<bool>(), any::<u32>()).prop_map(|(from_this_slave, num_shards)| go::Migration {
        from_this_slave,
        num_shards,
    })
}

fn go_session() -> impl Strategy<Value = go::Session> {
    (any::<u32>(), text(), any::<u64>()).prop_map(|(shard, session_id, sequence)| go::Session {
        shard,
        session_id,
        sequence,
    })
}

fn from_joined() -> impl Strategy<Value = ToMaster> {
    prop_oneof![
        migration().prop_map(ToMaster::ShardMigrationStart),
        sealed().prop_map(ToMaster::Sealed),
        unit().prop_map(ToMaster::Resumed),
        Just(ToMaster::Shutdown),
        Just(ToMaster::SoftStartComplete),
        Just(ToMaster::Leave),
        unit().prop_map(ToMaster::SealLate),
        unit().prop_map(ToMaster::CopyAnew),
        (unit(), text()).prop_map(|(Unit { shard, epoch }, failed)| {
            ToMaster::Overtaken(Overtaken {
                shard,
                epoch,
                failed,
            })
        }),
        pong().prop_map(ToMaster::Pong),
        (unit(), cause()).prop_map(|(Unit { shard, epoch }, cause)| {
            ToMaster::IdentifyRequest(IdentifyRequest {
                shard,
                epoch,
                cause,
            })
        }),
        (unit(), step(), any::<u64>(), any::<String>()).prop_map(
            |(unit, step, replayed, refused)| {
                ToMaster::Progress(Progress {
                    shard: unit.shard,
                    epoch: unit.epoch,
                    step,
                    replayed,
                    refused,
                })
            }
        ),
        vec(entry(), 0..4).prop_map(|shards| ToMaster::Checkpoint(Checkpoint { shards })),
        settled().prop_map(ToMaster::Settled),
        (unit(), any::<[u64; 2]>()).prop_map(|(Unit { shard, epoch }, [state_at, pieces])| {
            ToMaster::StateReady(StateReady {
                shard,
                epoch,
                state_at: Sequence(state_at),
                pieces,
            })
        }),
        ack().prop_map(ToMaster::StateAck),
        work().prop_map(ToMaster::StopWork),
        work().prop_map(ToMaster::StartWork),
        (unit(), any::<u16>(), text()).prop_map(|(Unit { shard, epoch }, close_code, detail)| {
            ToMaster::Failed(Failed {
                shard,
                epoch,
                close_code,
                detail,
            })
        }),
        (unit(), text()).prop_map(|(Unit { shard, epoch }, failed)| {
            ToMaster::Dialled(Dialled {
                shard,
                epoch,
                failed,
            })
        }),
        trying().prop_map(ToMaster::Trying),
        set_aside().prop_map(ToMaster::SetAside),
        permits()
            .prop_map(|(name, count, _)| ToMaster::PermitsWanted(PermitsWanted { name, count })),
        post().prop_map(ToMaster::Post),
        state().prop_map(ToMaster::State),
    ]
}

fn to_joined() -> impl Strategy<Value = ToSlave> {
    prop_oneof![
        Just(ToSlave::SoftStart),
        full_start().prop_map(ToSlave::FullStart),
        migration().prop_map(ToSlave::ShardMigrationStart),
        seal().prop_map(ToSlave::Seal),
        seal().prop_map(ToSlave::SealLate),
        unit().prop_map(ToSlave::Overtake),
        resume().prop_map(ToSlave::Resume),
        Just(ToSlave::Shutdown),
        any::<(u32, u32)>().prop_map(|(shard_count, lease)| {
            ToSlave::Accepted(Accepted {
                shard_count,
                lease_ms: lease.into(),
            })
        }),
        refused().prop_map(ToSlave::Refused),
        any::<(u64, u64)>().prop_map(|(number, heard)| ToSlave::Ping(Ping { number, heard })),
        unit().prop_map(ToSlave::IdentifyPermit),
        settled().prop_map(ToSlave::Settled),
        (unit(), any::<u16>(), any::<u64>()).prop_map(|(unit, reader, unacknowledged)| {
            ToSlave::CopyState(CopyState {
                shard: unit.shard,
                epoch: unit.epoch,
                reader: Version(reader),
                unacknowledged,
            })
        }),
        ack().prop_map(ToSlave::StateAck),
        work().prop_map(ToSlave::StopWork),
        work().prop_map(ToSlave::StartWork),
        unit().prop_map(ToSlave::Forget),
        (unit(), ticket()).prop_map(|(Unit { shard, epoch }, ticket)| {
            ToSlave::Dial(Box::new(Dial {
                shard,
                epoch,
                ticket,
            }))
        }),
        trying().prop_map(ToSlave::Try),
        permits().prop_map(|(name, count, valid_ms)| {
            ToSlave::PermitsLeased(PermitsLeased {
                name,
                count,
                valid_ms,
            })
        }),
        post().prop_map(ToSlave::Post),
        state().prop_map(ToSlave::State),
    ]
}

// ---- bodies ------------------------------------------------------------------

pub(crate) fn hello() -> impl Strategy<Value = Hello> {
    let names = (text(), text(), parameters(), process());
    let numbers = (
        any::<[u16; 2]>(),
        term(),
        any::<u128>(),
        role(),
        any::<u64>(),
    );
    (numbers, names, bytes(32)).prop_map(|(numbers, names, nonce)| {
        let ([version, lowest], term, slave, role, deploy) = numbers;
        let (slot, build, parameters, process) = names;
        Hello {
            version: Version(version),
            lowest: Version(lowest),
            term,
            slave: SlaveId(slave),
            role,
            slot,
            build,
            parameters: parameters.seal(),
            process,
            nonce,
            deploy: DeployId(deploy),
            launch: LaunchId(slave.rotate_left(7)),
            host: if slave % 2 == 0 {
                String::new()
            } else {
                "host-1".to_owned()
            },
        }
    })
}

fn refused() -> impl Strategy<Value = Refused> {
    (reason(), text()).prop_map(|(reason, detail)| Refused { reason, detail })
}

fn welcome() -> impl Strategy<Value = Welcome> {
    let proofs = (bytes(64), bytes(64));
    (any::<u16>(), term(), proofs, any::<u64>()).prop_map(
        |(version, term, (proof, challenge), checkpoint_ms)| Welcome {
            version: Version(version),
            term,
            proof,
            challenge,
            checkpoint_ms,
        },
    )
}

fn full_start() -> impl Strategy<Value = FullStart> {
    (vec(unit(), 0..5), any::<u32>()).prop_map(|(shards, shard_count)| FullStart {
        shards,
        shard_count,
    })
}

fn migration() -> impl Strategy<Value = ShardMigrationStart> {
    (any::<bool>(), any::<u32>(), any::<u64>()).prop_map(|(from_this_slave, shards, deploy)| {
        ShardMigrationStart {
            deploy: DeployId(deploy),
            from_this_slave,
            shards,
        }
    })
}

fn seal() -> impl Strategy<Value = Seal> {
    (unit(), any::<u64>(), option::of(any::<u64>())).prop_map(
        |(Unit { shard, epoch }, drain_ms, begins)| Seal {
            shard,
            epoch,
            drain: Duration::from_millis(drain_ms),
            begins: begins.map(Sequence),
        },
    )
}

fn sealed() -> impl Strategy<Value = Box<Sealed>> {
    (any::<u64>(), ticket()).prop_map(|(epoch, ticket)| {
        Box::new(Sealed {
            epoch: Epoch(epoch),
            ticket,
        })
    })
}

pub(crate) fn after() -> impl Strategy<Value = ResumeAfter> {
    select(vec![ResumeAfter::Seal, ResumeAfter::Death])
}

fn resume() -> impl Strategy<Value = Box<Resume>> {
    let care = (any::<[bool; 2]>(), ranges(), ranges());
    (any::<u64>(), after(), care, ticket()).prop_map(|(epoch, after, care, ticket)| {
        let ([state_too_old, alone], deadly, skipped) = care;
        Box::new(Resume {
            epoch: Epoch(epoch),
            after,
            state_too_old,
            alone,
            deadly,
            skipped,
            ticket,
        })
    })
}

fn report() -> impl Strategy<Value = Report> {
    let holding = select(vec![
        Holding::Starting,
        Holding::Resuming,
        Holding::Serving,
        Holding::Sealed,
        Holding::Failed,
    ]);
    let held = (any::<u64>(), holding, ticket(), any::<bool>()).prop_map(
        |(epoch, holding, ticket, untouched)| Held {
            epoch: Epoch(epoch),
            holding,
            ticket,
            untouched,
        },
    );
    (vec(held, 0..4), any::<u64>(), any::<[bool; 3]>()).prop_map(
        |(shards, work, [ready, lapsed, last])| Report {
            shards,
            work: Epoch(work),
            ready,
            lapsed,
            last,
        },
    )
}

fn entry() -> impl Strategy<Value = CheckpointEntry> {
    (unit(), any::<[u64; 2]>(), ranges(), option::of(ticket())).prop_map(
        |(Unit { shard, epoch }, [handled, received], finished_above, session)| CheckpointEntry {
            shard,
            epoch,
            handled: Sequence(handled),
            finished_above,
            received: Sequence(received),
            session,
        },
    )
}

fn settled() -> impl Strategy<Value = Settled> {
    (unit(), ranges(), vec(carried(), 0..3)).prop_map(
        |(Unit { shard, epoch }, unfinished, events)| Settled {
            shard,
            epoch,
            unfinished,
            events,
        },
    )
}

fn carried() -> impl Strategy<Value = CarriedEvent> {
    (any::<u64>(), text(), text()).prop_map(|(sequence, kind, json)| CarriedEvent {
        sequence: Sequence(sequence),
        kind,
        json,
    })
}

fn trying() -> impl Strategy<Value = Trying> {
    (unit(), any::<[u64; 2]>(), text()).prop_map(
        |(Unit { shard, epoch }, [sequence, guild], kind)| Trying {
            shard,
            epoch,
            sequence: Sequence(sequence),
            kind,
            guild,
        },
    )
}

fn set_aside() -> impl Strategy<Value = Box<SetAside>> {
    (unit(), any::<u64>(), any::<bool>(), carried()).prop_map(
        |(Unit { shard, epoch }, guild, handed_out, event)| {
            Box::new(SetAside {
                shard,
                epoch,
                guild,
                handed_out,
                event,
            })
        },
    )
}

fn ack() -> impl Strategy<Value = StateAck> {
    (unit(), any::<u64>()).prop_map(|(Unit { shard, epoch }, bytes)| StateAck {
        shard,
        epoch,
        bytes,
    })
}

fn work() -> impl Strategy<Value = Work> {
    (any::<u64>(), bytes(200)).prop_map(|(epoch, ticket)| Work {
        epoch: Epoch(epoch),
        ticket,
    })
}

fn permits() -> impl Strategy<Value = (String, u32, u64)> {
    (text(), any::<u32>(), any::<u64>())
}

fn post() -> impl Strategy<Value = Post> {
    let correspondent = || {
        prop_oneof![
            Just(Correspondent::Work),
            any::<u32>().prop_map(|unit| Correspondent::Unit(ShardId(unit))),
            any::<u64>().prop_map(Correspondent::Operator),
        ]
    };
    (correspondent(), correspondent(), bytes(200)).prop_map(|(from, to, body)| Post {
        from,
        to,
        body,
    })
}

fn state() -> impl Strategy<Value = StateFrame> {
    let rest = vec(any::<u8>(), StateHeader::LENGTH..200);
    (100..110_u32, rest)
        .prop_map(|(id, body)| StateFrame::from_body(id, body.into()).expect("a header"))
}

pub(crate) fn ticket() -> impl Strategy<Value = Ticket> {
    let texts = (text(), text(), parameters(), text(), bytes(40));
    let numbers = (any::<[u32; 2]>(), any::<[u64; 6]>());
    let all = (numbers, texts, vec(ranges(), 4));
    all.prop_map(|(numbers, texts, ranges)| {
        let [finished_above, in_doubt, may_repeat, given_back] = ranges.try_into().expect("four");
        let ([shard, guilds], numbers) = numbers;
        let [
            user_id,
            application_id,
            handled,
            state_at,
            replay_from,
            began_unix_ms,
        ] = numbers;
        let (id, resume_url, parameters, luggage, seen) = texts;
        let session = discord::Session {
            id,
            resume_url,
            user_id,
            application_id,
            parameters,
            guilds,
            began_unix_ms,
        };
        Ticket {
            shard: ShardId(shard),
            session: session.seal(),
            handled: Sequence(handled),
            finished_above,
            in_doubt,
            state_at: Sequence(state_at),
            replay_from: Sequence(replay_from),
            may_repeat,
            given_back,
            luggage,
            seen,
        }
    })
}
