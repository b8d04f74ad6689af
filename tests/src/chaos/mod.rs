//! Chaos: real processes under traffic, one fault at a time at a known phase of
//! a migration, and then the verdict of the one checker.
//!
//! [`rows`] is the fault matrix as data, [`blow`] how each fault is struck,
//! [`expect`] what must come of it. A [`run`] has a fleet, a folder and wires of
//! its own ([`scene`], [`wire`]); [`judge`] compares what was sent with what was
//! handled, [`report`] shows it.

mod agent;
pub mod blow;
mod brokers;
pub mod builds;
mod busy;
mod clients;
pub mod crash;
mod deadly;
pub mod deploys;
mod doubts;
pub mod expect;
pub mod host;
pub mod hunt;
pub mod journal;
pub mod judge;
mod leaders;
pub mod marks;
pub mod operator;
mod overload;
mod patience;
pub mod phase;
mod remote;
pub mod report;
pub mod row;
pub mod rows;
pub mod run;
pub mod scene;
pub mod shortage;
mod store;
pub mod unending;
pub mod wire;
