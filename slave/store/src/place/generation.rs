//! One environment of the engine, opened once a process.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fs::File,
    os::unix::fs::{FileExt as _, MetadataExt},
    path::{Path, PathBuf},
    rc::{Rc, Weak as RcWeak},
    sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak, mpsc},
    thread,
    time::Duration,
};

use heed::{Database, Env, RoTxn, RwTxn, WithTls, types::Bytes};

use super::{
    claims::{self, Claim},
    copy, engine, folder,
    lock::{Held, try_for},
    users::{private, users},
};
use crate::{
    Error,
    error::{Damage, Full, is_full},
    header::{FORMAT, Header, Unread},
    key,
};

/// The documents: one table, and the only one.
pub(crate) type Table = Database<Bytes, Bytes>;

/// See the module.
pub(crate) struct Generation {
    // Views hold the generation, so that the environment is closed with it and not later.
    env: Env<WithTls>,
    table: Table,
    /// The data file; a writer holds its lock during a change.
    file: File,
    /// Held, shared, as long as this is open.
    _users: File,
    /// One change at a time in this process: the lock above is the process'.
    writing: Mutex<()>,
    shard: PathBuf,
    name: String,
}

impl std::fmt::Debug for Generation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Generation")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Those that are open in this process.
static OPEN: Mutex<BTreeMap<PathBuf, Weak<Generation>>> = Mutex::new(BTreeMap::new());

/// How a generation is opened.
#[derive(Clone, Copy)]
pub(crate) struct How {
    /// Its size limit, in bytes.
    pub(crate) most: u64,
    /// How long another process may keep this one waiting.
    pub(crate) patience: Duration,
}

/// Whether the files of a generation are there.
#[derive(Clone, Copy)]
enum Is {
    New,
    There,
}

/// A transaction that changes something.
pub(crate) struct WriteTxn<'t> {
    pub(crate) txn: RwTxn<'t>,
    pub(crate) table: Table,
}

impl WriteTxn<'_> {
    /// The header.
    pub(crate) fn header(&self) -> Result<Header, Error> {
        let bytes = self.table.get(&self.txn, &key::header());
        header(bytes.map_err(Error::engine)?)
    }

    /// Writes the header.
    pub(crate) fn set_header(&mut self, header: &Header) -> Result<(), Error> {
        let put = self
            .table
            .put(&mut self.txn, &key::header(), &header.to_bytes());
        put.map_err(Error::engine)
    }
}

/// Reads a header.
pub(crate) fn header(bytes: Option<&[u8]>) -> Result<Header, Error> {
    let bytes = bytes.ok_or(Error::Damaged(Damage::Header))?;
    Header::read(bytes).map_err(|unread| match unread {
        Unread::Damaged(damage) => Error::Damaged(damage),
        Unread::Format(found) => Error::Format {
            found,
            known: FORMAT,
        },
    })
}

/// What a thread sees of a generation. All views that a thread has at the same time are
/// of the same moment.
pub(crate) struct Txn {
    // First: the environment is closed after it.
    txn: RoTxn<'static, WithTls>,
    generation: Arc<Generation>,
}

impl Txn {
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<&[u8]>, Error> {
        let value = self.generation.table.get(&self.txn, key);
        value.map_err(Error::engine)
    }

    pub(crate) const fn txn(&self) -> &RoTxn<'static, WithTls> {
        &self.txn
    }

    pub(crate) fn table(&self) -> Table {
        self.generation.table
    }
}

thread_local! {
    /// The views that this thread has, by the address of their generation.
    static VIEWS: RefCell<Vec<(*const Generation, RcWeak<Txn>)>> = const { RefCell::new(Vec::new()) };
}

impl Generation {
    /// Makes a new, empty one.
    pub(super) fn create(shard: &Path, name: String, how: How) -> Result<Arc<Self>, Error> {
        folder(&shard.join(&name))?;
        Self::opened(shard, name, how, Is::New)
    }

    /// Opens one that is there, or gives the one that this process has open.
    pub(crate) fn open(shard: &Path, name: String, how: How) -> Result<Arc<Self>, Error> {
        let path = shard.join(&name);
        if !path.exists() {
            return Err(Error::Damaged(Damage::File));
        }
        folder::existing(&path)?;
        if folder::file(&path.join("data.mdb"))?.is_none() {
            return Err(Error::Damaged(Damage::File));
        }
        folder::file(&path.join("lock.mdb"))?;
        Self::opened(shard, name, how, Is::There)
    }

    /// The one that this process has open.
    pub(super) fn opened_already(shard: &Path, name: &str) -> Option<Arc<Self>> {
        opened_here().get(&shard.join(name)).and_then(Weak::upgrade)
    }

    fn opened(shard: &Path, name: String, how: How, is: Is) -> Result<Arc<Self>, Error> {
        let path = shard.join(&name);
        let open = || -> Result<Option<Arc<Self>>, Error> {
            if let Some(open) = opened_here().get(&path).and_then(Weak::upgrade) {
                return Ok(Some(open));
            }
            // Whoever keeps this one waiting must not keep other shards waiting: nothing is
            // locked meanwhile.
            match Self::open_once(shard, &name, how, is) {
                Ok(generation) => {
                    let generation = Arc::new(generation);
                    let mut all = opened_here();
                    all.retain(|_, open| open.strong_count() > 0);
                    all.insert(path.clone(), Arc::downgrade(&generation));
                    Ok(Some(generation))
                }
                // Another thread opens it, or closes it.
                Err(Error::Engine(heed::Error::EnvAlreadyOpened)) => Ok(None),
                Err(error) => Err(error),
            }
        };
        try_for(how.patience, open)
    }

    fn open_once(shard: &Path, name: &str, how: How, is: Is) -> Result<Self, Error> {
        let users = users(shard, how.patience)?;
        let path = shard.join(name);
        let data = path.join("data.mdb");
        // The engine waits for whoever is opening it: that is tried here first.
        let opening = private(&path.join("opening"))?;
        let held = try_for(how.patience, || {
            Held::exclusive(&opening).map_err(Error::io(&path))
        })?;
        let (before, length) = match (folder::file(&data)?, is) {
            (Some(found), _) => (Some(found), copy::check(&data)?),
            (None, Is::New) => (None, 0),
            (None, Is::There) => return Err(Error::Damaged(Damage::File)),
        };
        // A file that has outgrown the limit is read, and gets no new pages.
        let size = how.most.max(length).next_multiple_of(1 << 20);
        let size = usize::try_from(size).unwrap_or(usize::MAX - ((1 << 20) - 1));
        let (env, table) = bounded(how.patience, move || {
            let env = engine::open(&path, size).map_err(Error::engine)?;
            let txn = env.read_txn().map_err(Error::engine)?;
            let table = env.open_database(&txn, None).map_err(Error::engine)?;
            txn.commit().map_err(Error::engine)?;
            // Those of processes that died. A full table would refuse readers.
            env.clear_stale_readers().map_err(Error::engine)?;
            Ok((env, table.ok_or(Error::Damaged(Damage::Structure))?))
        })?;
        drop(held);
        let file = env.try_clone_inner_file().map_err(Error::engine)?;
        let opened = file.metadata().map_err(Error::io(&data))?;
        if before.is_some_and(|before| before.ino() != opened.ino()) {
            // Its file was taken away in this moment, and the engine made another one.
            return Err(Error::Damaged(Damage::File));
        }
        Ok(Self {
            env,
            table,
            file,
            _users: users,
            writing: Mutex::default(),
            shard: shard.to_owned(),
            name: name.to_owned(),
        })
    }

    /// What there is now, as this thread sees it.
    pub(crate) fn read(self: &Arc<Self>) -> Result<Rc<Txn>, Error> {
        let own = Arc::as_ptr(self);
        VIEWS.with_borrow_mut(|views| {
            views.retain(|(_, view)| view.strong_count() > 0);
            let known = views.iter().find(|(of, _)| *of == own);
            if let Some(view) = known.and_then(|(_, view)| view.upgrade()) {
                return Ok(view);
            }
            let txn = self.env.clone().static_read_txn().map_err(Error::engine)?;
            let generation = Arc::clone(self);
            let view = Rc::new(Txn { txn, generation });
            views.push((own, Rc::downgrade(&view)));
            Ok(view)
        })
    }

    /// Makes a change, as a whole or not at all.
    ///
    /// # Errors
    /// What `change` says, or the engine; [`Error::Busy`] if another process is in the
    /// middle of a change for the whole patience. Nothing was changed then.
    pub(crate) fn write<T>(
        &self,
        patience: Duration,
        change: impl FnOnce(&mut WriteTxn<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let path = || self.shard.join(&self.name);
        let _alone = try_for(patience, || Ok(self.alone()))?;
        let _held = try_for(patience, || {
            Held::exclusive(&self.file).map_err(Error::io(path()))
        })?;
        let mut txn = WriteTxn {
            txn: self.env.write_txn().map_err(Error::engine)?,
            table: self.table,
        };
        let changed = change(&mut txn)?;
        txn.txn
            .commit()
            .map_err(|error| self.not_committed(error))?;
        Ok(changed)
    }

    fn alone(&self) -> Option<MutexGuard<'_, ()>> {
        match self.writing.try_lock() {
            Ok(alone) => Some(alone),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Why a change was not made. The engine calls a write that the system cut short, as it
    /// does where the room ends, an error of the device: so it is tried whether the file can
    /// grow. Nobody else writes meanwhile.
    fn not_committed(&self, error: heed::Error) -> Error {
        let io = rustix::io::Errno::IO.raw_os_error();
        let is_cut = matches!(&error, heed::Error::Io(error) if error.raw_os_error() == Some(io));
        if !is_cut {
            return Error::engine(error);
        }
        let grows = self.size().and_then(|length| {
            let grown = self.file.write_all_at(&[0; 4096], length);
            // What was written of it lies behind all pages.
            let _ = self.file.set_len(length);
            grown.map_err(Error::io(self.shard.join(&self.name)))
        });
        match grows {
            Err(Error::Io { source, .. }) if is_full(&source) => Error::Full(Full::Disk),
            Ok(()) | Err(_) => Error::engine(error),
        }
    }

    /// Whether its file still has a name. An owner removes those of the owners before.
    pub(crate) fn is_named(&self) -> Result<bool, Error> {
        let found = self.file.metadata();
        let found = found.map_err(Error::io(self.shard.join(&self.name)))?;
        Ok(found.nlink() > 0)
    }

    /// Gives back what this process has mapped of these.
    pub(crate) fn unmap(open: &[Arc<Self>]) -> Result<(), Error> {
        let open: Vec<_> = open.iter().map(|one| (&one.env, &one.file)).collect();
        engine::unmap(&open).map_err(Error::io("/proc/self/maps"))
    }

    /// Bytes of its file.
    pub(crate) fn size(&self) -> Result<u64, Error> {
        let found = self.file.metadata();
        Ok(found.map_err(Error::io(self.shard.join(&self.name)))?.len())
    }

    /// Bytes of the pages that hold something now; the file's others are used again.
    pub(crate) fn used(self: &Arc<Self>) -> Result<u64, Error> {
        let txn = self.read()?;
        let stat = self.table.stat(txn.txn()).map_err(Error::engine)?;
        let pages = stat.leaf_pages + stat.branch_pages + stat.overflow_pages;
        Ok(pages as u64 * u64::from(stat.page_size))
    }

    /// Slots of readers that were taken so far, and those of dead processes that were
    /// given back just now.
    pub(crate) fn readers(&self) -> Result<(u32, usize), Error> {
        let stale = self.env.clear_stale_readers().map_err(Error::engine)?;
        Ok((self.env.info().number_of_readers, stale))
    }

    /// The header as it is now.
    pub(crate) fn header(self: &Arc<Self>) -> Result<Header, Error> {
        header(self.read()?.get(&key::header())?)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn latest(&self) -> Result<Option<Claim>, Error> {
        claims::current(&self.shard)
    }

    pub(crate) fn shard(&self) -> &Path {
        &self.shard
    }
}

fn opened_here() -> MutexGuard<'static, BTreeMap<PathBuf, Weak<Generation>>> {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does something that another process may hold up for ever, and waits for it only so
/// long. The thread stays behind until the other process goes on or dies.
fn bounded<T: Send + 'static>(
    patience: Duration,
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let (done, over) = mpsc::sync_channel(1);
    let work = move || {
        // Nobody waits any more: what was opened is closed again.
        let _ = done.send(work());
    };
    let spawned = thread::Builder::new()
        .name("store-open".to_owned())
        .spawn(work);
    let thread = spawned.map_err(Error::io("a thread"))?;
    let Ok(done) = over.recv_timeout(patience.max(Duration::from_millis(100))) else {
        return Err(Error::Busy);
    };
    // At its end a thread gives back its place among the readers, in memory that is taken away
    // when the environment is closed: so it has ended before anybody can close it.
    let _ = thread.join();
    done
}
