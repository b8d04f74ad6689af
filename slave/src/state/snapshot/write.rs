//! Writing, on a thread that may block.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, BufWriter, Seek, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use baton_protocol::{
    Sequence,
    state::{MAX_UNACKNOWLEDGED, StateFrame},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::{
    Of,
    format::{self, HEADER, Header, MAX_BODY, Moment},
    is_temporary,
    read::header_of,
};
use crate::{sha256::Sha256, state::pack::Packer};

/// What is to be written where.
pub(super) struct Job {
    pub(super) path: PathBuf,
    pub(super) temporary: PathBuf,
    pub(super) max_age: Duration,
    pub(super) of: Of,
    pub(super) pieces: u64,
}

/// A snapshot being written. Dropped before its last frame: it is given up, and
/// the one before stays.
#[derive(Debug)]
pub(crate) struct Writing {
    frames: mpsc::UnboundedSender<StateFrame>,
    outcome: oneshot::Receiver<Outcome>,
    /// Bytes that may wait for the disk; closed when there is no writer.
    pub(crate) budget: Arc<Semaphore>,
}

/// What became of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is on the disk.
    Written,
    /// It was given up, or a younger one of a later owner is there.
    Dropped,
    /// It could not be written; the log says why.
    Failed,
}

impl Writing {
    pub(super) fn begin(job: Job, permit: OwnedSemaphorePermit) -> Self {
        #[expect(clippy::disallowed_methods, reason = "the budget of bytes bounds it")]
        let (frames, from) = mpsc::unbounded_channel();
        let (tell, outcome) = oneshot::channel();
        let budget = Arc::new(Semaphore::new(MAX_UNACKNOWLEDGED as usize));
        let room = budget.clone();
        tokio::task::spawn_blocking(move || {
            let result = write(&job, from, &room);
            room.close();
            let outcome = result.unwrap_or_else(|error| {
                tracing::warn!(
                    shard = %job.of.shard, file = %job.path.display(), %error,
                    "the snapshot cannot be written; the shard goes on without"
                );
                Outcome::Failed
            });
            if outcome != Outcome::Written {
                // It may never have been made.
                let _ = fs::remove_file(&job.temporary);
            }
            drop(permit);
            // No shard waits for it: it has moved.
            let _ = tell.send(outcome);
        });
        Self {
            frames,
            outcome,
            budget,
        }
    }

    /// Gives a frame to the writer, for which the budget has room.
    pub(crate) fn frame(&self, frame: StateFrame) {
        // The receiver is gone: the outcome says so.
        let _ = self.frames.send(frame);
    }

    /// What became of it; `None`: it is still being written.
    pub(crate) fn outcome(&mut self) -> Option<Outcome> {
        match self.outcome.try_recv() {
            Ok(outcome) => Some(outcome),
            Err(oneshot::error::TryRecvError::Empty) => None,
            // The writer panicked, or the runtime ends.
            Err(oneshot::error::TryRecvError::Closed) => Some(Outcome::Failed),
        }
    }
}

fn write(
    job: &Job,
    mut frames: mpsc::UnboundedReceiver<StateFrame>,
    budget: &Semaphore,
) -> io::Result<Outcome> {
    let dir = job.path.parent().unwrap_or_else(|| Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    remove_leftovers(job, dir)?;
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&job.temporary)?;
    file.write_all(&[0; HEADER])?;
    let written = Moment::now()?;
    let mut body = Body::new(&file)?;
    let stands = loop {
        let Some(frame) = frames.blocking_recv() else {
            return Ok(Outcome::Dropped);
        };
        body.frame(&frame)?;
        budget.add_permits(frame.body().len());
        if frame.is_end() {
            break frame.header().sequence;
        }
    };
    let header = body.end(job, stands, written)?;
    file.rewind()?;
    file.write_all(&header.encode())?;
    file.sync_all()?;
    if is_superseded(job, &header) {
        return Ok(Outcome::Dropped);
    }
    fs::rename(&job.temporary, &job.path)?;
    File::open(dir)?.sync_all()?;
    Ok(Outcome::Written)
}

/// Removes what a process that died was writing. One that lives and still thinks
/// that the shard is its own finds nothing to rename.
fn remove_leftovers(job: &Job, dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if is_temporary(&path, job.of.shard) && path != job.temporary {
            // Another process may have removed it.
            let _ = fs::remove_file(path);
        }
    }
    Ok(())
}

/// Whether a later owner has written one. A file too old to be used counts for
/// nothing: a new fleet starts its epochs again.
fn is_superseded(job: &Job, ours: &Header) -> bool {
    let Ok((_, there)) = header_of(&job.path) else {
        return false;
    };
    let age = there.written.age(&ours.written);
    there.shard == ours.shard
        && there.epoch > ours.epoch
        // Younger than this one has no age yet.
        && age.unwrap_or_default() <= job.max_age
}

/// The part behind the header.
struct Body<'f> {
    out: BufWriter<&'f File>,
    packer: Packer,
    packed: Vec<u8>,
    length: u64,
    digest: Sha256,
}

impl<'f> Body<'f> {
    fn new(file: &'f File) -> io::Result<Self> {
        let packer = Packer::new().ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self {
            out: BufWriter::with_capacity(128 * 1024, file),
            packer,
            packed: Vec::new(),
            length: 0,
            digest: Sha256::new(),
        })
    }

    fn frame(&mut self, frame: &StateFrame) -> io::Result<()> {
        format::pack(&mut self.packer, frame, &mut self.packed)?;
        self.digest.update(&self.packed);
        self.length += self.packed.len() as u64;
        if self.length > MAX_BODY {
            return Err(io::Error::other(
                "the state is larger than a snapshot may be",
            ));
        }
        self.out.write_all(&self.packed)
    }

    fn end(mut self, job: &Job, stands: Sequence, written: Moment) -> io::Result<Header> {
        self.out.flush()?;
        Ok(Header {
            shard: job.of.shard,
            epoch: job.of.epoch,
            tag: format::tag(&job.of.session).ok_or(io::ErrorKind::InvalidInput)?,
            stands,
            pieces: job.pieces,
            written,
            length: self.length,
            digest: self.digest.finish(),
        })
    }
}
