//! RESUME: the checks, the replay, RESUMED.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    Connection,
    command::Command,
    replay::{Cut, Shaping},
};
use crate::{
    clock::monotonic_us,
    config::ResumeWhileConnected,
    counters::Count,
    faults::{FaultName, When},
    id::{Fingerprint, NOBODY},
    kind::EventKind,
    ledger::What,
    server::bare_token,
    session::{Outgoing, Replace, ResumeError, Session},
    wire::end::{End, ends_session},
};

#[derive(Deserialize)]
struct Resume {
    token: String,
    session_id: String,
    seq: u64,
}

impl<S> Connection<S>
where
    S: AsyncRead + AsyncWrite + Send + Unpin,
{
    pub(super) async fn resume(&mut self, data: Value) -> Result<(), End> {
        if self.session.is_some() {
            return Err(End::Close(4005, "already authenticated"));
        }
        let Ok(resume) = serde_json::from_value::<Resume>(data) else {
            return Err(End::Close(4002, "RESUME is not complete"));
        };
        let session = self.shared.session(&resume.session_id);
        if let Some(session) = &session {
            self.name_shard(session.params.shard);
        }
        let fingerprint = Fingerprint::of(&resume.session_id);
        let plain_url = self.opening.resume_shard.is_none();
        self.shared
            .counters
            .add(self.shard, Count::ResumeReceived { plain_url });
        let url = if plain_url { " at the plain URL" } else { "" };
        let detail = format!("seq {}{url}", resume.seq);
        self.shared
            .note(self.id, self.shard, Some(fingerprint), What::Resume, detail);

        self.shaping = Shaping::default();
        let mut says_resumed = true;
        for fault in self.shared.faults.take(When::Resume, self.shard) {
            let now = fault.delay_ms == 0;
            if fault.name == FaultName::NoResumed {
                says_resumed = false;
            } else if fault.name == FaultName::SlowReplay {
                self.shaping.slow = Some(fault.duration());
            } else if fault.name == FaultName::SlowResumed {
                self.shaping.resumed_late = Some(fault.duration());
            } else if fault.name == FaultName::CloseInReplay {
                self.shaping.cut = Some(Cut::new(&fault));
            } else if now && fault.name == FaultName::ExpireSession {
                session.iter().for_each(|session| session.expire());
            } else if now && fault.name == FaultName::Trim {
                session.iter().for_each(|session| session.trim_to(u64::MAX));
            } else if now && fault.name.replaces_answer() {
                self.refused("fault");
                let closes = matches!(fault.name, FaultName::Close | FaultName::CloseOnResume)
                    && ends_session(fault.code);
                if let Some(session) =
                    session.filter(|_| closes || fault.name == FaultName::Op9False)
                {
                    session.end(Some(self.id), || Command::SessionEnded);
                }
                return self.carry_out(&fault).await;
            } else {
                self.schedule(fault).await?;
            }
        }
        if !self.shared.accepts_token(&resume.token) {
            self.refused("token");
            return Err(End::Close(4004, "authentication failed"));
        }
        let Some(session) = session else {
            return self.refuse_resume("unknown session", None).await;
        };
        if let Some(other) = self.differs(&session, &resume.token) {
            return self.refuse_resume(other, Some(&session)).await;
        }
        self.attach(session, resume.seq, says_resumed).await
    }

    /// What is not the same as when the session was identified.
    fn differs(&self, session: &Session, token: &str) -> Option<&'static str> {
        let params = &session.params;
        if params.token != bare_token(token) {
            return Some("another token");
        }
        if params.version != self.version {
            return Some("another API version");
        }
        if params.compression != self.compression {
            return Some("another compression");
        }
        None
    }

    async fn attach(
        &mut self,
        session: Arc<Session>,
        seq: u64,
        says_resumed: bool,
    ) -> Result<(), End> {
        let connected = self.shared.settings.get().resume_while_connected;
        let replace = match connected {
            ResumeWhileConnected::TakeOver => Replace::TakeOver,
            ResumeWhileConnected::Refuse | ResumeWhileConnected::RefuseFalse => Replace::Refuse,
            ResumeWhileConnected::Both => Replace::Keep,
        };
        let window = self.shared.config.resume_window;
        match session.resume(seq, self.attachment(), window, replace) {
            Ok(missed) => self.replaying = missed,
            Err(ResumeError::Gone) => {
                return self.refuse_resume("session expired", Some(&session)).await;
            }
            Err(ResumeError::Trimmed) => {
                return self
                    .refuse_resume("sequence below the replay buffer", Some(&session))
                    .await;
            }
            Err(ResumeError::SeqTooHigh) => {
                self.refused("sequence too high");
                session.end(None, || Command::SessionEnded);
                return Err(End::Close(4007, "invalid seq"));
            }
            Err(ResumeError::Connected) if connected == ResumeWhileConnected::RefuseFalse => {
                return self.refuse_resume("still connected", Some(&session)).await;
            }
            Err(ResumeError::Connected) => {
                self.refused("still connected");
                return self.invalid_session(true).await;
            }
        }
        self.session = Some(Arc::clone(&session));
        self.shared.counters.add(self.shard, Count::Resume);
        let hears = if says_resumed {
            self.id
        } else {
            self.note(What::Fault, "no_resumed".to_owned());
            NOBODY
        };
        let resumed = Outgoing {
            kind: EventKind::Resumed,
            guild: 0,
            body: r#"{"_trace":["[\"baton-discord\",{\"micros\":0}]"]}"#.into(),
            created_us: monotonic_us(),
            probe: false,
            only: Some(hears),
        };
        session.push(resumed, &self.shared.ledger);
        Ok(())
    }

    fn refused(&self, reason: &str) {
        self.shared
            .counters
            .add(self.shard, Count::ResumeRefused(reason));
        self.note(What::Refused, reason.to_owned());
    }

    /// Op 9 `d:false`, which ends the session.
    async fn refuse_resume(&mut self, reason: &str, session: Option<&Session>) -> Result<(), End> {
        self.refused(reason);
        if let Some(session) = session {
            session.end(Some(self.id), || Command::SessionEnded);
        }
        self.invalid_session(false).await
    }
}
