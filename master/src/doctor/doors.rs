//! What strangers take, and logs that are not read.

use std::sync::Arc;

use super::{Finding, certificate};
use crate::certs::Held;

/// The doors of a master at one moment.
#[derive(Clone, Debug, Default)]
pub struct Doors {
    /// Doors whose places were all taken when a connection came, in the last minutes.
    pub crowded: Vec<&'static str>,
    /// Whether its log is not read.
    pub log_stuck: bool,
    /// Lines of its log that were dropped since it started.
    pub log_dropped: u64,
    /// The certificate with which other hosts are let in.
    pub certificate: Option<Arc<Held>>,
}

impl Doors {
    pub(super) fn examine(&self) -> Vec<Finding> {
        vec![
            self.places(),
            self.log(),
            certificate(self.certificate.as_deref()),
        ]
    }

    fn places(&self) -> Finding {
        if self.crowded.is_empty() {
            return Finding::ok("doors", "there is a place for every connection");
        }
        Finding::warning(
            "doors",
            format!(
                "strangers took all places in the last ten minutes: {}",
                self.crowded.join(", ")
            ),
            "find out who dials (ss --tcp --processes) and keep them out: slaves and operators that are \
             quick get through, others may not; baton-master on this host always does",
        )
    }

    fn log(&self) -> Finding {
        let dropped = self.log_dropped;
        if !self.log_stuck {
            let detail = format!("the master's log is read ({dropped} lines were dropped)");
            return Finding::ok("log", detail);
        }
        Finding::warning(
            "log",
            format!("the master's log is not read: {dropped} lines were dropped since it started"),
            "read its standard error, or start it with a file there: what is not read is lost, and \
             nothing else is",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    #[test]
    fn full_places_and_a_log_that_nobody_reads_are_said() {
        let well = Doors::default().examine();
        assert!(well.iter().all(|finding| finding.level == Level::Ok));
        let doors = Doors {
            crowded: vec!["listen", "admin_listen"],
            log_stuck: true,
            log_dropped: 7,
            certificate: None,
        };
        let found = doors.examine();
        assert!(
            found[..2]
                .iter()
                .all(|finding| finding.level == Level::Warning)
        );
        assert!(found[0].detail.contains("listen, admin_listen"));
        assert!(found[1].detail.contains("7 lines"));
    }
}
