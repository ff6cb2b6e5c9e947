//! Every way to tamper with stored records is found.

#![expect(clippy::expect_used, reason = "a test that cannot be set up fails")]

use chaperone_audit::{Batch, Event, Finding, Hash, PodRef, Record, Segment, Verifier};
use uuid::Uuid;

const CHAIN: Uuid = Uuid::from_u128(1);
const WRITER: Uuid = Uuid::from_u128(2);

/// Sealed batches of two records each, chained.
fn batches(count: u64) -> Vec<Vec<u8>> {
    let mut previous = Hash::START;
    let seal = |sequence| {
        let mut lines = Vec::new();
        for number in [2 * sequence, 2 * sequence + 1] {
            let event = match number + 1 == 2 * count {
                true => Event::ProcessEnd,
                false => Event::Generation { generation: format!("1.{number}") },
            };
            serde_json::to_writer(&mut lines, &Record { number, time: number, event }).expect("serialises");
            lines.push(b'\n');
        }
        let header = Batch::header(CHAIN, PodRef::default(), sequence, previous, 2);
        let (bytes, hash) = Batch::seal(&header, &lines).expect("seals");
        previous = hash;
        bytes
    };
    (0..count).map(seal).collect()
}

/// Sealed segments of one batch each, chained.
fn segments(batches: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut previous = Hash::START;
    let seal = |(sequence, batch): (usize, &Vec<u8>)| {
        let (bytes, hash) = Segment::seal(WRITER, sequence as u64, previous, batch).expect("seals");
        previous = hash;
        bytes
    };
    batches.iter().enumerate().map(seal).collect()
}

fn findings(files: &[Vec<u8>]) -> Vec<Finding> {
    let mut verifier = Verifier::new();
    for (index, bytes) in files.iter().enumerate() {
        verifier.add(&format!("file {index}"), bytes);
    }
    verifier.report().findings
}

#[test]
fn what_was_written_is_intact_in_any_order_of_files() {
    let mut files = segments(&batches(4));
    assert_eq!(findings(&files), []);
    files.reverse();
    assert_eq!(findings(&files), []);
}

#[test]
fn every_flipped_byte_is_found() {
    let files = segments(&batches(2));
    for at in 0..files[0].len() {
        let mut tampered = files.clone();
        tampered[0][at] ^= 0x01;
        assert_ne!(findings(&tampered), [], "byte {at}");
    }
}

#[test]
fn a_removed_segment_is_found() {
    let files = segments(&batches(4));
    for missing in 0..3 {
        let mut fewer = files.clone();
        fewer.remove(missing);
        assert!(
            matches!(findings(&fewer)[0], Finding::Missing { what: "segments", .. }),
            "segment {missing}"
        );
    }
}

#[test]
fn a_removed_batch_is_found_though_every_segment_was_sealed_anew() {
    let mut kept = batches(4);
    kept.remove(1);
    let found = findings(&segments(&kept));
    assert!(
        found
            .iter()
            .any(|finding| matches!(finding, Finding::Missing { what: "batches", from: 1, to: 1, .. }))
    );
}

#[test]
fn reordered_batches_in_sealed_segments_are_no_harm_but_altered_chains_are() {
    let mut swapped = batches(3);
    swapped.swap(0, 2);
    assert_eq!(findings(&segments(&swapped)), [], "each batch says where it belongs");
    let other = Batch::header(CHAIN, PodRef::default(), 1, Hash::START, 0);
    let mut forged = batches(3);
    forged[1] = Batch::seal(&other, b"").expect("seals").0;
    assert_ne!(findings(&segments(&forged)), []);
}

#[test]
fn a_removed_record_is_found_though_batch_and_segment_were_sealed_anew() {
    let original = batches(3);
    let opened = Batch::open(&original[1]).expect("is whole");
    let mut lines = serde_json::to_vec(&opened.records[1]).expect("serialises");
    lines.push(b'\n');
    let header = Batch::header(CHAIN, PodRef::default(), 1, opened.header.previous, 1);
    let mut forged = original;
    forged[1] = Batch::seal(&header, &lines).expect("seals").0;
    let found = findings(&segments(&forged));
    assert!(found.iter().any(|finding| matches!(finding, Finding::MissingRecords { from: 2, to: 2, .. })));
    assert!(found.iter().any(|finding| matches!(finding, Finding::Broken { what: "batch", at: 2, .. })));
}

#[test]
fn a_batch_that_two_replicas_stored_counts_once_and_two_versions_are_a_fork() {
    let original = batches(2);
    let mut files = segments(&original);
    let again = Segment::seal(Uuid::from_u128(3), 0, Hash::START, &original[0]).expect("seals").0;
    files.push(again);
    assert_eq!(findings(&files), []);
    let header = Batch::header(CHAIN, PodRef::default(), 0, Hash::START, 0);
    let other = Batch::seal(&header, b"").expect("seals").0;
    files.push(Segment::seal(Uuid::from_u128(4), 0, Hash::START, &other).expect("seals").0);
    assert!(findings(&files).iter().any(|finding| matches!(finding, Finding::Forked { what: "batch", .. })));
}

#[test]
fn a_chain_without_an_end_is_named() {
    let files = segments(&batches(3)[..2]);
    let mut verifier = Verifier::new();
    files.iter().for_each(|bytes| verifier.add("file", bytes));
    let report = verifier.report();
    assert!(report.is_intact());
    assert_eq!(report.open, [PodRef::default()]);
}
