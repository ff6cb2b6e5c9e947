//! What both directions of a session know together. They run on one thread and never hold the lock across a
//! wait.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::BytesMut;
use sql::Effect;
use tokio::sync::Notify;
use wire::postgres::TransactionStatus;

use super::queue::{Effects, Expected, Queue, Settled, Whose};
use crate::postgres::{
    refusal::Refusal,
    statements::{Change, NamedStatement, Names, Opening, Portal},
};

/// Shared by both directions.
#[derive(Debug, Default)]
pub(in crate::postgres) struct Shared {
    state: Mutex<State>,
    /// Something was answered.
    pub(in crate::postgres) progress: Notify,
    /// There is something for the client that no server sent.
    pub(in crate::postgres) injected: Notify,
}

/// The state of a session.
#[derive(Debug, Default)]
pub(in crate::postgres) struct State {
    pub(in crate::postgres) queue: Queue,
    pub(in crate::postgres) names: Names,
    /// As the newest ReadyForQuery says.
    pub(in crate::postgres) status: TransactionStatus,
    /// The server waits for COPY data.
    pub(in crate::postgres) copy_in: bool,
    /// The server skips everything up to the next Sync.
    pub(in crate::postgres) skips: bool,
    /// The read of ours that is under way.
    pub(in crate::postgres) read: Option<Read>,
    /// An error was seen since this was last looked at.
    pub(in crate::postgres) failed: bool,
    /// An error said that what is known of the catalog is wrong.
    pub(in crate::postgres) catalog_is_wrong: bool,
    /// For the client, from us.
    pub(in crate::postgres) inject: BytesMut,
    /// Cursors that outlive their transaction.
    held: HashSet<String>,
}

/// Rows as text.
pub(in crate::postgres) type Rows = Vec<Vec<Option<String>>>;

/// A read of ours: some statements, one after the other.
#[derive(Debug, Default)]
pub(in crate::postgres) struct Read {
    pub(in crate::postgres) results: Vec<Rows>,
    pub(in crate::postgres) rows: Rows,
    pub(in crate::postgres) bytes: usize,
    pub(in crate::postgres) error: Option<Refusal>,
    /// The server skipped a part of it because of an earlier error that was not ours.
    pub(in crate::postgres) skipped: bool,
    pub(in crate::postgres) done: bool,
}

impl Shared {
    pub(in crate::postgres) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `is` holds; it is looked at whenever something was answered.
    pub(in crate::postgres) async fn until(&self, is: impl Fn(&State) -> bool) {
        loop {
            let progress = self.progress.notified();
            if is(&self.lock()) {
                return;
            }
            progress.await;
        }
    }
}

impl State {
    /// Takes what a message settled.
    pub(in crate::postgres) fn settle(&mut self, settled: Settled) {
        if let Some((expected, confirmed)) = settled.answered {
            self.settle_one(expected, confirmed);
        }
        for expected in settled.skipped {
            self.settle_one(expected, false);
        }
        self.skips |= settled.skips;
        self.copy_in |= settled.copy_in;
        if let Some(status) = settled.status {
            self.status = status;
            self.copy_in = false;
            if status == TransactionStatus::Idle {
                let held = &self.held;
                self.names.forget_portals(|name| held.contains(name));
            }
        }
    }

    fn settle_one(&mut self, expected: Expected, confirmed: bool) {
        if expected.change && confirmed {
            self.names.confirm();
        } else if expected.change {
            self.names.fail();
        }
        if let Some(effects) = &expected.effects {
            self.take_effects(effects, confirmed);
        }
        if let Whose::Own { last } = expected.whose {
            self.settle_own(expected.kind, last, confirmed);
        }
    }

    fn settle_own(&mut self, kind: super::queue::Kind, last: bool, confirmed: bool) {
        let Some(read) = &mut self.read else { return };
        if !confirmed && read.error.is_none() {
            read.skipped = true;
        }
        if kind == super::queue::Kind::Execute && confirmed {
            let rows = std::mem::take(&mut read.rows);
            read.results.push(rows);
        }
        read.done |= last;
    }

    /// The names that SQL itself makes and drops. Prepared statements outlive an error in the same string, so
    /// after one it is not known which of them the server has: they are forgotten, and their use is refused.
    #[expect(clippy::wildcard_enum_match_arm, reason = "all other effects leave this alone")]
    fn take_effects(&mut self, effects: &Effects, confirmed: bool) {
        for facts in &effects.facts {
            for effect in &facts.effects {
                match effect {
                    Effect::Prepare { name, statement, types } if confirmed => {
                        let named = NamedStatement {
                            text: Arc::clone(&effects.text),
                            statement: Some(Arc::clone(statement)),
                            types: types.as_slice().into(),
                            own_text: false,
                            decision: None,
                        };
                        self.names.apply(Change::Statement(name.clone(), Arc::new(named)));
                    }
                    Effect::Prepare { name, .. } | Effect::Deallocate(Some(name)) => {
                        self.names.apply(Change::NoStatement(name.clone()));
                    }
                    Effect::Deallocate(None) => self.names.forget_statements(),
                    Effect::DiscardAll => {
                        self.names.forget_statements();
                        self.names.forget_portals(|_| false);
                        self.held.clear();
                    }
                    Effect::DeclareCursor { name, hold } if confirmed => {
                        let opening = Opening::Declared(Arc::clone(facts));
                        let portal = Portal { text: Arc::clone(&effects.text), opening };
                        self.names.apply(Change::Portal(name.clone(), portal));
                        if *hold {
                            self.held.insert(name.clone());
                        }
                    }
                    Effect::DeclareCursor { name, .. } | Effect::CloseCursor(Some(name)) => {
                        self.held.remove(name);
                        self.names.apply(Change::NoPortal(name.clone()));
                    }
                    Effect::CloseCursor(None) => {
                        self.held.clear();
                        self.names.forget_portals(|_| false);
                    }
                    _ => {}
                }
            }
        }
    }
}
