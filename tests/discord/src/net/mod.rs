//! From the socket to a request: accept, delay line, TLS, HTTP.

pub(crate) mod delay;
pub(crate) mod http;
pub(crate) mod link;
pub(crate) mod listen;
pub(crate) mod tls;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod rtt_tests;
