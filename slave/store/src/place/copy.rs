//! The last committed state of a generation, without its locks.
//!
//! The engine never changes a page of the last committed transaction, nor of the one before
//! it if that is still the last that a file names: a writer writes beside them, then one of
//! the two root records, and only the change *after* that may use the freed pages. So a
//! copy is whole if the root records are the same after it as before.

use std::{
    fs::{File, OpenOptions},
    io::{self, Seek, SeekFrom},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
};

use rustix::fs::{FallocateFlags, fallocate};

use crate::{
    Error,
    error::{Damage, Full, is_full},
};

/// Where things stand in a root record.
const MAGIC: (usize, u32) = (16, 0xBEEF_C0DE);
const PAGE_SIZE: usize = 40;
const LAST_PAGE: usize = 136;
const TRANSACTION: usize = 144;
const RECORD: usize = 152;

/// Pages that may be missing at the end.
const NEVER_WRITTEN: u64 = 256;
/// Copies that are tried while a writer goes on.
const ATTEMPTS: usize = 3;

/// A root record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Root {
    transaction: u64,
    last_page: u64,
    page: u64,
}

/// Copies the file at `from` to `to`, which is not there yet.
///
/// # Errors
/// It cannot be read or written; or a writer goes on ([`Error::Busy`]).
pub(super) fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    let mut source = File::open(from).map_err(|error| {
        if error.kind() == io::ErrorKind::NotFound {
            return Error::Damaged(Damage::File);
        }
        Error::io(from)(error)
    })?;
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let mut target = options.open(to).map_err(Error::io(to))?;
    for _ in 0..ATTEMPTS {
        let before = roots(&source)?;
        let whole = (|| {
            source.seek(SeekFrom::Start(0))?;
            target.set_len(0)?;
            target.seek(SeekFrom::Start(0))?;
            io::copy(&mut source, &mut target)
        })();
        let length = whole.map_err(|error| {
            if is_full(&error) {
                return Error::Full(Full::Disk);
            }
            Error::io(to)(error)
        })?;
        if roots(&source)? == before {
            return match before.iter().all(|root| root.fits(length)) {
                true => Ok(()),
                false => Err(Error::Damaged(Damage::File)),
            };
        }
    }
    Err(Error::Busy)
}

/// Checks that a file has the pages that it names, and gives its length.
///
/// Pages at its end that were freed in the change that took them were never written: a
/// few may be missing, and are added, so that the map of the file is whole.
///
/// # Errors
/// More are missing, or it cannot be read.
pub(super) fn check(path: &Path) -> Result<u64, Error> {
    let file = OpenOptions::new().read(true).write(true).open(path);
    let file = file.map_err(Error::io(path))?;
    let length = file.metadata().map_err(Error::io(path))?.len();
    let roots = roots(&file)?;
    if !roots.iter().all(|root| root.fits(length)) {
        return Err(Error::Damaged(Damage::File));
    }
    let needed = roots.iter().map(|root| root.length()).max().unwrap_or(0);
    if needed > length {
        // A writer may add more at the same time: this adds, and cuts nothing off.
        let added = fallocate(&file, FallocateFlags::empty(), length, needed - length);
        match added {
            Ok(()) | Err(rustix::io::Errno::OPNOTSUPP) => {}
            Err(error) if is_full(&error.into()) => return Err(Error::Full(Full::Disk)),
            Err(error) => return Err(Error::io(path)(error.into())),
        }
    }
    Ok(needed.max(length))
}

impl Root {
    fn read(bytes: &[u8; RECORD]) -> Option<Self> {
        let long = |at: usize| {
            let part = bytes.get(at..)?.first_chunk()?;
            Some(u64::from_le_bytes(*part))
        };
        let magic = bytes[MAGIC.0..].first_chunk()?;
        let page = bytes[PAGE_SIZE..].first_chunk()?;
        let page = u64::from(u32::from_le_bytes(*page));
        let root = Self {
            transaction: long(TRANSACTION)?,
            last_page: long(LAST_PAGE)?,
            page,
        };
        let sound = u32::from_le_bytes(*magic) == MAGIC.1
            && page.is_power_of_two()
            && (256..=65_536).contains(&page)
            && root.last_page < 1 << 40;
        sound.then_some(root)
    }

    /// How long a file is that has all pages.
    const fn length(self) -> u64 {
        (self.last_page + 1) * self.page
    }

    const fn fits(self, length: u64) -> bool {
        self.length() <= length + NEVER_WRITTEN * self.page
    }
}

fn roots(file: &File) -> Result<[Root; 2], Error> {
    let damaged = |_| Error::Damaged(Damage::File);
    let mut bytes = [0; RECORD];
    file.read_exact_at(&mut bytes, 0).map_err(damaged)?;
    let first = Root::read(&bytes).ok_or(Error::Damaged(Damage::File))?;
    file.read_exact_at(&mut bytes, first.page)
        .map_err(damaged)?;
    let second = Root::read(&bytes).ok_or(Error::Damaged(Damage::File))?;
    Ok([first, second])
}
