//! Everybody who can reach the port of a master with a certificate, and what becomes of
//! what he tries: a counter goes up, and nothing else changes.

use std::{path::Path, sync::Arc, time::Duration};

use baton_protocol::{
    Connection, Frame, ProcessIdentity, SlaveId, ToSlave, Trust, Version,
    auth::Secret,
    discord::SessionParameters,
    handshake,
    message::{Hello, Proof, Refused, RefusedReason, Report},
    tls::{self, Identity},
};
use rustls::{
    ClientConfig,
    pki_types::{CertificateDer, pem::PemObject},
    version::{TLS12, TLS13},
};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use super::{lies::lasting, say};
use crate::{
    certs::{Certs, as_anybody, without_certificate},
    fake::Fake,
    fleet::{Fleet, LONG, Master, is_alive, until},
};

/// A fleet with certificates, whose shards one slave of the master's own host serves.
struct Scene {
    certs: Certs,
    fleet: Fleet,
    master: Master,
    honest: Fake,
    listen: String,
    secret: Secret,
    before: Value,
}

async fn scene() -> Scene {
    let certs = Certs::of("ours");
    let own = certs.issue("baton://ours/master/home");
    let fleet = Fleet::new(&format!(
        "tls_dir = {own:?}\nshard_count = 3\n[[slot]]\nname = \"main\"\nshards = [0, 1]\n\
         [[slot]]\nname = \"far\"\nhost = \"a\"\nshards = [2, 2]\n"
    ));
    let master = fleet.master().await;
    let honest = fleet.slave("v1", handshake::Role::Candidate);
    until("all serve", || honest.serving() == 2).await;
    until("the work is done", || honest.seen().work.get() != 0).await;
    let secret = std::fs::read_to_string(fleet.socket().with_file_name("secret")).unwrap();
    let listen = fleet.status().await["master"]["listen"].clone();
    let mut scene = Scene {
        certs,
        master,
        honest,
        listen: listen.as_str().unwrap().to_owned(),
        secret: Secret::from_hex(&secret).unwrap(),
        before: Value::Null,
        fleet,
    };
    scene.before = scene.picture().await;
    scene
}

impl Scene {
    async fn dial(&self) -> TcpStream {
        TcpStream::connect(&self.listen).await.unwrap()
    }

    /// Dials with the certificate in this folder.
    async fn dial_as(&self, folder: &Path) -> std::io::Result<Connection> {
        let identity = Identity::read(folder).unwrap();
        let stream = tls::connect(identity.client().unwrap(), self.dial().await).await?;
        let mut connection = Connection::new(stream);
        connection.trust(Trust::Known);
        Ok(connection)
    }

    /// Whether a hello is answered that comes by this TLS.
    async fn is_welcome(&self, config: Arc<ClientConfig>) -> bool {
        let Ok(stream) = tls::connect(config, self.dial().await).await else {
            return false;
        };
        let answer = greet(&mut Connection::new(stream), hello()).await;
        matches!(answer, Ok(Some(_)))
    }

    /// Says hello as this slave and proves the secret; why it was refused.
    async fn joins(&self, folder: &Path, hello: Hello) -> Result<Connection, Refused> {
        let (slave, mut connection) = (hello.slave, self.dial_as(folder).await.unwrap());
        let frame = greet(&mut connection, hello)
            .await
            .unwrap()
            .expect("an answer");
        let welcome = match handshake::ToSlave::from_frame(frame).unwrap() {
            handshake::ToSlave::Welcome(welcome) => welcome,
            handshake::ToSlave::Refused(refused) => return Err(refused),
        };
        let proof = self.secret.slave_proof(&welcome.challenge, slave);
        say(&mut connection, handshake::ToMaster::Proof(Proof { proof })).await;
        let report = Report {
            last: true,
            ..Report::default()
        };
        say(&mut connection, handshake::ToMaster::Report(report)).await;
        let answer = super::hear(&mut connection).await;
        if let ToSlave::Refused(refused) = answer {
            return Err(refused);
        }
        Ok(connection)
    }

    /// The fleet as an operator sees it, without what only time changes.
    async fn picture(&self) -> Value {
        let mut status = self.fleet.status().await;
        let fleet = status.as_object_mut().unwrap();
        for passing in ["master", "doctor"] {
            fleet.remove(passing);
        }
        for list in ["shards", "slaves", "slots"] {
            let all = fleet[list].as_array().unwrap();
            fleet[list] = all.iter().map(lasting).collect();
        }
        lasting(&status)
    }

    async fn count(&self, counter: &str) -> u64 {
        self.fleet.status().await["master"]["links"][counter]
            .as_u64()
            .unwrap()
    }

    /// One more of these, and nothing else is otherwise.
    async fn counts(&self, counter: &str, so_many: u64, what: &str) {
        self.fleet
            .shows(&format!("{what}: {counter} {so_many}"), |status| {
                status["master"]["links"][counter] == so_many
            })
            .await;
        assert_eq!(self.picture().await, self.before, "{what}");
        assert_eq!(self.honest.serving(), 2, "{what}");
        assert_eq!(
            self.honest.seen().accepted,
            1,
            "{what}: its link was never cut"
        );
        assert!(is_alive(self.master.child.id().unwrap()), "{what}");
    }
}

/// A slave that lives in a pid namespace of its own.
fn hello() -> Hello {
    let slave = SlaveId::random().unwrap();
    Hello {
        version: Version::NEWEST,
        lowest: Version::OLDEST,
        slave,
        slot: "far".to_owned(),
        role: handshake::Role::Standby,
        process: ProcessIdentity {
            pid_namespace: u64::try_from(slave.0 >> 64).unwrap(),
            ..ProcessIdentity::current().unwrap()
        },
        parameters: SessionParameters {
            intents: 513,
            api_version: 10,
            encoding: "json".to_owned(),
            large_threshold: 50,
            ..SessionParameters::default()
        }
        .seal(),
        nonce: "0123456789abcdef".into(),
        ..Hello::default()
    }
}

async fn greet(
    connection: &mut Connection,
    hello: Hello,
) -> Result<Option<Frame>, baton_protocol::ConnectionError> {
    let hello = handshake::ToMaster::Hello {
        running: false,
        hello: Box::new(hello),
    };
    connection.send(&hello.to_frame()).await?;
    connection.recv().await
}

/// Waits until the other side has closed.
async fn closed(mut socket: impl tokio::io::AsyncRead + Unpin) {
    let mut rest = Vec::new();
    let _ = timeout(LONG, socket.read_to_end(&mut rest)).await.unwrap();
}

#[tokio::test]
async fn who_has_no_good_certificate_of_the_fleet_changes_a_counter_and_nothing_else() {
    let scene = scene().await;
    let (theirs, ours) = (Certs::of("ours"), &scene.certs);
    let wrong = [
        (
            "the same name, by another authority",
            theirs.issue("baton://ours/slave/a"),
        ),
        (
            "another fleet",
            ours.issue_wrong("baton://theirs/slave/a", (2020, 2090)),
        ),
        (
            "expired",
            ours.issue_wrong("baton://ours/slave/a", (2020, 2021)),
        ),
        (
            "not yet good",
            ours.issue_wrong("baton://ours/slave/a", (2080, 2090)),
        ),
    ];
    let mut so_many = 0;
    for (what, folder) in wrong {
        // It believes our authority, so that only its own certificate is wrong.
        let authority = ours.issue("baton://ours/slave/a").join(tls::CA_FILE);
        std::fs::copy(authority, folder.join(tls::CA_FILE)).unwrap();
        let config = as_anybody(&folder, &TLS13);
        assert!(!scene.is_welcome(config).await, "{what}");
        so_many += 1;
        scene.counts("untrusted", so_many, what).await;
    }
    let folder = ours.issue("baton://ours/slave/a");
    assert!(scene.is_welcome(as_anybody(&folder, &TLS13)).await);
    scene.counts("garbage", 1, "it left before its proof").await;
    for (what, config) in [
        ("no certificate", without_certificate()),
        ("TLS 1.2", as_anybody(&folder, &TLS12)),
    ] {
        assert!(!scene.is_welcome(config).await, "{what}");
        so_many += 1;
        scene.counts("untrusted", so_many, what).await;
    }
    let refused = scene.fleet.log();
    for says in ["expired", "another fleet", "not valid yet", "not trusted"] {
        assert!(refused.contains(says), "{says}: {refused}");
    }
}

#[tokio::test]
async fn garbage_and_bombs_change_a_counter_and_nothing_else() {
    let scene = scene().await;
    let slave = scene.certs.issue("baton://ours/slave/a");
    // In clear, which this host may speak, and as if it were TLS.
    let mut garbled = 0;
    for (what, bytes) in [
        ("letters", vec![b'x'; 200]),
        ("a body of 4 GiB", vec![8, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]),
    ] {
        let mut socket = scene.dial().await;
        let _ = socket.write_all(&bytes).await;
        closed(socket).await;
        garbled += 1;
        scene.counts("garbage", garbled, what).await;
    }
    let mut untrusted = 0;
    for (what, bytes) in [
        ("no record", [&[0x16][..], &[0xff; 300]].concat()),
        (
            "a record without an end",
            [&[0x16, 3, 1, 0x40, 0][..], &[1; 20_000]].concat(),
        ),
    ] {
        let mut socket = scene.dial().await;
        let _ = socket.write_all(&bytes).await;
        closed(socket).await;
        untrusted += 1;
        scene.counts("untrusted", untrusted, what).await;
    }
    // Behind a good certificate it is garbage all the same.
    let nested = [vec![0x91; 4000], vec![0xc0]].concat();
    let long = nested.len() as u32;
    for (what, bytes) in [
        (
            "a body of 4 GiB by TLS",
            vec![8, 0, 0, 0, 0xff, 0xff, 0xff, 0xff],
        ),
        ("a body of 4097 bytes by TLS", vec![8, 0, 0, 0, 1, 16, 0, 0]),
        (
            "lists in lists by TLS",
            [&8_u32.to_le_bytes()[..], &long.to_le_bytes(), &nested].concat(),
        ),
    ] {
        let identity = Identity::read(&slave).unwrap();
        let stream = tls::connect(identity.client().unwrap(), scene.dial().await).await;
        let mut stream = stream.unwrap();
        stream.write_all(&bytes).await.unwrap();
        stream.flush().await.unwrap();
        closed(stream).await;
        garbled += 1;
        scene.counts("garbage", garbled, what).await;
    }
}

#[tokio::test]
async fn a_stolen_name_another_role_and_another_host_are_refused_and_nothing_else_changes() {
    let mut scene = scene().await;
    let certs = &scene.certs;
    let [a, b] = ["a", "b"].map(|host| certs.issue(&format!("baton://ours/slave/{host}")));
    let mut refused = scene.count("refused").await;
    for role in ["agent", "operator", "master"] {
        let folder = certs.issue(&format!("baton://ours/{role}/a"));
        let why = scene.joins(&folder, hello()).await.unwrap_err();
        assert_eq!(why.reason, RefusedReason::Certificate, "{}", why.detail);
        refused += 1;
        scene.counts("refused", refused, role).await;
    }
    let elsewhere = Hello {
        process: ProcessIdentity {
            host_name: "b".parse().ok(),
            ..hello().process
        },
        ..hello()
    };
    let why = scene.joins(&a, elsewhere).await.unwrap_err();
    assert_eq!(why.reason, RefusedReason::Certificate, "{}", why.detail);
    assert!(why.detail.contains("on host b"), "{}", why.detail);
    refused += 1;
    scene.counts("refused", refused, "another host").await;

    // Of a slave of the master's own host, and of one of host a, which is away just now.
    let of_home = Hello {
        slot: "main".to_owned(),
        slave: scene.before["slaves"][0]["slave"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap(),
        process: scene.honest.process.clone(),
        ..hello()
    };
    let why = scene.joins(&b, of_home).await.unwrap_err();
    assert_eq!(why.reason, RefusedReason::Taken, "{}", why.detail);
    assert!(why.detail.contains("of host b"), "{}", why.detail);
    let into_main = Hello {
        slot: "main".to_owned(),
        role: handshake::Role::Candidate,
        ..hello()
    };
    let why = scene.joins(&a, into_main).await.unwrap_err();
    assert_eq!(why.reason, RefusedReason::Certificate, "{}", why.detail);
    assert!(why.detail.contains("slaves of host home"), "{}", why.detail);
    let why = scene.joins(&b, hello()).await.unwrap_err();
    assert!(why.detail.contains("slaves of host a"), "{}", why.detail);

    let standby = hello();
    let first = scene.joins(&a, standby.clone()).await.unwrap();
    drop(first);
    scene
        .fleet
        .shows("the slave of host a is away", |status| {
            let slaves = status["slaves"].as_array().unwrap();
            slaves.iter().any(|slave| slave["connected"] == false)
        })
        .await;
    scene.before = scene.picture().await;
    let why = scene.joins(&b, standby.clone()).await.unwrap_err();
    assert_eq!(why.reason, RefusedReason::Taken, "{}", why.detail);
    scene.counts("refused", refused, "a stolen name").await;
    assert!(scene.joins(&a, standby).await.is_ok(), "its own");
}

/// What a client said, word for word, once more; and with one bit changed on the way.
#[tokio::test]
async fn replayed_and_forged_bytes_change_a_counter_and_nothing_else() {
    let scene = scene().await;
    let slave = scene.certs.issue("baton://ours/slave/a");
    let identity = Identity::read(&slave).unwrap();
    let way = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = way.local_addr().unwrap();
    let client = tokio::spawn(async move {
        let socket = TcpStream::connect(to).await.unwrap();
        let stream = tls::connect(identity.client().unwrap(), socket)
            .await
            .unwrap();
        let mut connection = Connection::new(stream);
        let welcome = greet(&mut connection, hello()).await.unwrap();
        assert!(welcome.is_some());
        connection
    });
    let (mut near, _) = way.accept().await.unwrap();
    let mut far = scene.dial().await;
    let mut heard = Vec::new();
    {
        let (mut near_in, mut near_out) = near.split();
        let (mut far_in, mut far_out) = far.split();
        let there = async {
            let mut piece = [0; 4096];
            loop {
                let read = near_in.read(&mut piece).await.unwrap();
                heard.extend_from_slice(&piece[..read]);
                far_out.write_all(&piece[..read]).await.unwrap();
                if read == 0 {
                    return;
                }
            }
        };
        tokio::select! {
            () = there => {}
            _ = copy(&mut far_in, &mut near_out) => {}
            welcomed = client => drop(welcomed.unwrap()),
        }
    }
    drop((near, far));
    let garbled = 1;
    scene
        .counts("garbage", garbled, "it left before its proof")
        .await;
    let mut again = scene.dial().await;
    again.write_all(&heard).await.unwrap();
    closed(again).await;
    scene.counts("untrusted", 1, "replayed").await;

    // A proof of another connection is none of this one.
    let mut connection = scene.dial_as(&slave).await.unwrap();
    let says = hello();
    let id = says.slave;
    greet(&mut connection, says)
        .await
        .unwrap()
        .expect("a welcome");
    let proof = scene.secret.slave_proof(b"the challenge of another", id);
    say(&mut connection, handshake::ToMaster::Proof(Proof { proof })).await;
    let ToSlave::Refused(refused) = super::hear(&mut connection).await else {
        panic!("a refusal was to come");
    };
    assert_eq!(refused.reason, RefusedReason::Secret);
    scene
        .counts("refused", 1, "a proof of another connection")
        .await;
}

#[tokio::test]
async fn a_renewed_certificate_counts_from_a_signal_on_and_who_is_connected_stays() {
    let scene = scene().await;
    let slave = scene.certs.issue("baton://ours/slave/a");
    let joins = || scene.joins(&slave, hello());
    let mut before = joins().await.unwrap();
    let config = std::fs::read_to_string(&scene.fleet.config).unwrap();
    let own = config
        .lines()
        .find_map(|line| line.strip_prefix("tls_dir = "));
    let own = Path::new(own.unwrap().trim_matches('"'));
    let said = scene.fleet.says(&["doctor"]).await.out;
    assert!(
        said.contains("baton://ours/master/home is valid until"),
        "{said}"
    );
    // One that ends soon.
    let renewed = scene.certs.issue_for("baton://ours/master/home", 20);
    let take_up = |from: &Path| {
        for file in [tls::CERTIFICATE_FILE, tls::KEY_FILE] {
            std::fs::copy(from.join(file), own.join(file)).unwrap();
        }
        scene.master.signal(rustix::process::Signal::HUP);
    };
    take_up(&renewed);
    scene
        .fleet
        .shows("the doctor warns", |status| {
            let findings = status["doctor"].as_array().unwrap();
            findings
                .iter()
                .any(|finding| finding["check"] == "certificate" && finding["level"] == "warning")
        })
        .await;
    let presented = presented(&scene.listen, &slave).await;
    let file = std::fs::read(renewed.join(tls::CERTIFICATE_FILE)).unwrap();
    assert_eq!(presented, CertificateDer::from_pem_slice(&file).unwrap());
    joins().await.unwrap();
    // A wrong one changes nothing.
    std::fs::write(own.join(tls::KEY_FILE), "").unwrap();
    scene.master.signal(rustix::process::Signal::HUP);
    until("it is said", || scene.fleet.log().contains("tls_dir: ")).await;
    joins().await.unwrap();
    // The first one is still there: a ping comes, or nothing, but no end.
    let end = timeout(Duration::from_millis(1), before.recv()).await;
    assert!(!matches!(end, Ok(Ok(None) | Err(_))), "{end:?}");
}

/// The certificate that a master shows.
async fn presented(listen: &str, folder: &Path) -> CertificateDer<'static> {
    let identity = Identity::read(folder).unwrap();
    let socket = TcpStream::connect(listen).await.unwrap();
    let stream = tls::connect(identity.client().unwrap(), socket)
        .await
        .unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].clone()
}
