use tokio::time::advance;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn closed() -> End {
    End::Closed {
        code: 1006,
        reason: String::new(),
    }
}

fn refused() -> End {
    End::Dial("refused".to_owned())
}

#[tokio::test(start_paused = true)]
async fn the_first_reconnect_is_at_once_and_the_pauses_grow_to_a_minute_without_a_session() {
    let timings = Timings::default();
    let mut redial = Redial::new();
    assert_eq!(redial.ended(&closed(), false, &timings), Duration::ZERO);
    let mut last = Duration::ZERO;
    for _ in 0..20 {
        let pause = redial.ended(&closed(), false, &timings);
        assert!(pause >= SECOND / 2 && pause <= 60 * SECOND);
        last = pause;
    }
    assert!(last >= 30 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_away_is_dialled_every_five_seconds_while_the_session_may_be_resumed() {
    let timings = Timings::default();
    let mut redial = Redial::new();
    redial.serving();
    advance(60 * SECOND).await;
    let lost = Instant::now();
    let mut last = lost;
    while lost.elapsed() < timings.session {
        let pause = redial.ended(&refused(), true, &timings);
        assert!(pause <= 5 * SECOND, "{pause:?}");
        advance(pause).await;
        assert!(last.elapsed() <= 5 * SECOND);
        last = Instant::now();
        assert_eq!(redial.session_is_over(&timings), None, "nobody said so");
    }
    let later: Vec<_> = (0..8)
        .map(|_| redial.ended(&refused(), true, &timings))
        .collect();
    assert!(later.iter().any(|pause| *pause > 20 * SECOND), "{later:?}");
}

#[tokio::test(start_paused = true)]
async fn a_session_of_which_each_resume_is_closed_is_over_after_its_life_and_not_before() {
    let timings = Timings::default();
    let mut redial = Redial::new();
    redial.serving();
    advance(1000 * SECOND).await;
    let lost = Instant::now();
    let mut resumes = 0;
    while redial.session_is_over(&timings).is_none() {
        let pause = redial.ended(&closed(), true, &timings);
        advance(pause).await;
        redial.refused();
        resumes += 1;
        assert!(lost.elapsed() < timings.session + 6 * SECOND);
    }
    assert!(lost.elapsed() >= timings.session);
    assert!((20..60).contains(&resumes), "{resumes}");
}

#[tokio::test(start_paused = true)]
async fn one_refusal_after_a_long_absence_does_not_end_a_session() {
    let timings = Timings::default();
    let mut redial = Redial::new();
    redial.ended(&refused(), true, &timings);
    advance(600 * SECOND).await;
    for _ in 0..REFUSALS {
        assert_eq!(redial.session_is_over(&timings), None);
        redial.refused();
    }
    assert!(redial.session_is_over(&timings).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_replay_that_got_further_proves_the_session_and_clears_the_memory() {
    let timings = Timings::default();
    let mut redial = Redial::new();
    for _ in 0..9 {
        redial.refused();
        redial.ended(&closed(), true, &timings);
    }
    advance(200 * SECOND).await;
    redial.advanced();
    assert_eq!(redial.session_is_over(&timings), None);
    assert_eq!(redial.ended(&closed(), true, &timings), Duration::ZERO);
    // Cut short again and again, each time further on: soon, but not in a loop.
    for _ in 0..9 {
        redial.advanced();
        let pause = redial.ended(&closed(), true, &timings);
        assert!(pause >= SECOND / 8 && pause <= SECOND / 4, "{pause:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_passes_doubles_up_to_minutes_and_is_kept_for_who_needed_it() {
    let timings = Timings::default();
    let mut redial = Redial::new();
    let ready = |redial: &Redial| redial.limit(Wait::Ready, &timings);
    assert_eq!(ready(&redial), timings.ready);
    redial.passed(Wait::Ready);
    assert_eq!(ready(&redial), 2 * timings.ready);
    redial.came(Wait::Ready, timings.ready + SECOND, &timings);
    assert_eq!(
        ready(&redial),
        2 * timings.ready,
        "it will be as slow again"
    );
    for _ in 0..100 {
        redial.passed(Wait::Ready);
    }
    assert_eq!(ready(&redial), timings.longest);
    redial.came(Wait::Ready, SECOND, &timings);
    assert_eq!(ready(&redial), timings.ready);
}

#[tokio::test(start_paused = true)]
async fn a_longer_limit_leaves_time_for_another_try_while_the_session_may_be_resumed() {
    let timings = Timings::default();
    let mut redial = Redial::new();
    for _ in 0..10 {
        redial.passed(Wait::Progress);
        let left = timings.session.saturating_sub(redial.lived.elapsed());
        let limit = redial.limit(Wait::Progress, &timings);
        assert!(limit <= left / 2 || limit == timings.progress, "{limit:?}");
        advance(limit.min(left / 2)).await;
    }
    advance(timings.session).await;
    let limit = redial.limit(Wait::Progress, &timings);
    assert_eq!(limit, timings.longest);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_served_for_a_while_clears_the_memory() {
    let timings = Timings::default();
    let mut redial = Redial::new();
    for _ in 0..5 {
        redial.ended(&closed(), true, &timings);
    }
    redial.serving();
    advance(timings.stable).await;
    assert_eq!(redial.ended(&closed(), true, &timings), Duration::ZERO);
    redial.serving();
    assert!(redial.ended(&closed(), true, &timings) > Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_resume_url_that_does_not_answer_gives_way_to_the_default_one() {
    for end in [refused(), closed(), End::Reconnect] {
        let mut redial = Redial::new();
        assert_eq!(redial.url(), Url::OfSession);
        redial.ended(&end, true, &Timings::default());
        assert_eq!(redial.url(), Url::Default);
        redial.ended(&end, true, &Timings::default());
        assert_eq!(redial.url(), Url::OfSession);
    }
}

#[tokio::test(start_paused = true)]
async fn op_9_that_may_resume_waits_one_to_five_seconds() {
    let mut redial = Redial::new();
    for _ in 0..10 {
        let end = End::InvalidSession { resumable: true };
        let pause = redial.ended(&end, true, &Timings::default());
        assert!(pause >= SECOND && pause <= 5 * SECOND);
    }
}

#[tokio::test(start_paused = true)]
async fn sessions_that_are_taken_away_again_and_again_are_counted() {
    let timings = Timings::default();
    let mut redial = Redial::new();
    let taken = End::Closed {
        code: TAKEN,
        reason: String::new(),
    };
    for times in 1..4 {
        redial.serving();
        advance(Duration::from_secs(9)).await;
        redial.ended(&taken, true, &timings);
        assert_eq!(redial.taken(), times);
        // One that did not get to serve says nothing.
        redial.ended(&taken, true, &timings);
        assert_eq!(redial.taken(), times);
    }
    redial.serving();
    advance(LONG).await;
    redial.ended(&taken, true, &timings);
    assert_eq!(redial.taken(), 0);
}
