//! Addresses that no other fleet of this machine has.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::atomic::{AtomicU32, Ordering},
};

/// Where the slaves of one fleet can serve clients of their own: nobody else is given this
/// address.
#[must_use]
pub fn own_proxy() -> SocketAddr {
    own_socket(7878)
}

/// A port at an address that no other fleet of this host has; 0 is any port. A master that is
/// started again wants its port back, and as the near end of a connection any process
/// could have been given one of 127.0.0.1 meanwhile.
pub(super) fn own_socket(port: u16) -> SocketAddr {
    static FLEETS: AtomicU32 = AtomicU32::new(0);
    let fleet = FLEETS.fetch_add(1, Ordering::Relaxed);
    let process = std::process::id();
    let part = |number: u32| (number % 250 + 1) as u8;
    let address = Ipv4Addr::new(127, part(process), part(process / 250), part(fleet));
    (address, port).into()
}
