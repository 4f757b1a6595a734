//! What is issued, and to whom.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyUsagePurpose, SanType,
};
use rustls::pki_types::{CertificateDer, ServerName};
use strait_types::Redacted;

use crate::error::PkiError;
use crate::key::PrivateKey;
use crate::pem;

/// The names that a server is reached by: at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerNames(Vec<String>);

impl ServerNames {
    /// Takes host names and IP addresses.
    ///
    /// # Errors
    /// A text is neither, or there is none.
    pub fn new<'a>(hosts: impl IntoIterator<Item = &'a str>) -> Result<Self, PkiError> {
        let names: Vec<_> = hosts.into_iter().map(server_name).collect::<Result<_, _>>()?;
        if names.is_empty() {
            return Err(PkiError::InvalidName {
                name: String::new(),
                expected: "a host name or IP address",
            });
        }
        Ok(Self(names))
    }

    pub(crate) fn params(&self) -> CertificateParams {
        let params = CertificateParams::new(self.0.clone()).expect("host names are ASCII");
        // Nothing but people read a server's common name.
        leaf(params, ExtendedKeyUsagePurpose::ServerAuth, subject(None, &self.0[0]))
    }
}

fn server_name(host: &str) -> Result<String, PkiError> {
    match ServerName::try_from(host) {
        Ok(name) => Ok(name.to_str().to_ascii_lowercase()),
        Err(_) => Err(PkiError::InvalidName {
            name: host.to_owned(),
            expected: "a host name or IP address",
        }),
    }
}

/// Whom a client certificate speaks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientSubject {
    /// The user: the common name. Not empty.
    pub user: String,
    /// The group, if any: the organisation. The library writes one; others' certificates may
    /// have several, see [`PeerCertificate`](crate::PeerCertificate).
    pub group: Option<String>,
    /// A further name, such as an agent's identity; ASCII.
    pub uri: Option<String>,
}

impl ClientSubject {
    pub(crate) fn params(&self) -> Result<CertificateParams, PkiError> {
        let printable = |text: &str| !text.is_empty() && !text.contains(char::is_control);
        let mut names = std::iter::once(&self.user).chain(&self.group);
        if let Some(name) = names.find(|name| !printable(name)) {
            return Err(PkiError::InvalidName {
                name: name.clone(),
                expected: "a user's or group's name",
            });
        }
        let mut params = CertificateParams::default();
        params.subject_alt_names = self.uri.as_deref().map(uri).transpose()?.into_iter().collect();
        let subject = subject(self.group.as_deref(), &self.user);
        Ok(leaf(params, ExtendedKeyUsagePurpose::ClientAuth, subject))
    }
}

fn uri(text: &str) -> Result<SanType, PkiError> {
    match text.try_into() {
        Ok(uri) if text.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(SanType::URI(uri)),
        _ => Err(PkiError::InvalidName { name: text.to_owned(), expected: "a URI" }),
    }
}

/// A certificate for one purpose, which signs no others.
fn leaf(
    mut params: CertificateParams,
    purpose: ExtendedKeyUsagePurpose,
    subject: DistinguishedName,
) -> CertificateParams {
    params.distinguished_name = subject;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![purpose];
    params
}

/// A CA that signs leaves and nothing below them.
pub(crate) fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = subject(None, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn subject(organisation: Option<&str>, common_name: &str) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    if let Some(organisation) = organisation {
        subject.push(DnType::OrganizationName, organisation);
    }
    subject.push(DnType::CommonName, common_name);
    subject
}

/// An issued certificate.
#[derive(Clone, Debug)]
pub struct Certificate {
    pub(crate) der: CertificateDer<'static>,
    pub(crate) serial: String,
    pub(crate) not_before: Timestamp,
    pub(crate) not_after: Timestamp,
}

impl Certificate {
    /// The certificate in PEM, without its issuer's.
    #[must_use]
    pub fn to_pem(&self) -> String {
        pem::encode("CERTIFICATE", &self.der)
    }

    /// The serial number in lower-case hexadecimal.
    #[must_use]
    pub fn serial(&self) -> &str {
        &self.serial
    }

    /// The first second in which it is valid: five minutes before it was issued.
    #[must_use]
    pub const fn not_before(&self) -> Timestamp {
        self.not_before
    }

    /// The last second in which it is valid.
    #[must_use]
    pub const fn not_after(&self) -> Timestamp {
        self.not_after
    }
}

/// An issued certificate and its key.
#[derive(Debug)]
pub struct KeyedCertificate {
    /// The certificate.
    pub certificate: Certificate,
    /// Its key, made for it.
    pub key: PrivateKey,
}

impl KeyedCertificate {
    /// The certificate in PEM, without its issuer's.
    #[must_use]
    pub fn certificate_pem(&self) -> String {
        self.certificate.to_pem()
    }

    /// The key as PKCS#8 in PEM.
    ///
    /// # Errors
    /// The crypto library refused.
    pub fn key_pem(&self) -> Result<Redacted<String>, PkiError> {
        self.key.to_pem()
    }
}

/// When a certificate is to be renewed: two thirds into its life.
#[must_use]
pub fn renewal_time(not_before: Timestamp, not_after: Timestamp) -> Timestamp {
    let life: SignedDuration = not_after.duration_since(not_before);
    // Within the two times, so within range.
    not_before.checked_add(life / 3 * 2).unwrap_or(not_after)
}

/// `time` plus `by`, or `limit` where that is earlier.
pub(crate) fn add_up_to(time: Timestamp, by: Duration, limit: Timestamp) -> Timestamp {
    time.checked_add(by).map_or(limit, |sum| sum.min(limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_or_addresses() {
        let names = ServerNames::new(["Hub.Example", "127.0.0.1", "::1"]).unwrap();
        let addresses = [[127, 0, 0, 1].into(), "::1".parse().unwrap()];
        assert_eq!(
            names.params().subject_alt_names,
            [
                SanType::DnsName("hub.example".try_into().unwrap()),
                SanType::IpAddress(addresses[0]),
                SanType::IpAddress(addresses[1]),
            ]
        );
        for host in ["", "a b", "*.example", "hub:6443", "http://hub", "[::1]"] {
            assert!(ServerNames::new([host]).is_err(), "{host}");
        }
        assert!(ServerNames::new([]).is_err());
    }

    #[test]
    fn subjects_are_checked() {
        let subject = |user: &str, group: &str, uri: Option<&str>| ClientSubject {
            user: user.into(),
            group: Some(group.into()),
            uri: uri.map(Into::into),
        };
        assert!(subject("system:admin", "ähm", Some("strait://x")).params().is_ok());
        for wrong in [
            subject("", "g", None),
            subject("u", "", None),
            subject("u\0", "g", None),
            subject("u", "g", Some("strait://ä")),
        ] {
            assert!(wrong.params().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn renewal_is_at_two_thirds() {
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(renewal_time(at(1_000), at(1_300)), at(1_200));
        assert_eq!(renewal_time(at(1_000), at(1_000)), at(1_000));
    }
}
