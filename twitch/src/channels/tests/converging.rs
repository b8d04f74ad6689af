//! All parts together, as a caller uses them.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const ROOM: usize = 5;

/// A bot, and what its units really are in.
struct Bot {
    manager: Database,
    layout: Layout,
    reconciler: Reconciler,
    units: BTreeMap<Unit, BTreeSet<Login>>,
    joins: usize,
    now: i64,
}

impl Bot {
    fn new() -> Self {
        Self {
            manager: Database::in_memory().expect("a list"),
            layout: Layout::new(None),
            reconciler: Reconciler::new(),
            units: BTreeMap::new(),
            joins: 0,
            now: 0,
        }
    }

    /// Compares once and does what has to be done; whether anything had to be.
    fn turn(&mut self, fails: Option<&Login>) -> bool {
        let places = self.layout.places();
        let have = places.map(|(login, place)| (login.clone(), place.unit.account.clone()));
        let goal = self.manager.goal().expect("read");
        let default = login("bot");
        let now = Unix(self.now);
        let todo = self
            .reconciler
            .compare(&goal, &have.collect(), &default, now);
        let mut deltas = Deltas::new();
        for channel in &todo.remove {
            self.layout.part(channel, &mut deltas);
        }
        for wanted in todo.add.iter().chain(&todo.change) {
            let account = wanted.account.as_ref().unwrap_or(&default);
            self.layout.join(&wanted.login, account, now, &mut deltas);
        }
        let did = !deltas.is_empty();
        self.obey(&deltas, fails);
        did
    }

    fn obey(&mut self, deltas: &Deltas, fails: Option<&Login>) {
        let now = Unix(self.now);
        for (unit, delta) in deltas.by_unit() {
            // One that died does nothing.
            let Some(channels) = self.units.get_mut(unit) else {
                continue;
            };
            for channel in &delta.part {
                channels.remove(channel);
            }
            for channel in &delta.join {
                self.joins += 1;
                if fails == Some(channel) {
                    self.layout
                        .failed(unit, channel, Why::Silent, now, &mut Deltas::new());
                    self.reconciler.failed(channel, Why::Silent, now);
                } else {
                    channels.insert(channel.clone());
                    assert!(self.layout.confirmed(unit, channel, now));
                    self.reconciler.confirmed(channel);
                }
            }
        }
    }

    /// This process ends and another one begins; the units go on.
    fn restart(&mut self) {
        self.layout = Layout::new(None);
        self.reconciler = Reconciler::new();
        let mut deltas = Deltas::new();
        for (unit, channels) in &self.units {
            self.layout.add_unit(unit, ROOM, true);
            self.layout
                .adopt(unit, channels, Unix(self.now), &mut deltas);
        }
        assert!(deltas.is_empty());
    }

    fn really_in(&self) -> Vec<String> {
        let all = self.units.values().flatten();
        let mut all: Vec<String> = all.map(ToString::to_string).collect();
        all.sort();
        all
    }
}

#[derive(Clone, Copy, Debug)]
enum Happens {
    Granted(u8),
    Revoked(u8),
    Parted(u8),
    UnitComes(u32),
    UnitDies(u32),
    Turn(Option<u8>),
    Restart,
}

fn happens() -> impl Strategy<Value = Happens> {
    let channel = || 0_u8..12;
    prop_oneof![
        5 => channel().prop_map(Happens::Granted),
        2 => channel().prop_map(Happens::Revoked),
        2 => channel().prop_map(Happens::Parted),
        2 => (0_u32..4).prop_map(Happens::UnitComes),
        1 => (0_u32..4).prop_map(Happens::UnitDies),
        4 => prop::option::of(channel()).prop_map(Happens::Turn),
        1 => Just(Happens::Restart),
    ]
}

fn name(n: u8) -> Login {
    login(&format!("c{n:02}"))
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 64,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn whatever_happened_the_bot_comes_to_be_where_it_is_to_be_and_then_rests(
        steps in prop::collection::vec(happens(), 1..80),
    ) {
        let mut bot = Bot::new();
        for step in steps {
            bot.now += 1;
            let now = Unix(bot.now);
            match step {
                Happens::Granted(n) => {
                    let yes = Reconnect::Yes;
                    bot.manager.authorise(&grant(name(n).as_str(), yes), now).expect("written");
                    bot.reconciler.again(&name(n));
                }
                Happens::Revoked(n) => {
                    bot.manager.revoke(&name(n), now).expect("written");
                }
                Happens::Parted(n) => {
                    bot.manager.unwant(&[name(n)]).expect("written");
                }
                Happens::UnitComes(index) => {
                    bot.layout.add_unit(&unit(index), ROOM, true);
                    bot.units.entry(unit(index)).or_default();
                }
                Happens::UnitDies(index) => {
                    bot.units.remove(&unit(index));
                    let mut deltas = Deltas::new();
                    bot.layout.remove_unit(&unit(index), now, &mut deltas);
                    bot.obey(&deltas, None);
                }
                Happens::Turn(fails) => {
                    bot.turn(fails.map(name).as_ref());
                }
                Happens::Restart => bot.restart(),
            }
        }
        // All pauses are over.
        bot.now += 3_600;
        bot.turn(None);
        let goal = goal(&bot.manager);
        let is = bot.really_in();
        let room = bot.units.len() * ROOM;
        prop_assert_eq!(is.len(), goal.len().min(room));
        prop_assert!(is.iter().all(|channel| goal.contains(channel)));
        let distinct: BTreeSet<&String> = is.iter().collect();
        prop_assert_eq!(distinct.len(), is.len());
        // Nothing changed, so nothing is done: neither in a second turn nor by a restart.
        let joins = bot.joins;
        prop_assert!(!bot.turn(None));
        bot.restart();
        prop_assert!(!bot.turn(None));
        prop_assert_eq!(bot.joins, joins);
    }
}
