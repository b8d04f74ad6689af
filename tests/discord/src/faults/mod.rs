//! Faults by name: what can go wrong, when it does, and for whom.

mod book;
mod fault;

use serde::{Deserialize, Serialize};

pub(crate) use self::book::{AtAccept, Book};
pub use self::fault::Fault;

macro_rules! faults {
    ($($(#[doc = $help:literal])+ $variant:ident = $name:literal at $when:ident,)*) => {
        /// The faults that the simulated Discord can carry out.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub enum FaultName {
            $($(#[doc = $help])+ #[serde(rename = $name)] $variant,)*
        }

        impl FaultName {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name in requests.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// One sentence about it.
            pub const fn help(self) -> &'static str {
                match self { $(Self::$variant => concat!($($help),+),)* }
            }

            /// When it happens unless the request says otherwise.
            pub const fn usual(self) -> When {
                match self { $(Self::$variant => When::$when,)* }
            }
        }
    };
}

faults! {
    /// Op 7, reconnect; the connection goes on being served.
    Op7 = "op7" at Now,
    /// Op 7 in place of HELLO.
    Op7BeforeHello = "op7_before_hello" at Connect,
    /// Op 9 `d:true`; the session stays resumable.
    Op9True = "op9_true" at Now,
    /// Op 9 `d:false`; the session ends.
    Op9False = "op9_false" at Now,
    /// A close frame with `code` (1006: FIN without one); 1000, 4004, 4007, 4009 to 4014 end the session.
    Close = "close" at Now,
    /// `close` in answer to a RESUME.
    CloseOnResume = "close_on_resume" at Resume,
    /// `close` in answer to an IDENTIFY, which makes no session.
    CloseOnIdentify = "close_on_identify" at Identify,
    /// `close` in a replay, behind `events` of its events, at the latest in place of RESUMED.
    CloseInReplay = "close_in_replay" at Resume,
    /// TCP RST.
    Reset = "reset" at Now,
    /// Half open: no more bytes either way, and no FIN, ever.
    Drop = "drop" at Now,
    /// The websocket opens and HELLO does not come.
    NoHello = "no_hello" at Connect,
    /// HELLO comes `duration_ms` late.
    SlowHello = "slow_hello" at Connect,
    /// HELLO with `value` as its heartbeat interval; without `value`, without one.
    OddHello = "odd_hello" at Connect,
    /// READY and all behind it come `duration_ms` late; heartbeats are answered.
    SlowReady = "slow_ready" at Identify,
    /// The replay comes; RESUMED and all behind it come `duration_ms` late.
    SlowResumed = "slow_resumed" at Resume,
    /// The replay comes; RESUMED has its sequence, and is lost on its way.
    NoResumed = "no_resumed" at Resume,
    /// No more heartbeat ACKs on the connection, for `duration_ms` (0 = for ever).
    NoAck = "no_ack" at Now,
    /// For `duration_ms` (0 = until `DELETE`), TCP is accepted and closed at once.
    AcceptAndClose = "accept_and_close" at Now,
    /// For `duration_ms` (0 = until `DELETE`), nothing listens on the port: no websocket, no resume URL, no REST.
    RefuseConnect = "refuse_connect" at Now,
    /// `refuse_connect`, and every connection that is open is reset.
    Away = "away" at Now,
    /// A binary message that is not of the compressed stream.
    BadZstd = "bad_zstd" at Now,
    /// A payload that ends in the middle.
    BadJson = "bad_json" at Now,
    /// A payload with op 99.
    UnknownOp = "unknown_op" at Now,
    /// A payload of 16 MiB.
    HugeFrame = "huge_frame" at Now,
    /// `events` dispatches at once.
    Flood = "flood" at Now,
    /// The sessions of the shard can no longer be resumed.
    ExpireSession = "expire_session" at Now,
    /// The replay buffers of the shard are emptied of what was sent.
    Trim = "trim" at Now,
    /// The connection neither reads nor sends for `duration_ms`.
    Stall = "stall" at Now,
    /// For `duration_ms` (0 = until `DELETE`), the resume URL gives RSTs; the plain URL works.
    ResumeUrlDead = "resume_url_dead" at Now,
    /// The events of a replay come one by one, `duration_ms` apart.
    SlowReplay = "slow_replay" at Resume,
    /// 429 with `duration_ms` as `Retry-After` and in the body.
    Bot429 = "bot_429" at GatewayBot,
    /// 429 with `duration_ms` in the JSON body only.
    Bot429Body = "bot_429_body" at GatewayBot,
    /// 429 with neither header nor body.
    Bot429Bare = "bot_429_bare" at GatewayBot,
    /// The HTML page of error 1015 with status 429: the address is banned.
    Bot1015 = "bot_1015" at GatewayBot,
    /// The HTTP status `code`, 400 to 599; 5xx with a page, others with Discord's JSON.
    BotStatus = "bot_status" at GatewayBot,
    /// 200 with `value`: an object changes the true answer, anything else stands in for it.
    BotAnswer = "bot_answer" at GatewayBot,
}

/// The moment at which a fault happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// At once, on the connections there are.
    Now,
    /// When the next websocket opens. With `shard`, only on its resume URL: the
    /// shard of other connections is not known yet.
    Connect,
    /// In answer to the next IDENTIFY.
    Identify,
    /// In answer to the next RESUME.
    Resume,
    /// In answer to the next `GET /gateway/bot`.
    GatewayBot,
    /// In answer to the next request that wants a websocket. With `shard`, only at its
    /// resume URL.
    Upgrade,
}

impl FaultName {
    /// Whether it is an answer of HTTP, which a request for a websocket can get too.
    pub(crate) const fn answers_http(self) -> bool {
        matches!(
            self,
            Self::Bot429 | Self::Bot429Body | Self::Bot429Bare | Self::Bot1015 | Self::BotStatus
        )
    }

    /// The only moment at which the fault makes sense, where there is only one.
    pub(crate) const fn only_at(self) -> Option<When> {
        match self {
            Self::NoResumed
            | Self::SlowReplay
            | Self::SlowResumed
            | Self::CloseOnResume
            | Self::CloseInReplay => Some(When::Resume),
            Self::CloseOnIdentify | Self::SlowReady => Some(When::Identify),
            Self::Op7BeforeHello | Self::NoHello | Self::SlowHello | Self::OddHello => {
                Some(When::Connect)
            }
            Self::AcceptAndClose | Self::RefuseConnect | Self::Away | Self::ResumeUrlDead => {
                Some(When::Now)
            }
            Self::Bot429
            | Self::Bot429Body
            | Self::Bot429Bare
            | Self::Bot1015
            | Self::BotStatus
            | Self::BotAnswer => Some(When::GatewayBot),
            Self::Op7
            | Self::Op9True
            | Self::Op9False
            | Self::Close
            | Self::Reset
            | Self::Drop
            | Self::NoAck
            | Self::BadZstd
            | Self::BadJson
            | Self::UnknownOp
            | Self::HugeFrame
            | Self::Flood
            | Self::ExpireSession
            | Self::Trim
            | Self::Stall => None,
        }
    }

    /// Whether it stands in for the answer to an IDENTIFY or a RESUME.
    pub(crate) const fn replaces_answer(self) -> bool {
        matches!(
            self,
            Self::Op7
                | Self::Op9True
                | Self::Op9False
                | Self::Close
                | Self::CloseOnResume
                | Self::CloseOnIdentify
        )
    }
}

impl When {
    /// The name in requests.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Now => "now",
            Self::Connect => "connect",
            Self::Identify => "identify",
            Self::Resume => "resume",
            Self::GatewayBot => "gateway_bot",
            Self::Upgrade => "upgrade",
        }
    }
}
