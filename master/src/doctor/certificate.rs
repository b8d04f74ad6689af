//! How long a certificate is still good.

use baton_protocol::CertificateName;

use super::Finding;
use crate::certs::{Held, SOON, Validity, now};

const CHECK: &str = "certificate";

/// The certificate of a master, if it has one.
#[must_use]
pub fn certificate(held: Option<&Held>) -> Finding {
    match held {
        Some(held) => judged(held.name(), held.validity(), now()),
        None => Finding::ok(CHECK, "there is none: only processes of this host may dial"),
    }
}

fn judged(name: &CertificateName, validity: Validity, now: i64) -> Finding {
    let detail = format!("{name} is {}", validity.told(now));
    let renew = "renew it: baton-master certs renew --ca FOLDER CERT, copy it to tls_dir, and send \
                 the master SIGHUP; who is connected stays connected";
    match validity.left(now) {
        ..0 => Finding::error(CHECK, format!("{detail}: other hosts cannot dial"), renew),
        0..SOON => Finding::warning(CHECK, detail, renew),
        _ if validity.from > now => Finding::error(
            CHECK,
            format!("{detail}: other hosts cannot dial"),
            "look at the clock of this host, and of the one on which it was issued",
        ),
        _ => Finding::ok(CHECK, detail),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    #[test]
    fn an_end_is_said_from_thirty_days_on_and_is_an_error_when_it_is_over() {
        let name = "baton://f/master/a".parse().expect("a name");
        let day = 86_400;
        let validity = Validity {
            from: 0,
            until: 365 * day,
        };
        let level = |at| judged(&name, validity, at).level;
        assert_eq!(level(100 * day), Level::Ok);
        assert_eq!(level(335 * day - 1), Level::Ok);
        assert_eq!(level(335 * day + 1), Level::Warning);
        assert_eq!(level(365 * day), Level::Warning);
        assert_eq!(level(365 * day + 1), Level::Error);
        assert_eq!(level(-1), Level::Error);
        let said = judged(&name, validity, 366 * day);
        assert!(
            said.detail.contains("expired since 1971-01-01"),
            "{}",
            said.detail
        );
        assert_eq!(certificate(None).level, Level::Ok);
    }
}
