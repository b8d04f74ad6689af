//! A deploy while it happens: a terminal gets a bar that moves in place, a pipe
//! plain lines, a program objects.

use std::{
    io::{IsTerminal, Write, stdout},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use super::{
    super::{say, text::safe},
    progress::Progress,
};

/// A pipe gets the number of moved shards at most this often.
const SELDOM: Duration = Duration::from_secs(1);

/// What is shown, and where.
pub(super) enum Screen {
    /// A person at a terminal.
    Bar(ProgressBar),
    /// A pipe; when it got figures last, and which.
    Lines(Option<(Instant, String)>),
    /// A program.
    Objects,
}

impl Screen {
    pub(super) fn new(shards: u64, json: bool) -> Self {
        if json {
            return Self::Objects;
        }
        if !stdout().is_terminal() {
            return Self::Lines(None);
        }
        let bar = ProgressBar::new(shards);
        // A template that does not parse would show in every run.
        if let Ok(style) =
            ProgressStyle::with_template("  {bar:20.green/dim} {wide_msg} {elapsed:>4}")
        {
            bar.set_style(style.progress_chars("━━╌"));
        }
        bar.enable_steady_tick(Duration::from_millis(250));
        Self::Bar(bar)
    }

    /// Something happened that is always shown.
    pub(super) fn line(&self, line: &str) {
        match self {
            Self::Bar(bar) => bar.suspend(|| say(line)),
            Self::Lines(_) => say(line),
            Self::Objects => {}
        }
    }

    /// Any event of the deploy, as it came. `false`: the reader is gone.
    pub(super) fn object(&self, event: &Value) -> bool {
        match self {
            Self::Objects => writeln!(stdout(), "{}", safe(&event.to_string())).is_ok(),
            Self::Bar(_) | Self::Lines(_) => true,
        }
    }

    /// It got further.
    pub(super) fn figures(&mut self, progress: &Progress) {
        match self {
            Self::Bar(bar) => {
                bar.set_position(progress.moved.len() as u64);
                bar.set_message(format!("{}: {}", progress.step, progress.figures()));
            }
            Self::Lines(told) => {
                let figures = progress.figures();
                let is_due = told
                    .as_ref()
                    .is_none_or(|(at, last)| at.elapsed() >= SELDOM && *last != figures);
                if is_due && progress.began() {
                    say(&format!("  {figures}"));
                    *told = Some((Instant::now(), figures));
                }
            }
            Self::Objects => {}
        }
    }

    /// Nothing more moves in place.
    pub(super) fn end(&self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}
