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

fn statement(text: &str) -> Event {
    Event::Statement(audit::Statement {
        session: uuid::Uuid::nil(),
        number: 1,
        kind: audit::StatementKind::Query,
        text: audit::StatementText::Full(text.to_owned()),
        verdict: audit::StatementVerdict::Allow { rules: Vec::new() },
        accesses: Vec::new(),
        generation: "1.1".to_owned(),
    })
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
    let statement = statement(&"é".repeat(TEXT_LIMIT));
    let _stored = recorder.record(&statement, Durability::Process).expect("fits");
    let mut collected = Collected(Vec::new());
    ship::drain(&recorder, &PodRef::default(), &mut collected).await;
    let Event::Statement(kept) = &collected.0[0].records[0].event else { panic!("not a statement") };
    let audit::StatementText::Full(text) = &kept.text else { panic!("not a text") };
    assert!(text.ends_with("more bytes)") && text.len() < 2 * TEXT_LIMIT);
}

#[tokio::test]
async fn a_record_in_parts_is_the_same_as_a_whole_one() {
    use audit::{Statement, StatementKind, StatementText, StatementVerdict};

    let dir = tempfile::tempdir().expect("dir");
    let recorder = recorder(&dir);
    let session = uuid::Uuid::now_v7();
    let head = Head::new(session).expect("serialises");
    let mut expected = Vec::new();
    let texts = ["SELECT 1", "", "SELECT 'é\"\\\n\u{1}' -- \"text\":{\"full\":\"\"", "18446744073709551615"];
    let kinds =
        [StatementKind::Query, StatementKind::Parse, StatementKind::Execute, StatementKind::FunctionCall];
    for (number, (text, kind)) in (1..).zip(texts.into_iter().zip(kinds)) {
        for text_kept in [StatementText::Full(text.to_owned()), StatementText::Fingerprint(text.to_owned())] {
            let statement = Statement {
                session,
                number,
                kind,
                text: text_kept,
                verdict: StatementVerdict::Allow { rules: vec![format!("a/b:{text}")] },
                accesses: vec!["Select \"text\":{\"full\":\"\"".to_owned()],
                generation: "1.2".to_owned(),
            };
            let tail = Tail::new(Statement { session: uuid::Uuid::nil(), number: 7, ..statement.clone() });
            let tail = tail.expect("serialises");
            let stored = recorder.statement((&head, number), (&tail, text), Durability::Process);
            assert!(stored.expect("fits").is_none());
            expected.push(Event::Statement(statement));
        }
    }
    let mut collected = Collected(Vec::new());
    ship::drain(&recorder, &PodRef::default(), &mut collected).await;
    let found: Vec<Event> = collected.0.remove(0).records.into_iter().map(|record| record.event).collect();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn a_statement_in_parts_waits_for_what_its_durability_asks() {
    let dir = tempfile::tempdir().expect("dir");
    let recorder = recorder(&dir);
    let Event::Statement(statement) = statement("x") else { panic!("not a statement") };
    let (head, tail) = (Head::new(statement.session).expect("head"), Tail::new(statement).expect("tail"));
    let stored = recorder.statement((&head, 1), (&tail, "x"), Durability::Store).expect("fits");
    let waiting = tokio::spawn(stored.expect("must be waited for").durable());
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    ship::drain(&recorder, &PodRef::default(), &mut Collected(Vec::new())).await;
    assert!(waiting.await.expect("no panic").is_ok());
}
