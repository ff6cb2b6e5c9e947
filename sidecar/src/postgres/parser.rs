//! Texts to syntax. Long texts are parsed on threads of their own, with a deadline, so that nobody else on this
//! thread waits for them.

use std::{sync::Arc, time::Duration};

use sql::Syntax;
use tokio::{task::spawn_blocking, time::timeout};

use super::{known, refusal::Refusal};

/// Texts up to this many bytes are parsed in place: a short statement takes about ten microseconds, one of this
/// length a few hundred.
const IN_PLACE: usize = 4 * 1024;
/// How long a long text may take.
const DEADLINE: Duration = Duration::from_secs(5);

/// Parses a text that this thread does not remember, or takes what another thread made of one like it, and
/// remembers that.
pub(super) async fn parse(text: &str) -> Result<Arc<Syntax>, Refusal> {
    if let Some(syntax) = known::parsed_elsewhere(text) {
        known::keep_syntax(text, &syntax, false);
        return Ok(syntax);
    }
    let syntax = parse_anew(text).await?;
    known::keep_syntax(text, &syntax, true);
    Ok(syntax)
}

/// Parses a text whatever is remembered, so that positions are its own.
pub(super) async fn parse_anew(text: &str) -> Result<Arc<Syntax>, Refusal> {
    if text.len() <= IN_PLACE {
        return Ok(Arc::new(sql::parse(text)?));
    }
    let owned = text.to_owned();
    let parsing = timeout(DEADLINE, spawn_blocking(move || sql::parse(&owned)));
    let too_long = || Refusal::new("54001", "the statement takes too long to parse");
    let parsed = parsing.await.map_err(|_| too_long())?;
    Ok(Arc::new(parsed.map_err(|_| Refusal::new("XX000", "the statement cannot be parsed"))??))
}
