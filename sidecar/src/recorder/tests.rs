use std::convert::Infallible;

use super::*;
use crate::spool::SIZE_MIN;

struct Collected(Vec<audit::Batch>);

impl ship::Store for Collected {
    type Error = Infallible;

    async fn store(&mut self, batch: &Sealed) -> Result<(), Infallible> {
        self.0.push(audit::Batch::open(&batch.bytes).expect("is whole"));
        Ok(())
    }
}

fn recorder(dir: &tempfile::TempDir) -> Recorder {
    Recorder::open(&dir.path().join("spool"), SIZE_MIN).expect("opens")
}

fn event(version: &str) -> Event {
    Event::ProcessStart { version: version.to_owned() }
}

#[tokio::test]
async fn a_record_for_the_store_waits_for_its_acknowledgement() {
    let dir = tempfile::tempdir().expect("dir");
    let recorder = recorder(&dir);
    let stored = recorder.record(&event("a"), Durability::Store).expect("fits");
    let waiting = tokio::spawn(stored.durable());
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    ship::drain(&recorder, &PodRef::default(), &mut Collected(Vec::new())).await;
    assert!(waiting.await.expect("no panic").is_ok());
}

#[tokio::test]
async fn a_record_for_the_node_is_on_the_disk() {
    let dir = tempfile::tempdir().expect("dir");
    let recorder = recorder(&dir);
    assert!(recorder.record(&event("a"), Durability::Node).expect("fits").durable().await.is_ok());
}

#[tokio::test]
async fn long_texts_are_shortened_and_say_so() {
    let dir = tempfile::tempdir().expect("dir");
    let recorder = recorder(&dir);
    let statement = audit::Statement {
        session: uuid::Uuid::nil(),
        number: 1,
        kind: audit::StatementKind::Query,
        text: audit::StatementText::Full("é".repeat(TEXT_LIMIT)),
        verdict: audit::StatementVerdict::Allow { rules: Vec::new() },
        accesses: Vec::new(),
        generation: "1.1".to_owned(),
    };
    let _stored = recorder.record(&Event::Statement(statement), Durability::Process).expect("fits");
    let mut collected = Collected(Vec::new());
    ship::drain(&recorder, &PodRef::default(), &mut collected).await;
    let Event::Statement(kept) = &collected.0[0].records[0].event else { panic!("not a statement") };
    let audit::StatementText::Full(text) = &kept.text else { panic!("not a text") };
    assert!(text.ends_with("more bytes)") && text.len() < 2 * TEXT_LIMIT);
}
