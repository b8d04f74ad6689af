//! What is logged says of which shard it is.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
};

use tracing_subscriber::fmt::MakeWriter;

use crate::common::{Doing, FakeMaster, Recorder, config, discord, run, until};

/// A log in memory.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    /// The first line that says this.
    fn saying(&self, what: &str) -> Option<String> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        let line = text.lines().find(|line| line.contains(what));
        line.map(str::to_owned)
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn whatever_a_shard_or_its_bot_logs_names_the_shard_and_its_epoch_also_where_only_errors_are()
{
    let lines = Lines::default();
    let log = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .with_ansi(false)
        .with_writer(lines.clone())
        .finish();
    // For this thread, on which everything runs.
    let _here = tracing::subscriber::set_default(log);
    let discord = discord(|_| {}).await;
    let master = FakeMaster::new(1).await;
    let slave = run(config(&master, &discord), Recorder::default());
    slave.bot.does(|_| {
        tracing::warn!("a word of the bot");
        Doing::Panic
    });
    let mut peer = master.accept().await;
    peer.start(&[0], 7, 1).await;
    crate::common::traffic(&discord, 200.0);
    for said in ["a word of the bot", "a handler panicked"] {
        until(said, || lines.saying(said).is_some()).await;
        let line = lines.saying(said).unwrap();
        assert!(line.contains("shard{shard=0 epoch=7}: "), "{line}");
    }
}
