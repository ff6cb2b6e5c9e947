//! Roots follow each other without a gap in trust.

use jiff::{Timestamp, ToSpan};
use rustls::{RootCertStore, client::danger::ServerCertVerifier, client::WebPkiServerVerifier};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject};
use std::sync::Arc;

use super::authority::{Authority, Leaf};

fn day(number: i64) -> Timestamp {
    "2026-01-01T00:00:00Z".parse::<Timestamp>().unwrap() + (number * 24).hours()
}

fn names() -> Vec<String> {
    vec!["chaperone-webhook.chaperone-system.svc".to_owned(), "10.0.0.1".to_owned()]
}

fn trusted(bundle: &str, leaf: &Leaf, name: &str, at: Timestamp) -> bool {
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(bundle.as_bytes()) {
        store.add(certificate.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider).build().unwrap();
    let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(at.as_second().unsigned_abs()));
    let name = ServerName::try_from(name.to_owned()).unwrap();
    verifier.verify_server_cert(leaf.key().end_entity_cert().unwrap(), &[], &name, &[], now).is_ok()
}

#[test]
fn a_leaf_is_trusted_for_its_names_and_its_time_only() {
    let authority = Authority::generate(day(0)).unwrap();
    let leaf = authority.issue(&names(), day(0)).unwrap();
    let bundle = authority.bundle();
    assert!(trusted(&bundle, &leaf, "chaperone-webhook.chaperone-system.svc", day(0)));
    assert!(trusted(&bundle, &leaf, "10.0.0.1", day(89)));
    assert!(!trusted(&bundle, &leaf, "10.0.0.1", day(91)));
    assert!(!trusted(&bundle, &leaf, "chaperone-webhook.other.svc", day(0)));
    let stranger = Authority::generate(day(0)).unwrap();
    assert!(!trusted(&stranger.bundle(), &leaf, "10.0.0.1", day(0)));
}

#[test]
fn a_leaf_is_due_after_two_thirds_of_its_life() {
    let leaf = Authority::generate(day(0)).unwrap().issue(&names(), day(0)).unwrap();
    assert!(!leaf.is_due(day(59)));
    assert!(leaf.is_due(day(60)));
}

#[test]
fn what_is_written_is_read_again() {
    let now = day(0);
    let two = Authority::generate(now).unwrap().advanced(day(9 * 365 - 300)).unwrap().unwrap();
    let three = two.advanced(day(9 * 365 + 10)).unwrap().unwrap();
    for authority in [Authority::generate(now).unwrap(), two, three] {
        assert_eq!(Authority::read(&authority.write()), Ok(authority));
    }
}

#[test]
fn a_secret_that_cannot_be_read_names_the_key() {
    let authority = Authority::generate(day(0)).unwrap();
    let other = Authority::generate(day(0)).unwrap().write();
    for key in ["root.crt", "root.key"] {
        let mut data = authority.write();
        data.remove(key);
        assert_eq!(Authority::read(&data), Err(key));
        let mut data = authority.write();
        data.insert(key.to_owned(), other[key].clone());
        assert_eq!(Authority::read(&data), Err("root.crt"), "a foreign {key} does not match");
    }
    let mut data = authority.write();
    data.insert("retired.crt".to_owned(), k8s_openapi::ByteString(b"nothing".to_vec()));
    assert_eq!(Authority::read(&data), Err("retired.crt"));
}

#[test]
fn the_next_root_is_known_for_a_year_before_it_signs_and_the_old_one_stays_trusted() {
    let first = Authority::generate(day(0)).unwrap();
    assert_eq!(first.advanced(day(7 * 365)).unwrap(), None);
    let known = first.advanced(day(8 * 365 + 1)).unwrap().unwrap();
    assert_eq!(known.bundle().matches("BEGIN CERTIFICATE").count(), 2);
    let at = day(8 * 365 + 1);
    assert!(trusted(&first.bundle(), &known.issue(&names(), at).unwrap(), "10.0.0.1", at), "the old root still signs");
    let at = day(9 * 365 + 1);
    let signing = known.advanced(at).unwrap().unwrap();
    let leaf = signing.issue(&names(), at).unwrap();
    assert!(trusted(&known.bundle(), &leaf, "10.0.0.1", at), "those who knew the next root trust its leaf");
    assert!(!trusted(&first.bundle(), &leaf, "10.0.0.1", at));
    let old = first.issue(&names(), day(9 * 365)).unwrap();
    assert!(trusted(&signing.bundle(), &old, "10.0.0.1", at), "replicas that lag behind are still trusted");
    let after = signing.advanced(day(10 * 365 + 2)).unwrap().unwrap();
    assert_eq!(after.bundle().matches("BEGIN CERTIFICATE").count(), 1, "the old root is forgotten when it ends");
}

#[test]
fn no_key_is_shown() {
    let authority = Authority::generate(day(0)).unwrap();
    assert!(!format!("{authority:?}").contains("PRIVATE"));
}
