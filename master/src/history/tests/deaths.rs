//! Who died, as the history knows it.

use super::*;

#[test]
fn a_slave_that_a_word_calls_dead_is_among_the_dead_until_its_process_is_known_to_have_ended() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = Heard::open(dir.path(), Term::default());
    first.told(0, joined(OLD, "v1"));
    first.told(
        1,
        News::SlaveGone {
            slave: OLD,
            dead: Some(Evidence::Operator),
            held: 2,
            slot: "main".to_owned(),
            build: "v1".to_owned(),
            pid: 7,
            host: None,
        },
    );
    let request = RequestId(1);
    first.told(
        2,
        News::Fenced {
            request,
            slave: OLD,
        },
    );
    let [died] = first.deaths().try_into().unwrap();
    assert_eq!((died.evidence, died.pid), (Evidence::Operator, 7));
    assert_eq!(died.ending, "the operator said that it is dead");
    first.leaves();
    drop(first);
    until_written(dir.path(), 4);
    let mut second = Heard::open(dir.path(), Term::default());
    assert_eq!(second.deaths(), [died], "the next master knows it");
    let mut ended = death();
    ended.slave = Some(OLD);
    second.told(0, News::SlaveEnded(Box::new(ended)));
    let [died] = second.deaths().try_into().unwrap();
    assert_eq!(died.evidence, Evidence::Process);
    assert_eq!(died.ending, "exit code 1");
    second.leaves();
    drop(second);
    until_written(dir.path(), 7);
    let third = History::open(dir.path(), Term::default());
    let [again] = third.deaths().try_into().unwrap();
    assert_eq!(
        (again.evidence, again.ending),
        (Evidence::Process, died.ending),
        "and so does the one after it"
    );
}

#[test]
fn a_slave_that_a_word_called_dead_and_that_ended_as_ordered_is_not_among_the_dead() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = Heard::open(dir.path(), Term::default());
    first.told(
        0,
        News::SlaveGone {
            slave: OLD,
            dead: Some(Evidence::Lease),
            held: 2,
            slot: "main".to_owned(),
            build: "v1".to_owned(),
            pid: 7,
            host: None,
        },
    );
    assert_eq!(first.deaths().len(), 1);
    let mut ended = death();
    (ended.slave, ended.ending) = (Some(OLD), EndedBy::Code(0));
    first.told(1, News::SlaveEnded(Box::new(ended)));
    assert_eq!(first.deaths(), []);
    first.leaves();
    drop(first);
    until_written(dir.path(), 4);
    let second = History::open(dir.path(), Term::default());
    assert_eq!(second.deaths(), []);
}

#[test]
fn a_death_is_told_with_its_last_words() {
    let mut death = death();
    assert_eq!(
        death.told(),
        "exit code 1 after 200 ms; its last words: no token"
    );
    death.last_lines = [
        "panicked thread=\"main\" what=\"no token\" trace=\"0: main\"",
        "note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace",
    ]
    .map(str::to_owned)
    .to_vec();
    let told = death.told();
    assert!(told.ends_with("what=\"no token\""), "{told}");
    death.ending = EndedBy::Signal(9);
    death.lived = Some(Duration::from_millis(3_661_234));
    death.last_lines.clear();
    let told = death.told();
    assert!(
        told.starts_with("killed by signal 9 (SIGKILL), and not by the master"),
        "{told}"
    );
    assert!(told.ends_with("after 61 min; it wrote nothing"), "{told}");
}

#[test]
fn a_death_is_its_deploys_unless_the_slot_was_the_slaves() {
    let back = Outcome::RolledBack {
        shard: None,
        reason: "died".to_owned(),
    };
    let died = |slave| {
        let mut death = death();
        death.slave = slave;
        News::SlaveEnded(Box::new(death))
    };
    let of = |news: Vec<News>| {
        let dir = tempfile::tempdir().unwrap();
        let mut heard = Heard::open(dir.path(), Term::default());
        for (at, news) in news.into_iter().enumerate() {
            heard.told(at as u64, news);
        }
        let [died] = heard.deaths().try_into().unwrap();
        let kept = heard.events(0).pop().unwrap();
        let kept = kept["candidate_of"].as_u64();
        (died.candidate_of, kept)
    };
    // Before it joined; joined, and the end of the deploy comes first.
    assert_eq!(of(vec![began(1), died(None)]), (Some(1), Some(1)));
    let went_back = vec![began(1), joined(NEW, "v2"), ended(back), died(Some(NEW))];
    assert_eq!(of(went_back), (Some(1), Some(1)));
    // A standby of before, which the deploy moved to.
    let standby = vec![
        joined(NEW, "v2"),
        began(1),
        migration(0, MovePhase::Copying),
        died(Some(NEW)),
    ];
    assert_eq!(of(standby), (Some(1), Some(1)));
    // The slot was its own, or never was another's.
    let done = vec![
        began(1),
        joined(NEW, "v2"),
        ended(Outcome::Done),
        died(Some(NEW)),
    ];
    assert_eq!(of(done), (None, None));
    assert_eq!(of(vec![began(1), died(Some(OLD))]), (None, None));
    assert_eq!(of(vec![died(None)]), (None, None));
}
