//! The master watches the canary before the rest moves.

use baton_protocol::Version;

use super::*;

const QUARTER: Duration = Duration::from_millis(250);

/// It says how old its oldest unfinished event is. Set once it serves, so that it is not
/// asked to dial ahead.
fn says_lag(rig: &mut Rig, slave: SlaveId) {
    let slave = rig.core.fleet.slaves.get_mut(&slave).unwrap();
    slave.hello.version = Version::LAG;
}

/// Of three shards the canary serves at B; the old slave's oldest unfinished event was
/// this old before.
fn canary_serves(lag_before: Duration) -> Rig {
    let mut settings = settings(3);
    settings.canary_time = 2 * SECOND;
    let mut rig = Rig::serving_with(settings);
    says_lag(&mut rig, A);
    rig.say(A, fares(1, 1000, 1000, 0, lag_before));
    rig.join(B, Role::Candidate);
    rig.say(A, prepared(true));
    rig.say(B, prepared(false));
    rig.say(B, state_ready(0, 1, 90));
    rig.say(A, sealed(0, 1, 100));
    rig.say(A, settled(0, 1, &[]));
    let actions = orders(&rig.say(B, resumed(0, 2)));
    assert_eq!(actions, ["save soon 0@2 Owned b", "b Ping"]);
    says_lag(&mut rig, B);
    rig
}

fn fares(number: u64, handed: u64, finished: u64, failed: u64, lag: Duration) -> ToMaster {
    ToMaster::Pong(Pong {
        number,
        handed,
        finished,
        failed,
        lag_ms: u64::try_from(lag.as_millis()).unwrap(),
        ..Pong::default()
    })
}

/// What the answer to the look at a canary is, by now.
type Fares = fn(Duration) -> (u64, u64, u64, Duration);

/// After how long the rest moves, or the canary goes back.
fn ends(mut rig: Rig, fares_at: Fares) -> (Duration, Option<&'static str>) {
    let began = rig.now;
    for _ in 0..100 {
        let (handed, finished, failed, lag) = fares_at(rig.now.since(began));
        let actions = rig.say(B, fares(u64::MAX - 1, handed, finished, failed, lag));
        if rig.step() != Some("canary") {
            return (rig.now.since(began), rig.step());
        }
        assert_eq!(orders(&actions), [""; 0]);
        assert_eq!(orders(&rig.wait(QUARTER)), ["b Ping"], "asked again");
    }
    panic!("the look at the canary does not end")
}

/// How many whole seconds these are.
const fn seconds(span: Duration) -> u64 {
    span.as_secs()
}

#[test]
fn a_quiet_canary_holds_the_rest_up_for_its_time_and_a_busy_one_until_it_did_enough() {
    let rig = || canary_serves(Duration::ZERO);
    let quiet = ends(rig(), |_| (0, 0, 0, Duration::ZERO));
    assert_eq!(quiet, (2 * SECOND, Some("moving")));
    let busy = ends(rig(), |at| {
        let events = 50 * u64::try_from(at.as_millis()).unwrap() / 1000;
        (events, events, 0, Duration::ZERO)
    });
    assert_eq!(busy, (2 * QUARTER, Some("moving")));
}

#[test]
fn a_canary_whose_handlers_fail_goes_back_before_anything_else_moved() {
    // One event a second: five are judged.
    let failing = ends(canary_serves(Duration::ZERO), |at| {
        (seconds(at), seconds(at), seconds(at), Duration::ZERO)
    });
    assert_eq!(failing, (5 * SECOND, Some("rolling back")));
}

#[test]
fn a_canary_that_finishes_nothing_is_looked_at_on_and_goes_back() {
    let hanging = ends(canary_serves(Duration::ZERO), |at| (seconds(at), 0, 0, at));
    assert_eq!(hanging, (5 * SECOND + QUARTER, Some("rolling back")));
    // One event says too little.
    let one = ends(canary_serves(Duration::ZERO), |at| (1, 0, 0, at));
    assert_eq!(one, (10 * SECOND, Some("moving")));
}

#[test]
fn handlers_that_were_as_slow_before_are_no_fault_of_the_new_build() {
    let slow = ends(canary_serves(4 * SECOND), |at| (seconds(at), 0, 0, at));
    assert_eq!(slow, (2 * SECOND, Some("moving")));
}

#[test]
fn nothing_moves_while_the_canary_is_looked_at() {
    let mut rig = canary_serves(Duration::ZERO);
    for _ in 0..7 {
        let actions = rig.say(B, fares(u64::MAX - 1, 1, 1, 0, Duration::ZERO));
        assert_eq!(orders(&actions), [""; 0]);
        rig.wait(QUARTER);
    }
    rig.wait(QUARTER);
    let actions = orders(&rig.say(B, fares(u64::MAX - 1, 1, 1, 0, Duration::ZERO)));
    assert_eq!(actions, ["a CopyState 1@1", "a CopyState 2@1"]);
}

#[test]
fn a_canary_is_not_looked_at_where_it_is_all_or_where_that_is_not_wanted() {
    for (shards, time) in [(1, 2 * SECOND), (3, Duration::ZERO)] {
        let mut settings = settings(shards);
        settings.canary_time = time;
        let (mut rig, _) = Rig::moving(settings);
        rig.move_shard(A, B, 0, 1);
        assert_ne!(rig.step(), Some("canary"));
    }
}

#[test]
fn an_operator_can_stop_a_deploy_whose_canary_is_looked_at() {
    let mut rig = canary_serves(Duration::ZERO);
    let request = RequestId(5);
    let actions = orders(&rig.input(Input::Abort {
        request,
        slot: None,
    }));
    assert_eq!(actions, ["save now 0@3 Reserved a", "b Seal 0@2"]);
    rig.say(B, sealed(0, 2, 100));
    rig.say(A, resumed(0, 3));
    assert_eq!(rig.step(), None);
    assert_eq!(orders(&rig.wait(SECOND)), [""; 0]);
}

// ---- and the soak ------------------------------------------------------------

/// The step after a soak at whose end the new slave says this, of an old slave that said
/// before, word by word, that its oldest unfinished event was so old.
fn after_soak(before: &[Duration], handed: u64, finished: u64, lag: u64) -> Option<&'static str> {
    let mut rig = moved(before);
    says_lag(&mut rig, B);
    rig.wait(10 * SECOND);
    rig.say(
        B,
        fares(0, handed, finished, 0, SECOND * u32::try_from(lag).unwrap()),
    );
    rig.step()
}

/// The only shard is at the new slave. The old one said this before the deploy, word by
/// word.
fn moved(words: &[Duration]) -> Rig {
    let mut rig = Rig::serving(1);
    says_lag(&mut rig, A);
    for word in words {
        rig.say(A, fares(1, 1000, 1000, 0, *word));
    }
    rig.join(B, Role::Candidate);
    rig.say(A, prepared(true));
    rig.say(B, prepared(false));
    rig.move_shard(A, B, 0, 1);
    rig.say(A, ToMaster::StopWork(work(1, b"")));
    rig.say(B, ToMaster::StartWork(work(2, b"")));
    rig
}

#[test]
fn a_build_that_does_not_finish_its_events_is_rolled_back_after_the_soak() {
    let prompt = &[Duration::ZERO];
    assert_eq!(after_soak(prompt, 40, 0, 9), Some("rolling back"));
    assert_eq!(after_soak(prompt, 40, 19, 9), Some("rolling back"));
    assert_eq!(
        after_soak(prompt, 40, 20, 9),
        Some("retiring"),
        "half of them"
    );
    assert_eq!(
        after_soak(prompt, 40, 0, 4),
        Some("retiring"),
        "not for long"
    );
    assert_eq!(after_soak(prompt, 4, 0, 9), Some("retiring"), "too few");
    assert_eq!(
        after_soak(prompt, 0, 0, 9),
        Some("retiring"),
        "it says not how many"
    );
    assert_eq!(
        after_soak(&[6 * SECOND], 40, 0, 9),
        Some("retiring"),
        "as before"
    );
    assert_eq!(
        after_soak(&[], 40, 0, 9),
        Some("retiring"),
        "before is not known"
    );
}

/// Whether a new slave whose oldest event is 9 s old is kept, where the old one said this
/// before, word by word.
fn kept_after(words: &[Duration]) -> bool {
    after_soak(words, 40, 0, 9) == Some("retiring")
}

#[test]
fn what_is_usual_is_the_oldest_of_late_and_not_the_last_word() {
    let idle = Duration::ZERO;
    assert!(kept_after(&[8 * SECOND]), "slow handlers");
    assert!(kept_after(&[8 * SECOND, idle]), "nothing ran just then");
    let mut long_ago = vec![idle; 30];
    assert!(!kept_after(&long_ago), "it was always prompt");
    long_ago.insert(0, 8 * SECOND);
    assert!(!kept_after(&long_ago), "it hung once");
}

#[test]
fn a_slave_that_has_its_shards_back_is_compared_with_what_was_usual_before_they_left() {
    let mut rig = moved(&[8 * SECOND]);
    for _ in 0..30 {
        rig.say(A, fares(1, 1000, 1000, 0, Duration::ZERO));
    }
    let usual = rig.core.fleet.slaves[&A].usual_lag;
    assert_eq!(usual, Some(8 * SECOND));
}
