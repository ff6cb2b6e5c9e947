//! From a text to facts and a decision: names are looked up until everything is known, and decisions are kept
//! as long as nothing that they rest on has changed.

use std::sync::Arc;

use policy::{Allow, Scope};
use sql::{Facts, Needs, Prediction, Statement, Tag, Unready};

use super::{Gate, KEPT, Stop};
use crate::postgres::{parser::Parsed, refusal::Refusal};

/// How often names may lead to further names (views to views, types to types) before it is given up.
const ROUNDS: usize = 12;

/// A text that was decided on.
#[derive(Clone, Debug)]
pub(super) struct Decided {
    pub(super) allow: Allow,
    pub(super) scope: Scope,
    pub(super) facts: Vec<Arc<Facts>>,
}

/// A decision that is remembered with what it rests on.
#[derive(Debug)]
pub(super) struct Kept {
    /// Keeps the address, which is the key, from being used again.
    statement: Arc<Statement>,
    types: Vec<u32>,
    facts: Arc<Facts>,
    allow: Allow,
    scope: Scope,
}

/// Whether a statement of this kind resolves names of relations, functions or types.
const fn resolves_names(tag: Tag) -> bool {
    !matches!(
        tag,
        Tag::Begin
            | Tag::Commit
            | Tag::Rollback
            | Tag::Savepoint
            | Tag::Release
            | Tag::RollbackTo
            | Tag::TwoPhase
            | Tag::Set
            | Tag::Show
            | Tag::Discard
            | Tag::Listen
            | Tag::Unlisten
            | Tag::Notify
            | Tag::Deallocate
            | Tag::Close
    )
}

/// Whether the meaning depends on names that SQL itself makes.
const fn uses_session_names(tag: Tag) -> bool {
    matches!(tag, Tag::Execute | Tag::Fetch | Tag::Close | Tag::Deallocate | Tag::Explain | Tag::Definition)
}

impl Gate<'_> {
    /// Decides on a whole text: every statement in it, with one decision.
    pub(super) async fn decide_text(&mut self, parsed: &Parsed, types: &[u32]) -> Result<Decided, Stop> {
        self.prepare(&parsed.syntax.statements).await?;
        if let Some(kept) = self.find_kept(&parsed.syntax.statements, types) {
            return Ok(kept);
        }
        let facts = self.resolve(&parsed.syntax.statements, types, &parsed.text).await?;
        let current = self.current()?;
        let scope = self.scope_number();
        let all: Vec<_> = facts.iter().flat_map(|facts| facts.accesses.iter().cloned()).collect();
        let allow = match self.decide(&current, &all, scope, &parsed.text) {
            Ok(allow) => allow,
            Err(refusal) => return Err(unresolved(&facts, &parsed.text).unwrap_or(refusal).into()),
        };
        let decided = Decided { allow, scope, facts };
        self.keep(&parsed.syntax.statements, types, &decided);
        Ok(decided)
    }

    /// Brings what is known of the session up to date, as far as these statements need it.
    async fn prepare(&mut self, statements: &[Arc<Statement>]) -> Result<(), Stop> {
        if statements.iter().any(|statement| uses_session_names(statement.tag())) {
            self.settle_names().await?;
        }
        self.take_errors();
        self.end_privacy();
        if !statements.iter().any(|statement| resolves_names(statement.tag())) {
            return Ok(());
        }
        if self.scope.is_stale() {
            self.read_scope().await?;
        }
        self.private.as_ref().unwrap_or(&self.catalog).lock().keep_fresh();
        Ok(())
    }

    /// Waits until no change of names is under way.
    pub(super) async fn settle_names(&mut self) -> Result<(), Stop> {
        let settled = {
            let state = self.shared.lock();
            state.names.is_settled() && !state.queue.has_effects()
        };
        if settled {
            return Ok(());
        }
        if self.open_exchange {
            self.writer.own(&crate::postgres::own::Own::flush());
        }
        self.flush().await?;
        self.shared.until(|state| state.names.is_settled() && !state.queue.has_effects()).await;
        if self.shared.lock().skips { Err(Stop::Skipped) } else { Ok(()) }
    }

    /// What errors since the last look mean for what is known.
    fn take_errors(&mut self) {
        let mut state = self.shared.lock();
        let failed = std::mem::take(&mut state.failed);
        let wrong = std::mem::take(&mut state.catalog_is_wrong);
        drop(state);
        if failed && self.scope.touched {
            self.scope.forget();
        }
        if wrong {
            self.scope.forget();
            self.private.as_ref().unwrap_or(&self.catalog).forget();
        }
    }

    fn scope_number(&self) -> Scope {
        let catalog = self.private.as_ref().unwrap_or(&self.catalog);
        self.scope.number(catalog.identity(), catalog.lock().catalog.epoch())
    }

    /// A decision from before that still holds.
    fn find_kept(&mut self, statements: &[Arc<Statement>], types: &[u32]) -> Option<Decided> {
        let [statement] = statements else { return None };
        let scope = self.scope_number();
        let kept = self.kept.get(&(Arc::as_ptr(statement) as usize))?;
        let fits = kept.scope == scope && kept.types == types && Arc::ptr_eq(&kept.statement, statement);
        let current = self.about.documents.current().filter(|_| fits)?;
        if !kept.allow.holds(current.generation, scope, self.about.guard.caller()) {
            return None;
        }
        self.about.guard.using(current.generation);
        Some(Decided { allow: kept.allow.clone(), scope, facts: vec![Arc::clone(&kept.facts)] })
    }

    fn keep(&mut self, statements: &[Arc<Statement>], types: &[u32], decided: &Decided) {
        let ([statement], [facts]) = (statements, decided.facts.as_slice()) else { return };
        if uses_session_names(statement.tag()) || !resolves_names(statement.tag()) {
            return;
        }
        if self.kept.len() >= KEPT {
            self.kept.clear();
        }
        let kept = Kept {
            statement: Arc::clone(statement),
            types: types.to_vec(),
            facts: Arc::clone(facts),
            allow: decided.allow.clone(),
            scope: decided.scope,
        };
        self.kept.insert(Arc::as_ptr(statement) as usize, kept);
    }

    /// The facts of statements that run one after the other, each in the state that the ones before leave.
    async fn resolve(
        &mut self,
        statements: &[Arc<Statement>],
        types: &[u32],
        text: &str,
    ) -> Result<Vec<Arc<Facts>>, Stop> {
        let mut read_anew = false;
        for _ in 0..ROUNDS {
            match self.facts_now(statements, types) {
                Ok(facts) if read_anew || facts.iter().all(|facts| facts.unresolved.is_empty()) => {
                    return Ok(facts);
                }
                Ok(_) => {
                    // A name that is absent may have been made a moment ago.
                    read_anew = true;
                    self.private.as_ref().unwrap_or(&self.catalog).forget();
                    self.read_scope().await?;
                }
                Err(Unready::Needs(needs)) => self.look_up(&needs).await?,
                Err(Unready::Refused(refused)) => return Err(Refusal::from_statement(refused, text).into()),
            }
        }
        Err(Refusal::new("54001", "what the statement names leads too far to be understood").into())
    }

    async fn look_up(&mut self, needs: &Needs) -> Result<(), Stop> {
        self.read_catalog(&needs.questions()).await
    }

    fn facts_now(&self, statements: &[Arc<Statement>], types: &[u32]) -> Result<Vec<Arc<Facts>>, Unready> {
        let catalog = self.private.as_ref().unwrap_or(&self.catalog).lock();
        let state = self.shared.lock();
        let scope = sql::Scope {
            version: self.version,
            search_path: &self.scope.path,
            temp_schema: self.scope.temp_schema(),
            catalog: &catalog.catalog,
            session: state.names.session(),
            parameter_types: types,
            user: &self.scope.role,
            database: &self.about.database,
            doubt: sql::Doubt::default(),
        };
        if let [statement] = statements {
            return sql::facts(statement, &scope).map(|facts| vec![Arc::new(facts)]);
        }
        let mut prediction = Prediction::new(&self.scope.path, state.names.session());
        let mut found = Vec::new();
        let mut needs: Option<Needs> = None;
        for statement in statements {
            let facts = sql::facts(statement, &prediction.scope(&scope));
            match facts {
                Ok(facts) => {
                    let facts = Arc::new(facts);
                    prediction.apply(&facts, &self.scope.role, self.scope.temp_schema());
                    found.push(facts);
                }
                // What the later ones need is asked for in the same round.
                Err(Unready::Needs(more)) => match &mut needs {
                    Some(needs) => needs.unite(more),
                    None => needs = Some(more),
                },
                // While what comes before is not known, a name that it makes may only seem to be missing.
                Err(refused) => return Err(needs.map_or(refused, Unready::Needs)),
            }
        }
        needs.map_or(Ok(found), |needs| Err(Unready::Needs(needs)))
    }

    /// The facts of the FunctionCall message.
    pub(super) async fn resolve_call(&mut self, function: u32) -> Result<Arc<Facts>, Stop> {
        self.take_errors();
        self.end_privacy();
        if self.scope.is_stale() {
            self.read_scope().await?;
        }
        for _ in 0..ROUNDS {
            let facts = {
                let catalog = self.private.as_ref().unwrap_or(&self.catalog).lock();
                let state = self.shared.lock();
                let scope = sql::Scope {
                    version: self.version,
                    search_path: &self.scope.path,
                    temp_schema: self.scope.temp_schema(),
                    catalog: &catalog.catalog,
                    session: state.names.session(),
                    parameter_types: &[],
                    user: &self.scope.role,
                    database: &self.about.database,
                    doubt: sql::Doubt::default(),
                };
                sql::function_call(function, &scope)
            };
            match facts {
                Ok(facts) => return Ok(Arc::new(facts)),
                Err(Unready::Needs(needs)) => self.look_up(&needs).await?,
                Err(Unready::Refused(refused)) => return Err(Refusal::from_statement(refused, "").into()),
            }
        }
        Err(Refusal::new("54001", "what the function names leads too far to be understood").into())
    }

    /// The scope that a call was resolved in.
    pub(super) fn call_scope(&self) -> Scope {
        self.scope_number()
    }
}

/// When names are missing on the server, that is what the client is told, as the server would.
fn unresolved(facts: &[Arc<Facts>], text: &str) -> Option<Refusal> {
    let first = facts.iter().find_map(|facts| facts.unresolved.first())?;
    Some(Refusal::unresolved(first, text))
}
