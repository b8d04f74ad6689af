//! Certificates of a fleet: an authority of its own issues them, a master has one for its
//! listener, and what stands in one can be shown.
//!
//! | | |
//! |---|---|
//! | [`Authority`] | makes certificates; its key need not lie on any host of the fleet |
//! | [`Held`] | the certificate of this process, with which peers are let in |
//! | [`Facts`] | what stands in a certificate |

mod authority;
mod facts;
mod held;
#[cfg(test)]
pub(crate) mod testing;

pub use self::{
    authority::{Authority, CA_KEY_FILE, Issued, Life},
    facts::{AlsoNamed, Facts, Validity, date, now},
    held::{Held, SOON},
};
