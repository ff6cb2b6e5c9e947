//! Roots follow each other without a gap in trust.

use std::sync::{Arc, Mutex};

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use jiff::{Timestamp, ToSpan};
use kube::Client;
use rustls::{
    RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier},
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject};
use serde_json::{Value, json};

use super::{
    Certs, CertsError, Place,
    authority::{Authority, Leaf},
};

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
    assert!(
        trusted(&first.bundle(), &known.issue(&names(), at).unwrap(), "10.0.0.1", at),
        "the old root still signs"
    );
    let at = day(9 * 365 + 1);
    let signing = known.advanced(at).unwrap().unwrap();
    let leaf = signing.issue(&names(), at).unwrap();
    assert!(trusted(&known.bundle(), &leaf, "10.0.0.1", at), "those who knew the next root trust its leaf");
    assert!(!trusted(&first.bundle(), &leaf, "10.0.0.1", at));
    let old = first.issue(&names(), day(9 * 365)).unwrap();
    assert!(trusted(&signing.bundle(), &old, "10.0.0.1", at), "replicas that lag behind are still trusted");
    let after = signing.advanced(day(10 * 365 + 2)).unwrap().unwrap();
    assert_eq!(
        after.bundle().matches("BEGIN CERTIFICATE").count(),
        1,
        "the old root is forgotten when it ends"
    );
}

#[test]
fn no_key_is_shown() {
    let authority = Authority::generate(day(0)).unwrap();
    assert!(!format!("{authority:?}").contains("PRIVATE"));
}

/// An API server that holds one Secret.
type Stored = Arc<Mutex<Option<Value>>>;

fn api_server(stored: &Stored) -> Client {
    let router = Router::new()
        .route("/api/v1/namespaces/chaperone-system/secrets", post(create))
        .route("/api/v1/namespaces/chaperone-system/secrets/chaperone-certs", get(read).put(replace))
        .with_state(Arc::clone(stored));
    Client::new(router, "default")
}

async fn read(State(stored): State<Stored>) -> Response {
    let secret = stored.lock().unwrap().clone();
    secret.map_or_else(|| status(StatusCode::NOT_FOUND, "NotFound"), |secret| Json(secret).into_response())
}

async fn create(State(stored): State<Stored>, Json(mut secret): Json<Value>) -> Response {
    // Whoever else starts now has not seen it either.
    tokio::task::yield_now().await;
    let mut stored = stored.lock().unwrap();
    if stored.is_some() {
        return status(StatusCode::CONFLICT, "Conflict");
    }
    secret["metadata"]["resourceVersion"] = json!("1");
    *stored = Some(secret.clone());
    Json(secret).into_response()
}

async fn replace(State(stored): State<Stored>, Json(mut secret): Json<Value>) -> Response {
    let mut stored = stored.lock().unwrap();
    let version =
        |secret: &Value| secret["metadata"]["resourceVersion"].as_str().unwrap().parse::<u32>().unwrap();
    let current = version(stored.as_ref().unwrap());
    if version(&secret) != current {
        return status(StatusCode::CONFLICT, "Conflict");
    }
    secret["metadata"]["resourceVersion"] = json!((current + 1).to_string());
    *stored = Some(secret.clone());
    Json(secret).into_response()
}

fn status(code: StatusCode, reason: &str) -> Response {
    let body = json!({"kind": "Status", "status": "Failure", "reason": reason, "message": reason, "code": code.as_u16()});
    (code, Json(body)).into_response()
}

fn place() -> Place {
    Place { namespace: "chaperone-system".into(), secret: "chaperone-certs".into(), names: names() }
}

#[tokio::test]
async fn replicas_that_start_together_agree_on_one_root() {
    let stored = Stored::default();
    let client = api_server(&stored);
    let (one, two, three) = tokio::join!(
        Certs::open(&client, place()),
        Certs::open(&client, place()),
        Certs::open(&client, place())
    );
    let bundles = [one, two, three].map(|opened| opened.unwrap().0.roots().borrow().to_string());
    assert_eq!(bundles[0], bundles[1]);
    assert_eq!(bundles[0], bundles[2]);
}

#[tokio::test]
async fn a_restart_keeps_the_root_and_a_deleted_secret_is_restored() {
    let stored = Stored::default();
    let client = api_server(&stored);
    let (first, mut keeper) = Certs::open(&client, place()).await.unwrap();
    let (second, _) = Certs::open(&client, place()).await.unwrap();
    assert_eq!(*first.roots().borrow(), *second.roots().borrow());
    *stored.lock().unwrap() = None;
    keeper.renew(Timestamp::now()).await.unwrap();
    let (third, _) = Certs::open(&client, place()).await.unwrap();
    assert_eq!(*first.roots().borrow(), *third.roots().borrow());
}

#[tokio::test]
async fn a_damaged_secret_is_never_overwritten() {
    let stored = Stored::default();
    let client = api_server(&stored);
    drop(Certs::open(&client, place()).await.unwrap());
    stored.lock().unwrap().as_mut().unwrap()["data"]["root.key"] = json!("AAAA");
    let damaged = stored.lock().unwrap().clone();
    let error = Certs::open(&client, place()).await.unwrap_err();
    assert!(matches!(error, CertsError::Unreadable { key: "root.key" | "root.crt", .. }), "{error}");
    assert_eq!(*stored.lock().unwrap(), damaged);
}

#[tokio::test]
async fn replicas_follow_a_rotation_and_serve_on_without_a_gap() {
    let stored = Stored::default();
    let client = api_server(&stored);
    let (certs, mut keeper) = Certs::open(&client, place()).await.unwrap();
    let (_, mut other) = Certs::open(&client, place()).await.unwrap();
    let before = certs.roots().borrow().to_string();
    let later = |days: i64| Timestamp::now() + (days * 24).hours();
    for days in [8 * 365 + 5, 9 * 365 + 5] {
        other.renew(later(days)).await.unwrap();
        keeper.renew(later(days)).await.unwrap();
        assert_eq!(*keeper.roots.borrow(), *other.roots.borrow());
    }
    let after = certs.roots().borrow().to_string();
    assert_ne!(before, after);
    assert!(after.contains(before.trim_end()), "the old root stays trusted");
    assert!(trusted(&after, &certs.leaf.borrow(), "10.0.0.1", later(9 * 365 + 5)));
}
