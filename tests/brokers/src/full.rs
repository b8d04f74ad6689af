//! A broker that takes nothing more: its operator gives it less room than it has in use, and
//! more later. Each says so in its own way, and goes on to serve its workers.

use std::{
    io::{self, BufRead, BufReader, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    time::Duration,
};

use serde_json::Value;

use crate::{Error, Nats, Rabbit, Redis};

/// What a stream of the sink has by default.
const USUAL: u64 = 1 << 30;

/// An answer comes within this time.
const PATIENCE: Duration = Duration::from_secs(30);

impl Nats {
    /// The limit of the stream `baton` becomes one byte, or what it was.
    pub(crate) fn has_room(&self, room: bool) -> Result<(), Error> {
        let what = "change the limit of its stream";
        let refused = |said: String| Error::Answer {
            name: "nats-server",
            what,
            said,
        };
        let mut client = Client::connect(self.port).map_err(Error::system(what))?;
        let about = client.ask("$JS.API.STREAM.INFO.baton", "");
        let about = about.map_err(Error::system(what))?;
        let mut config = about["config"].clone();
        if config.is_null() {
            return Err(refused(about.to_string()));
        }
        config["max_bytes"] = if room { USUAL } else { 1 }.into();
        let changed = client.ask("$JS.API.STREAM.UPDATE.baton", &config.to_string());
        let changed = changed.map_err(Error::system(what))?;
        if changed["error"].is_null() {
            Ok(())
        } else {
            Err(refused(changed.to_string()))
        }
    }
}

/// Asks a nats-server, in its protocol of lines.
struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(port: u16) -> io::Result<Self> {
        let socket = TcpStream::connect(("127.0.0.1", port))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let mut client = Self(BufReader::new(socket));
        client.write("CONNECT {\"verbose\":false}\r\nSUB answers 1\r\n")?;
        Ok(client)
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
        self.0.get_mut().write_all(text.as_bytes())
    }

    fn ask(&mut self, subject: &str, body: &str) -> io::Result<Value> {
        let length = body.len();
        self.write(&format!("PUB {subject} answers {length}\r\n{body}\r\n"))?;
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if line.starts_with("PING") {
                self.write("PONG\r\n")?;
            } else if line.starts_with("MSG answers") {
                let mut answer = String::new();
                self.0.read_line(&mut answer)?;
                return serde_json::from_str(&answer).map_err(io::Error::other);
            }
        }
    }
}

impl Redis {
    /// Its memory is limited to less than it uses, or not at all.
    pub(crate) fn has_room(&self, room: bool) -> Result<(), Error> {
        let limit = if room { 0 } else { 1 };
        let what = "limit its memory";
        let ask = || -> io::Result<String> {
            let mut socket = UnixStream::connect(self.socket())?;
            socket.set_read_timeout(Some(PATIENCE))?;
            socket.write_all(format!("CONFIG SET maxmemory {limit}\r\n").as_bytes())?;
            let mut said = String::new();
            BufReader::new(socket).read_line(&mut said)?;
            Ok(said)
        };
        let said = ask().map_err(Error::system(what))?;
        if said.starts_with("+OK") {
            return Ok(());
        }
        let name = "redis-server";
        Err(Error::Answer { name, what, said })
    }
}

impl Rabbit {
    /// It wants more free room on the disk than there can be, or as much as usual.
    pub(crate) fn has_room(&self, room: bool) -> Result<(), Error> {
        let limit = if room { "50MB" } else { "1000000GB" };
        let words = ["set_disk_free_limit", limit];
        self.operate(&words, "change the room that it wants")
    }
}
