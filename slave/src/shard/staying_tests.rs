use super::*;
use crate::{shard::gateway::End, state::stays::fake::Fake};

/// A message in a guild.
fn message(sequence: u64, guild: u64) -> Incoming {
    Incoming::Dispatch {
        sequence: Sequence(sequence),
        kind: "MESSAGE_CREATE".into(),
        json: format!(r#"{{"d":{{"guild_id":"{guild}"}}}}"#),
    }
}

/// State of the session `a` that stands at 10, as it was found or received.
fn staying(fake: &Fake, received: Option<Copied>) -> Staying {
    fake.kept().stands = Sequence(10);
    let mut staying = Staying::default();
    let is_received = received.is_some();
    if let Some(copied) = received {
        staying.has_come(copied);
    }
    let taken = Taken {
        owned: Box::new(fake.clone()),
        session: Some("a".into()),
        whole: Ok(Sequence(10)),
        received: is_received,
    };
    assert_eq!(staying.takes(taken), Ok(Sequence(10)));
    staying
}

const QUICKLY: (bool, bool) = (true, false);

#[tokio::test]
async fn an_event_that_a_received_piece_holds_changes_where_the_state_stands_and_nothing_else() {
    let fake = Fake::default();
    let copied = Copied::of_pieces("a", 10, &[(7, 12), (8, 10)]);
    let mut staying = staying(&fake, Some(copied));
    let batch = vec![message(11, 7), message(12, 8), message(13, 7)];
    let (batch, done) = staying.apply(batch, None, QUICKLY).await;
    assert_eq!((batch.len(), done), (3, Ok(())));
    let changed = |sequence| (sequence, "MESSAGE_CREATE".to_owned());
    let expected = [(11, String::new()), changed(12), changed(13)];
    assert_eq!(fake.kept().applied, expected);
}

#[tokio::test]
async fn what_a_received_piece_holds_is_not_applied_to_it_after_a_refusal_either() {
    let fake = Fake::default();
    let copied = Copied::of_pieces("a", 10, &[(7, 12)]);
    let mut staying = staying(&fake, Some(copied));
    fake.kept().full = 1;
    let mut batch = vec![message(11, 7), message(13, 7)];
    for done in [Err(Refusal::NoRoom("full".to_owned())), Ok(())] {
        let applied;
        (batch, applied) = staying.apply(batch, None, QUICKLY).await;
        assert_eq!(applied, done);
    }
    let expected = [(11, String::new()), (13, "MESSAGE_CREATE".to_owned())];
    assert_eq!(fake.kept().applied, expected);
}

#[tokio::test]
async fn a_session_that_begins_behind_a_copy_begins_with_nothing_of_it() {
    let fake = Fake::default();
    let copied = Copied::of_pieces("a", 10, &[(7, 12)]);
    let mut staying = staying(&fake, Some(copied));
    let ready = Incoming::Dispatch {
        sequence: Sequence(1),
        kind: "READY".into(),
        json: "{}".to_owned(),
    };
    let (_, done) = staying.apply(vec![ready], Some("b"), QUICKLY).await;
    assert_eq!(done, Ok(()));
    let (_, done) = staying.apply(vec![message(2, 7)], None, QUICKLY).await;
    assert_eq!(done, Ok(()));
    let expected = [(1, "READY".to_owned()), (2, "MESSAGE_CREATE".to_owned())];
    assert_eq!(fake.kept().applied, expected);
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_is_given_back_and_applied_when_there_is_room() {
    let fake = Fake::default();
    let mut staying = staying(&fake, None);
    fake.kept().full = 2;
    for _ in 0..2 {
        assert!(staying.wants(Sequence(11), false));
        let (batch, done) = staying.apply(vec![message(11, 7)], None, QUICKLY).await;
        assert_eq!(
            (batch.len(), done),
            (1, Err(Refusal::NoRoom("full".to_owned())))
        );
        let again = staying.waits_until().map(|again| again - Instant::now());
        assert_eq!(again, Some(AGAIN));
        tokio::time::advance(AGAIN).await;
    }
    let (_, done) = staying.apply(vec![message(11, 7)], None, QUICKLY).await;
    assert_eq!((done, staying.waits_until()), (Ok(()), None));
    assert!(!staying.wants(Sequence(11), false), "it holds it");
}

#[tokio::test]
async fn a_seal_says_where_whole_state_stands_and_leaves_nothing_to_write_with() {
    let fake = Fake::default();
    let mut staying = staying(&fake, None);
    assert_eq!(staying.seal(), Some(Sequence(10)));
    assert!(!staying.wants(Sequence(11), false));
    let (batch, done) = staying.apply(vec![message(11, 7)], None, QUICKLY).await;
    assert_eq!((batch.len(), done), (1, Ok(())));
    assert!(fake.kept().applied.is_empty());
    assert_eq!(staying.seal(), None);
}

#[test]
fn what_is_no_dispatch_changes_nothing() {
    let batch = [
        Incoming::Alive,
        Incoming::Ended(End::Reconnect),
        message(3, 7),
    ];
    assert_eq!(changes(&batch, &[]).len(), 1);
}
