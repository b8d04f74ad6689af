//! IRC: one task for each connection. It takes commands, and sends what is due.

pub(crate) mod commands;
pub(crate) mod line;
pub(crate) mod login;
pub(crate) mod pipe;
pub(crate) mod write;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until, timeout},
};

use crate::{
    config::Irc,
    irc::pipe::Pipe,
    state::Shared,
    wire::{DelayLine, Handle, Order, Out},
};

/// The longest line of a client, tags included.
const LONGEST: usize = 8192;
/// How long a client may take to read what was sent to it.
const WRITE: Duration = Duration::from_secs(10);
/// How long it may take to answer a close when the server stops.
const FAREWELL: Duration = Duration::from_millis(100);
/// Far enough away to be never.
const NEVER: Duration = Duration::from_secs(86_400 * 365);

/// A connection, as others see it.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) handle: Handle,
    /// Empty until it has logged in.
    pub(crate) login: Arc<str>,
    pub(crate) anonymous: bool,
    pub(crate) caps: Caps,
    pub(crate) joined: BTreeSet<usize>,
}

/// What a connection asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Caps {
    pub(crate) tags: bool,
    pub(crate) commands: bool,
    pub(crate) membership: bool,
}

/// What comes of a command.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// Lines for this connection.
    pub(crate) text: String,
    /// Why the connection ends behind them.
    pub(crate) end: Option<&'static str>,
}

/// A connection, as its own task sees it.
pub(crate) struct Conn {
    pub(crate) shared: Arc<Shared>,
    pub(crate) id: u64,
    pub(crate) pass: Option<String>,
    pub(crate) logged_in: bool,
    /// When PONG is late.
    pong_by: Option<Instant>,
    next_ping: Instant,
    login_by: Instant,
    line: DelayLine,
    buffer: String,
    half_open: bool,
    silent: bool,
    stalled_until: Option<Instant>,
    close_at: Option<(Instant, &'static str)>,
}

/// Serves a connection until it ends.
pub(crate) async fn serve<P: Pipe>(shared: Arc<Shared>, mut pipe: P) {
    let (handle, orders) = Handle::new(shared.config.backlog);
    let kill = handle.kill.clone();
    let id = {
        let mut state = shared.state();
        state.last_conn += 1;
        let id = state.last_conn;
        let client = Client {
            handle,
            login: "".into(),
            anonymous: false,
            caps: Caps::default(),
            joined: BTreeSet::new(),
        };
        state.clients.insert(id, client);
        id
    };
    shared.ledger.log(format!("irc/{id}"), "connected", "");
    let stop = shared.stop.clone();
    let mut conn = Conn::new(shared, id);
    let why = tokio::select! {
        why = conn.run(&mut pipe, orders) => why,
        () = kill.cancelled() => "too slow",
        () = stop.cancelled() => "shutdown",
    };
    conn.leave(why);
    if conn.half_open {
        // Twitch has given it up; the client cannot know.
        stop.cancelled().await;
    } else if why != "reset" {
        // A client that reads nothing shall not keep it, and one that does not answer
        // holds up no shutdown.
        let patience = if why == "shutdown" { FAREWELL } else { WRITE };
        let _ = timeout(patience, pipe.close()).await;
    }
}

impl Conn {
    fn new(shared: Arc<Shared>, id: u64) -> Self {
        let now = Instant::now();
        let Irc {
            ping_every,
            login_timeout,
            ..
        } = shared.config.irc;
        Self {
            id,
            pass: None,
            logged_in: false,
            pong_by: None,
            next_ping: now + ping_every,
            login_by: now + login_timeout,
            line: DelayLine::default(),
            buffer: String::new(),
            half_open: false,
            silent: false,
            stalled_until: None,
            close_at: None,
            shared,
        }
    }

    /// The next moment at which there is something to do.
    fn wake(&self) -> Instant {
        if let Some(until) = self.stalled_until {
            return until;
        }
        let far = Instant::now() + NEVER;
        let login = if self.logged_in { far } else { self.login_by };
        let ping = self.pong_by.unwrap_or(self.next_ping);
        let close = self.close_at.map_or(far, |(at, _)| at);
        let due = self.line.due().unwrap_or(far);
        due.min(close).min(login).min(ping)
    }

    /// Ends with the reason.
    async fn run<P: Pipe>(
        &mut self,
        pipe: &mut P,
        mut orders: mpsc::Receiver<Order>,
    ) -> &'static str {
        let room = self.shared.config.backlog;
        loop {
            let listens = !self.half_open && self.stalled_until.is_none();
            tokio::select! {
                order = orders.recv(), if self.line.len() < room => match order {
                    Some(order) => if let Some(why) = self.obey(order, pipe).await {
                        return why;
                    },
                    None => return "gone",
                },
                () = sleep_until(self.wake()) => if let Some(why) = self.tick(pipe).await {
                    return why;
                },
                text = pipe.recv(), if listens => match text {
                    Ok(Some(text)) => if let Some(why) = self.hear(&text, pipe).await {
                        return why;
                    },
                    Ok(None) => return "closed by the client",
                    Err(_) => return "lost",
                },
            }
        }
    }

    async fn obey<P: Pipe>(&mut self, order: Order, pipe: &mut P) -> Option<&'static str> {
        let now = Instant::now();
        match order {
            Order::Out(out) => {
                self.line.push(out);
                return self.send_due(pipe).await;
            }
            Order::Close(_, why) => return Some(why),
            Order::CloseIn(after, _, why) => self.close_at = Some((now + after, why)),
            Order::HalfOpen => self.half_open = true,
            Order::Reset => {
                pipe.reset();
                return Some("reset");
            }
            Order::Stall(time) => self.stalled_until = Some(now + time),
            Order::Silence => self.silent = true,
            // Of sessions only.
            Order::Unused => {}
        }
        None
    }

    async fn tick<P: Pipe>(&mut self, pipe: &mut P) -> Option<&'static str> {
        let now = Instant::now();
        if let Some(until) = self.stalled_until {
            if now < until {
                return None;
            }
            self.stalled_until = None;
        }
        if let Some((_, why)) = self.close_at.filter(|(at, _)| *at <= now) {
            return Some(why);
        }
        if !self.logged_in && self.login_by <= now {
            return Some("no login in time");
        }
        if self.pong_by.is_some_and(|by| by <= now) {
            return Some("no PONG in time");
        }
        if self.pong_by.is_none() && self.next_ping <= now {
            let config = &self.shared.config.irc;
            self.pong_by = Some(now + config.pong_within);
            self.next_ping = now + config.ping_every;
            self.answer("PING :tmi.twitch.tv\r\n".to_owned());
        }
        self.send_due(pipe).await
    }

    /// Text of the client: whole lines are carried out, the rest waits.
    async fn hear<P: Pipe>(&mut self, text: &str, pipe: &mut P) -> Option<&'static str> {
        self.buffer.push_str(text);
        while let Some(end) = self.buffer.find('\n') {
            let line: String = self.buffer.drain(..=end).collect();
            let answer = self.command(&line);
            if !answer.text.is_empty() {
                self.answer(answer.text);
            }
            if let Some(why) = answer.end {
                return self.send_due(pipe).await.or(Some(why));
            }
        }
        if self.buffer.len() > LONGEST {
            return Some("a line is too long");
        }
        self.send_due(pipe).await
    }

    /// Answers travel at once: they can overtake events, which come from elsewhere.
    fn answer(&mut self, text: String) {
        self.line.push(Out {
            due: Instant::now(),
            text: text.into(),
            note: None,
        });
    }

    async fn send_due<P: Pipe>(&mut self, pipe: &mut P) -> Option<&'static str> {
        if self.stalled_until.is_some() {
            return None;
        }
        while let Some(out) = self.line.pop(Instant::now()) {
            if self.half_open {
                if let Some(note) = out.note {
                    self.shared.ledger.dropped(note.number, Some(note.to));
                }
                continue;
            }
            match timeout(WRITE, pipe.send(&out.text)).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Some("lost"),
                Err(_) => return Some("too slow"),
            }
            if let Some(note) = out.note {
                self.shared.ledger.delivered(note.number, note.to);
            }
        }
        None
    }

    /// The client answered a PING.
    pub(crate) fn heard_pong(&mut self) {
        self.pong_by = None;
    }

    /// Whether answers to PINGs are withheld.
    pub(crate) const fn is_silent(&self) -> bool {
        self.silent
    }

    fn leave(&self, why: &'static str) {
        let mut state = self.shared.state();
        self.shared
            .ledger
            .log(format!("irc/{}", self.id), "ended", why);
        let Some(client) = state.clients.remove(&self.id) else {
            return;
        };
        for channel in client.joined {
            state.channels[channel].joined.remove(&self.id);
        }
    }
}
