//! A pipe that is full and that nobody reads, for the tests of several programs.

use std::os::fd::OwnedFd;

use rustix::{
    fs::{OFlags, fcntl_setfl},
    pipe::{PipeFlags, fcntl_setpipe_size, pipe_with},
};

/// A pipe in which there is no room for a byte, and its reader, who reads nothing.
pub(crate) fn full_pipe() -> (OwnedFd, OwnedFd) {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    fcntl_setpipe_size(&writer, 4096).unwrap();
    fcntl_setfl(&writer, OFlags::NONBLOCK).unwrap();
    for part in [4096, 1] {
        let part = vec![b'\n'; part];
        while rustix::io::write(&writer, &part).is_ok() {}
    }
    fcntl_setfl(&writer, OFlags::empty()).unwrap();
    (reader, writer)
}
