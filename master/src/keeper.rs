//! The runtime directory may be emptied under a running master: by `systemd-tmpfiles`,
//! a cleaning job, an operator. What a master needs there is looked at once a
//! second, put back, and told.
//!
//! | what | is put back |
//! |---|---|
//! | the directory, `slave.sock`, `admin.sock` | made again; connections stay |
//! | `slave.sock`, where a service manager made it | not by the master: the service manager has to |
//! | `secret`, here and in `data_dir` | as this master knows it; a changed one is reported, and left |
//! | `master.lock` | locked again, unless another master has it |
//! | `fleet` | by the journal |
//!
//! Where another master has the lock by now, the directory is that one's: nothing in it
//! is touched, and that is told.

use std::{
    collections::BTreeSet,
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use baton_protocol::auth::Secret;
use tokio::{
    net::UnixListener,
    sync::mpsc,
    task::spawn_blocking,
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::{
    doctor::Finding,
    error::Error,
    notice::Notice,
    runtime_dir::{Lock, RuntimeDir, make_dir},
    whole_file,
};

/// How often it is looked.
const EVERY: Duration = Duration::from_secs(1);

/// What goes missing again and again is told at most so often.
const AGAIN: Duration = Duration::from_secs(60);

/// The journal's thread has so many looks of time to write the fleet's file.
const LOOKS_TO_WRITE: u32 = 10;

/// Who made the socket of the slaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maker {
    /// This master.
    Us,
    /// A service manager, which passed it.
    Service,
}

/// What is wrong now, for the doctor.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    wrong: Arc<Mutex<Vec<(String, String)>>>,
    /// Whether the secret is another one than that with which the fleet began.
    other_secret: bool,
}

/// Sockets that were made again.
#[derive(Debug, Default)]
pub struct Anew {
    /// For slaves.
    pub slave: Option<UnixListener>,
    /// For operators.
    pub admin: Option<UnixListener>,
}

/// See the [module](self).
#[derive(Debug)]
pub struct Keeper {
    dir: RuntimeDir,
    data_dir: PathBuf,
    secret: Secret,
    maker: Maker,
    /// Which file each socket is.
    slave: Option<File>,
    admin: Option<File>,
    lock: Lock,
    kept: Kept,
    /// What is wrong and was reported.
    told: BTreeSet<String>,
    /// What went missing and was not told yet.
    back: BTreeSet<String>,
    /// When that was told last.
    back_told: Option<Instant>,
    /// Looks in a row at which the fleet's file was not there.
    no_fleet: u32,
}

/// One file, of any name.
type File = (u64, u64);

/// What one look saw.
#[derive(Debug, Default)]
struct Looked {
    anew: Anew,
    /// What was gone and is there again.
    back: Vec<String>,
    /// What is wrong, and what to do.
    wrong: Vec<(String, String)>,
    /// Whether the journal is to write the fleet's file.
    fleet: bool,
}

impl Kept {
    /// Of a master whose secret may be another one than that with which its fleet began.
    #[must_use]
    pub fn new(other_secret: bool) -> Self {
        Self {
            other_secret,
            ..Self::default()
        }
    }

    /// What is wrong in the runtime directory now. Where slaves are `missing`, a secret
    /// that was changed is the likely cause.
    #[must_use]
    pub fn findings(&self, missing: bool) -> Vec<Finding> {
        let mut wrong = self
            .wrong
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if self.other_secret && missing {
            wrong.push((
                "the secret is another one than that with which this fleet began".to_owned(),
                "slaves that dial by TCP and know the one before are not let in: put it back \
                 (`secret.before` in data_dir, if it is there) and restart the master, or replace \
                 these slaves"
                    .to_owned(),
            ));
        }
        let check = "runtime_dir";
        if wrong.is_empty() {
            return vec![Finding::ok(check, "everything is where the master put it")];
        }
        let findings = wrong
            .iter()
            .map(|(what, next)| Finding::error(check, what, next));
        findings.collect()
    }

    fn set(&self, wrong: Vec<(String, String)>) {
        *self.wrong.lock().unwrap_or_else(PoisonError::into_inner) = wrong;
    }
}

impl Keeper {
    /// Keeps what is there now. `lock` is the directory's own.
    #[must_use]
    pub fn new(
        dir: RuntimeDir,
        data_dir: &Path,
        secret: Secret,
        maker: Maker,
        lock: Lock,
        kept: Kept,
    ) -> Self {
        Self {
            slave: file(&dir.slave_socket()),
            admin: file(&dir.admin_socket()),
            data_dir: data_dir.to_owned(),
            dir,
            secret,
            maker,
            lock,
            kept,
            told: BTreeSet::new(),
            back: BTreeSet::new(),
            back_told: None,
            no_fleet: 0,
        }
    }

    /// Looks until the master closes. New sockets go to `serve`.
    pub async fn keep(
        mut self,
        notices: mpsc::Sender<Notice>,
        closing: CancellationToken,
        mut serve: impl FnMut(Anew),
    ) {
        let mut tick = interval(EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = closing.cancelled() => return,
                _ = tick.tick() => {}
            }
            let looking = spawn_blocking(move || {
                let looked = self.look();
                (self, looked)
            });
            let Ok((keeper, looked)) = looking.await else {
                return error!("the runtime directory is not looked at any more");
            };
            self = keeper;
            serve(looked.anew);
            let alarm = self.tell(looked.back, looked.wrong);
            if (alarm.is_some() || looked.fleet)
                && notices.send(Notice::Emptied { alarm }).await.is_err()
            {
                return;
            }
        }
    }

    /// Notes what is wrong; gives what was not told before.
    fn tell(&mut self, back: Vec<String>, wrong: Vec<(String, String)>) -> Option<String> {
        let mut alarms = Vec::new();
        self.back.extend(back);
        let is_due = self.back_told.is_none_or(|told| told.elapsed() >= AGAIN);
        if !self.back.is_empty() && is_due {
            let names: Vec<_> = std::mem::take(&mut self.back).into_iter().collect();
            self.back_told = Some(Instant::now());
            alarms.push(format!(
                "{} went missing from {} while the master runs, and {} there again. Find out what \
                 removes files there: systemd-tmpfiles, a cleaning job",
                names.join(", "),
                self.dir.path().display(),
                if names.len() == 1 { "is" } else { "are" },
            ));
        }
        for (what, next) in &wrong {
            if !self.told.contains(what) {
                alarms.push(format!("{what}: {next}"));
            }
        }
        self.told = wrong.iter().map(|(what, _)| what.clone()).collect();
        self.kept.set(wrong);
        (!alarms.is_empty()).then(|| alarms.join(". "))
    }

    fn look(&mut self) -> Looked {
        let mut looked = Looked::default();
        if !self.dir.path().exists()
            && let Err(error) = make_dir("runtime_dir", self.dir.path())
        {
            let what = format!("{} is gone", self.dir.path().display());
            looked.wrong.push((what, error.line()));
            return looked;
        }
        if !self.own_lock(&mut looked) && !mutant!("sockets-of-another") {
            return looked;
        }
        self.sockets(&mut looked);
        self.secrets(&mut looked);
        self.roster(&mut looked);
        looked
    }

    fn roster(&mut self, looked: &mut Looked) {
        if self.dir.fleet().exists() {
            self.no_fleet = 0;
            return;
        }
        looked.fleet = true;
        if self.no_fleet == 0 {
            looked.back.push("fleet".to_owned());
        }
        self.no_fleet = self.no_fleet.saturating_add(1);
        if self.no_fleet > LOOKS_TO_WRITE {
            looked.wrong.push((
                format!(
                    "{} is gone and is not written again",
                    self.dir.fleet().display()
                ),
                "the log says why: room on the disk, or who may write there".to_owned(),
            ));
        }
    }

    fn sockets(&mut self, looked: &mut Looked) {
        let slave = self.dir.slave_socket();
        if self.slave != file(&slave) {
            match self.maker {
                Maker::Us => match self.dir.bind(&slave) {
                    Ok(listener) => {
                        self.slave = file(&slave);
                        looked.anew.slave = Some(listener);
                        looked.back.push("slave.sock".to_owned());
                    }
                    Err(error) => looked.wrong.push(cannot("slave.sock", &error)),
                },
                Maker::Service => looked.wrong.push((
                    format!(
                        "{} is gone, which the service manager made",
                        slave.display()
                    ),
                    "slaves that lose their connection cannot come back: run systemctl restart \
                     baton-master.socket baton-master.service; the slaves keep serving"
                        .to_owned(),
                )),
            }
        }
        let admin = self.dir.admin_socket();
        if self.admin != file(&admin) {
            match self.dir.bind(&admin) {
                Ok(listener) => {
                    self.admin = file(&admin);
                    looked.anew.admin = Some(listener);
                    looked.back.push("admin.sock".to_owned());
                }
                Err(error) => looked.wrong.push(cannot("admin.sock", &error)),
            }
        }
    }

    fn secrets(&self, looked: &mut Looked) {
        let places = self.dir.secrets(&self.data_dir);
        for path in &places {
            let name = path.display();
            match fs::read_to_string(path) {
                Ok(text) if Secret::from_hex(&text).as_ref() == Some(&self.secret) => {
                    let mode = fs::metadata(path).map(|of| of.permissions().mode());
                    if mode.is_ok_and(|mode| mode & 0o077 != 0) {
                        looked.wrong.push((
                            format!("others may read {name}"),
                            format!("chmod 600 {name}; the next master does not start before"),
                        ));
                    }
                }
                Ok(_) => looked.wrong.push((
                    format!("{name} is another secret than this master's"),
                    format!(
                        "slaves that dial by TCP will not be let in by the next master; put it back \
                         (delete {name}: this master writes its own there), or give every slave the \
                         new one"
                    ),
                )),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let text = format!("{}\n", self.secret.to_hex());
                    match whole_file::write(path, text.as_bytes()) {
                        Ok(()) => looked.back.push(format!("secret ({name})")),
                        Err(error) => looked.wrong.push((
                            format!("{name} is gone and cannot be written"),
                            error.to_string(),
                        )),
                    }
                }
                Err(error) => looked
                    .wrong
                    .push((format!("{name} cannot be read"), error.to_string())),
            }
        }
    }

    /// Takes the lock again where its file is another one; `false`: another master has it.
    fn own_lock(&mut self, looked: &mut Looked) -> bool {
        if self.lock.is_in_place() {
            return true;
        }
        match Lock::take(self.dir.path()) {
            Ok(lock) => {
                self.lock = lock;
                looked.back.push("master.lock".to_owned());
            }
            Err(Error::SecondMaster { pid, .. }) => {
                looked.wrong.push((
                    format!(
                        "another master (pid {pid}) has {}",
                        self.dir.path().display()
                    ),
                    "two masters share a runtime_dir: end one of them, and give each fleet its own"
                        .to_owned(),
                ));
                return false;
            }
            Err(error) => looked.wrong.push(cannot("master.lock", &error)),
        }
        true
    }
}

fn cannot(what: &str, error: &Error) -> (String, String) {
    (
        format!("{what} is gone and cannot be made again"),
        error.line(),
    )
}

/// Which file has this name now.
fn file(path: &Path) -> Option<File> {
    fs::symlink_metadata(path)
        .ok()
        .map(|found| (found.dev(), found.ino()))
}

#[cfg(test)]
mod tests;
