//! What the URL of a connection asks for.

use super::encode::Compression;

/// What the URL of a connection asks for.
///
/// Everything but the version, the encoding and the compression is ours, and may be in the
/// path too: a library that writes the query itself drops what was in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Opening {
    /// `v`: 9 or 10; left out, 10. `Err`: another.
    pub(crate) version: Result<u8, String>,
    /// `compress`; `None` for one that does not exist.
    pub(crate) compression: Option<Compression>,
    /// Whether `encoding` is `json`, or left out.
    pub(crate) is_json: bool,
    /// `mirror`: the name of a mirror.
    pub(crate) mirror: Option<String>,
    /// `acknowledge=handled`: the client says what it has handled.
    pub(crate) says_handled: bool,
    /// The URL by which the client knows this server, without a path.
    pub(crate) base: String,
}

impl Opening {
    pub(crate) fn new(path: &str, query: &str, base: String) -> Self {
        let mut segments = path.split('/').filter(|segment| !segment.is_empty());
        let (mut mirror, mut says_handled) = (None, false);
        while let Some(segment) = segments.next() {
            match segment {
                "mirror" => mirror = segments.next().map(str::to_owned),
                "handled" => says_handled = true,
                _ => {}
            }
        }
        let find = |name: &str| {
            let pairs = query.split('&');
            let mut values = pairs.filter_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
            values.next()
        };
        let version = match find("v") {
            None | Some("" | "10") => Ok(10),
            Some("9") => Ok(9),
            Some(other) => Err(other.chars().take(16).collect()),
        };
        Self {
            version,
            compression: Compression::named(find("compress")),
            is_json: find("encoding").is_none_or(|encoding| encoding == "json"),
            mirror: mirror.or_else(|| find("mirror").map(str::to_owned)),
            says_handled: says_handled || find("acknowledge") == Some("handled"),
            base,
        }
    }

    /// Where the client is to resume.
    pub(crate) fn resume_url(&self) -> String {
        let mirror = self.mirror.as_ref();
        let mirror = mirror.map_or(String::new(), |name| format!("/mirror/{name}"));
        let handled = if self.says_handled { "/handled" } else { "" };
        format!("{}{mirror}{handled}", self.base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opening(path: &str, query: &str) -> Opening {
        Opening::new(path, query, "ws://here".to_owned())
    }

    #[test]
    fn a_url_as_libraries_write_it_is_understood() {
        let usual = opening("/", "v=10&encoding=json&compress=zlib-stream");
        assert_eq!(usual.version, Ok(10));
        assert_eq!(usual.compression, Some(Compression::Zlib));
        assert!(usual.is_json && usual.mirror.is_none() && !usual.says_handled);
        assert_eq!(opening("", "").version, Ok(10));
        assert_eq!(opening("/", "encoding=json&v=9").version, Ok(9));
        assert_eq!(opening("/", "v=8").version, Err("8".to_owned()));
        assert!(!opening("/", "encoding=etf").is_json);
        assert_eq!(opening("/", "compress=lz4").compression, None);
    }

    #[test]
    fn what_is_ours_may_stand_in_the_path_or_the_query_and_is_kept_for_the_resume() {
        for (path, query) in [
            ("/mirror/test/handled/", "v=10"),
            ("/", "mirror=test&acknowledge=handled"),
        ] {
            let opening = opening(path, query);
            assert_eq!(opening.mirror.as_deref(), Some("test"));
            assert!(opening.says_handled);
            assert_eq!(opening.resume_url(), "ws://here/mirror/test/handled");
        }
        assert_eq!(opening("/", "v=10").resume_url(), "ws://here");
    }
}
