//! What messages are made of.

use super::*;

pub(super) fn parameters() -> impl Strategy<Value = SessionParameters> {
    let numbers = (any::<u64>(), any::<u32>(), any::<u8>(), any::<u16>());
    (numbers, text(), text(), text()).prop_map(|(numbers, encoding, compression, service)| {
        let (intents, shard_count, api_version, large_threshold) = numbers;
        SessionParameters {
            intents,
            shard_count,
            api_version,
            encoding,
            compression,
            large_threshold,
            service,
        }
    })
}

pub(super) fn process() -> impl Strategy<Value = ProcessIdentity> {
    let host_name = option::of("[a-z0-9][a-z0-9.-]{0,62}");
    let parts = (
        any::<u32>(),
        any::<[u64; 2]>(),
        text(),
        any::<u128>(),
        host_name,
    );
    parts.prop_map(
        |(pid, [start_time, pid_namespace], boot_id, host, host_name)| ProcessIdentity {
            pid,
            start_time,
            boot_id,
            pid_namespace,
            host: HostId(host),
            host_name: host_name.and_then(|name| name.parse().ok()),
        },
    )
}

pub(super) fn term() -> impl Strategy<Value = Term> {
    (any::<u128>(), any::<u64>()).prop_map(|(fleet, counter)| Term {
        fleet: FleetId(fleet),
        counter,
    })
}

pub(crate) fn unit() -> impl Strategy<Value = Unit> {
    (any::<u32>(), any::<u64>()).prop_map(|(shard, epoch)| Unit {
        shard: ShardId(shard),
        epoch: Epoch(epoch),
    })
}

pub(crate) fn ranges() -> impl Strategy<Value = SequenceRanges> {
    let near = vec(0..60_u64, 0..12);
    (near, prop_oneof![Just(0), any::<u64>()]).prop_map(|(numbers, from)| {
        let numbers = numbers
            .into_iter()
            .map(|number| from.saturating_add(number));
        numbers.map(Sequence).collect()
    })
}

pub(super) fn role() -> impl Strategy<Value = Role> {
    select(vec![Role::Candidate, Role::Standby, Role::Relaunch])
}

pub(super) fn cause() -> impl Strategy<Value = IdentifyCause> {
    select(vec![
        IdentifyCause::Cold,
        IdentifyCause::SessionLost,
        IdentifyCause::StateLost,
    ])
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    select(vec![
        Step::Dialling,
        Step::Hello,
        Step::Replaying,
        Step::Waiting,
        Step::Serving,
        Step::Reconnecting,
        Step::SessionLost,
    ])
}

pub(super) fn reason() -> impl Strategy<Value = RefusedReason> {
    select(vec![
        RefusedReason::Version,
        RefusedReason::Fleet,
        RefusedReason::Secret,
        RefusedReason::Slot,
        RefusedReason::Parameters,
        RefusedReason::Busy,
        RefusedReason::Taken,
        RefusedReason::Certificate,
        RefusedReason::Superseded,
        RefusedReason::Other,
    ])
}

pub(super) fn text() -> impl Strategy<Value = String> {
    prop_oneof![".{0,20}", "[a-z]{30,40}"]
}

pub(super) fn bytes(most: usize) -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..most).prop_map(Bytes::from)
}
