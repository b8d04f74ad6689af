//! Reading, on a thread that may block: first whether the file can be used at
//! all, then piece after piece.

use std::{
    fs::File,
    io::{self, BufReader, Read as _, Seek},
    path::{Path, PathBuf},
};

use baton_protocol::Sequence;
use tokio::sync::mpsc;

use super::{
    Of, Snapshots,
    format::{self, HEADER, Header, Moment},
};
use crate::{
    sha256::Sha256,
    state::{Copied, Import, Piece, Taken, pack::Unpacker},
};

/// Frames read ahead of the task that takes them in.
const AHEAD: usize = 4;

/// Which snapshot is wanted, and for what.
pub(super) struct Job {
    pub(super) path: PathBuf,
    pub(super) settings: Snapshots,
    pub(super) of: Of,
    /// Where its reader goes on.
    pub(super) handled: Sequence,
}

/// A snapshot being read. Dropped: it is read no further.
#[derive(Debug)]
pub(crate) struct Reading(mpsc::Receiver<Read>);

/// What reading brings.
#[derive(Debug)]
pub(crate) enum Read {
    /// Whole pieces.
    Pieces(Vec<Piece>),
    /// That was all.
    Complete(Copied),
    /// There is no file.
    Nothing,
    /// It cannot be used, or no further; why, for an operator.
    Unusable(String),
}

impl Reading {
    pub(super) fn begin(job: Job) -> Self {
        let (out, read) = mpsc::channel(AHEAD);
        tokio::task::spawn_blocking(move || {
            let last = match read_all(&job, &out) {
                Ok(Some(copied)) => Read::Complete(copied),
                Ok(None) => return,
                Err(Refusal::Nothing) => Read::Nothing,
                Err(Refusal::Because(why)) => Read::Unusable(why),
            };
            // No shard waits for it: it has moved.
            let _ = out.blocking_send(last);
        });
        Self(read)
    }

    /// What comes next. Survives being cancelled.
    pub(crate) async fn next(&mut self) -> Read {
        let next = self.0.recv().await;
        next.unwrap_or_else(|| Read::Unusable("its reader ended".to_owned()))
    }
}

enum Refusal {
    Nothing,
    Because(String),
}

impl From<&str> for Refusal {
    fn from(why: &str) -> Self {
        Self::Because(why.to_owned())
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        let kind = error.kind();
        if kind == io::ErrorKind::NotFound {
            Self::Nothing
        } else if kind == io::ErrorKind::UnexpectedEof {
            Self::from("it is torn")
        } else {
            Self::Because(error.to_string())
        }
    }
}

/// Opens a file and reads its header.
pub(super) fn header_of(path: &Path) -> io::Result<(File, Header)> {
    let mut file = File::open(path)?;
    let mut header = [0; HEADER];
    file.read_exact(&mut header)?;
    let header = Header::decode(&header).map_err(io::Error::other)?;
    Ok((file, header))
}

/// `None`: the receiver is gone.
fn read_all(job: &Job, out: &mpsc::Sender<Read>) -> Result<Option<Copied>, Refusal> {
    let (mut file, header) = header_of(&job.path)?;
    usable(job, &header)?;
    whole(&mut file, &header)?;
    let mut unpacker = Unpacker::new().ok_or("there is no memory to read it")?;
    let mut from = BufReader::with_capacity(128 * 1024, &file).take(header.length);
    let mut import = Import::default();
    loop {
        let frame = format::unpack(&mut unpacker, &mut from)?;
        let pieces = match import.take(&frame) {
            Taken::Begins(pieces) | Taken::Pieces(pieces) => pieces,
            Taken::Complete(copied) if copied.session.as_deref() == Some(&*job.of.session) => {
                return Ok(Some(copied));
            }
            Taken::Complete(_) => return Err("its content is of another session".into()),
            Taken::Broken(why) => return Err(Refusal::Because(why)),
            Taken::Ignored => return Err("its frames do not belong together".into()),
        };
        if !pieces.is_empty() && out.blocking_send(Read::Pieces(pieces)).is_err() {
            return Ok(None);
        }
    }
}

/// Whether it is of this session, and near enough to go on from.
fn usable(job: &Job, header: &Header) -> Result<(), Refusal> {
    if header.shard != job.of.shard {
        return Err(Refusal::Because(format!("it is of shard {}", header.shard)));
    }
    if Some(header.tag) != format::tag(&job.of.session) {
        return Err("it is of another session".into());
    }
    let behind = job.handled.get().saturating_sub(header.stands.get());
    let allowed = job.settings.may_be_behind(header.pieces);
    if behind > allowed {
        return Err(Refusal::Because(format!(
            "it is {behind} dispatches behind, {allowed} can be replayed"
        )));
    }
    // Without anything to replay, no buffer of Discord's can be too short.
    match header.written.age(&Moment::now()?) {
        Some(age) if behind == 0 || age <= job.settings.max_age => Ok(()),
        Some(age) => Err(Refusal::Because(format!(
            "it is {} s old, {behind} dispatches behind",
            age.as_secs()
        ))),
        None if behind == 0 => Ok(()),
        None => Err("its time is yet to come: the clock was set back".into()),
    }
}

/// Whether every byte of the body is as it was written.
fn whole(file: &mut File, header: &Header) -> Result<(), Refusal> {
    let length = file.metadata()?.len();
    if length != header.length + HEADER as u64 {
        return Err("it is torn".into());
    }
    let mut digest = Sha256::new();
    let mut buffer = vec![0; 128 * 1024];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => digest.update(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    if digest.finish() != header.digest {
        return Err("it is damaged".into());
    }
    file.seek(io::SeekFrom::Start(HEADER as u64))?;
    Ok(())
}
