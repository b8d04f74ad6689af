//! Settings for a slave under the 2018 Go master.

use std::num::NonZeroU32;

use baton_protocol::Address;

use crate::error::Error;

/// How to serve under YAGPDB's unchanged 2018 Go master, which says
/// less than ours: `docs/moving-from-go.md` says what that costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Legacy {
    /// Shards of the whole bot; at most [`Legacy::MAX_SHARDS`]. Used for a cold
    /// start: shards that are taken over bring their number.
    pub shards: NonZeroU32,
    /// Discord's `max_concurrency` of this bot: IDENTIFYs in one window.
    pub max_concurrency: NonZeroU32,
}

impl Legacy {
    /// Discord's largest bots are below.
    pub const MAX_SHARDS: u32 = 16_384;

    /// From the three settings, as an operator gives them. `max_concurrency`
    /// means something to a master too, so it may be there without the switch.
    ///
    /// # Errors
    /// [`Error::Config`]: the switch is on without `shards`, `shards` is given
    /// without the switch, or a number is 0.
    pub fn of(
        switch: bool,
        shards: Option<u32>,
        max_concurrency: Option<u32>,
    ) -> Result<Option<Self>, Error> {
        let Some(shards) = shards else {
            return match switch {
                true => wrong(
                    "shards: a legacy master does not say how many the bot has: give --shards N",
                ),
                false => Ok(None),
            };
        };
        if !switch {
            return wrong("shards: the master says how many; give --legacy for one that does not");
        }
        let positive = |name: &str, number| {
            NonZeroU32::new(number)
                .ok_or_else(|| Error::Config(format!("{name} is 0: give 1 or more")))
        };
        Ok(Some(Self {
            shards: positive("shards", shards)?,
            max_concurrency: positive("max_concurrency", max_concurrency.unwrap_or(1))?,
        }))
    }

    /// For so many shards, one IDENTIFY in each window.
    #[must_use]
    pub const fn new(shards: NonZeroU32) -> Self {
        Self {
            shards,
            max_concurrency: NonZeroU32::MIN,
        }
    }

    pub(super) fn check(&self, masters: &[Address]) -> Result<(), Error> {
        let shards = self.shards.get();
        if shards > Self::MAX_SHARDS {
            return wrong(format!(
                "shards is {shards}: give a number from 1 to {}",
                Self::MAX_SHARDS
            ));
        }
        match masters {
            [Address::Tcp(_)] if !masters.iter().any(Address::is_open) => Ok(()),
            [Address::Tcp(address)] => wrong(format!(
                "master: `{address}` is not on this host, and a legacy master proves nothing: \
                 give a loopback address"
            )),
            _ => wrong("master: there is one legacy master, on TCP only: give 127.0.0.1:PORT"),
        }
    }
}

fn wrong<T>(text: impl Into<String>) -> Result<T, Error> {
    Err(Error::Config(text.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(result: Result<Option<Legacy>, Error>) -> String {
        result.expect_err("it cannot work").to_string()
    }

    #[test]
    fn the_switch_and_the_number_of_shards_belong_together() {
        assert_eq!(
            Legacy::of(false, None, Some(16)).expect("as inherited"),
            None
        );
        let legacy = Legacy::of(true, Some(4), None).expect("complete");
        assert_eq!(legacy, NonZeroU32::new(4).map(Legacy::new));
        assert!(refused(Legacy::of(true, None, None)).contains("--shards N"));
        assert!(refused(Legacy::of(false, Some(4), None)).contains("--legacy"));
        assert!(refused(Legacy::of(true, Some(0), None)).starts_with("shards is 0"));
        assert!(refused(Legacy::of(true, Some(4), Some(0))).starts_with("max_concurrency is 0"));
    }

    #[test]
    fn only_a_master_on_this_host_is_taken() {
        let legacy = Legacy::new(NonZeroU32::MIN);
        let check = |text: &str| legacy.check(&Address::list(text).expect("addresses"));
        for good in [
            "127.0.0.1:7447",
            "127.9.0.3:1",
            "[::1]:7447",
            "localhost:7447",
        ] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in [
            "10.0.0.5:7447",
            "0.0.0.0:7447",
            "master.example:7447",
            "unix:/run/x",
            "127.0.0.1:1,127.0.0.1:2",
        ] {
            let error = check(bad).expect_err(bad);
            assert!(error.to_string().starts_with("master: "), "{error}");
            assert_eq!(error.exit_code(), 2);
        }
        let many = Legacy::new(NonZeroU32::MAX);
        assert!(
            many.check(&[Address::Tcp("127.0.0.1:1".to_owned())])
                .is_err()
        );
    }
}
