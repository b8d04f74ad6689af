//! Obeying: commands of other tasks, and faults on this connection.

use std::time::Duration;

use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, sleep},
};
use tokio_websockets::Message;

use super::{
    Connection,
    command::Command,
    send::{OVERRUN, TAKEN_OVER, TOKEN_RESET},
};
use crate::{
    faults::{Fault, FaultName},
    ledger::What,
    wire::end::End,
};

/// Bytes of the huge frame.
const HUGE: usize = 16 << 20;

impl<S> Connection<S>
where
    S: AsyncRead + AsyncWrite + Send + Unpin,
{
    pub(super) async fn obey(&mut self, command: Command) -> Result<(), End> {
        match command {
            Command::TakenOver => Err(TAKEN_OVER),
            Command::TokenReset => Err(TOKEN_RESET),
            Command::Overrun => Err(OVERRUN),
            Command::SessionEnded => {
                self.session = None;
                self.invalid_session(false).await
            }
            Command::Fault(fault) => self.carry_out(&fault).await,
        }
    }

    /// Op 9.
    pub(super) async fn invalid_session(&mut self, resumable: bool) -> Result<(), End> {
        self.send_text(format!(r#"{{"t":null,"s":null,"op":9,"d":{resumable}}}"#))
            .await
    }

    /// Carries a fault out now, or after its delay while the connection goes on.
    pub(super) async fn schedule(&mut self, mut fault: Fault) -> Result<(), End> {
        if fault.delay_ms == 0 {
            return self.carry_out(&fault).await;
        }
        let delay = Duration::from_millis(std::mem::take(&mut fault.delay_ms));
        let tell = self.attachment().commands;
        let stop = self.shared.stop.clone();
        self.shared.tasks.spawn(async move {
            tokio::select! {
                () = sleep(delay) => { let _ = tell.try_send(Command::Fault(fault)); }
                () = tell.closed() => {}
                () = stop.cancelled() => {}
            }
        });
        Ok(())
    }

    /// Carries a fault out on this connection.
    pub(super) async fn carry_out(&mut self, fault: &Fault) -> Result<(), End> {
        self.note(What::Fault, fault.name.name().to_owned());
        match fault.name {
            FaultName::Op7 | FaultName::Op7BeforeHello => {
                self.send_text(r#"{"t":null,"s":null,"op":7,"d":null}"#.to_owned())
                    .await
            }
            FaultName::Op9True => {
                if let Some(session) = self.session.take() {
                    session.detach(self.id);
                }
                self.invalid_session(true).await
            }
            FaultName::Op9False => {
                if let Some(session) = self.session.take() {
                    session.end(Some(self.id), || Command::SessionEnded);
                }
                self.invalid_session(false).await
            }
            FaultName::Close | FaultName::CloseOnResume | FaultName::CloseOnIdentify => {
                Err(End::by_fault(fault.code))
            }
            FaultName::Reset => {
                self.link.reset();
                Err(End::Lost("reset"))
            }
            FaultName::Drop => {
                self.link.cut();
                Ok(())
            }
            FaultName::NoAck => {
                let forever = Duration::from_secs(30 * 24 * 3600);
                let lasting = if fault.duration_ms == 0 {
                    forever
                } else {
                    fault.duration()
                };
                self.no_ack_until = Some(Instant::now() + lasting);
                Ok(())
            }
            FaultName::BadZstd => {
                let garbage = Bytes::from_static(&[0xde, 0xad, 0xbe, 0xef, 0, 0xff, 0x28, 0xb5]);
                self.send(vec![Message::binary(garbage)]).await
            }
            FaultName::BadJson => {
                self.send_text(r#"{"t":"MESSAGE_CREATE","s":"#.to_owned())
                    .await
            }
            FaultName::UnknownOp => {
                self.send_text(r#"{"t":null,"s":null,"op":99,"d":null}"#.to_owned())
                    .await
            }
            FaultName::HugeFrame => {
                let mut payload = String::with_capacity(HUGE + 64);
                payload.push_str(r#"{"t":null,"s":null,"op":11,"d":null,"pad":""#);
                payload.extend(std::iter::repeat_n('x', HUGE));
                payload.push_str("\"}");
                self.send_text(payload).await
            }
            FaultName::Stall => {
                sleep(fault.duration()).await;
                self.beaten();
                Ok(())
            }
            FaultName::Flood | FaultName::ExpireSession | FaultName::Trim => {
                let mine = Fault {
                    shard: self.shard,
                    ..fault.clone()
                };
                if mine.shard.is_some() {
                    self.shared.fault_now(&mine);
                }
                Ok(())
            }
            FaultName::NoResumed
            | FaultName::SlowReplay
            | FaultName::SlowResumed
            | FaultName::CloseInReplay
            | FaultName::SlowReady
            | FaultName::NoHello
            | FaultName::SlowHello
            | FaultName::OddHello
            | FaultName::Away
            | FaultName::Bot429
            | FaultName::Bot429Body
            | FaultName::Bot429Bare
            | FaultName::Bot1015
            | FaultName::BotStatus
            | FaultName::BotAnswer
            | FaultName::AcceptAndClose
            | FaultName::RefuseConnect
            | FaultName::ResumeUrlDead => {
                // Only at other moments, which `Fault::validate` makes sure of.
                Ok(())
            }
        }
    }
}
