//! What a certificate says against what a hello says: the certificate is believed.

use baton_protocol::{
    HostName, Hosts, Peer, PeerRole,
    message::{Hello, RefusedReason, agent::AgentHello},
};

use super::context::Origin;
use crate::process::own_host;

/// Why a hello is not what its certificate says: for the program, and for a person.
type Otherwise = (RefusedReason, String);

/// Writes down in the hello on which host its process is: as the certificate says, or our
/// own host's name where the kernel says that it is here.
///
/// # Errors
/// The hello says otherwise, or the certificate is not a slave's.
pub(super) fn certified(origin: &Origin, hello: &mut Hello) -> Result<(), Otherwise> {
    let said = hello.process.host_name.take();
    let known = match origin {
        Origin::Tls(peer) => {
            if !mutant!("role-not-asked") {
                is(peer, PeerRole::Slave)?;
            }
            let names = [said.as_ref().map_or("", HostName::as_str), &hello.host];
            for name in names.into_iter().filter(|name| !name.is_empty()) {
                if !mutant!("said-host-believed") {
                    is_on(peer, name)?;
                }
            }
            Some(on_which(peer, &hello.host)?)
        }
        // A container of this machine may dial our socket, and be a host of its own.
        Origin::UnixStranger(_) | Origin::UnixOwner(_) if hello.host.is_empty() => own_host(),
        Origin::UnixStranger(_) | Origin::UnixOwner(_) | Origin::Tcp => None,
    };
    hello.process.host_name = known;
    Ok(())
}

/// Whether an agent says what its certificate says.
///
/// # Errors
/// It is of another host, or the certificate is not an agent's.
pub(super) fn certified_agent(origin: &Origin, hello: &AgentHello) -> Result<(), Otherwise> {
    let Some(peer) = origin.peer() else {
        return Ok(());
    };
    is(peer, PeerRole::Agent)?;
    is_on(peer, &hello.host)
}

fn is(peer: &Peer, role: PeerRole) -> Result<(), Otherwise> {
    if peer.role == role {
        return Ok(());
    }
    let hosts = &peer.hosts;
    let detail = format!(
        "the certificate is that of the {peer}, and another role is due: issue one with \
         baton-master certs issue --role {role} --host {hosts}"
    );
    Err((RefusedReason::Certificate, detail))
}

/// The one host of a certificate; of one that is for several, the one that the hello says, which
/// has been compared with it.
fn on_which(peer: &Peer, said: &str) -> Result<HostName, Otherwise> {
    let hosts = &peer.hosts;
    let host = match hosts {
        Hosts::One(host) => Some(host.clone()),
        Hosts::Under(_) => said.parse().ok(),
    };
    host.ok_or_else(|| {
        let detail = format!(
            "the certificate is for the hosts {hosts}, and the hello does not say on which of them it \
             is: start it by the agent of its host, or set BATON_HOST"
        );
        (RefusedReason::Certificate, detail)
    })
}

fn is_on(peer: &Peer, said: &str) -> Result<(), Otherwise> {
    if peer.hosts.have(said) {
        return Ok(());
    }
    let detail = format!(
        "its hello says that it is on host {said}, and its certificate that it is on host {}: give \
         each host a certificate of its own, and name its agent as the certificate does",
        peer.hosts
    );
    Err((RefusedReason::Certificate, detail))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use baton_protocol::CertificateName;

    use super::*;

    fn of(name: &str) -> Origin {
        let name: CertificateName = name.parse().unwrap();
        Origin::Tls(name.peer)
    }

    fn on(host: &str) -> Hello {
        Hello {
            host: host.to_owned(),
            ..Hello::default()
        }
    }

    #[test]
    fn of_a_certificate_for_hosts_that_come_and_go_the_hello_says_which_one_it_is() {
        let pods = of("baton://my-bot/slave/pod.*");
        let mut hello = on("pod.east-1");
        certified(&pods, &mut hello).unwrap();
        assert_eq!(hello.process.host_name.unwrap().as_str(), "pod.east-1");
        let refused = |hello: &mut Hello| certified(&pods, hello).unwrap_err().1;
        let why = refused(&mut on(""));
        assert!(why.contains("set BATON_HOST"), "{why}");
        for other in ["east-1", "pod", "pods.east-1"] {
            let why = refused(&mut on(other));
            assert!(why.contains("on host pod.*"), "{why}");
        }
        // Its process may not say that it is elsewhere.
        let mut hello = on("pod.east-1");
        hello.process.host_name = "home".parse().ok();
        refused(&mut hello);
    }

    #[test]
    fn an_agent_is_on_one_of_the_hosts_of_its_certificate() {
        let hello = |host: &str| AgentHello {
            host: host.to_owned(),
            ..AgentHello::default()
        };
        let pods = of("baton://my-bot/agent/pod.*");
        assert!(certified_agent(&pods, &hello("pod.east-1")).is_ok());
        assert!(certified_agent(&pods, &hello("home")).is_err());
        let slaves = of("baton://my-bot/slave/pod.*");
        let (_, why) = certified_agent(&slaves, &hello("pod.east-1")).unwrap_err();
        assert!(why.contains("--role agent --host pod.*"), "{why}");
    }
}
