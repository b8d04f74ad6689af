//! Two masters of one fleet that share a store. Each is as on a host of its own: it has its
//! own folder and its own way to the store, and the kernel tells neither what became of the
//! other.

use std::{
    fs::{self, File},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
};

use serde_json::Value;

use super::{
    Fleet,
    lines::{HIDDEN, master_toml, start_master, write_toml},
    options::FleetOptions,
    sockets::own_socket,
};
use crate::{
    error::{Error, Result},
    http::Endpoint,
    news::News,
    parts::{Ready, folders},
    process::Process,
};

/// Which of two masters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seat {
    First,
    Second,
}

impl Seat {
    pub(super) const fn run(self) -> &'static str {
        match self {
            Self::First => "run",
            Self::Second => "run-2",
        }
    }

    pub(super) const fn config(self) -> &'static str {
        match self {
            Self::First => "baton.toml",
            Self::Second => "baton-2.toml",
        }
    }

    pub(super) const fn log(self) -> &'static str {
        match self {
            Self::First => "master",
            Self::Second => "second",
        }
    }

    /// What is not shown to it.
    pub(super) const fn hidden(self) -> &'static str {
        match self {
            Self::First => HIDDEN,
            Self::Second => "hidden-2",
        }
    }

    const fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }

    /// What its configuration says of the store, if there is one.
    pub(super) fn lines(self, options: &FleetOptions) -> String {
        let Some([first, second]) = &options.special.stores else {
            return String::new();
        };
        let (host, store) = match self {
            Self::First => ("master-1", first),
            Self::Second => ("master-2", second),
        };
        format!("host = {host:?}\nstore = {store:?}\n")
    }
}

/// The one of two masters that is not [`Fleet::master`].
#[derive(Debug)]
pub struct Other {
    /// Its process.
    pub process: Process,
    /// Where it is operated.
    pub admin: Endpoint,
    /// Where slaves dial it.
    pub listen: String,
    config: PathBuf,
    seat: Seat,
    starts: u32,
}

impl Fleet {
    /// Starts the second master, which has the secret of the first.
    pub(super) async fn start_other(&mut self) -> Result<()> {
        let seat = Seat::Second;
        folders(&self.folder, &[seat.run()])?;
        let secret = fs::read(self.folder.join(Seat::First.run()).join("secret"));
        let secret = secret.map_err(Error::io("read the fleet's secret"))?;
        let file = self.folder.join(seat.run()).join("secret");
        let file = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(file);
        let written = file.and_then(|mut file| file.write_all(&secret));
        written.map_err(Error::io("write the fleet's secret"))?;
        self.hide(seat, self.master.pid())?;
        let config = self.folder.join(seat.config());
        let toml =
            |listen: &str| master_toml(&self.folder, &self.discord, &self.options, seat, listen);
        write_toml(&config, &toml(&own_socket(0).to_string())?)?;
        let started = start_master(&self.folder, &self.discord, &self.options, seat, 1).await?;
        let (process, line) = started;
        let ready = Ready::read(&line)?;
        write_toml(&config, &toml(&ready.listen)?)?;
        self.hide(seat.other(), process.pid())?;
        self.other = Some(Other {
            process,
            admin: ready.admin,
            listen: ready.listen,
            config,
            seat,
            starts: 1,
        });
        Ok(())
    }

    /// The kernel tells the master of this seat nothing of that process.
    fn hide(&self, from: Seat, pid: Option<u32>) -> Result<()> {
        let file = self.folder.join(from.hidden());
        let file = File::options().append(true).create(true).open(file);
        let written = file.and_then(|mut file| match pid {
            Some(pid) => writeln!(file, "{pid} everywhere"),
            None => Ok(()),
        });
        written.map_err(Error::io("hide a master"))
    }

    /// Starts again whichever of two masters has ended; whether one had.
    ///
    /// # Errors
    /// It does not start.
    pub async fn start_ended(&mut self) -> Result<bool> {
        let mut began = false;
        if self.master.is_over() {
            self.starts += 1;
            let (seat, starts) = (self.seat, self.starts);
            let started =
                start_master(&self.folder, &self.discord, &self.options, seat, starts).await?;
            self.master = started.0;
            self.hide(seat.other(), self.master.pid())?;
            began = true;
        }
        if let Some(other) = &mut self.other
            && other.process.is_over()
        {
            other.starts += 1;
            let (seat, starts) = (other.seat, other.starts);
            let started =
                start_master(&self.folder, &self.discord, &self.options, seat, starts).await?;
            let pid = started.0.pid();
            other.process = started.0;
            self.hide(seat.other(), pid)?;
            began = true;
        }
        Ok(began)
    }

    /// Whether one of two masters has ended.
    pub fn has_ended(&mut self) -> bool {
        let other = self.other.as_mut();
        self.master.is_over() || other.is_some_and(|other| other.process.is_over())
    }

    /// Looks which of two masters leads. One that says so and is not [`Fleet::master`] can be
    /// [turned to](Self::turn_to_the_other).
    pub async fn look_who_leads(&self) -> Leads {
        if leads(&self.admin).await {
            Leads::TheSame
        } else if self.other_leads().await {
            Leads::TheOther
        } else {
            Leads::Nobody
        }
    }

    /// Whether the other one of two masters says that it leads.
    pub async fn other_leads(&self) -> bool {
        match &self.other {
            Some(other) => leads(&other.admin).await,
            None => false,
        }
    }

    /// The other one of two masters is [`Fleet::master`] from now on.
    pub const fn turn_to_the_other(&mut self) {
        if let Some(other) = &mut self.other {
            std::mem::swap(&mut self.master, &mut other.process);
            std::mem::swap(&mut self.admin, &mut other.admin);
            std::mem::swap(&mut self.listen, &mut other.listen);
            std::mem::swap(&mut self.config, &mut other.config);
            std::mem::swap(&mut self.seat, &mut other.seat);
            std::mem::swap(&mut self.starts, &mut other.starts);
        }
    }

    /// Follows what the master tells that leads now.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn hear_anew(&mut self) -> Result<()> {
        self.news = News::open(&self.admin).await?;
        Ok(())
    }
}

/// Which of two masters leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leads {
    /// The one that led when it was looked at last.
    TheSame,
    /// The other one.
    TheOther,
    /// None says so.
    Nobody,
}

async fn leads(admin: &Endpoint) -> bool {
    let limit = std::time::Duration::from_secs(2);
    let status = tokio::time::timeout(limit, admin.get::<Value>("/v1/status")).await;
    status.is_ok_and(|status| status.is_ok_and(|status| status["leadership"]["leads"] == true))
}
