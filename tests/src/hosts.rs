//! Several hosts on one machine: each is a network namespace with an address of its own, and
//! a bridge is the network between them. Processes, files and clocks are those of the one
//! machine; what crosses the network is what crosses one between real hosts. A link that is
//! cut is silent: packets go to a station that is not there, and nobody is told.
//!
//! The machine itself is on the network too ([`Network::here`]): the simulated Discord, the
//! brokers and the first master run there.
//!
//! It takes root, or `CAP_NET_ADMIN` and `CAP_SYS_ADMIN`, and Debian's `iproute2`. Where
//! that is missing, [`Network::make`] says what, and [`or_pass_over`] says it of a test.

use std::{
    io::{self, Write as _},
    net::Ipv4Addr,
    process::Command,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::error::{Error, Result};

/// Networks that one machine can have at once.
const NETWORKS: u8 = 250;

/// A station that no network has: what is sent to it arrives nowhere.
const NOBODY: &str = "02:00:00:00:00:01";

/// Hosts, and what is between them. It is gone when this is dropped, with every process
/// that still runs on one of its hosts.
#[derive(Debug)]
pub struct Network {
    number: u8,
    hosts: Vec<Host>,
}

/// One host of a network.
#[derive(Clone, Debug)]
pub struct Host {
    network: u8,
    number: u8,
}

/// Which way a link is cut, as seen from the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// What the host sends does not arrive.
    Out,
    /// What is sent to the host does not arrive.
    In,
    /// Neither arrives.
    Both,
}

impl Network {
    /// A network with `hosts` hosts besides this machine; 250 at most.
    ///
    /// # Errors
    /// It is not permitted here, `ip` is missing, or 250 networks are in use.
    pub fn make(hosts: u8) -> Result<Self> {
        remove_abandoned();
        // Making the bridge is what takes the number: two processes never get the same one.
        let mut refused = Error::answer("ip link add", "every network is in use");
        for number in 1..=NETWORKS {
            match ip(&format!("link add {} type bridge", bridge(number))) {
                Ok(()) => return Self::furnish(number, hosts),
                Err(error) if error.to_string().contains("File exists") => {}
                Err(error) => {
                    refused = error;
                    break;
                }
            }
        }
        Err(refused)
    }

    fn furnish(number: u8, hosts: u8) -> Result<Self> {
        let mut network = Self {
            number,
            hosts: Vec::new(),
        };
        let bridge = bridge(number);
        // Whose it is, for whoever comes after a process that was killed.
        ip(&format!("link set {bridge} alias {}", std::process::id()))?;
        ip(&format!("addr add {}/24 dev {bridge}", network.here()))?;
        ip(&format!("link set {bridge} up"))?;
        for host in 1..=hosts.min(250) {
            let host = Host {
                network: number,
                number: host,
            };
            network.hosts.push(host.clone());
            host.furnish()?;
        }
        Ok(network)
    }

    /// The address of this machine in it.
    #[must_use]
    pub const fn here(&self) -> Ipv4Addr {
        // 198.18.0.0/15 is set aside for tests of networks (RFC 2544).
        Ipv4Addr::new(198, 18, self.number, 254)
    }

    /// The hosts, in order.
    #[must_use]
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for host in &self.hosts {
            host.lose();
        }
        remove(self.number);
    }
}

impl Host {
    fn furnish(&self) -> Result<()> {
        let (namespace, link, bridge) = (self.namespace(), self.link(), bridge(self.network));
        ip(&format!("netns add {namespace}"))?;
        ip(&format!(
            "link add {link} type veth peer name eth0 netns {namespace}"
        ))?;
        ip(&format!("link set {link} master {bridge} up"))?;
        ip(&format!("-n {namespace} link set lo up"))?;
        let address = self.address();
        ip(&format!("-n {namespace} addr add {address}/24 dev eth0"))?;
        ip(&format!("-n {namespace} link set eth0 up"))
    }

    /// What it is called: `a`, `b`, ... in the order of the network.
    #[must_use]
    pub fn name(&self) -> String {
        match self.number {
            number @ 1..=26 => char::from(b'a' + number - 1).to_string(),
            number => format!("host{number}"),
        }
    }

    /// Its address.
    #[must_use]
    pub const fn address(&self) -> Ipv4Addr {
        Ipv4Addr::new(198, 18, self.network, self.number)
    }

    /// What a command line begins with that is to run on this host. The process that is
    /// started is the program itself, and not one that waits for it.
    #[must_use]
    pub fn runs(&self) -> Vec<String> {
        ["ip", "netns", "exec", &self.namespace()]
            .map(str::to_owned)
            .to_vec()
    }

    /// Cuts its link to this machine. Hosts reach each other as before.
    ///
    /// # Errors
    /// `ip` says no.
    pub fn cut(&self, way: Cut) -> Result<()> {
        let (here, bridge) = (self.here(), bridge(self.network));
        let neighbour = format!("lladdr {NOBODY} nud permanent");
        if matches!(way, Cut::Out | Cut::Both) {
            let namespace = self.namespace();
            ip(&format!(
                "-n {namespace} neigh replace {here} {neighbour} dev eth0"
            ))?;
        }
        if matches!(way, Cut::In | Cut::Both) {
            let address = self.address();
            ip(&format!("neigh replace {address} {neighbour} dev {bridge}"))?;
        }
        Ok(())
    }

    /// Ends every cut.
    ///
    /// # Errors
    /// `ip` says no.
    pub fn heal(&self) -> Result<()> {
        let (here, address) = (self.here(), self.address());
        let (namespace, bridge) = (self.namespace(), bridge(self.network));
        for neighbour in [
            format!("-n {namespace} neigh del {here} dev eth0"),
            format!("neigh del {address} dev {bridge}"),
        ] {
            match ip(&neighbour) {
                Err(error) if !error.to_string().contains("No such file") => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Ends every process on it at once, and nobody hears of it: as when a host loses its
    /// power.
    pub fn lose(&self) {
        // The kernel of a host that is gone ends no connection.
        let _ = self.cut(Cut::Both);
        for pid in self.processes() {
            if let Some(pid) = Pid::from_raw(pid) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }

    /// The processes that run on it.
    #[must_use]
    pub fn processes(&self) -> Vec<i32> {
        let listed = output(&format!("netns pids {}", self.namespace()));
        let listed = listed.unwrap_or_default();
        listed.lines().filter_map(|pid| pid.parse().ok()).collect()
    }

    const fn here(&self) -> Ipv4Addr {
        Ipv4Addr::new(198, 18, self.network, 254)
    }

    fn namespace(&self) -> String {
        format!("baton{}-{}", self.network, self.number)
    }

    fn link(&self) -> String {
        format!("bat{}-{}", self.network, self.number)
    }
}

/// The network of a test, where there may be one. Where not, that is said past the harness,
/// which would show it of a test that fails only; with `BATON_BROKERS=all`, as on a machine
/// that decides whether a change lands, it is a failure.
///
/// # Panics
/// It cannot be made, and everything is to be there.
pub fn or_pass_over(made: Result<Network>) -> Option<Network> {
    match made {
        Ok(network) => Some(network),
        Err(error) => {
            let why = error.chain();
            assert!(!baton_brokers::are_wanted(), "no hosts of its own: {why}");
            let test = std::thread::current().name().unwrap_or_default().to_owned();
            let _ = writeln!(
                io::stderr(),
                "{test}: PASSED OVER: no hosts of its own: {why}"
            );
            None
        }
    }
}

fn bridge(number: u8) -> String {
    format!("bat{number}")
}

/// Removes what processes left behind that were killed before they could.
fn remove_abandoned() {
    let listed = output("-o link show type bridge").unwrap_or_default();
    for line in listed.lines() {
        let number = line.split(": ").nth(1).and_then(|name| {
            let name = name.strip_prefix("bat")?;
            name.parse().ok()
        });
        // Without an alias it is being made at this moment.
        let alias = line.split("alias ").nth(1);
        let owner: Option<i32> =
            alias.and_then(|alias| alias.split_whitespace().next()?.parse().ok());
        if let (Some(number), Some(owner)) = (number, owner)
            && !std::path::Path::new(&format!("/proc/{owner}")).exists()
        {
            remove(number);
        }
    }
}

fn remove(network: u8) {
    let listed = output("netns list").unwrap_or_default();
    let first = format!("baton{network}-");
    for line in listed.lines() {
        let namespace = line.split_whitespace().next().unwrap_or_default();
        if let Some(number) = namespace.strip_prefix(&first)
            && let Ok(number) = number.parse()
        {
            let host = Host { network, number };
            host.lose();
            // The kernel takes a namespace away some time later, and a link at once.
            let _ = ip(&format!("link del {}", host.link()));
            let _ = ip(&format!("netns del {namespace}"));
        }
    }
    let _ = ip(&format!("link del {}", bridge(network)));
}

fn ip(arguments: &str) -> Result<()> {
    output(arguments).map(drop)
}

fn output(arguments: &str) -> Result<String> {
    let made = Command::new("ip")
        .args(arguments.split_whitespace())
        .output();
    let made = made.map_err(Error::io("run ip (Debian's iproute2)"))?;
    if made.status.success() {
        return Ok(String::from_utf8_lossy(&made.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&made.stderr);
    Err(Error::answer(&format!("ip {arguments}"), said.trim()))
}

#[cfg(test)]
mod tests {
    use std::{
        io::Read as _,
        net::{SocketAddr, TcpListener},
        process::{Child, Stdio},
        time::Duration,
    };

    use super::*;

    /// One that dials this machine once, says a word, and then waits for ever.
    fn dial(host: &Host, listener: &TcpListener) -> Child {
        let port = listener.local_addr().expect("an address").port();
        let script = format!(
            "exec 3<>/dev/tcp/{}/{port}; echo word >&3; exec sleep 600",
            host.here()
        );
        let runs = host.runs();
        let child = Command::new(&runs[0])
            .args(&runs[1..])
            .args(["bash", "-c", &script])
            .stderr(Stdio::null())
            .spawn();
        child.expect("ip and bash")
    }

    async fn came(listener: &TcpListener, within: Duration) -> Option<SocketAddr> {
        listener.set_nonblocking(true).expect("a listener");
        let until = std::time::Instant::now() + within;
        while std::time::Instant::now() < until {
            if let Ok((mut stream, from)) = listener.accept() {
                stream.set_nonblocking(false).expect("a stream");
                let mut word = [0; 5];
                stream.read_exact(&mut word).expect("a word");
                return Some(from);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        None
    }

    #[tokio::test]
    async fn hosts_reach_this_machine_from_addresses_of_their_own_and_not_over_a_cut_link() {
        let Some(network) = or_pass_over(Network::make(2)) else {
            return;
        };
        let listener = TcpListener::bind((network.here(), 0)).expect("our own address");
        let [a, b] = network.hosts() else {
            panic!("two hosts: {network:?}")
        };
        let mut first = dial(a, &listener);
        let from = came(&listener, Duration::from_secs(20))
            .await
            .expect("a's call");
        assert_eq!(from.ip(), a.address());

        // What is cut says nothing; the other host is not concerned.
        b.cut(Cut::Out).expect("a cut");
        let mut second = dial(b, &listener);
        assert_eq!(came(&listener, Duration::from_millis(300)).await, None);
        assert!(!b.processes().is_empty(), "it tries on");
        b.heal().expect("healed");
        // A SYN is sent again after a second.
        let from = came(&listener, Duration::from_secs(20))
            .await
            .expect("b's call");
        assert_eq!(from.ip(), b.address());

        a.lose();
        assert!(!first.wait().expect("a child").success());
        assert!(a.processes().is_empty() && !b.processes().is_empty());
        let bridge = bridge(network.number);
        drop(network);
        assert!(!second.wait().expect("a child").success());
        let links = output("-o link show").expect("ip");
        let left = links.lines().filter(|line| line.contains(&bridge)).count();
        assert_eq!(left, 0, "{links}");
    }
}
