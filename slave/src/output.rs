//! What this process writes to standard error, where that is the file that the master
//! copies (`BATON_OUTPUT`). The master gives back what it has copied. While no master
//! runs nothing else would, and the file would grow for ever: so the slave does it too.

use std::{env, fs::File, io::stderr, os::fd::AsFd, thread, time::Duration};

use rustix::fs::{FallocateFlags, fallocate};

/// Set by a master that launches this process: how many bytes of what stands in the
/// file are kept for it, at most.
const VARIABLE: &str = "BATON_OUTPUT";

/// How often that is looked at.
const PASS: Duration = Duration::from_secs(10);

/// Keeps the file small, for as long as the process lives.
pub(crate) fn keep_small() {
    let most = env::var(VARIABLE).ok().and_then(|text| text.parse().ok());
    let Some(most) = most else { return };
    let Ok(file) = stderr().as_fd().try_clone_to_owned().map(File::from) else {
        return;
    };
    // Without the thread the file is as long as the master is away.
    let _ = thread::Builder::new()
        .name("output".to_owned())
        .spawn(move || {
            loop {
                give_back(&file, most);
                #[expect(clippy::disallowed_methods, reason = "a thread of its own")]
                thread::sleep(PASS);
            }
        });
}

/// All of a file but the last `most` bytes, where it takes twice as much on the disk.
fn give_back(file: &File, most: u64) {
    use std::os::unix::fs::MetadataExt;

    let Ok(now) = file.metadata() else { return };
    if now.is_file() && now.blocks() * 512 > most.saturating_mul(2) && now.len() > most {
        let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        // A filesystem that knows no holes keeps everything.
        let _ = fallocate(file, hole, 0, now.len() - most);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{
        io::{Read, Seek, SeekFrom, Write},
        os::unix::fs::MetadataExt,
    };

    use super::*;

    #[test]
    fn the_end_of_what_was_written_stays_and_the_file_is_small() {
        let path = env::temp_dir().join(format!("baton-output-{}", std::process::id()));
        let options = || File::options().read(true).append(true).create(true).clone();
        let mut file = options().open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        for _ in 0..64 {
            file.write_all(&[b'x'; 64 * 1024]).unwrap();
            give_back(&file, 256 * 1024);
        }
        file.write_all(b"the end").unwrap();
        let now = file.metadata().unwrap();
        assert!(now.blocks() * 512 < 1024 * 1024, "{}", now.blocks());
        file.seek(SeekFrom::End(-7)).unwrap();
        let mut end = String::new();
        file.read_to_string(&mut end).unwrap();
        assert_eq!(end, "the end");
    }
}
