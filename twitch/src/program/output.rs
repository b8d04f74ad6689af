//! Events as JSON lines. An event is finished when its line is written.

use std::{
    fs::File,
    io::{self, Write},
    str::FromStr,
    sync::mpsc,
    thread,
};

use baton_twitch::{Ack, Bot, Delivery};
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;

/// A bot that writes its events down. What waits is bounded by what its units have in hand.
pub(crate) struct Lines {
    lines: mpsc::Sender<(Vec<u8>, Ack)>,
}

#[derive(Serialize)]
struct Line<'a> {
    /// On the monotonic clock of the host.
    at_us: u64,
    unit: u32,
    sequence: u64,
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel_id: Option<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    may_repeat: bool,
    /// Of EventSub: the whole message.
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<&'a RawValue>,
    /// Of IRC: the line.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<&'a str>,
}

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sink {
    Stdout,
    None,
    /// In the path, `%p` is the process id.
    File(String),
    /// A broker.
    Broker(baton_sink::Address),
}

impl FromStr for Sink {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.strip_prefix("file:")) {
            ("stdout", _) => Ok(Self::Stdout),
            ("none", _) => Ok(Self::None),
            (_, Some(path)) if !path.is_empty() => Ok(Self::File(path.to_owned())),
            (_, Some(_)) => Err("`file:` has no path".to_owned()),
            (text, None) if text.contains("://") => {
                let address = baton_sink::Address::parse(text);
                address.map(Self::Broker).map_err(|error| error.to_string())
            }
            (_, None) => Err("give stdout, none, file:PATH or a broker".to_owned()),
        }
    }
}

impl Lines {
    /// Writes from now on. If nothing can be written any more, `stop` is cancelled: what is not
    /// written is not finished.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub(crate) fn start(sink: &Sink, stop: CancellationToken) -> io::Result<Self> {
        let out: Box<dyn Write + Send> = match sink {
            Sink::Stdout => Box::new(io::stdout()),
            Sink::None => Box::new(io::sink()),
            // Its events do not come here.
            Sink::Broker(_) => Box::new(io::sink()),
            Sink::File(path) => {
                let path = path.replace("%p", &std::process::id().to_string());
                Box::new(File::options().create(true).append(true).open(path)?)
            }
        };
        #[expect(
            clippy::disallowed_methods,
            reason = "no more waits than all units have in hand"
        )]
        let (lines, waiting) = mpsc::channel();
        thread::spawn(move || {
            if let Err(error) = write(out, &waiting) {
                tracing::error!(%error, "events cannot be written any more: this process ends");
                stop.cancel();
            }
        });
        Ok(Self { lines })
    }
}

/// Writes what waits, and finishes it when it is out.
fn write(mut out: impl Write, waiting: &mpsc::Receiver<(Vec<u8>, Ack)>) -> io::Result<()> {
    while let Ok((line, ack)) = waiting.recv() {
        let (mut block, mut acks) = (line, vec![ack]);
        while block.len() < 64 * 1024
            && let Ok((line, ack)) = waiting.try_recv()
        {
            block.extend_from_slice(&line);
            acks.push(ack);
        }
        out.write_all(&block)?;
        out.flush()?;
        acks.into_iter().for_each(Ack::done);
    }
    Ok(())
}

impl Bot for Lines {
    fn handle(&self, delivery: Delivery, ack: Ack) {
        let event = &delivery.event;
        let json = serde_json::from_str::<&RawValue>(&event.text).ok();
        let line = Line {
            at_us: monotonic_us(),
            unit: delivery.unit.get(),
            sequence: delivery.sequence.get(),
            kind: &event.kind,
            id: event.id.as_deref(),
            channel: event.channel.as_ref().map(|channel| channel.as_str()),
            channel_id: event.channel_id.as_ref().map(|id| id.as_str()),
            may_repeat: delivery.may_repeat,
            line: json.is_none().then_some(&*event.text),
            event: json,
        };
        let Ok(mut line) = serde_json::to_vec(&line) else {
            debug_assert!(false, "texts and numbers always encode");
            return;
        };
        line.push(b'\n');
        // Nobody writes any more: it is not finished, and the process is ending.
        let _ = self.lines.send((line, ack));
    }
}

fn monotonic_us() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.cast_unsigned() * 1_000_000 + now.tv_nsec.cast_unsigned() / 1000
}
