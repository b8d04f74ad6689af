//! An authority, and what it has signed: a broker's certificate and a gateway's.

use std::{fs, path::Path};

use baton_sink::Tls;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};

/// Writes `ca.pem`, `broker.pem`, `broker.key`, `gateway.pem` and `gateway.key`.
pub(crate) fn write(dir: &Path) {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    authority
        .distinguished_name
        .push(DnType::CommonName, "an authority of a test");
    let key = KeyPair::generate().unwrap();
    let authority = CertifiedIssuer::self_signed(authority, key).unwrap();
    fs::write(dir.join("ca.pem"), authority.pem()).unwrap();
    let sides = [
        ("broker", ExtendedKeyUsagePurpose::ServerAuth),
        ("gateway", ExtendedKeyUsagePurpose::ClientAuth),
    ];
    for (name, usage) in sides {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut leaf = CertificateParams::new(names).unwrap();
        leaf.distinguished_name.push(DnType::CommonName, name);
        leaf.extended_key_usages = vec![usage];
        let key = KeyPair::generate().unwrap();
        let signed = leaf.signed_by(&key, &authority).unwrap();
        fs::write(dir.join(format!("{name}.pem")), signed.pem()).unwrap();
        fs::write(dir.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    }
}

/// What a gateway is told of these.
pub(crate) fn of_gateway(dir: &Path) -> Tls {
    Tls {
        ca: Some(dir.join("ca.pem")),
        cert: Some(dir.join("gateway.pem")),
        key: Some(dir.join("gateway.key")),
    }
}

/// The paths of a broker's files.
pub(crate) fn of_broker(dir: &Path) -> [String; 3] {
    ["ca.pem", "broker.pem", "broker.key"].map(|name| dir.join(name).display().to_string())
}
