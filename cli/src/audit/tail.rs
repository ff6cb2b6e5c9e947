//! `audit tail`: records as lines for people, or as JSON.

use std::{collections::VecDeque, process::ExitCode, time::Duration};

use audit::{Event, PodRef, Record, Segment, StatementText, StatementVerdict};
use jiff::Timestamp;

use super::source::Source;
use crate::{
    args::{ClusterArguments, TailArguments},
    output::{line, plain},
};

/// How often new segments are looked for.
const EVERY: Duration = Duration::from_secs(1);
/// How many of the newest segments are read for the first lines.
const SEGMENTS: usize = 64;

pub(super) async fn run(cluster: &ClusterArguments, arguments: TailArguments) -> anyhow::Result<ExitCode> {
    let mut sources: Vec<(Source, String)> = Vec::new();
    for source in Source::open_all(cluster, &arguments.source).await? {
        sources.push((source, String::new()));
    }
    let mut first: Vec<(PodRef, Record)> = Vec::new();
    for (source, seen) in &mut sources {
        let names = source.names_after("").await?;
        for name in names.iter().skip(names.len().saturating_sub(SEGMENTS)) {
            first.extend(records(&source.read(name).await?)?);
        }
        names.last().inspect(|name| seen.clone_from(name));
    }
    first.sort_by_key(|(_, record)| record.time);
    first.retain(|(pod, record)| wanted(&arguments, pod, record));
    let mut last = VecDeque::from(first);
    last.drain(..last.len().saturating_sub(arguments.last));
    for (pod, record) in &last {
        print(&arguments, pod, record)?;
    }
    if !arguments.follow {
        return Ok(ExitCode::SUCCESS);
    }
    loop {
        tokio::time::sleep(EVERY).await;
        for (source, seen) in &mut sources {
            for name in source.names_after(seen).await? {
                for (pod, record) in records(&source.read(&name).await?)? {
                    if wanted(&arguments, &pod, &record) {
                        print(&arguments, &pod, &record)?;
                    }
                }
                *seen = name;
            }
        }
    }
}

/// The records of one segment. A batch that cannot be read is `verify`'s affair, but not passed over.
fn records(bytes: &[u8]) -> anyhow::Result<Vec<(PodRef, Record)>> {
    let mut found = Vec::new();
    for batch in Segment::open(bytes)?.batches {
        let batch = batch?;
        let pod = batch.header.pod;
        found.extend(batch.records.into_iter().map(|record| (pod.clone(), record)));
    }
    Ok(found)
}

fn wanted(arguments: &TailArguments, pod: &PodRef, record: &Record) -> bool {
    let refused = match &record.event {
        Event::Refused(_) => true,
        Event::Statement(statement) => matches!(statement.verdict, StatementVerdict::Deny { .. }),
        Event::ProcessStart { .. }
        | Event::ProcessEnd
        | Event::Generation { .. }
        | Event::SessionStart(_)
        | Event::OpaqueStart(_)
        | Event::Cancel { .. }
        | Event::SessionEnd(_) => false,
    };
    (refused || !arguments.refused) && arguments.pod.as_ref().is_none_or(|name| *name == pod.pod)
}

fn print(arguments: &TailArguments, pod: &PodRef, record: &Record) -> anyhow::Result<()> {
    if arguments.json {
        return line(&serde_json::json!({ "pod": pod, "record": record }).to_string());
    }
    let micros = i64::try_from(record.time).unwrap_or(i64::MAX);
    let time =
        Timestamp::from_microsecond(micros).map_or_else(|_| record.time.to_string(), |t| format!("{t:.3}"));
    line(&format!("{time}  {}/{}  {}", pod.namespace, pod.pod, describe(&record.event)))
}

fn describe(event: &Event) -> String {
    match event {
        Event::ProcessStart { version } => format!("sidecar {version} started"),
        Event::ProcessEnd => "sidecar stopped".to_owned(),
        Event::Generation { generation } => format!("policy generation {generation} in force"),
        Event::SessionStart(start) => format!(
            "session {} on {} database {} as `{}` ({})",
            start.session,
            start.connection,
            plain(&start.database),
            plain(&start.claimed_user),
            plain(&start.application)
        ),
        Event::OpaqueStart(start) => format!(
            "session {} on {} OPAQUE, not looked at, to {}  [{}]",
            start.session,
            start.connection,
            plain(&start.upstream),
            start.rules.join(", ")
        ),
        Event::Statement(statement) => {
            let text = match &statement.text {
                StatementText::Full(text) | StatementText::Fingerprint(text) => plain(text),
            };
            match &statement.verdict {
                StatementVerdict::Allow { rules } if rules.is_empty() => format!("ALLOW {text}  [baseline]"),
                StatementVerdict::Allow { rules } => format!("ALLOW {text}  [{}]", rules.join(", ")),
                StatementVerdict::Deny { rule: Some(rule), .. } => format!("DENY  {text}  [{rule}]"),
                StatementVerdict::Deny { rule: None, reason } => format!("DENY  {text}  [{}]", plain(reason)),
            }
        }
        Event::Cancel { session } => format!("session {session}: a cancel request went upstream"),
        Event::SessionEnd(end) => format!(
            "session {} ended: {}; {} statements, {} refused, {} bytes up, {} down",
            end.session,
            plain(&end.reason),
            end.statements,
            end.refused,
            end.bytes_from_client,
            end.bytes_to_client
        ),
        Event::Refused(refused) => {
            format!("REFUSED {:?} {}: {}", refused.kind, plain(&refused.destination), plain(&refused.reason))
        }
    }
}
