//! `status --watch`: the same table again and again. A master that goes away is
//! no reason to end: it is shown since when it does not answer.

use std::{
    io::{self, IsTerminal, Write, stdin, stdout},
    time::{Duration, SystemTime},
};

use crossterm::{
    cursor,
    event::{Event, EventStream, KeyCode, KeyEventKind, KeyModifiers},
    execute, queue,
    terminal::{
        self, Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode,
        enable_raw_mode,
    },
};
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{Instant, MissedTickBehavior, interval},
};

use super::{
    super::{
        say,
        text::{Paint, safe, span},
    },
    table::{Wrong, counts, deploy, table},
};
use crate::{
    admin::client::Client,
    clock::millis,
    error::{EXIT_DONE, EXIT_OUTPUT, Error},
};

/// One JSON object a line, until the reader goes away.
pub(super) async fn objects(client: &Client, every: Duration) -> Result<u8, Error> {
    let mut tick = ticks(every);
    loop {
        tick.tick().await;
        let object = match client.get("/v1/status").await {
            Ok(status) => status,
            Err(error) => json!({ "error": error.line() }),
        };
        if writeln!(stdout(), "{}", safe(&object.to_string())).is_err() {
            return Ok(EXIT_OUTPUT);
        }
    }
}

/// A line whenever what it says changed.
pub(super) async fn lines(client: &Client, every: Duration) -> Result<u8, Error> {
    let mut tick = ticks(every);
    let mut last = String::new();
    loop {
        tick.tick().await;
        let line = match client.get("/v1/status").await {
            Ok(status) => summary(&status),
            Err(error) => error.line(),
        };
        if line != last {
            let now = humantime::format_rfc3339_seconds(SystemTime::now());
            if writeln!(stdout(), "{now} {}", safe(&line)).is_err() {
                return Ok(EXIT_OUTPUT);
            }
            last = line;
        }
    }
}

/// The whole screen, until `q`, Ctrl-C or a signal.
pub(super) async fn screen(client: &Client, every: Duration) -> Result<u8, Error> {
    let mut leave = signal(SignalKind::terminate()).map_err(system)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(system)?;
    let mut hang_up = signal(SignalKind::hangup()).map_err(system)?;
    let mut screen = Screen::begin().map_err(system)?;
    let mut keys = screen.raw.then(EventStream::new);
    let mut tick = ticks(every);
    let mut picture = Picture::default();
    loop {
        tokio::select! {
            _ = tick.tick() => picture.take(client.get("/v1/status").await),
            key = async {
                match &mut keys {
                    Some(keys) => keys.next().await,
                    None => std::future::pending().await,
                }
            } => match key {
                Some(Ok(event)) if ends(&event) => break,
                // Also a terminal of another size.
                Some(Ok(_)) => {}
                Some(Err(_)) | None => keys = None,
            },
            _ = leave.recv() => break,
            _ = interrupt.recv() => break,
            _ = hang_up.recv() => break,
        }
        if screen.draw(&picture).is_err() {
            break;
        }
    }
    drop(screen);
    // What was seen last stays to be read.
    picture
        .lines(usize::MAX, Wrong::Last)
        .iter()
        .for_each(|line| say(line));
    Ok(EXIT_DONE)
}

fn ticks(every: Duration) -> tokio::time::Interval {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

fn summary(status: &Value) -> String {
    let mut summary = counts(status);
    if status["adopting"] == true {
        summary.push_str("; the master collects reports");
    }
    if let Some(deploy) = deploy(status) {
        summary.push_str("; ");
        summary.push_str(&deploy);
    }
    summary
}

fn ends(event: &Event) -> bool {
    let Event::Key(key) = event else {
        return false;
    };
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    key.kind != KeyEventKind::Release
        && (matches!(key.code, KeyCode::Char('q') | KeyCode::Esc)
            || (control && matches!(key.code, KeyCode::Char('c' | 'd'))))
}

fn system(error: io::Error) -> Error {
    Error::system("the terminal", error)
}

/// What is to be seen.
#[derive(Debug, Default)]
struct Picture {
    status: Option<Value>,
    /// Since when the master does not answer, and what is wrong.
    silent: Option<(Instant, String)>,
}

impl Picture {
    fn take(&mut self, answer: Result<Value, Error>) {
        match answer {
            Ok(status) => {
                *self = Self {
                    status: Some(status),
                    silent: None,
                }
            }
            Err(error) => {
                let since = self.silent.take().map(|(since, _)| since);
                self.silent = Some((since.unwrap_or_else(Instant::now), error.line()));
            }
        }
    }

    fn lines(&self, width: usize, wrong: Wrong) -> Vec<String> {
        let paint = Paint::of_stdout();
        let mut lines = Vec::new();
        if let Some((since, error)) = &self.silent {
            let ms = millis(since.elapsed());
            lines.push(paint.bad(&format!("no master for {}: {error}", span(ms))));
            lines.push("the slaves keep serving without it".to_owned());
            lines.push(String::new());
        }
        if let Some(status) = &self.status {
            lines.extend(table(status, paint, width.min(1000), wrong));
        }
        lines
    }
}

/// The terminal, which is as it was before when this is dropped.
struct Screen {
    /// Whether keys are read.
    raw: bool,
}

impl Screen {
    fn begin() -> io::Result<Self> {
        let raw = stdin().is_terminal();
        if raw {
            enable_raw_mode()?;
        }
        // From here on it is put back.
        let screen = Self { raw };
        execute!(stdout(), EnterAlternateScreen, cursor::Hide)?;
        Ok(screen)
    }

    /// Line by line over what was there, so that nothing flickers.
    fn draw(&mut self, picture: &Picture) -> io::Result<()> {
        let (columns, rows) = terminal::size()?;
        let room = usize::from(rows.saturating_sub(1));
        let mut lines = picture.lines(usize::from(columns), Wrong::First);
        if lines.len() > room {
            let more = lines.len() + 1 - room.max(1);
            lines.truncate(room.saturating_sub(1));
            lines.push(format!("... {more} lines more"));
        }
        let paint = Paint::of_stdout();
        let hint = if self.raw { "q ends" } else { "Ctrl-C ends" };
        let mut out = stdout().lock();
        queue!(out, cursor::MoveTo(0, 0))?;
        for line in &lines {
            queue!(out, Clear(ClearType::CurrentLine))?;
            write!(out, "{}\r\n", safe(&cut(line, usize::from(columns))))?;
        }
        queue!(out, Clear(ClearType::FromCursorDown))?;
        write!(out, "{}", paint.faint(hint))?;
        out.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        let _ = execute!(stdout(), cursor::Show, LeaveAlternateScreen);
        if self.raw {
            let _ = disable_raw_mode();
        }
    }
}

/// The first `columns` characters that are seen; colours take no place.
fn cut(line: &str, columns: usize) -> String {
    let mut seen = 0;
    let mut cut = String::with_capacity(line.len());
    let mut escape = false;
    for letter in line.chars() {
        match (escape, letter) {
            (_, '\u{1b}') => escape = true,
            (true, 'm') => escape = false,
            (true, _) => {}
            (false, _) if seen == columns => continue,
            (false, _) => {
                seen += 1;
                cut.push(letter);
                continue;
            }
        }
        cut.push(letter);
    }
    cut
}

#[cfg(test)]
mod tests {
    use crossterm::event::KeyEvent;

    use super::*;

    #[test]
    fn a_line_is_cut_where_the_screen_ends_and_its_colour_ends_with_it() {
        let line = format!("{} after", Paint::Colour.good("serving"));
        let short = cut(&line, 4);
        assert!(short.starts_with("\u{1b}[32mserv\u{1b}[0m"), "{short:?}");
        assert!(!short.contains("after"));
        assert_eq!(cut("short", 80), "short");
    }

    #[test]
    fn q_escape_and_control_c_end_it_and_nothing_else_does() {
        let key = |code, modifiers| ends(&Event::Key(KeyEvent::new(code, modifiers)));
        assert!(key(KeyCode::Char('q'), KeyModifiers::NONE));
        assert!(key(KeyCode::Esc, KeyModifiers::NONE));
        assert!(key(KeyCode::Char('c'), KeyModifiers::CONTROL));
        assert!(!key(KeyCode::Char('c'), KeyModifiers::NONE));
        assert!(!ends(&Event::Resize(80, 24)));
    }

    #[test]
    fn what_was_seen_last_stays_while_the_master_is_away() {
        let mut picture = Picture::default();
        picture.take(Ok(json!({"shards": [{"shard": 0, "state": "serving"}]})));
        picture.take(Err(Error::Failed("no master listens".to_owned())));
        let text = picture.lines(80, Wrong::First).join("\n");
        assert!(
            text.contains("no master listens") && text.contains("1 of 1 shard serving"),
            "{text}"
        );
        picture.take(Ok(json!({})));
        assert!(
            !picture
                .lines(80, Wrong::First)
                .join("\n")
                .contains("no master")
        );
    }
}
