//! What this master knows of Discord: what it asks it ([`budget`], [`probe`]), and what it
//! tells the core of it ([`Discord`]). The core itself names no service.

pub mod budget;
mod policy;
pub mod probe;

pub use self::policy::{Discord, WINDOW};
