//! The wire as a whole.

mod agents;
mod any;
mod arbitrary;
mod frozen_frames;
mod fuzz_frames;
mod properties;
mod recorded_frames;
mod shapes;
mod versions;
