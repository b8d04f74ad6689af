//! `on_silence` and `lease` of a slot.

use std::time::Duration;

use super::{checks::Found, options::SlotOptions};

/// The lease of a slot that asks for one and does not say how long.
const USUAL: Duration = Duration::from_secs(30);

/// A longer one is longer than sessions live.
const LONGEST: Duration = Duration::from_secs(3600);

/// So many signs of life go into a lease: two may be lost.
const SIGNS: u32 = 3;

/// How long the slaves of each slot serve without a master; `None`: for ever. `every`: how
/// often they get a sign of life.
pub(super) fn leases(
    slots: &[SlotOptions],
    every: Duration,
    found: &mut Found,
) -> Vec<Option<Duration>> {
    let slots = slots.iter().enumerate();
    slots
        .map(|(index, slot)| {
            lease(slot, every).unwrap_or_else(|(key, reason)| {
                let reason = format!("slot `{}`: {key}: {reason}", slot.name);
                found.add(&format!("slot[{index}].{key}"), reason);
                None
            })
        })
        .collect()
}

fn lease(slot: &SlotOptions, every: Duration) -> Result<Option<Duration>, (&'static str, String)> {
    match slot.on_silence.as_deref() {
        None | Some("alarm") if slot.lease.is_some() => Err((
            "lease",
            "there is one only with on_silence = \"lease\"".to_owned(),
        )),
        None | Some("alarm") => Ok(None),
        Some("lease") => {
            let lease = slot.lease.unwrap_or(USUAL);
            let shortest = every.saturating_mul(SIGNS);
            if lease < shortest || lease > LONGEST {
                return Err((
                    "lease",
                    format!(
                        "{} is not between {} (three signs of life) and {}",
                        humantime::format_duration(lease),
                        humantime::format_duration(shortest),
                        humantime::format_duration(LONGEST)
                    ),
                ));
            }
            Ok(Some(lease))
        }
        Some(other) => Err((
            "on_silence",
            format!("`{other}` is neither `alarm` nor `lease`"),
        )),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn of(on_silence: Option<&str>, lease: Option<u64>) -> Result<Option<Duration>, String> {
        let slot = SlotOptions {
            on_silence: on_silence.map(str::to_owned),
            lease: lease.map(Duration::from_secs),
            ..SlotOptions::default()
        };
        super::lease(&slot, Duration::from_secs(5)).map_err(|(key, why)| format!("{key}: {why}"))
    }

    #[test]
    fn a_slot_has_a_lease_only_if_it_says_so() {
        assert_eq!(of(None, None), Ok(None));
        assert_eq!(of(Some("alarm"), None), Ok(None));
        assert_eq!(of(Some("lease"), None), Ok(Some(USUAL)));
        let minute = Duration::from_secs(60);
        assert_eq!(of(Some("lease"), Some(60)), Ok(Some(minute)));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_what_to_write() {
        for (on_silence, lease, says) in [
            (None, Some(30), "lease: there is one only with on_silence"),
            (Some("fence"), None, "on_silence: `fence` is neither"),
            (Some("lease"), Some(14), "lease: 14s is not between 15s"),
            (Some("lease"), Some(7200), "and 1h"),
        ] {
            let refused = of(on_silence, lease).unwrap_err();
            assert!(refused.contains(says), "{refused}");
        }
    }
}
