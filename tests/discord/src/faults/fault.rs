//! One fault: its text form, and what it may be.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::{FaultName, When};
use crate::error::Error;

/// A day, in milliseconds: nothing is asked to last longer, but for ever.
const DAY: u64 = 86_400_000;

/// A fault to carry out. The text form is that of `POST /faults`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Which one.
    pub name: FaultName,
    /// For which shard; `None` for all. Not for [`When::GatewayBot`].
    #[serde(default)]
    pub shard: Option<u32>,
    /// When; `None` for the usual moment of its name.
    #[serde(default)]
    pub when: Option<When>,
    /// Occasions to let pass before the first; not for [`When::Now`].
    #[serde(default)]
    pub after: u32,
    /// How many times, 0 = until `DELETE`; not for [`When::Now`].
    #[serde(default = "one")]
    pub count: u32,
    /// For how long it waits for occasions, in milliseconds, whatever `count`
    /// says; 0 = without an end. Not for [`When::Now`].
    #[serde(default)]
    pub for_ms: u64,
    /// How much later than its moment it happens, in milliseconds.
    #[serde(default)]
    pub delay_ms: u64,
    /// The close code: 1000, 1001, 1006 (no close frame), 1011 to 1014 or 4000 to
    /// 4999. For `bot_status`, the HTTP status.
    #[serde(default = "unknown_error")]
    pub code: u16,
    /// Events of a flood, or of a replay before its close; up to 1,000,000.
    #[serde(default = "thousand_events")]
    pub events: u32,
    /// How long, in milliseconds, for the faults that last.
    #[serde(default = "second")]
    pub duration_ms: u64,
    /// What `odd_hello` and `bot_answer` say. `null` is a value too.
    #[serde(default, deserialize_with = "given")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
}

const fn one() -> u32 {
    1
}
const fn unknown_error() -> u16 {
    4000
}
const fn thousand_events() -> u32 {
    1000
}
const fn second() -> u64 {
    1000
}

/// Tells `null` from what was left out.
fn given<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(from).map(Some)
}

impl Fault {
    /// The fault with this name at its usual moment, once, for all shards.
    pub const fn new(name: FaultName) -> Self {
        Self {
            name,
            shard: None,
            when: None,
            after: 0,
            count: 1,
            for_ms: 0,
            delay_ms: 0,
            code: 4000,
            events: 1000,
            duration_ms: 1000,
            value: None,
        }
    }

    /// The same for one shard only.
    #[must_use]
    pub const fn on_shard(mut self, shard: u32) -> Self {
        self.shard = Some(shard);
        self
    }

    /// The same at another moment.
    #[must_use]
    pub const fn at(mut self, when: When) -> Self {
        self.when = Some(when);
        self
    }

    /// The same with this close code, or HTTP status.
    #[must_use]
    pub const fn with_code(mut self, code: u16) -> Self {
        self.code = code;
        self
    }

    /// The same with this many events.
    #[must_use]
    pub const fn with_events(mut self, events: u32) -> Self {
        self.events = events;
        self
    }

    /// The same with this value.
    #[must_use]
    pub fn with_value(mut self, value: Value) -> Self {
        self.value = Some(value);
        self
    }

    /// The same, this many times.
    #[must_use]
    pub const fn times(mut self, count: u32) -> Self {
        self.count = count;
        self
    }

    /// The same on every occasion, until the faults are cleared.
    #[must_use]
    pub const fn for_ever(self) -> Self {
        self.times(0)
    }

    /// The same on every occasion of this time; below a millisecond is lost.
    #[must_use]
    pub fn throughout(mut self, duration: Duration) -> Self {
        self.count = 0;
        self.for_ms = millis(duration).max(1);
        self
    }

    /// The same, lasting this long; below a millisecond is lost.
    #[must_use]
    pub fn lasting(mut self, duration: Duration) -> Self {
        self.duration_ms = millis(duration);
        self
    }

    /// When it happens.
    pub fn moment(&self) -> When {
        self.when.unwrap_or(self.name.usual())
    }

    pub(crate) const fn duration(&self) -> Duration {
        Duration::from_millis(self.duration_ms)
    }

    /// Checks the limits written at the fields.
    pub(crate) fn validate(&self) -> Result<(), Error> {
        let code = self.code;
        if self.name == FaultName::BotStatus {
            if !(400..600).contains(&code) {
                return Err(Error::invalid(format!(
                    "code is {code}: give an HTTP status from 400 to 599"
                )));
            }
        } else if !matches!(code, 1000 | 1001 | 1006 | 1011..=1014 | 4000..=4999) {
            return Err(Error::invalid(format!(
                "code is {code}: give 1000, 1001, 1006, 1011 to 1014 or 4000 to 4999"
            )));
        }
        if self.events > 1_000_000 {
            return Err(Error::invalid("events is above 1000000: give at most that"));
        }
        if self.duration_ms > DAY || self.delay_ms > DAY || self.for_ms > DAY {
            return Err(Error::invalid(
                "duration_ms, delay_ms and for_ms are at most a day; 0 is without an end",
            ));
        }
        if self.shard.is_some() && self.moment() == When::GatewayBot {
            return Err(Error::invalid(
                "GET /gateway/bot names no shard: leave shard out",
            ));
        }
        let takes_value = matches!(self.name, FaultName::OddHello | FaultName::BotAnswer);
        if self.value.is_some() && !takes_value {
            return Err(Error::invalid(format!(
                "{} takes no value",
                self.name.name()
            )));
        }
        if self.moment() == When::Upgrade {
            return match self.name.answers_http() {
                true => Ok(()),
                false => Err(Error::invalid(format!(
                    "{} is no answer of HTTP: `upgrade` takes bot_429, bot_429_body, \
                     bot_429_bare, bot_1015 and bot_status",
                    self.name.name()
                ))),
            };
        }
        match self.name.only_at() {
            Some(only) if only != self.moment() => Err(Error::invalid(format!(
                "{} is only for `{}`",
                self.name.name(),
                only.name()
            ))),
            None if self.moment() == When::GatewayBot => Err(Error::invalid(format!(
                "{} is for a websocket, not for `gateway_bot`",
                self.name.name()
            ))),
            Some(_) | None => Ok(()),
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::{Value, json};

    use super::{Fault, FaultName, When};

    #[test]
    fn a_request_needs_only_a_name() {
        let fault: Fault = serde_json::from_str(r#"{"name":"op9_false"}"#).unwrap();
        assert_eq!(fault, Fault::new(FaultName::Op9False));
        assert!(serde_json::from_str::<Fault>(r#"{"name":"op9_false","cuont":2}"#).is_err());
    }

    #[test]
    fn a_value_of_null_is_not_a_value_that_was_left_out() {
        let read = |text| serde_json::from_str::<Fault>(text).unwrap().value;
        assert_eq!(read(r#"{"name":"odd_hello"}"#), None);
        assert_eq!(
            read(r#"{"name":"odd_hello","value":null}"#),
            Some(Value::Null)
        );
    }

    #[test]
    fn a_fault_that_makes_no_sense_is_refused_with_what_to_give() {
        let wrong = [
            (Fault::new(FaultName::NoHello).at(When::Now), "`connect`"),
            (Fault::new(FaultName::Close).with_code(3), "give 1000"),
            (
                Fault::new(FaultName::BotStatus).with_code(200),
                "400 to 599",
            ),
            (Fault::new(FaultName::Bot429).on_shard(1), "names no shard"),
            (Fault::new(FaultName::Op7).at(When::GatewayBot), "websocket"),
            (Fault::new(FaultName::Op7).at(When::Upgrade), "of HTTP"),
            (
                Fault::new(FaultName::BotAnswer).at(When::Upgrade),
                "of HTTP",
            ),
            (
                Fault::new(FaultName::Op7).with_value(json!(1)),
                "takes no value",
            ),
            (
                Fault::new(FaultName::CloseInReplay).at(When::Identify),
                "`resume`",
            ),
        ];
        for (fault, says) in wrong {
            let text = fault.validate().unwrap_err().to_string();
            assert!(text.contains(says), "{text}");
        }
        let right = Fault::new(FaultName::Op7).at(When::Resume);
        assert!(right.validate().is_ok());
        let upgrade = Fault::new(FaultName::Bot429).at(When::Upgrade).on_shard(1);
        assert!(upgrade.validate().is_ok());
        let every = Fault::new(FaultName::Op9False)
            .at(When::Identify)
            .for_ever();
        assert!(every.validate().is_ok());
    }
}
