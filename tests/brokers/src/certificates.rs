//! An authority, and what it has signed: a broker's certificate and a gateway's.

use std::{fs, io, path::Path};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};

use crate::Error;

/// Writes `ca.pem`, `broker.pem`, `broker.key`, `gateway.pem` and `gateway.key`.
///
/// # Errors
/// The folder cannot be written.
pub fn write(dir: &Path) -> Result<(), Error> {
    let files = made().map_err(|error| Error::system("make certificates")(io::Error::other(error)));
    for (name, text) in files? {
        let path = dir.join(&name);
        fs::write(&path, text).map_err(Error::system(format!("write {}", path.display())))?;
    }
    Ok(())
}

fn made() -> Result<Vec<(String, String)>, rcgen::Error> {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    authority
        .distinguished_name
        .push(DnType::CommonName, "an authority of a test");
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
    let mut files = vec![("ca.pem".to_owned(), authority.pem())];
    let sides = [
        ("broker", ExtendedKeyUsagePurpose::ServerAuth),
        ("gateway", ExtendedKeyUsagePurpose::ClientAuth),
    ];
    for (name, usage) in sides {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut leaf = CertificateParams::new(names)?;
        leaf.distinguished_name.push(DnType::CommonName, name);
        leaf.extended_key_usages = vec![usage];
        let key = KeyPair::generate()?;
        let signed = leaf.signed_by(&key, &authority)?;
        files.push((format!("{name}.pem"), signed.pem()));
        files.push((format!("{name}.key"), key.serialize_pem()));
    }
    Ok(files)
}

/// The paths of a broker's authority, certificate and key.
#[must_use]
pub fn of_broker(dir: &Path) -> [String; 3] {
    ["ca.pem", "broker.pem", "broker.key"].map(|name| dir.join(name).display().to_string())
}
