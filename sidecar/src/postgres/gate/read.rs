//! Reads of our own over the client's session, between its messages.
//!
//! Between exchanges a read ends with a Sync of ours. In the middle of one it ends with a Flush, never a Sync,
//! which would commit the client's implicit transaction; if anything failed before, the server skips the read
//! and, like it, the client's message that waited for it.

use sql::Question;
use wire::postgres::{TransactionStatus, write::Severity};

use super::{
    Gate, Stop,
    scope::{Learnt, QUESTION},
};
use crate::postgres::{
    EndReason,
    own::Own,
    refusal::Refusal,
    relay::{
        End,
        queue::{Expected, Kind, Whose},
    },
};

/// Longer questions are not asked again only because time has gone by, in bytes.
const AGAIN: usize = 256 * 1024;

/// Rows of each statement of a read.
type Results = Vec<Vec<Vec<Option<String>>>>;

impl Gate<'_> {
    /// Asks the server what names are resolved in.
    pub(super) async fn read_scope(&mut self) -> Result<(), Stop> {
        let own = Own::read_text(QUESTION).map_err(|_| End::silent(EndReason::Internal))?;
        let results = self.read(vec![own]).await?;
        let row = results.first().and_then(|rows| rows.first());
        let before = self.scope.temp.clone();
        let learnt = row.and_then(|row| self.scope.learn(row));
        if let Some(temp) = self.scope.temp_schema().filter(|temp| before.as_deref() != Some(*temp)) {
            // What is known under this name may be of a session that has ended.
            self.names().lock().catalog.forget_schema(temp);
        }
        match learnt {
            Some(Learnt::Scope) => Ok(()),
            Some(Learnt::Misread(setting)) => Err(End::misread(setting).into()),
            None => Err(Refusal::new("XX000", "the session's search path cannot be read").into()),
        }
    }

    /// Asks the server the questions and tells the catalog the answers.
    pub(super) async fn read_catalog(&mut self, questions: &[Question]) -> Result<(), Stop> {
        let broken = |_| End::silent(EndReason::Internal);
        let owns = questions.iter().map(Own::read).collect::<Result<Vec<_>, _>>().map_err(broken)?;
        let results = if self.scope.snapshot && self.in_transaction() {
            self.read_elsewhere(questions).await?
        } else {
            self.read(owns).await?
        };
        let mut entry = self.names().lock();
        for (question, rows) in questions.iter().zip(&results) {
            let answered = entry.catalog.answer(question, rows);
            answered.map_err(|error| {
                Refusal::new("XX000", format!("the catalog cannot be understood: {error}"))
            })?;
        }
        Ok(())
    }

    /// Reads again what the catalog knows. Where the server says the same as before, decisions go on counting.
    pub(super) async fn read_again(&mut self) -> Result<(), Stop> {
        let begun = self.now;
        let questions = self.names().lock().catalog.recheck().questions();
        let length: usize = questions.iter().map(|question| question.sql().len()).sum();
        if length > AGAIN {
            // Much of it may never be needed again.
            self.names().forget();
            return Ok(());
        }
        if !questions.is_empty() {
            self.read_catalog(&questions).await?;
        }
        self.names().was_read(begun);
        Ok(())
    }

    fn in_transaction(&self) -> bool {
        self.shared.lock().status == TransactionStatus::Transaction
    }

    /// A transaction with a snapshot sees an old catalog, while the server resolves names by the newest: reads go
    /// to a second session then.
    async fn read_elsewhere(&self, questions: &[Question]) -> Result<Results, Stop> {
        let failed = |_| Refusal::new("08006", "the catalog cannot be read over a second session");
        let session = self.about.another.open().await.map_err(failed)?;
        let texts: Vec<&str> = questions.iter().map(Question::sql).collect();
        let answered = crate::postgres::login::ask(session, &texts).await;
        answered.map_err(|_| Refusal::new("08006", "the catalog cannot be read over a second session").into())
    }

    /// Runs statements of our own, one after the other, and waits for their rows.
    async fn read(&mut self, owns: Vec<Own>) -> Result<Results, Stop> {
        let failed = {
            let state = self.shared.lock();
            state.queue.is_empty() && state.status == TransactionStatus::Failed
        };
        if failed {
            // In a failed transaction nothing can be read, and nothing that needs it would run.
            return Err(Refusal::aborted().into());
        }
        self.send(&owns).await?;
        self.shared.until(|state| state.read.as_ref().is_none_or(|read| read.done)).await;
        let read = self.shared.lock().read.take().unwrap_or_default();
        match read.error {
            None if read.skipped => Err(Stop::Skipped),
            None => Ok(read.results),
            Some(error) if self.open_exchange => {
                // The server skips to the next Sync now; the client sees why.
                let mut state = self.shared.lock();
                state.inject.extend_from_slice(&error.encode(Severity::Error));
                drop(state);
                self.shared.injected.notify_one();
                Err(Stop::Skipped)
            }
            Some(error) => Err(error.into()),
        }
    }

    async fn send(&mut self, owns: &[Own]) -> Result<(), Stop> {
        let client_waits = self.shared.lock().queue.client_waits();
        if !client_waits {
            // No cancel of the client may hit what is ours.
            self.about.cancel.hold().await;
        }
        self.expect(owns.len());
        for own in owns {
            self.writer.own(own);
        }
        self.writer.own(&Own::end_of_reads().map_err(|_| End::silent(EndReason::Internal))?);
        self.writer.own(&if self.open_exchange { Own::flush() } else { Own::sync() });
        self.writer.flush().await.map_err(|_| End::silent(EndReason::UpstreamGone).into())
    }

    /// Queues the answers to `count` statements of a read.
    fn expect(&self, count: usize) {
        let mut state = self.shared.lock();
        state.read = Some(crate::postgres::relay::Read::default());
        for _ in 0..count {
            for kind in [Kind::Close, Kind::Parse, Kind::Bind, Kind::Execute, Kind::Close] {
                state.queue.push(Expected::new(kind, Whose::Own { last: false }));
            }
        }
        state.queue.push(Expected::new(Kind::Close, Whose::Own { last: self.open_exchange }));
        if !self.open_exchange {
            state.queue.push(Expected::new(Kind::Sync, Whose::Own { last: true }));
        }
    }
}
