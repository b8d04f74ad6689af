//! What is published when: pure, with messages, answers and the time in, and the next
//! message out.

mod lanes;
mod pace;

pub(crate) use self::{
    lanes::{Key, Lanes},
    pace::Pace,
};
