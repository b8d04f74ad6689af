//! The file `history.jsonl` of the data directory: what an operator wants to know who
//! was not there. One JSON object a line, each with `at` (UTC) and `at_unix_ms`, so that
//! it can be read without a master, with `grep` and `jq`. Two files of a bounded size
//! take turns. A thread writes them: no other thread waits for that disk, and what cannot be
//! written is lost to the next master only.

use std::{
    collections::{BTreeMap, VecDeque},
    fs::{File, rename},
    io::{self, BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use serde_json::{Value, json};
use tracing::warn;

use crate::{clock::unix_ms, whole_file::append};

/// Its name in the data directory.
pub const FILE: &str = "history.jsonl";

/// What was in it before it was full.
const BEFORE: &str = "history.1.jsonl";

/// A file that is longer makes room for the next one, in bytes.
const MOST: u64 = 2 * 1024 * 1024;

/// So many events are remembered; the files may hold more.
const REMEMBERED: usize = 4096;

/// Lines that wait for the disk.
const QUEUE: usize = 1024;

/// A longer line is none of ours, in bytes.
const LINE: u64 = 1024 * 1024;

/// Of each type so many events are kept in a row ...
const BURST: u32 = 100;

/// ... and one more in each such time: what comes in floods pushes nothing else out.
const REFILL: Duration = Duration::from_secs(5);

/// What was kept, the newest last.
#[derive(Debug, Default)]
pub(super) struct Chronicle {
    events: VecDeque<Arc<Value>>,
    budgets: BTreeMap<String, Budget>,
    /// `None`: kept in memory only.
    disk: Option<SyncSender<String>>,
}

/// How many events of one type may still be kept.
#[derive(Debug)]
struct Budget {
    left: u32,
    filled: Instant,
    left_out: u64,
}

impl Chronicle {
    /// Reads what earlier masters kept, and goes on there.
    ///
    /// # Errors
    /// The operating system refused; what could be read is still there.
    pub(super) fn open(data_dir: &Path) -> (Self, io::Result<()>) {
        let events = read(data_dir);
        let mut chronicle = Self {
            events: events.into_iter().map(Arc::new).collect(),
            ..Self::default()
        };
        let (lines, queue) = sync_channel(QUEUE);
        let opened = Files::open(data_dir).and_then(|files| {
            thread::Builder::new()
                .name("history".to_owned())
                .spawn(move || files.serve(&queue))
        });
        let opened = opened.map(|_| chronicle.disk = Some(lines));
        (chronicle, opened)
    }

    /// Keeps an event; `type` tells it apart.
    pub(super) fn keep(&mut self, mut event: Value) {
        let kind = event["type"].as_str().unwrap_or_default().to_owned();
        let budget = self.budgets.entry(kind).or_insert_with(Budget::full);
        let Some(left_out) = budget.take() else {
            return;
        };
        if left_out > 0 {
            event["left_out"] = left_out.into();
        }
        let now = SystemTime::now();
        event["at_unix_ms"] = unix_ms().into();
        event["at"] = humantime::format_rfc3339_millis(now).to_string().into();
        if let Some(disk) = &self.disk {
            // A disk that takes nothing: the event is remembered here.
            let _ = disk.try_send(event.to_string());
        }
        if self.events.len() == REMEMBERED {
            self.events.pop_front();
        }
        self.events.push_back(Arc::new(event));
    }

    pub(super) fn events(&self) -> impl DoubleEndedIterator<Item = &Arc<Value>> {
        self.events.iter()
    }

    /// The last deploy of each slot whose master was killed in the middle of it.
    pub(super) fn without_end(&self) -> Vec<Value> {
        let mut open = BTreeMap::new();
        for event in self.events() {
            let deploy = event["deploy"].as_u64();
            match event["type"].as_str() {
                Some("deploy_accepted") => {
                    let slot = event["slot"].as_str().unwrap_or_default();
                    // An earlier one of the slot has ended, if that is not to be found any more.
                    open.retain(|_, known: &mut String| known != slot);
                    open.insert(deploy, slot.to_owned());
                }
                Some("deploy_ended" | "deploy_cut_off") => {
                    open.remove(&deploy);
                }
                Some(_) | None => {}
            }
        }
        let open = open.into_iter();
        open.map(|(deploy, slot)| cut_off(deploy, &slot)).collect()
    }
}

impl Budget {
    fn full() -> Self {
        Self {
            left: BURST,
            filled: Instant::now(),
            left_out: 0,
        }
    }

    /// How many events were left out since the last one; `None`: this one is, too.
    fn take(&mut self) -> Option<u64> {
        let more = self.filled.elapsed().as_secs() / REFILL.as_secs();
        if more > 0 {
            let more = u32::try_from(more).unwrap_or(u32::MAX);
            self.left = self.left.saturating_add(more).min(BURST);
            self.filled = Instant::now();
        }
        if self.left == 0 {
            self.left_out += 1;
            return None;
        }
        self.left -= 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

/// Everything that the files of a data directory say, the newest last, at most 4096
/// events. Lines that make no sense are left out.
#[must_use]
pub fn read(data_dir: &Path) -> Vec<Value> {
    let mut events = VecDeque::new();
    for name in [BEFORE, FILE] {
        let Ok(file) = File::open(data_dir.join(name)) else {
            continue;
        };
        let mut lines = BufReader::new(file);
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = lines.by_ref().take(LINE).read_until(b'\n', &mut line);
            if !matches!(read, Ok(1..)) {
                break;
            }
            let Ok(event) = serde_json::from_slice::<Value>(&line) else {
                continue;
            };
            if event["at_unix_ms"].is_u64() && event["type"].is_string() {
                if events.len() == REMEMBERED {
                    events.pop_front();
                }
                events.push_back(event);
            }
        }
    }
    events.into()
}

/// The two files.
struct Files {
    path: PathBuf,
    before: PathBuf,
    file: File,
    length: u64,
    /// The disk refused the last line: that was said.
    refused: bool,
}

impl Files {
    fn open(data_dir: &Path) -> io::Result<Self> {
        let path = data_dir.join(FILE);
        // A bot's last words stand in it. What a crash cut off is a line of its own, which
        // makes no sense.
        let file = append(&path)?;
        let length = file.metadata()?.len();
        Ok(Self {
            before: data_dir.join(BEFORE),
            path,
            file,
            length,
            refused: false,
        })
    }

    fn serve(mut self, queue: &Receiver<String>) {
        while let Ok(mut line) = queue.recv() {
            line.push('\n');
            self.take(&line);
        }
    }

    fn take(&mut self, line: &str) {
        let written = self.write(line);
        if let Err(error) = &written
            && !self.refused
        {
            warn!(file = %self.path.display(), %error, "what happened is not written down");
        }
        self.refused = written.is_err();
    }

    fn write(&mut self, line: &str) -> io::Result<()> {
        if self.refused {
            // The last one may have been cut off.
            self.file = append(&self.path)?;
            self.length = self.file.metadata()?.len();
        }
        if self.length + line.len() as u64 > MOST {
            rename(&self.path, &self.before)?;
            self.file = append(&self.path)?;
            self.length = 0;
        }
        self.file.write_all(line.as_bytes())?;
        self.length += line.len() as u64;
        Ok(())
    }
}

/// That nothing is known of this deploy behind the death of its master.
pub(super) fn cut_off(deploy: Option<u64>, slot: &str) -> Value {
    json!({ "type": "deploy_cut_off", "deploy": deploy, "slot": slot })
}

/// That a master begins.
pub(super) fn started(term: &str) -> Value {
    json!({ "type": "master_started", "term": term, "pid": std::process::id(),
        "version": env!("CARGO_PKG_VERSION") })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn alarm(detail: &str) -> Value {
        json!({ "type": "alarm", "detail": detail })
    }

    fn details(events: &[Value]) -> Vec<&str> {
        events
            .iter()
            .filter_map(|event| event["detail"].as_str())
            .collect()
    }

    /// The thread of a chronicle writes behind it.
    fn until_written(dir: &Path, events: usize) -> Vec<Value> {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let found = read(dir);
            if found.len() >= events || Instant::now() > deadline {
                return found;
            }
            #[expect(clippy::disallowed_methods, reason = "a test without a runtime")]
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn what_was_kept_is_there_for_the_next_master_also_behind_a_torn_line() {
        let dir = tempfile::tempdir().unwrap();
        let (mut first, opened) = Chronicle::open(dir.path());
        opened.unwrap();
        first.keep(alarm("one"));
        assert_eq!(details(&until_written(dir.path(), 1)), ["one"]);
        drop(first);
        let mut file = append(&dir.path().join(FILE)).unwrap();
        file.write_all(b"{\"type\":\"alarm\",\"at_un").unwrap();
        let (mut second, opened) = Chronicle::open(dir.path());
        opened.unwrap();
        second.keep(alarm("two"));
        let all = until_written(dir.path(), 2);
        assert_eq!(details(&all), ["one", "two"]);
        assert!(all[1]["at"].as_str().unwrap().ends_with('Z'), "{all:?}");
        let remembered: Vec<Value> = second.events().map(|event| (**event).clone()).collect();
        assert_eq!(details(&remembered), ["one", "two"]);
    }

    #[test]
    fn the_files_stay_small_and_the_newest_stays() {
        let dir = tempfile::tempdir().unwrap();
        let mut files = Files::open(dir.path()).unwrap();
        let long = "x".repeat(100_000);
        for number in 0..100_u64 {
            let event = json!({ "type": "alarm", "detail": long, "at_unix_ms": number });
            files.write(&format!("{event}\n")).unwrap();
        }
        let lengths = [FILE, BEFORE].map(|name| dir.path().join(name).metadata().unwrap().len());
        assert!(lengths.iter().all(|length| *length <= MOST), "{lengths:?}");
        assert_eq!(read(dir.path()).last().unwrap()["at_unix_ms"], 99);
    }

    #[test]
    fn a_line_that_a_full_disk_cut_off_takes_no_later_one_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut files = Files::open(dir.path()).unwrap();
        let line = |number: u64| {
            let event = json!({ "type": "alarm", "detail": "d", "at_unix_ms": number });
            format!("{event}\n")
        };
        files.take(&line(1));
        files.file.write_all(b"{\"type\":\"al").unwrap();
        let well = std::mem::replace(
            &mut files.file,
            File::options().write(true).open("/dev/full").unwrap(),
        );
        files.take(&line(2));
        files.file = well;
        files.take(&line(3));
        let kept: Vec<_> = read(dir.path())
            .iter()
            .map(|event| event["at_unix_ms"].as_u64())
            .collect();
        assert_eq!(kept, [Some(1), Some(3)]);
    }

    #[test]
    fn a_flood_of_one_type_is_counted_and_leaves_room_for_the_others() {
        let mut chronicle = Chronicle::default();
        for _ in 0..1000 {
            chronicle.keep(alarm("again"));
        }
        chronicle.keep(json!({ "type": "deploy_ended" }));
        let kept = chronicle.events().count();
        assert!(kept < 2 * BURST as usize, "{kept}");
        assert_eq!(
            chronicle.events().next_back().unwrap()["type"],
            "deploy_ended"
        );
        let budget = chronicle.budgets.get_mut("alarm").unwrap();
        assert!(budget.left_out > 800);
        budget.filled = Instant::now().checked_sub(REFILL).unwrap();
        chronicle.keep(alarm("later"));
        let last = chronicle.events().next_back().unwrap();
        assert!(last["left_out"].as_u64().unwrap() > 800, "{last}");
    }

    #[test]
    fn without_a_disk_everything_is_remembered_all_the_same() {
        let (mut chronicle, opened) = Chronicle::open(Path::new("/nonexistent"));
        assert!(opened.is_err());
        chronicle.keep(alarm("one"));
        assert_eq!(chronicle.events().count(), 1);
    }
}
