use audit::Batch;

use super::*;

fn spool(dir: &tempfile::TempDir) -> Spool {
    Spool::open(&dir.path().join("spool"), SIZE_MIN).expect("opens")
}

fn event(text: &str) -> Vec<u8> {
    serde_json::to_vec(&audit::Event::ProcessStart { version: text.to_owned() }).expect("serialises")
}

fn seal(spool: &mut Spool) -> Option<Sealed> {
    let mut batch = spool.begin();
    while spool.gather(&mut batch) {}
    let (sealed, hash) = batch.seal(&PodRef::default()).expect("seals")?;
    spool.sealed(&batch, hash);
    Some(sealed)
}

#[test]
fn records_come_back_after_a_restart_in_the_same_chain() {
    let dir = tempfile::tempdir().expect("dir");
    let mut first = spool(&dir);
    first.append(1, &[&event("a")]).expect("fits");
    first.append(2, &[&event("b")]).expect("fits");
    drop(first);
    let mut second = spool(&dir);
    assert_eq!(second.append(3, &[&event("c")]).expect("fits"), 2);
    let sealed = seal(&mut second).expect("something waits");
    let batch = Batch::open(&sealed.bytes).expect("is whole");
    assert_eq!(batch.records.iter().map(|record| record.number).collect::<Vec<_>>(), [0, 1, 2]);
}

#[test]
fn a_sealed_batch_is_sealed_alike_until_it_is_acknowledged() {
    let dir = tempfile::tempdir().expect("dir");
    let mut first = spool(&dir);
    first.append(1, &[&event("a")]).expect("fits");
    let one = seal(&mut first).expect("something waits");
    first.append(2, &[&event("b")]).expect("fits");
    drop(first);
    let mut second = spool(&dir);
    let again = seal(&mut second).expect("something waits");
    assert_eq!(one.bytes, again.bytes);
    second.acknowledge(again.sequence);
    let next = Batch::open(&seal(&mut second).expect("more waits").bytes).expect("is whole");
    assert_eq!(next.header.sequence, 1);
    assert_eq!(next.header.previous, Batch::open(&one.bytes).expect("is whole").hash);
}

#[test]
fn a_full_spool_refuses_and_goes_on_after_acknowledgement() {
    let dir = tempfile::tempdir().expect("dir");
    let mut spool = spool(&dir);
    let long = event(&"x".repeat(LINE_LIMIT / 2));
    while spool.append(1, &[&long]).is_ok() {}
    assert!(matches!(spool.append(1, &[&long]), Err(SpoolError::Full { .. })));
    let count = spool.next_number();
    for _ in 0..100 {
        let sealed = seal(&mut spool).expect("something waits");
        spool.acknowledge(sealed.sequence);
        spool.append(1, &[&long]).expect("there is room again");
    }
    assert_eq!(spool.next_number(), count + 100);
}

#[test]
fn the_ring_keeps_every_record_over_many_rounds_and_restarts() {
    let dir = tempfile::tempdir().expect("dir");
    let mut verifier = audit::Verifier::new();
    let (mut segment, mut previous) = (0, Hash::START);
    for round in 0..20_usize {
        let mut spool = spool(&dir);
        for index in 0..40 {
            spool.append(1, &[&event(&"y".repeat(1 + (round * 977 + index * 131) % 40_000))]).expect("fits");
        }
        while let Some(sealed) = seal(&mut spool) {
            let (bytes, hash) =
                audit::Segment::seal(Uuid::nil(), segment, previous, &sealed.bytes).expect("seals");
            verifier.add("file", &bytes);
            (segment, previous) = (segment + 1, hash);
            spool.acknowledge(sealed.sequence);
        }
    }
    let report = verifier.report();
    assert_eq!(report.findings, []);
    assert_eq!(report.records, 800);
}

#[test]
fn a_batch_takes_what_came_while_it_was_gathered_and_no_more_than_it_may() {
    let dir = tempfile::tempdir().expect("dir");
    let mut spool = spool(&dir);
    for _ in 0..12 {
        spool.append(1, &[&event(&"z".repeat(LINE_LIMIT / 8))]).expect("fits");
    }
    let mut batch = spool.begin();
    assert!(spool.gather(&mut batch), "it stops to let others append");
    spool.append(2, &[&event("late")]).expect("fits");
    while spool.gather(&mut batch) {}
    let (sealed, hash) = batch.seal(&PodRef::default()).expect("seals").expect("something waits");
    spool.sealed(&batch, hash);
    assert_eq!(sealed.next_number, 8);
    spool.acknowledge(sealed.sequence);
    assert_eq!(Batch::open(&seal(&mut spool).expect("more waits").bytes).expect("is whole").records.len(), 5);
}

#[test]
fn numbers_are_written_as_json_has_them() {
    for number in [0, 7, 10, 1_000_000, u64::MAX] {
        assert_eq!(Decimal::default().write(number), number.to_string().as_bytes());
    }
}

#[test]
fn a_second_process_cannot_use_the_file() {
    let dir = tempfile::tempdir().expect("dir");
    let _first = spool(&dir);
    assert!(Spool::open(&dir.path().join("spool"), SIZE_MIN).is_err());
}
