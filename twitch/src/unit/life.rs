//! One unit's life, read downwards.
//!
//! ```text
//!         Start                    Seal                     GoLive (higher epoch)
//!  Idle ────────▶ Starting ─▶ Live ─────▶ Sealed ────────────────────────────┐
//!   │  GoLive                  ▲ └ lost: another connection                   │
//!   └──────────────────────────┴──────────────────────────────────────────────┘
//! ```
//!
//! Beside `Idle` and `Sealed` the unit may *prepare*: it has a connection, and keeps what comes
//! in a ring. When it goes live, the ring without what the owner before handed out is the first
//! that it hands out itself. What was handed out stays known for a while, so that what comes
//! twice, from a connection of before or because Twitch sends it twice, is handed out once.

use std::{collections::VecDeque, sync::Arc};

use baton_protocol::{Epoch, Ticket, discord, message::ResumeAfter};
use baton_slave::unit::{Order, Seat};
use bytes::Bytes;
use tokio::time::{Duration, Instant, sleep_until};

use super::{
    Units,
    hands::Hands,
    transport::{self, Channels, Cut, Item, Link, Opened},
};
use crate::{
    event::Event,
    seen::{Key, Seen},
};

/// See the module.
pub(super) struct Life {
    units: Units,
    seat: Seat,
    epoch: Epoch,
    stage: Stage,
    /// Of another one's unit, which this process may take over.
    preparing: Option<Preparing>,
    link: Option<Link>,
    /// Whether the connection is the unit's: its events come here.
    is_live: bool,
    ring: VecDeque<Event>,
    seen: Seen,
    hands: Hands,
    channels: Option<Channels>,
    /// Names what the numbers belong to.
    session: String,
    redial: Redial,
}

#[derive(Debug)]
enum Stage {
    Idle,
    /// It owns the unit, and waits for its connection; `goes_on`: where another one stopped.
    Starting {
        goes_on: bool,
    },
    Live,
    Sealed(Box<Sealed>),
    /// It said that it cannot be served here.
    Failed,
    Gone,
}

#[derive(Debug)]
struct Sealed {
    ticket: Ticket,
    until: Instant,
    /// When something came last.
    heard: Instant,
    settled: bool,
}

#[derive(Debug)]
struct Preparing {
    owner: Epoch,
    until: Instant,
    /// How much is done, as it is said to the master.
    done: u64,
    is_ready: bool,
    /// When it may be said that it is.
    settles: Option<Instant>,
}

/// When another connection is opened.
#[derive(Debug, Default)]
struct Redial {
    at: Option<Instant>,
    failures: u32,
    /// Since when nothing is heard.
    deaf: Option<Instant>,
}

impl Life {
    pub(super) fn new(units: Units, seat: Seat) -> Self {
        let (unit, limits) = (seat.unit(), units.limits);
        Self {
            hands: Hands::new(unit, Arc::clone(&units.bot), limits.in_hand),
            seen: Seen::new(limits.seen),
            units,
            seat,
            epoch: Epoch(0),
            stage: Stage::Idle,
            preparing: None,
            link: None,
            is_live: false,
            ring: VecDeque::new(),
            channels: None,
            session: String::new(),
            redial: Redial::default(),
        }
    }

    pub(super) async fn run(mut self) {
        while !matches!(self.stage, Stage::Gone) {
            self.hand_out_ring();
            let due = self.due();
            let listens = self.listens();
            tokio::select! {
                biased;
                order = self.seat.order() => self.order(order),
                all = self.hands.finished() => {
                    for finished in all {
                        self.seat.counts_finished(finished.failed);
                    }
                    self.note();
                    self.settle(Instant::now());
                }
                item = next(self.link.as_mut()), if listens => self.item(item),
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    self.is_due(Instant::now());
                }
            }
        }
    }

    /// Whether what comes can be taken: there is room for it, and this process may act.
    fn listens(&self) -> bool {
        match self.stage {
            Stage::Starting { .. } | Stage::Live => {
                self.ring.is_empty() && self.hands.has_room() && self.seat.may_act()
            }
            Stage::Sealed(_) => self.hands.has_room(),
            Stage::Idle | Stage::Failed => true,
            Stage::Gone => false,
        }
    }

    fn due(&self) -> Option<Instant> {
        let preparing = self.preparing.as_ref();
        let prepared = preparing.and_then(|it| it.settles.filter(|_| !it.is_ready));
        let gives_up = preparing.filter(|it| !it.is_ready).map(|it| it.until);
        let settles = match &self.stage {
            Stage::Sealed(sealed) if !sealed.settled => Some(self.settles_at(sealed)),
            _ => None,
        };
        // The lease of the process may be over, and come again: nobody else says so.
        let waits =
            matches!(self.stage, Stage::Starting { .. } | Stage::Live) && !self.seat.may_act();
        let looks = waits.then(|| Instant::now() + LOOK);
        let all = [prepared, gives_up, settles, self.redial.at, looks];
        all.into_iter().flatten().min()
    }

    fn is_due(&mut self, now: Instant) {
        if self.redial.at.is_some_and(|at| at <= now) {
            self.redial.at = None;
            self.open();
        }
        if let Some(preparing) = &mut self.preparing
            && !preparing.is_ready
        {
            if preparing.settles.is_some_and(|at| at <= now) {
                preparing.is_ready = true;
                self.seat.prepared(preparing.owner, Ok(()));
            } else if preparing.until <= now {
                let span = self.units.limits.prepare.as_secs();
                self.prepare_fails(format!("it was not prepared within {span} s"));
            }
        }
        self.settle(now);
    }

    // ---- orders --------------------------------------------------------------

    fn order(&mut self, order: Order) {
        match order {
            Order::Start { epoch } if epoch > self.epoch => self.start(epoch, None),
            Order::Prepare { epoch, ticket } => self.prepare(epoch, &ticket),
            Order::GoLive {
                epoch,
                after,
                ticket,
            } if epoch > self.epoch || after == ResumeAfter::Death => match after {
                ResumeAfter::Seal => self.go_live(epoch, &ticket),
                // Its own task panicked: nothing but the ticket is left.
                ResumeAfter::Death => self.start(epoch, Some(&ticket)),
            },
            Order::Seal { epoch, drain } if epoch == self.epoch => self.seal(drain),
            Order::Settled { unfinished, events } => {
                self.hands.settled(&unfinished, events);
                self.note();
            }
            Order::Letter(body) => self.letter(body),
            Order::Forget { epoch } if epoch > self.epoch => self.stage = Stage::Gone,
            Order::Leave => self.stage = Stage::Gone,
            Order::Start { .. }
            | Order::GoLive { .. }
            | Order::Seal { .. }
            | Order::Forget { .. } => {}
            // Later orders mean nothing to this build.
            _ => {}
        }
    }

    /// Nobody was heard meanwhile: everything begins with the first that comes.
    fn start(&mut self, epoch: Epoch, stood: Option<&Ticket>) {
        self.owns(epoch);
        if let Some(ticket) = stood {
            self.comes_with(ticket);
        }
        self.hands.begin(stood);
        self.session = format!("{}/{epoch}", self.seat.unit());
        self.stage = Stage::Starting { goes_on: false };
        self.seat.starting(epoch);
        self.say_session();
        self.redial = Redial::default();
        // A connection that prepared is as good as a new one.
        match self.link {
            Some(_) => self.take(),
            None => self.open(),
        }
    }

    /// Where another one stopped.
    fn go_live(&mut self, epoch: Epoch, ticket: &Ticket) {
        let was_prepared = self.preparing.as_ref().is_some_and(|it| it.is_ready);
        self.owns(epoch);
        self.comes_with(ticket);
        self.hands.begin(Some(ticket));
        self.session = discord::Session::id_of(&ticket.session).to_owned();
        let now = Instant::now();
        for key in ticket.seen.chunks_exact(8) {
            if let Ok(key) = key.try_into() {
                self.seen.insert(Key::from_bytes(key), now);
            }
        }
        self.redial = Redial::default();
        if !was_prepared {
            // The one that prepared it is no more.
            self.redial.deaf = Some(now);
            self.ring.clear();
        }
        self.stage = Stage::Starting { goes_on: true };
        self.say_session();
        match self.link {
            Some(_) => self.take(),
            None => self.open(),
        }
    }

    fn owns(&mut self, epoch: Epoch) {
        self.epoch = epoch;
        self.preparing = None;
    }

    /// What travels with a unit.
    fn comes_with(&mut self, ticket: &Ticket) {
        if let Ok(channels) = serde_json::from_str::<Channels>(&ticket.luggage) {
            self.takes_channels(channels);
        }
    }

    fn prepare(&mut self, owner: Epoch, ticket: &Ticket) {
        if !matches!(self.stage, Stage::Idle | Stage::Sealed(_) | Stage::Failed) {
            return;
        }
        let now = Instant::now();
        self.comes_with(ticket);
        self.ring.clear();
        self.preparing = Some(Preparing {
            owner,
            until: now + self.units.limits.prepare,
            done: 0,
            is_ready: false,
            settles: None,
        });
        match self.link {
            // It is what it was sealed with, or prepared before: open, and heard all the time.
            Some(_) => self.settles(),
            None => self.open(),
        }
    }

    fn seal(&mut self, drain: Duration) {
        if let Stage::Sealed(sealed) = &self.stage {
            self.seat.sealed(self.epoch, sealed.ticket.clone());
            if sealed.settled {
                self.say_settled(&sealed.ticket);
            }
            return;
        }
        let now = Instant::now();
        // Nobody else has what waits: it runs behind the seal.
        for event in std::mem::take(&mut self.ring) {
            self.hand_out(event);
        }
        let ticket = self.ticket(now);
        self.seat.sealed(self.epoch, ticket.clone());
        self.redial.at = None;
        self.stage = Stage::Sealed(Box::new(Sealed {
            ticket,
            until: now + drain,
            heard: now,
            settled: false,
        }));
        self.settle(now);
    }

    fn ticket(&mut self, now: Instant) -> Ticket {
        self.seen.forget(now);
        let most = Ticket::MAX_SEEN / 8;
        let skip = self.seen.len().saturating_sub(most);
        let seen: Vec<u8> = self
            .seen
            .iter(now)
            .skip(skip)
            .filter(|(_, age)| !mutant!("seen-window-too-short") || age.as_secs() < 2)
            .flat_map(|(key, _)| key.to_bytes())
            .collect();
        Ticket {
            in_doubt: self.hands.in_doubt(),
            seen: Bytes::from(seen),
            ..self.position()
        }
    }

    /// Where it stands, as every ticket says it.
    fn position(&self) -> Ticket {
        let luggage = self.channels.as_ref();
        let luggage = luggage.and_then(|channels| serde_json::to_string(channels).ok());
        Ticket {
            shard: self.seat.unit(),
            session: discord::Session::with_id(self.session.clone()).seal(),
            handled: self.hands.handled(),
            finished_above: self.hands.above().clone(),
            state_at: self.hands.handled(),
            luggage: luggage
                .filter(|text| text.len() <= Ticket::MAX_LUGGAGE)
                .unwrap_or_default(),
            ..Ticket::default()
        }
    }

    fn letter(&mut self, body: Bytes) {
        match serde_json::from_slice::<Channels>(&body) {
            Ok(channels) => {
                if self.takes_channels(channels)
                    && let Some(link) = &self.link
                    && let Some(channels) = self.channels.clone()
                {
                    link.tell(transport::Order::Channels(channels));
                    // It travels with the unit from now on.
                    if matches!(self.stage, Stage::Live) {
                        self.say_session();
                    }
                }
            }
            Err(_) => {
                if let Some(link) = &self.link {
                    link.tell(transport::Order::Letter(body));
                }
            }
        }
    }

    /// Whether these are newer than what is known.
    fn takes_channels(&mut self, channels: Channels) -> bool {
        let is_newer = self
            .channels
            .as_ref()
            .is_none_or(|known| channels.version > known.version);
        if is_newer {
            self.channels = Some(channels);
        }
        is_newer
    }

    // ---- what is heard -------------------------------------------------------

    fn item(&mut self, item: Item) {
        match item {
            Item::Further => self.gets_further(),
            Item::Ready => match self.stage {
                Stage::Starting { .. } | Stage::Live => self.take(),
                Stage::Idle | Stage::Sealed(_) | Stage::Failed | Stage::Gone => self.settles(),
            },
            Item::Live => self.lives(),
            Item::Event(event) => self.event(event),
            Item::Letter(body) => self.seat.write_to_work(self.epoch, body),
            Item::Ended { why, fatal } => self.ended(&why, fatal),
        }
    }

    fn gets_further(&mut self) {
        if let Some(preparing) = &mut self.preparing {
            preparing.done += 1;
            self.seat.prepares(preparing.owner, preparing.done);
        } else if matches!(self.stage, Stage::Starting { .. }) {
            self.seat.starting(self.epoch);
        }
    }

    /// The connection is ready: after the time by which the other one may be behind it, what is
    /// missing here is missing there no more.
    fn settles(&mut self) {
        let settle = match self.units.transport.cut() {
            Cut::Both { settle } if !mutant!("cut-before-the-settle") => settle,
            Cut::Both { .. } | Cut::One => Duration::ZERO,
        };
        if let Some(preparing) = &mut self.preparing {
            preparing.settles.get_or_insert(Instant::now() + settle);
        }
    }

    fn take(&self) {
        if let Some(link) = &self.link {
            link.tell(transport::Order::Take);
        }
    }

    fn lives(&mut self) {
        self.is_live = true;
        self.redial.failures = 0;
        let went_on = match self.stage {
            Stage::Starting { goes_on } => {
                self.stage = Stage::Live;
                goes_on && self.redial.deaf.is_none()
            }
            Stage::Live => true,
            Stage::Idle | Stage::Sealed(_) | Stage::Failed | Stage::Gone => return,
        };
        if let Some(since) = self.redial.deaf.take() {
            let deaf = since.elapsed();
            tracing::warn!(unit = %self.seat.unit(), ?deaf, "deaf until now: what happened meanwhile may be missing");
        }
        self.seat.serving(self.epoch, went_on);
        self.note();
    }

    fn event(&mut self, event: Event) {
        let (cut, now) = (self.units.transport.cut(), Instant::now());
        match &mut self.stage {
            Stage::Starting { .. } | Stage::Live => self.hand_out(event),
            Stage::Sealed(sealed) if cut == Cut::One => {
                // It comes nowhere else.
                sealed.heard = now;
                if self.is_new(&event) {
                    self.seat.counts_handed();
                    self.hands.hand_stray(event);
                }
            }
            Stage::Idle | Stage::Sealed(_) | Stage::Failed => self.keep(event),
            Stage::Gone => {}
        }
    }

    fn is_new(&mut self, event: &Event) -> bool {
        let key = event.key();
        key.is_none_or(|key| self.seen.insert(key, Instant::now()))
    }

    fn hand_out(&mut self, event: Event) {
        if self.is_new(&event) {
            self.seat.counts_handed();
            self.hands.hand(event);
            self.note();
        }
    }

    /// While it prepares.
    fn keep(&mut self, event: Event) {
        if self.preparing.is_none() {
            return;
        }
        if self.ring.len() >= self.units.limits.ring {
            let most = self.units.limits.ring;
            return self.prepare_fails(format!("more than {most} events came while it prepared"));
        }
        self.ring.push_back(event);
    }

    /// What came while it prepared, and the owner before did not hand out: before anything
    /// else is taken.
    fn hand_out_ring(&mut self) {
        let owns = matches!(self.stage, Stage::Starting { .. } | Stage::Live);
        if !owns || self.ring.is_empty() {
            return;
        }
        while self.hands.has_room()
            && self.seat.may_act()
            && let Some(event) = self.ring.pop_front()
        {
            self.hand_out(event);
        }
        if self.ring.is_empty() && mutant!("filter-off-at-go-live") {
            self.seen = Seen::new(self.units.limits.seen);
        }
    }

    fn prepare_fails(&mut self, why: String) {
        if let Some(preparing) = self.preparing.take() {
            tracing::warn!(unit = %self.seat.unit(), why, "it is not prepared");
            self.seat.prepared(preparing.owner, Err(why));
        }
        self.ring.clear();
        if matches!(self.stage, Stage::Idle | Stage::Failed) {
            self.link = None;
        }
    }

    fn ended(&mut self, why: &str, fatal: bool) {
        self.link = None;
        self.is_live = false;
        let unit = self.seat.unit();
        match self.stage {
            Stage::Idle | Stage::Failed => self.prepare_fails(why.to_owned()),
            // Where it is to come back: the next order to prepare opens another one.
            Stage::Sealed(_) => self.prepare_fails(why.to_owned()),
            Stage::Starting { .. } | Stage::Live if fatal => {
                tracing::error!(%unit, why, "cannot be served here");
                self.seat.failed(self.epoch, why.to_owned());
                self.stage = Stage::Failed;
            }
            Stage::Starting { .. } | Stage::Live => {
                let pause = self.redial.ended(&self.units);
                tracing::warn!(%unit, why, ?pause, "connection lost");
                self.seat.reconnecting(self.epoch);
            }
            Stage::Gone => {}
        }
    }

    fn open(&mut self) {
        self.is_live = false;
        self.link = Some(self.units.transport.open(Opened {
            unit: self.seat.unit(),
            units: self.seat.units(),
            channels: self.channels.clone(),
        }));
    }

    // ---- what it says --------------------------------------------------------

    fn say_session(&self) {
        self.seat.session(self.epoch, self.position());
    }

    fn note(&self) {
        if matches!(self.stage, Stage::Starting { .. } | Stage::Live) {
            let hands = &self.hands;
            let above = hands.above().clone();
            (self.seat).stands(self.epoch, hands.last(), hands.handled(), above);
        }
    }

    fn settles_at(&self, sealed: &Sealed) -> Instant {
        let quiet = match self.units.transport.cut() {
            // What was sent to this connection before the next one took over may be on its way.
            Cut::One if self.link.is_some() => sealed.heard + self.units.limits.quiet,
            Cut::One | Cut::Both { .. } => Instant::now(),
        };
        match self.hands.rest() {
            true => quiet.min(sealed.until),
            false => sealed.until,
        }
    }

    fn settle(&mut self, now: Instant) {
        let at = match &self.stage {
            Stage::Sealed(sealed) if !sealed.settled => self.settles_at(sealed),
            _ => return,
        };
        if at <= now
            && let Stage::Sealed(sealed) = &mut self.stage
        {
            sealed.settled = true;
            let ticket = sealed.ticket.clone();
            self.say_settled(&ticket);
        }
    }

    fn say_settled(&self, ticket: &Ticket) {
        let unfinished = self.hands.in_doubt().common(&ticket.in_doubt);
        let events = self.hands.carried(&unfinished);
        self.seat.settled(self.epoch, unfinished, events);
    }
}

/// A process that may not act looks so often whether it may again.
const LOOK: Duration = Duration::from_millis(100);

async fn next(link: Option<&mut Link>) -> Item {
    match link {
        Some(link) => link.next().await,
        None => std::future::pending().await,
    }
}

impl Redial {
    /// A connection ended: when the next one is opened. The first one at once.
    fn ended(&mut self, units: &Units) -> Duration {
        let limits = units.limits;
        let now = Instant::now();
        self.deaf.get_or_insert(now);
        let doubled = limits
            .redial
            .saturating_mul(2_u32.saturating_pow(self.failures.saturating_sub(1).min(16)));
        let pause = match self.failures {
            0 => Duration::ZERO,
            _ => doubled.min(limits.redial_max),
        };
        self.failures = self.failures.saturating_add(1);
        self.at = Some(now + pause);
        pause
    }
}
