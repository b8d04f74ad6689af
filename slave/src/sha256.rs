//! SHA-256, of the library that TLS brings along: a bot compiles one of them.

use ring::digest::{Context, SHA256};

/// A digest under way.
pub(crate) struct Sha256(Context);

impl Sha256 {
    pub(crate) fn new() -> Self {
        Self(Context::new(&SHA256))
    }

    /// The digest of this alone.
    pub(crate) fn of(bytes: &[u8]) -> [u8; 32] {
        let mut digest = Self::new();
        digest.update(bytes);
        digest.finish()
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn finish(self) -> [u8; 32] {
        let mut digest = [0; 32];
        digest.copy_from_slice(self.0.finish().as_ref());
        digest
    }
}

#[cfg(test)]
mod tests {
    use super::Sha256;

    #[test]
    fn it_is_the_sha_256_of_the_standard() {
        let begins = |bytes| u32::from_be_bytes(*Sha256::of(bytes).first_chunk().expect("32"));
        assert_eq!(begins(b""), 0xe3b0_c442);
        assert_eq!(begins(b"abc"), 0xba78_16bf);
        let mut parts = Sha256::new();
        parts.update(b"a");
        parts.update(b"bc");
        assert_eq!(parts.finish(), Sha256::of(b"abc"));
    }
}
