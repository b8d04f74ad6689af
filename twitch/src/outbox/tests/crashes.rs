//! Any steps, killed between any two of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    io::{self, BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
};

use proptest::prelude::*;

use super::*;

#[derive(Clone, Copy, Debug)]
enum Step {
    Put { channel: u8, is_own: bool },
    Lease { who: u8, is_moderator: bool },
    Done { which: u8, sent: bool },
    GiveBack { which: u8 },
    Died { who: u8 },
    Wait { ms: i64 },
    Killed,
}

fn step() -> impl Strategy<Value = Step> {
    let yes = any::<bool>;
    prop_oneof![
        8 => (0_u8..5, yes()).prop_map(|(channel, is_own)| Step::Put { channel, is_own }),
        8 => (0_u8..3, yes()).prop_map(|(who, is_moderator)| Step::Lease { who, is_moderator }),
        6 => (0_u8..8, yes()).prop_map(|(which, sent)| Step::Done { which, sent }),
        1 => (0_u8..8).prop_map(|which| Step::GiveBack { which }),
        1 => (0_u8..3).prop_map(|who| Step::Died { who }),
        3 => (0_i64..20_000).prop_map(|ms| Step::Wait { ms }),
        2 => Just(Step::Killed),
    ]
}

/// What a bystander wrote down.
#[derive(Default)]
struct Bystander {
    /// Leases in their order; those that were given back are not in it.
    begun: Vec<Lease>,
    /// Leases without an answer, with who has them.
    open: Vec<(u8, Lease)>,
    /// When an account may have said something, at the latest.
    said: BTreeMap<Login, Vec<i64>>,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn nothing_is_sent_twice_or_out_of_order_or_above_the_budget_and_all_has_an_outcome(
        steps in prop::collection::vec(step(), 1..150),
    ) {
        let budgets = || Budgets { plain: 3, moderator: 6, per: Duration::from_secs(30) };
        let mut place = Place::new();
        place.outbox = Outbox::open(&place.folder.path().join("outbox.sqlite"), budgets())
            .expect("it is there");
        let mut seen = Bystander::default();
        let mut now = 0;
        let mut put = 0_u32;
        for step in steps {
            match step {
                Step::Put { channel, is_own } => {
                    let account = login(if is_own { "own_bot" } else { "bot" });
                    let id = format!("{put:05}");
                    let message = Message { account, ..message(&id, &format!("c{channel}")) };
                    let taken = place.outbox.put(&message, Restriction::Nobody, at(now));
                    prop_assert_eq!(taken.expect("written"), Put::Taken);
                    put += 1;
                }
                Step::Lease { who, is_moderator } => {
                    let standing = if is_moderator { Standing::Moderator } else { Standing::Plain };
                    let name = format!("slave{who}");
                    let leased = place.outbox.lease(&name, |_, _| Some(standing), at(now));
                    if let Leased::Message(lease) = leased.expect("written") {
                        let limit = if is_moderator { 6 } else { 3 };
                        let account = lease.message.account.clone();
                        let said = seen.said.entry(account.clone()).or_default();
                        let lately = said.iter().filter(|at| now - **at < 30_000).count();
                        let open = seen.open.iter();
                        let open = open.filter(|(_, open)| open.message.account == account);
                        prop_assert!(lately + open.count() < limit);
                        seen.open.push((who, *lease.clone()));
                        seen.begun.push(*lease);
                    }
                }
                Step::Done { which, sent } if usize::from(which) < seen.open.len() => {
                    let (_, lease) = seen.open.remove(usize::from(which));
                    let said = match sent {
                        true => Said::Sent { message_id: None },
                        false => Said::Unknown,
                    };
                    place.outbox.done(lease.lease, said, at(now)).expect("written");
                    seen.said.entry(lease.message.account).or_default().push(now);
                }
                Step::GiveBack { which } if usize::from(which) < seen.open.len() => {
                    let (_, lease) = seen.open.remove(usize::from(which));
                    let back = place.outbox.give_back(lease.lease, at(now)).expect("written");
                    if back == Done::Recorded {
                        seen.begun.retain(|begun| begun.lease != lease.lease);
                    } else {
                        // It had ended already.
                        seen.said.entry(lease.message.account).or_default();
                    }
                }
                Step::Done { .. } | Step::GiveBack { .. } => {}
                Step::Died { who } => {
                    place.outbox.died(&format!("slave{who}"), at(now)).expect("written");
                    for (_, lease) in seen.open.extract_if(.., |(of, _)| *of == who) {
                        seen.said.entry(lease.message.account).or_default().push(now);
                    }
                }
                Step::Wait { ms } => {
                    now += ms;
                    place.outbox.sweep(at(now)).expect("written");
                    // Who did not answer in time is taken for dead.
                    let over = |(_, lease): &mut (u8, Lease)| {
                        let begun = lease.begin_until.0 - 10_000;
                        now - begun >= 30_000
                    };
                    for (_, lease) in seen.open.extract_if(.., over) {
                        seen.said.entry(lease.message.account).or_default().push(now);
                    }
                }
                Step::Killed => {
                    place = place.killed();
                    let path = place.folder.path().join("outbox.sqlite");
                    place.outbox = Outbox::open(&path, budgets()).expect("it is whole");
                }
            }
        }
        // No message was begun twice, and those of a channel in their order.
        let mut begun = BTreeSet::new();
        let mut last: BTreeMap<&Login, &str> = BTreeMap::new();
        for lease in &seen.begun {
            prop_assert!(begun.insert(&lease.message.id), "{} was sent twice", lease.message.id);
            let before = last.insert(&lease.message.channel, &lease.message.id);
            prop_assert!(before.is_none_or(|before| before < lease.message.id.as_str()));
        }
        // In the end every message has an outcome.
        place.outbox.sweep(at(now + 3_600_000)).expect("written");
        let ids: BTreeSet<String> = place.outcomes().into_iter().map(|(id, _)| id).collect();
        prop_assert_eq!(ids.len(), put as usize);
        prop_assert_eq!(place.outbox.waits().expect("read").leased, 0);
    }
}

/// Where the child finds its outbox.
const CHILD: &str = "BATON_TEST_OUTBOX";

#[test]
#[ignore = "the process that the next test kills"]
fn child() {
    let Ok(path) = env::var(CHILD) else { return };
    let mut outbox = Outbox::open(Path::new(&path), Budgets::default()).expect("it is there");
    let mut out = io::stdout().lock();
    for n in 0.. {
        // Each step is told after it was done, as to a bot.
        let message = message(&format!("{n:05}"), &format!("c{n}"));
        let put = outbox.put(&message, Restriction::Nobody, at(n * 2_000));
        assert_eq!(put.expect("written"), Put::Taken);
        writeln!(out, "\nput {}", message.id).expect("somebody reads it");
        let leased = outbox.lease("child", |_, _| Some(Standing::Plain), at(n * 2_000));
        let Leased::Message(lease) = leased.expect("written") else {
            panic!("there is one");
        };
        writeln!(out, "lease {}", lease.message.id).expect("somebody reads it");
        let sent = Said::Sent { message_id: None };
        outbox
            .done(lease.lease, sent, at(n * 2_000))
            .expect("written");
        writeln!(out, "done {}", lease.message.id).expect("somebody reads it");
    }
}

#[test]
fn what_a_process_was_told_before_it_was_killed_holds_after_it() {
    for lines in [1, 2, 3, 4, 40, 41, 42] {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("outbox.sqlite");
        let mut process = Command::new(env::current_exe().expect("this is one"))
            .args([
                "--exact",
                "outbox::tests::crashes::child",
                "--ignored",
                "--nocapture",
            ])
            .env(CHILD, &path)
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let out = BufReader::new(process.stdout.take().expect("it is piped"));
        let told = out.lines().map_while(Result::ok);
        let told = told.filter_map(|line| {
            let (what, id) = line.split_once(' ')?;
            ["put", "lease", "done"]
                .contains(&what)
                .then(|| (what.to_owned(), id.to_owned()))
        });
        let told: Vec<(String, String)> = told.take(lines).collect();
        process.kill().expect("it runs");
        process.wait().expect("it ended");
        assert_eq!(told.len(), lines);

        let mut outbox = Outbox::open(&path, Budgets::default()).expect("it is whole");
        let now = at(300_000);
        outbox.died("child", now).expect("written");
        // What may have been sent is not sent again.
        let mut leased = BTreeSet::new();
        while let Leased::Message(lease) = outbox
            .lease("other", |_, _| Some(Standing::Plain), now)
            .expect("written")
        {
            leased.insert(lease.message.id);
        }
        let outcomes = outbox.outcomes(0, u32::MAX).expect("read");
        for (what, id) in told {
            let known = outbox.put(&message(&id, "some"), Restriction::Nobody, now);
            assert_eq!(known.expect("read"), Put::Known);
            assert!(what == "put" || !leased.contains(&id), "{id} is sent twice");
            let outcome = outcomes.iter().find(|record| record.id == id);
            let outcome = outcome.map(|record| &record.outcome);
            match what.as_str() {
                "put" => assert!(outcome.is_some() || leased.contains(&id)),
                "lease" => assert!(outcome.is_some()),
                _ => assert_eq!(outcome, Some(&sent())),
            }
        }
    }
}
