//! One root certificate with its key.

use std::sync::Arc;

use jiff::{Span, Timestamp, tz::TimeZone};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::{crypto::aws_lc_rs::sign::any_ecdsa_type, sign::CertifiedKey};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject};
use secrecy::{ExposeSecret, SecretString};

use super::CertsError;

const ROOT_YEARS: i64 = 10;
const LEAF_DAYS: i64 = 90;

/// A root that can sign.
#[derive(Debug, Clone)]
pub(super) struct Root {
    /// The certificate, as PEM.
    pub(super) certificate: String,
    /// Its key, as PEM.
    key: SecretString,
    /// When it ends.
    pub(super) ends: Timestamp,
}

impl PartialEq for Root {
    /// A certificate names its key.
    fn eq(&self, other: &Self) -> bool {
        self.certificate == other.certificate
    }
}

impl Root {
    pub(super) fn generate(now: Timestamp) -> Result<Self, CertsError> {
        let key = KeyPair::generate()?;
        let mut params = lasting(now, ROOT_YEARS * 365);
        let mark: String = hex::encode(rand::random::<[u8; 4]>());
        // Roots differ in name, so that nobody takes one for the other when a chain is built.
        params.distinguished_name.push(DnType::CommonName, format!("Chaperone root {mark}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key)?.pem();
        Self::read(certificate, key.serialize_pem().into())
            .ok_or(CertsError::Make(rcgen::Error::CouldNotParseCertificate))
    }

    /// From PEM; `None` if it is not a certificate with its key.
    pub(super) fn read(certificate: String, key: SecretString) -> Option<Self> {
        let ends = ends(&certificate)?;
        let pair = KeyPair::from_pem(key.expose_secret()).ok()?;
        let der = CertificateDer::from_pem_slice(certificate.as_bytes()).ok()?;
        let (_, parsed) = x509_parser::parse_x509_certificate(&der).ok()?;
        let same = parsed.public_key().subject_public_key.data.as_ref() == pair.public_key_raw();
        (same && parsed.is_ca()).then_some(Self { certificate, key, ends })
    }

    pub(super) const fn key(&self) -> &SecretString {
        &self.key
    }

    /// A serving certificate, and when it is due for renewal.
    pub(super) fn issue(
        &self,
        names: &[String],
        now: Timestamp,
    ) -> Result<(Arc<CertifiedKey>, Timestamp), CertsError> {
        let issuer =
            Issuer::from_ca_cert_pem(&self.certificate, KeyPair::from_pem(self.key.expose_secret())?)?;
        let key = KeyPair::generate()?;
        let mut params = lasting(now, LEAF_DAYS);
        params.subject_alt_names = CertificateParams::new(names.to_vec())?.subject_alt_names;
        params.distinguished_name.push(DnType::CommonName, "chaperone");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &issuer)?;
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let certified = CertifiedKey::new(vec![certificate.der().clone()], any_ecdsa_type(&private)?);
        Ok((Arc::new(certified), later(now, LEAF_DAYS * 2 / 3)))
    }
}

/// When the first certificate of a PEM text ends.
pub(super) fn ends(certificate: &str) -> Option<Timestamp> {
    let der = CertificateDer::from_pem_slice(certificate.as_bytes()).ok()?;
    let (_, parsed) = x509_parser::parse_x509_certificate(&der).ok()?;
    Timestamp::from_second(parsed.validity().not_after.timestamp()).ok()
}

/// Some days later.
pub(super) fn later(now: Timestamp, days: i64) -> Timestamp {
    now.saturating_add(Span::new().hours(days * 24)).unwrap_or(Timestamp::MAX)
}

/// Valid from yesterday, whatever the reader's clock says, in whole days.
fn lasting(now: Timestamp, days: i64) -> CertificateParams {
    let mut params = CertificateParams::default();
    let day = |at: Timestamp| {
        let date = at.to_zoned(TimeZone::UTC).date();
        rcgen::date_time_ymd(date.year().into(), date.month().unsigned_abs(), date.day().unsigned_abs())
    };
    params.not_before = day(later(now, -1));
    params.not_after = day(later(now, days));
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
}
