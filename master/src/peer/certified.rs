//! What a certificate says against what a hello says: the certificate is believed.

use baton_protocol::{
    HostName, Peer, PeerRole,
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
            Some(peer.host.clone())
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
    let host = &peer.host;
    let detail = format!(
        "the certificate is that of the {peer}, and another role is due: issue one with \
         baton-master certs issue --role {role} --host {host}"
    );
    Err((RefusedReason::Certificate, detail))
}

fn is_on(peer: &Peer, said: &str) -> Result<(), Otherwise> {
    if peer.host.as_str() == said {
        return Ok(());
    }
    let detail = format!(
        "its hello says that it is on host {said}, and its certificate that it is on host {}: give \
         each host a certificate of its own, and name its agent as the certificate does",
        peer.host
    );
    Err((RefusedReason::Certificate, detail))
}
