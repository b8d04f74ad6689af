//! Which master is dialled next, where several are named: one leads, and the others refuse.
//!
//! A slave stays with the master that accepted it, and dials that one first when its link is
//! lost: a master that is started again is there in a second. From one that refuses or does not
//! answer it goes on to the next at once. When all were dialled in vain it pauses.

use std::time::Duration;

use baton_protocol::Address;

/// Where several are named, each has to answer within this time: a host that is gone says
/// nothing, and the next one may lead.
const ANSWER: Duration = Duration::from_secs(3);

/// Where several are named, one that says nothing for so long is left: it pings at least every
/// 5 s, and another one may lead by now.
const SILENCE: Duration = Duration::from_secs(10);

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// Whose turn it is.
    at: usize,
    /// How many were dialled in vain since the last pause.
    tried: usize,
}

impl Turns {
    /// The master whose turn it is, and how long it may take to answer.
    pub(super) fn master(&self, masters: &[Address], patience: Duration) -> (Address, Duration) {
        let patience = match masters.len() {
            0 | 1 => patience,
            _ => patience.min(ANSWER),
        };
        (masters[self.at % masters.len()].clone(), patience)
    }

    /// For how long a master may say nothing.
    pub(super) fn silence(masters: &[Address], patience: Duration) -> Duration {
        match masters.len() {
            0 | 1 => patience,
            _ => patience.min(SILENCE),
        }
    }

    /// This one is dialled in vain. Whether the next one is dialled at once: not all of them
    /// had their turn.
    pub(super) fn in_vain(&mut self, masters: &[Address]) -> bool {
        self.at = (self.at + 1) % masters.len().max(1);
        self.tried += 1;
        let others_are_left = self.tried < masters.len();
        if !others_are_left {
            self.tried = 0;
        }
        others_are_left
    }

    /// The master whose turn it is accepted this slave.
    pub(super) const fn accepted(&mut self) {
        self.tried = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(10);

    fn masters(ports: &[u16]) -> Vec<Address> {
        let ports = ports.iter();
        ports
            .map(|port| Address::Tcp(format!("127.0.0.1:{port}")))
            .collect()
    }

    #[test]
    fn each_master_has_its_turn_before_a_pause_and_the_one_that_accepted_is_first_again() {
        let masters = masters(&[1, 2, 3]);
        let mut turns = Turns::default();
        let now = |turns: &Turns| turns.master(&masters, LONG).0.to_string();
        assert_eq!(now(&turns), "127.0.0.1:1");
        assert!(turns.in_vain(&masters));
        assert_eq!(now(&turns), "127.0.0.1:2");
        assert!(turns.in_vain(&masters));
        assert_eq!(now(&turns), "127.0.0.1:3");
        // All of them: a pause, and then the first.
        assert!(!turns.in_vain(&masters));
        assert_eq!(now(&turns), "127.0.0.1:1");
        assert!(turns.in_vain(&masters));
        turns.accepted();
        // Its link is lost: the same one, and every other one before a pause.
        assert_eq!(now(&turns), "127.0.0.1:2");
        assert!(turns.in_vain(&masters) && turns.in_vain(&masters));
        assert!(!turns.in_vain(&masters));
    }

    #[test]
    fn one_master_has_all_its_time_and_a_pause_after_each_dial() {
        let one = masters(&[1]);
        let mut turns = Turns::default();
        assert_eq!(turns.master(&one, LONG).1, LONG);
        assert!(!turns.in_vain(&one) && !turns.in_vain(&one));
        let two = masters(&[1, 2]);
        assert_eq!(turns.master(&two, LONG).1, ANSWER);
        assert_eq!(turns.master(&two, Duration::from_secs(1)).1.as_secs(), 1);
        // The next one may lead where one says nothing.
        let half = Duration::from_secs(30);
        assert_eq!(Turns::silence(&one, half), half);
        assert_eq!(Turns::silence(&two, half), SILENCE);
        assert_eq!(Turns::silence(&two, LONG / 10).as_secs(), 1);
    }
}
