//! The calls to Helix that chat bots need.
