//! How long a slave waits for what.

use std::time::Duration;

use super::setters;

/// Deadlines and pauses; the defaults are for Discord, tests scale them down.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timings {
    /// Dial to HELLO. Below the master's limit for a resume without progress, so
    /// that there is another try; and a busy shard's replay buffer holds only
    /// some seconds.
    pub hello: Duration,
    /// Without any message while a replay is due: dial again.
    pub progress: Duration,
    /// HELLO to RESUMED, however many events come between: where RESUMED is
    /// missing, the events of today look like a replay. The next RESUME goes on
    /// behind what came.
    pub replay: Duration,
    /// `hello`, `progress`, `replay` and `ready` double each time that they pass, up
    /// to this: a slow server gets longer, until the limit fits.
    pub longest: Duration,
    /// A session that no slave could resume for so long is over. Discord does not document
    /// how long it keeps one; 90 s were measured.
    pub session: Duration,
    /// How long a connection that was dialled ahead is held before it is dialled
    /// again: it cannot heartbeat, and Discord's heartbeats are due every 41 s.
    pub hold: Duration,
    /// IDENTIFY to READY. Each try costs an IDENTIFY, and a connection that is dead is
    /// noticed by its heartbeats before.
    pub ready: Duration,
    /// First pause between reconnects; the very first reconnect has none.
    pub redial_first: Duration,
    /// Longest pause between reconnects ...
    pub redial_max: Duration,
    /// ... and while the session may still be resumed: a pause must not outlive it.
    pub redial_session: Duration,
    /// A connection that served for so long clears the memory of failures.
    pub stable: Duration,
    /// Shortest wait after op 9 `d:true`; the longest is five times as long.
    pub invalid_session: Duration,
    /// How long a full window stops reading before the connection is closed.
    pub crowded: Duration,
    /// A shard that takes nothing resumes its session so often, or Discord would forget it:
    /// with `crowded`, well below `session`.
    pub keep: Duration,
    /// An event that was given back is handed out again after so long ...
    pub retry_delay: Duration,
    /// ... and so often.
    pub retries: u32,
    /// How long what is in doubt may run when the slave leaves by itself.
    pub drain: Duration,
    /// How long a slave that is asked to end waits for a successor to take over, where
    /// the master has one, before it leaves by itself. It serves meanwhile. Zero: it
    /// does not ask for one.
    pub followed: Duration,
    /// Dial and handshake with the master.
    pub handshake: Duration,
    /// A master that says nothing for so long (it pings every 5 s) is dialled
    /// again.
    pub master_silence: Duration,
    /// First pause before the master is dialled again.
    pub master_redial_first: Duration,
    /// Longest such pause: no slave serves a sealed shard until the
    /// master is back.
    pub master_redial_max: Duration,
    /// Pause before a legacy master is dialled again, after a dial that failed.
    #[cfg(feature = "legacy")]
    pub legacy_redial: Duration,
    /// A legacy migration in which a master says nothing for so long stands
    /// still; a target that has nothing yet asks for work again then.
    #[cfg(feature = "legacy")]
    pub legacy_patience: Duration,
    /// Shortest time between two IDENTIFYs of one bucket where no master grants
    /// them: Discord's 5 s and a margin.
    #[cfg(feature = "legacy")]
    pub identify_window: Duration,
}

impl Default for Timings {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            hello: seconds(4),
            progress: seconds(5),
            replay: seconds(15),
            longest: seconds(300),
            session: seconds(120),
            hold: seconds(20),
            ready: seconds(120),
            redial_first: seconds(1),
            redial_max: seconds(60),
            redial_session: seconds(5),
            stable: seconds(5),
            invalid_session: seconds(1),
            crowded: seconds(15),
            keep: seconds(45),
            retry_delay: Duration::from_millis(250),
            retries: 5,
            drain: seconds(10),
            followed: seconds(15),
            handshake: seconds(10),
            master_silence: seconds(30),
            master_redial_first: Duration::from_millis(100),
            master_redial_max: seconds(1),
            #[cfg(feature = "legacy")]
            legacy_redial: seconds(5),
            #[cfg(feature = "legacy")]
            legacy_patience: seconds(60),
            #[cfg(feature = "legacy")]
            identify_window: Duration::from_millis(5250),
        }
    }
}

impl Timings {
    setters! {
        with_hello hello: Duration,
        with_progress progress: Duration,
        with_replay replay: Duration,
        with_longest longest: Duration,
        with_session session: Duration,
        with_hold hold: Duration,
        with_ready ready: Duration,
        with_redial_first redial_first: Duration,
        with_redial_max redial_max: Duration,
        with_redial_session redial_session: Duration,
        with_stable stable: Duration,
        with_invalid_session invalid_session: Duration,
        with_crowded crowded: Duration,
        with_keep keep: Duration,
        with_retry_delay retry_delay: Duration,
        with_retries retries: u32,
        with_drain drain: Duration,
        with_followed followed: Duration,
        with_handshake handshake: Duration,
        with_master_silence master_silence: Duration,
        with_master_redial_first master_redial_first: Duration,
        with_master_redial_max master_redial_max: Duration,
    }

    #[cfg(feature = "legacy")]
    setters! {
        with_legacy_redial legacy_redial: Duration,
        with_legacy_patience legacy_patience: Duration,
        with_identify_window identify_window: Duration,
    }
}
