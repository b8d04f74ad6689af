//! IDENTIFY with all its checks, READY and the guilds.

use std::{fmt::Write, sync::Arc};

use serde::Deserialize;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Connection, replay::Shaping};
use crate::{
    clock::monotonic_us,
    counters::Count,
    faults::{FaultName, When},
    id::MAX_SHARD_COUNT,
    kind::{EventKind, intents},
    ledger::What,
    limits::Permit,
    rest::current_user,
    server::bare_token,
    session::{Outgoing, Params, Session},
    wire::end::End,
    world::guild::BOT_ID,
};

/// Guilds of one shard. Source: "Sharding".
const MAX_GUILDS: u64 = 2500;

#[derive(Deserialize)]
struct Identify {
    token: String,
    properties: serde_json::Map<String, Value>,
    #[serde(default)]
    intents: Option<i64>,
    #[serde(default)]
    shard: Option<(u32, u32)>,
    #[serde(default)]
    large_threshold: Option<u32>,
    /// A client may ask for payload compression, in any form; it is never used.
    #[serde(default)]
    #[serde(rename = "compress")]
    _compress: serde::de::IgnoredAny,
    #[serde(default)]
    #[serde(rename = "presence")]
    _presence: Option<serde_json::Map<String, Value>>,
}

impl<S> Connection<S>
where
    S: AsyncRead + AsyncWrite + Send + Unpin,
{
    pub(super) async fn identify(&mut self, data: Value) -> Result<(), End> {
        if self.session.is_some() {
            return self.refuse_identify("4005", End::Close(4005, "already authenticated"));
        }
        let Ok(identify) = serde_json::from_value::<Identify>(data) else {
            return self.refuse_identify("4002", End::Close(4002, "IDENTIFY is not complete"));
        };
        if identify.properties.len() > 64 {
            return self.refuse_identify("4002", End::Close(4002, "too many properties"));
        }
        let (shard, count) = identify.shard.unwrap_or((0, 1));
        if count > 0 && shard < count && count <= MAX_SHARD_COUNT {
            self.name_shard(shard);
        }
        let params = match self.check(identify, shard, count) {
            Ok(params) => params,
            Err(End::Close(code, why)) => {
                return self.refuse_identify(&code.to_string(), End::Close(code, why));
            }
            Err(end @ (End::Client(_) | End::Lost(_))) => return Err(end),
        };
        let faults = self.shared.faults.take(When::Identify, Some(shard));
        let instead = faults
            .iter()
            .find(|fault| fault.delay_ms == 0 && fault.name.replaces_answer());
        if let Some(fault) = instead {
            if self.shared.count_refused_identify() == Permit::Exhausted {
                return self.exhausted(&params);
            }
            self.refused_identify("fault");
            return self.carry_out(fault).await;
        }
        match self.shared.ask_identify(shard) {
            Permit::Granted => {}
            Permit::Concurrency => {
                self.refused_identify("max_concurrency");
                return self.invalid_session(false).await;
            }
            Permit::Exhausted => return self.exhausted(&params),
        }
        self.shaping = Shaping::default();
        self.accept(params);
        for fault in faults {
            if fault.name == FaultName::SlowReady {
                self.note(What::Fault, fault.name.name().to_owned());
                self.shaping.hold(fault.duration());
            } else {
                self.schedule(fault).await?;
            }
        }
        Ok(())
    }

    fn exhausted(&self, params: &Params) -> Result<(), End> {
        self.shared.reset_token(&params.token);
        let end = End::Close(4004, "session start limit exceeded, token reset");
        self.refuse_identify("session_start_limit", end)
    }

    fn refuse_identify(&self, reason: &str, end: End) -> Result<(), End> {
        self.refused_identify(reason);
        Err(end)
    }

    fn refused_identify(&self, reason: &str) {
        self.shared
            .counters
            .add(self.shard, Count::IdentifyRefused(reason));
        self.note(What::Identify, format!("refused: {reason}"));
    }

    fn check(&self, identify: Identify, shard: u32, count: u32) -> Result<Params, End> {
        let config = &self.shared.config;
        if !self.shared.accepts_token(&identify.token) {
            return Err(End::Close(4004, "authentication failed"));
        }
        if count == 0 || shard >= count || count > MAX_SHARD_COUNT {
            return Err(End::Close(4010, "invalid shard"));
        }
        if guilds_of(config.shards, config.guilds_per_shard, shard, count) > MAX_GUILDS {
            return Err(End::Close(4011, "sharding required"));
        }
        let Some(wanted) = identify.intents.and_then(|bits| u64::try_from(bits).ok()) else {
            return Err(End::Close(4013, "invalid intents"));
        };
        if wanted & !intents::ALL != 0 {
            return Err(End::Close(4013, "invalid intents"));
        }
        if wanted & !config.allowed_intents != 0 {
            return Err(End::Close(4014, "disallowed intents"));
        }
        let large_threshold = identify.large_threshold.unwrap_or(50);
        if !(50..=250).contains(&large_threshold) {
            return Err(End::Close(
                4002,
                "large_threshold is not between 50 and 250",
            ));
        }
        Ok(Params {
            token: bare_token(&identify.token).to_owned(),
            shard,
            count,
            intents: wanted,
            version: self.version,
            compression: self.compression,
            large_threshold,
        })
    }

    /// A new session: READY, then its guilds, then the events.
    fn accept(&mut self, params: Params) {
        let (shard, count) = (params.shard, params.count);
        let config = &self.shared.config;
        let guilds = guilds_of(config.shards, config.guilds_per_shard, shard, count);
        let bound = config.replay_buffer.map_or_else(
            || usize::try_from((guilds * 75).clamp(100, 3500)).unwrap_or(3500),
            |bound| bound as usize,
        );
        let session = Arc::new(Session::new(
            session_id(),
            params,
            bound,
            config.backlog as usize,
            Arc::clone(&self.shared.skip_every),
            self.attachment(),
        ));
        self.session = Some(Arc::clone(&session));
        self.shared.add_session(Arc::clone(&session));
        self.shared.counters.add(self.shard, Count::Identify);
        self.note(What::Identify, "accepted".to_owned());

        let ready = Outgoing {
            kind: EventKind::Ready,
            guild: 0,
            body: self.ready(&session).into(),
            created_us: monotonic_us(),
            probe: false,
            only: Some(self.id),
        };
        session.push(ready, &self.shared.ledger);
        for index in self.shared.cells_of(shard, count) {
            let mut cell = self.shared.cell(index);
            cell.introduce(&session);
            cell.subscribe(Arc::clone(&session));
            drop(cell);
            self.shared.cell_wake[index].notify_one();
        }
    }

    fn ready(&self, session: &Session) -> String {
        let (shard, count) = (session.params.shard, session.params.count);
        let mut guilds = String::new();
        for index in self.shared.cells_of(shard, count) {
            for id in &self.shared.cell(index).order {
                if session.params.has_guild(*id) {
                    let comma = if guilds.is_empty() { "" } else { "," };
                    let _ = write!(guilds, r#"{comma}{{"id":"{id}","unavailable":true}}"#);
                }
            }
        }
        format!(
            r#"{{"v":{version},"user_settings":{{}},"user":{user},"shard":[{shard},{count}],"session_type":"normal","session_id":"{id}","resume_gateway_url":"{scheme}://{host}/resume/{shard}","relationships":[],"game_relationships":[],"private_channels":[],"presences":[],"guilds":[{guilds}],"guild_join_requests":[],"geo_ordered_rtc_regions":["rotterdam"],"auth":{{}},"application":{{"id":"{BOT_ID}","flags":8953856}},"_trace":["[\"baton-discord\",{{\"micros\":0}}]"]}}"#,
            user = current_user(),
            version = session.params.version,
            id = session.id,
            scheme = self.shared.scheme(),
            host = self.opening.host,
        )
    }
}

/// How many guilds shard `shard` of `count` has: guild ids are consecutive in
/// their time part from a multiple of the world's shard count on.
fn guilds_of(world: u32, per_shard: u32, shard: u32, count: u32) -> u64 {
    let first = crate::world::guild::guild_id(0, 0, world) >> 22;
    let total = u64::from(world) * u64::from(per_shard);
    let (shard, count) = (u64::from(shard), u64::from(count));
    let upto = |end: u64| (end + count - 1 - shard) / count;
    upto(first + total) - upto(first)
}

/// 32 random hexadecimal digits.
fn session_id() -> String {
    let mut bytes = [0; 16];
    if getrandom::fill(&mut bytes).is_err() {
        // Without randomness ids are only unique; nobody attacks a simulation.
        bytes[..8].copy_from_slice(&monotonic_us().to_be_bytes());
    }
    format!("{:032x}", u128::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::guilds_of;
    use crate::world::guild::guild_id;

    #[test]
    fn the_number_of_guilds_is_right_for_every_shard_count() {
        for (world, per_shard) in [(1, 7), (4, 5), (6, 10)] {
            let ids: Vec<u64> = (0..world)
                .flat_map(|cell| (0..per_shard).map(move |nth| guild_id(cell, nth, world)))
                .collect();
            for count in 1..20_u32 {
                for shard in 0..count {
                    let expected = ids
                        .iter()
                        .filter(|id| (**id >> 22) % u64::from(count) == u64::from(shard))
                        .count();
                    assert_eq!(guilds_of(world, per_shard, shard, count), expected as u64);
                }
            }
        }
    }
}
