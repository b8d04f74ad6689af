//! Coverage-guided: `cargo fuzz run stream` in `protocol/`. The first byte
//! chooses the trust and the size of the parts.
#![no_main]

#[path = "../frames.rs"]
mod frames;

use baton_protocol::Trust;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Some((&choice, bytes)) = input.split_first() {
        let trust = if choice & 1 == 0 { Trust::Known } else { Trust::Stranger };
        frames::stream(bytes, usize::from(choice >> 1) + 1, trust);
    }
});
