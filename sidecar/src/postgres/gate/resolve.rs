//! From a text to facts and a decision: names are looked up until everything is known, and decisions are kept
//! as long as nothing that they rest on has changed.

use std::{sync::Arc, time::Instant};

use policy::Scope;
use sql::{Facts, Needs, Prediction, Statement, Syntax, Tag, Unready};

use super::{Gate, Stop};
use crate::postgres::{
    catalog::SharedCatalog,
    decision::{Asked, Decision},
    known::{self, Found},
    parser,
    refusal::Refusal,
    statements::NamedStatement,
};

/// How often names may lead to further names (views to views, types to types) before it is given up.
const ROUNDS: usize = 13;

/// Facts, and the scope that they were found in.
type Resolved = (Vec<Arc<Facts>>, Scope);

/// What is to be decided.
#[derive(Clone, Copy, Debug)]
struct Text<'a> {
    text: &'a str,
    types: &'a [u32],
    /// Whether the statements are all of the text, so that decisions may be kept under it.
    whole: bool,
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

/// Whether a decision about these statements may be kept under their text.
fn keeps(statements: &[Arc<Statement>]) -> bool {
    let mut tags = statements.iter().map(|statement| statement.tag());
    tags.all(|tag| resolves_names(tag) && !uses_session_names(tag))
}

impl Gate<'_> {
    /// What a text, or one like it, parses to.
    async fn syntax(&mut self, text: &str) -> Result<Arc<Syntax>, Stop> {
        match known::find(text, &self.asked()?, &[]) {
            Found::Decided(decision) => Ok(Arc::clone(decision.syntax())),
            Found::Parsed(syntax) => Ok(syntax),
            Found::Nothing => Ok(parser::parse(text).await?),
        }
    }

    /// Refuses what a prepared statement cannot be.
    pub(super) async fn one_statement(&mut self, text: &str) -> Result<(), Stop> {
        if self.syntax(text).await?.statements.len() > 1 {
            return Err(
                Refusal::new("42601", "cannot insert multiple commands into a prepared statement").into()
            );
        }
        Ok(())
    }

    /// Decides on a whole text: every statement in it, with one decision.
    pub(super) async fn decide_text(&mut self, text: &str, types: &[u32]) -> Result<Arc<Decision>, Stop> {
        let of = Text { text, types, whole: true };
        let like_it = self.syntax(text).await?;
        match self.decide_syntax(&like_it, of).await {
            // Said again of this very text, so that positions in it are right.
            Err(Stop::Refused(_)) => self.decide_syntax(&parser::parse_anew(text).await?, of).await,
            decided => decided,
        }
    }

    /// Decides on a prepared statement anew.
    pub(super) async fn decide_named(&mut self, named: &NamedStatement) -> Result<Arc<Decision>, Stop> {
        if named.own_text {
            return self.decide_text(&named.text, &named.types).await;
        }
        let syntax = Arc::new(Syntax { statements: named.statement.iter().cloned().collect() });
        let of = Text { text: &named.text, types: &named.types, whole: false };
        self.decide_syntax(&syntax, of).await
    }

    async fn decide_syntax(&mut self, syntax: &Arc<Syntax>, of: Text<'_>) -> Result<Arc<Decision>, Stop> {
        let Text { text, types, whole } = of;
        self.prepare(&syntax.statements).await?;
        let asked = self.asked()?;
        let keeps = whole && keeps(&syntax.statements);
        if keeps && let Found::Decided(decision) = known::find(text, &asked, types) {
            return Ok(decision);
        }
        let (facts, scope) = self.resolve(&syntax.statements, types, text).await?;
        Self::unreserved_names(&facts)?;
        let current = self.current()?;
        let all: Vec<_> = facts.iter().flat_map(|facts| facts.accesses.iter().cloned()).collect();
        let allow = match self.decide(&current, &all, scope, text) {
            Ok(allow) => allow,
            Err(refusal) => return Err(unresolved(&facts, text).unwrap_or(refusal).into()),
        };
        let decision = Decision::new((allow, scope), (Arc::clone(syntax), types), facts);
        let decision = Arc::new(decision);
        if keeps && (syntax.statements.len() == 1 || decision.is_plain()) {
            known::keep_decision(text, &decision);
        }
        Ok(decision)
    }

    /// Who asks, and in which state.
    fn asked(&mut self) -> Result<Asked, Stop> {
        let generation = self.current()?.generation;
        Ok(Asked { generation, scope: self.scope_number(), caller: self.caller })
    }

    /// The catalog that names are looked up in.
    pub(super) fn names(&self) -> &SharedCatalog {
        self.private.as_ref().unwrap_or(&self.catalog)
    }

    /// Brings what is known of the session up to date, as far as these statements need it.
    async fn prepare(&mut self, statements: &[Arc<Statement>]) -> Result<(), Stop> {
        if statements.iter().any(|statement| uses_session_names(statement.tag())) {
            self.settle_names().await?;
        }
        self.take_errors();
        self.end_privacy();
        if statements.iter().any(|statement| resolves_names(statement.tag())) {
            return self.refresh().await;
        }
        if !self.scope.suspect {
            return Ok(());
        }
        match self.refresh().await {
            // Nothing can be asked in a failed transaction, and whatever it changed is changed back already.
            Err(Stop::Refused(refusal)) if refusal.sqlstate == "25P02" => Ok(()),
            refreshed => refreshed,
        }
    }

    /// Asks the server about the session, unless what is known is young enough.
    async fn refresh(&mut self) -> Result<(), Stop> {
        self.now = Instant::now();
        if self.scope.is_stale(self.now) {
            self.read_scope().await?;
            // Everything before it is answered now: a transaction may be over that was not before.
            if std::mem::take(&mut self.shared.lock().failed) && self.scope.touched {
                self.forget_made();
            }
            self.end_privacy();
        }
        if self.names().falls_due(self.now) {
            self.read_again().await?;
        }
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
            self.forget_touched();
        }
        if wrong {
            self.scope.forget();
            self.names().forget();
        }
    }

    fn scope_number(&mut self) -> Scope {
        let catalog = self.private.as_ref().unwrap_or(&self.catalog);
        self.scope.number(catalog).unwrap_or_else(|| self.scope.number_anew(catalog))
    }

    /// The facts of statements that run one after the other, each in the state that the ones before leave.
    async fn resolve(
        &mut self,
        statements: &[Arc<Statement>],
        types: &[u32],
        text: &str,
    ) -> Result<Resolved, Stop> {
        let catalog = self.names().clone();
        let mut turn = None;
        let mut read_anew = false;
        for _ in 0..ROUNDS {
            match self.facts_now(statements, types) {
                Ok((facts, scope)) if read_anew || facts.iter().all(|facts| facts.unresolved.is_empty()) => {
                    return Ok((facts, scope));
                }
                Ok(_) => {
                    // A name that is absent may have been made a moment ago.
                    read_anew = true;
                    self.names().forget();
                    self.read_scope().await?;
                }
                Err(Unready::Needs(_)) if turn.is_none() => {
                    // Another session may be reading the same just now: then it is known in a moment.
                    self.flush().await?;
                    turn = Some(catalog.turn().await);
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

    fn facts_now(&mut self, statements: &[Arc<Statement>], types: &[u32]) -> Result<Resolved, Unready> {
        // One look for both: nobody may change what is known between the facts and the number.
        let mut catalog = self.private.as_ref().unwrap_or(&self.catalog).lock();
        let number = self.scope.number_in(&mut catalog);
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
            return Ok((vec![Arc::new(sql::facts(statement, &scope)?)], number));
        }
        let prediction = Prediction::new(&self.scope.path, state.names.session());
        let mut prediction = prediction.reverting(self.scope.touched);
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
        needs.map_or(Ok((found, number)), |needs| Err(Unready::Needs(needs)))
    }

    /// The facts of the FunctionCall message.
    pub(super) async fn resolve_call(&mut self, function: u32) -> Result<(Arc<Facts>, Scope), Stop> {
        self.take_errors();
        self.end_privacy();
        self.refresh().await?;
        for _ in 0..ROUNDS {
            let facts = {
                let mut catalog = self.private.as_ref().unwrap_or(&self.catalog).lock();
                let number = self.scope.number_in(&mut catalog);
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
                sql::function_call(function, &scope).map(|facts| (Arc::new(facts), number))
            };
            match facts {
                Ok(facts) => return Ok(facts),
                Err(Unready::Needs(needs)) => self.look_up(&needs).await?,
                Err(Unready::Refused(refused)) => return Err(Refusal::from_statement(refused, "").into()),
            }
        }
        Err(Refusal::new("54001", "what the function names leads too far to be understood").into())
    }
}

/// When names are missing on the server, that is what the client is told, as the server would.
fn unresolved(facts: &[Arc<Facts>], text: &str) -> Option<Refusal> {
    let first = facts.iter().find_map(|facts| facts.unresolved.first())?;
    Some(Refusal::unresolved(first, text))
}
