//! Records of a directory, through the binary.
#![expect(clippy::unwrap_used, reason = "a test may fail this way")]

#[path = "support/plugin.rs"]
mod plugin;

use std::path::Path;

use audit::{
    Batch, Event, Hash, PodRef, Record, Segment, Statement, StatementKind, StatementText, StatementVerdict,
};
use plugin::plugin;
use uuid::Uuid;

/// A directory of three segments: a sidecar that starts, has one statement allowed and one refused, and ends.
fn written() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let pod = PodRef { namespace: "shop".to_owned(), pod: "planner-0".to_owned(), ..PodRef::default() };
    let statement = |text: &str, verdict| {
        Event::Statement(Statement {
            session: Uuid::from_u128(9),
            number: 1,
            kind: StatementKind::Query,
            text: StatementText::Full(text.to_owned()),
            verdict,
            accesses: Vec::new(),
            generation: "1.1".to_owned(),
        })
    };
    let allowed = StatementVerdict::Allow { rules: vec!["shop/planners:read-orders".to_owned()] };
    let denied =
        StatementVerdict::Deny { rule: None, reason: "no rule allows Drop public.orders".to_owned() };
    let batches = [
        vec![Event::ProcessStart { version: "0.1.0".to_owned() }, statement("SELECT 1", allowed)],
        vec![statement("DROP TABLE orders\u{1b}[2J", denied)],
        vec![Event::ProcessEnd],
    ];
    let (mut batch_before, mut segment_before, mut number) = (Hash::START, Hash::START, 0);
    for (sequence, events) in (0_u64..).zip(batches) {
        let mut lines = Vec::new();
        let count = u32::try_from(events.len()).unwrap();
        for event in events {
            let time = 1_700_000_000_000_000 + number;
            serde_json::to_writer(&mut lines, &Record { number, time, event }).unwrap();
            lines.push(b'\n');
            number += 1;
        }
        let header = Batch::header(Uuid::from_u128(1), pod.clone(), sequence, batch_before, count.into());
        let (batch, hash) = Batch::seal(&header, &lines).unwrap();
        batch_before = hash;
        let (segment, hash) = Segment::seal(Uuid::from_u128(2), sequence, segment_before, &batch).unwrap();
        segment_before = hash;
        std::fs::write(file(dir.path(), sequence), segment).unwrap();
    }
    dir
}

fn file(dir: &Path, sequence: u64) -> std::path::PathBuf {
    dir.join(format!("{sequence:012}.segment.jsonl"))
}

fn verify(dir: &Path) -> (i32, String) {
    let said = plugin(&["audit", "verify", "--dir", dir.to_str().unwrap()], None);
    (said.code, said.out + &said.err)
}

#[test]
fn what_was_written_is_intact() {
    let (code, out) = verify(written().path());
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("intact  4 records of 1 sidecars in 3 segments"), "{out}");
}

#[test]
fn edits_deletions_and_swaps_give_exit_code_1_and_name_the_file() {
    let edited = written();
    let path = file(edited.path(), 1);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("DROP", "drop")).unwrap();
    let deleted = written();
    std::fs::remove_file(file(deleted.path(), 1)).unwrap();
    let swapped = written();
    let (one, two) = (file(swapped.path(), 0), file(swapped.path(), 1));
    let bytes = std::fs::read(&one).unwrap();
    std::fs::write(&one, [bytes, std::fs::read(&two).unwrap()].concat()).unwrap();
    for dir in [edited, deleted, swapped] {
        let (code, out) = verify(dir.path());
        assert_eq!(code, 1, "{out}");
        assert!(out.contains("FOUND ") && out.contains("BROKEN"), "{out}");
    }
}

#[test]
fn tail_prints_the_newest_last_and_lets_no_text_steer_the_terminal() {
    let dir = written();
    let dir = dir.path().to_str().unwrap();
    let said = plugin(&["audit", "tail", "--dir", dir], None);
    let lines: Vec<&str> = said.out.lines().collect();
    assert_eq!((said.code, lines.len()), (0, 4), "{}", said.err);
    assert!(lines[1].contains("shop/planner-0  ALLOW SELECT 1  [shop/planners:read-orders]"), "{}", lines[1]);
    assert!(lines[2].contains("DENY  DROP TABLE orders\\u{1b}[2J"), "{}", lines[2]);
    let refused = plugin(&["audit", "tail", "--dir", dir, "--refused", "--json"], None).out;
    let record: serde_json::Value = serde_json::from_str(refused.trim()).unwrap();
    assert_eq!(record["pod"]["pod"], "planner-0");
    assert_eq!(plugin(&["audit", "tail", "--dir", dir, "--pod", "other"], None).out, "");
    assert_eq!(plugin(&["audit", "tail", "--dir", dir, "--last", "1"], None).out.lines().count(), 1);
}
