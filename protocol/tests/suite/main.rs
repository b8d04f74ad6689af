//! The wire as a whole.

mod arbitrary;
mod fuzz_frames;
mod properties;
mod recorded_frames;
mod versions;
