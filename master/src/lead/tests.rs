//! The key of the leader, against a real nats-server.
#![allow(clippy::unwrap_used)]

use super::{
    lease::{self, Renewed},
    *,
};
use crate::store::nats::{Bucket, tests::Server};

fn named(host: &str) -> Named {
    Named {
        id: format!("run of {host}"),
        host: host.to_owned(),
        listen: format!("{host}:7447"),
        ..Named::default()
    }
}

/// Runs a test with the bucket of leaders.
fn with_bucket<Test: Future<Output = ()>>(test: impl FnOnce(Bucket) -> Test) {
    let Some(server) = Server::start() else {
        return;
    };
    let bucket = server.buckets().leader;
    server.runtime.block_on(test(bucket));
}

#[test]
fn of_two_masters_one_leads_and_the_other_sees_who() {
    with_bucket(|bucket| async move {
        let seat = lease::look(&bucket).await.unwrap();
        assert_eq!((seat.leader(), seat.sequence), (None, 0));
        let (a, b) = (named("a"), named("b"));
        let mut lease = lease::take(&bucket, &a, 0).await.unwrap().unwrap();
        assert!(lease::take(&bucket, &b, 0).await.unwrap().is_none());
        let seat = lease::look(&bucket).await.unwrap();
        assert_eq!(seat.leader(), Some(&a));
        for _ in 0..3 {
            assert!(matches!(lease.renew().await, Ok(Renewed::Kept)));
        }
        // By what it saw first the other one takes nothing.
        let late = lease::take(&bucket, &b, seat.sequence).await.unwrap();
        assert!(late.is_none());
    });
}

#[test]
fn a_leader_whose_key_another_one_has_leads_no_more() {
    with_bucket(|bucket| async move {
        let (a, b) = (named("a"), named("b"));
        let mut old = lease::take(&bucket, &a, 0).await.unwrap().unwrap();
        let seat = lease::look(&bucket).await.unwrap();
        lease::take(&bucket, &b, seat.sequence)
            .await
            .unwrap()
            .unwrap();
        let Ok(Renewed::Lost(why)) = old.renew().await else {
            panic!("the old one leads");
        };
        assert!(why.contains("the master on b (b:7447) leads now"), "{why}");
        // What the old one gives back is not the new one's.
        old.release("").await.unwrap();
        assert_eq!(lease::look(&bucket).await.unwrap().leader(), Some(&b));
    });
}

#[test]
fn a_renewal_whose_answer_was_lost_and_a_key_that_ran_out_end_no_lead() {
    with_bucket(|bucket| async move {
        let a = named("a");
        let mut lease = lease::take(&bucket, &a, 0).await.unwrap().unwrap();
        let renewed = serde_json::to_vec(&a).unwrap();
        bucket.put("leader", None, renewed.into()).await.unwrap();
        assert!(matches!(lease.renew().await, Ok(Renewed::Kept)));
        bucket.delete("leader", None).await.unwrap();
        assert!(matches!(lease.renew().await, Ok(Renewed::Kept)));
        assert_eq!(lease::look(&bucket).await.unwrap().leader(), Some(&a));
    });
}

#[test]
fn who_stepped_down_says_for_whom() {
    with_bucket(|bucket| async move {
        let (a, b) = (named("a.x"), named("b"));
        lease::stand_by(&bucket, &a).await.unwrap();
        lease::stand_by(&bucket, &b).await.unwrap();
        let standbys = lease::standbys(&bucket, &a).await.unwrap();
        assert_eq!(standbys, std::slice::from_ref(&b));
        lease::stand_by_no_more(&bucket, &b).await.unwrap();
        assert!(lease::standbys(&bucket, &a).await.unwrap().is_empty());
        let lease = lease::take(&bucket, &a, 0).await.unwrap().unwrap();
        lease.release("b").await.unwrap();
        let seat = lease::look(&bucket).await.unwrap();
        assert_eq!(seat.leader(), None);
        assert_eq!(seat.left().map(|left| left.yields_to.as_str()), Some("b"));
    });
}
