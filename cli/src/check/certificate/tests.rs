use jiff::ToSpan;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use super::*;

const NAME: &str = "chaperone-webhook.chaperone-system.svc";

fn day(number: i64) -> Timestamp {
    "2026-01-01T00:00:00Z".parse::<Timestamp>().unwrap() + (number * 24).hours()
}

/// A root with its PEM, and a leaf that it signed for 90 days.
fn signed(root_name: &str, name: &str) -> (Vec<u8>, CertificateDer<'static>) {
    let root_key = KeyPair::generate().unwrap();
    let mut root = CertificateParams::default();
    root.distinguished_name.push(DnType::CommonName, root_name);
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    root.not_before = rcgen::date_time_ymd(2025, 12, 1);
    root.not_after = rcgen::date_time_ymd(2035, 12, 1);
    let pem = root.self_signed(&root_key).unwrap().pem();
    let issuer = Issuer::new(root, root_key);
    let mut leaf = CertificateParams::new(vec![name.to_owned()]).unwrap();
    leaf.not_before = rcgen::date_time_ymd(2025, 12, 31);
    leaf.not_after = rcgen::date_time_ymd(2026, 4, 1);
    let leaf = leaf.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap();
    (pem.into_bytes(), leaf.der().clone())
}

#[test]
fn a_leaf_of_the_bundle_is_good_until_it_ends_and_late_when_it_should_have_been_renewed() {
    let (bundle, leaf) = signed("root", NAME);
    let ends = day(90);
    assert_eq!(judge(&bundle, std::slice::from_ref(&leaf), NAME, day(1)), Trust::Until(ends));
    assert_eq!(judge(&bundle, std::slice::from_ref(&leaf), NAME, day(70)), Trust::Late(ends));
    let refused = judge(&bundle, std::slice::from_ref(&leaf), NAME, day(91));
    assert!(matches!(&refused, Trust::Refused(why) if why.contains("expired")), "{refused:?}");
}

#[test]
fn what_the_api_server_would_refuse_is_refused_with_the_reason() {
    let (bundle, leaf) = signed("root", NAME);
    let (_, stranger) = signed("other", NAME);
    let (_, elsewhere) = signed("root", "other.svc");
    for (bundle, chain) in [
        (&bundle[..], vec![stranger]),
        (&bundle[..], vec![]),
        (&bundle[..], vec![elsewhere]),
        (b"nothing", vec![leaf.clone()]),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", vec![leaf]),
    ] {
        let judged = judge(bundle, &chain, NAME, day(1));
        assert!(matches!(&judged, Trust::Refused(why) if !why.is_empty()), "{judged:?}");
    }
}
