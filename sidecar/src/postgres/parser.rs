//! Texts to syntax, remembered by their exact text. Long texts are parsed on threads of their own, with a
//! deadline, so that nobody else on this thread waits for them.

use std::{cell::RefCell, collections::HashMap, sync::Arc, time::Duration};

use sql::Syntax;
use tokio::{task::spawn_blocking, time::timeout};

use super::refusal::Refusal;

/// Texts up to this many bytes are parsed in place: a short statement takes about ten microseconds.
const IN_PLACE: usize = 16 * 1024;
/// How long a long text may take.
const DEADLINE: Duration = Duration::from_secs(5);
/// How many texts each thread remembers, how long one may be, and how long all together, in bytes.
const REMEMBERED: usize = 2048;
const REMEMBERED_TEXT: usize = 64 * 1024;
const REMEMBERED_BYTES: usize = 4 * 1024 * 1024;

thread_local! {
    static CACHE: RefCell<Cache> = RefCell::default();
}

#[derive(Default)]
struct Cache {
    by_text: HashMap<Arc<str>, Arc<Syntax>>,
    bytes: usize,
}

/// A text and what it parses to.
#[derive(Clone, Debug)]
pub(super) struct Parsed {
    pub(super) text: Arc<str>,
    pub(super) syntax: Arc<Syntax>,
}

/// Parses a text, or finds it among those that this thread parsed before.
pub(super) async fn parse(text: &str) -> Result<Parsed, Refusal> {
    let known = CACHE.with_borrow(|cache| {
        let known = cache.by_text.get_key_value(text);
        known.map(|(text, syntax)| Parsed { text: Arc::clone(text), syntax: Arc::clone(syntax) })
    });
    if let Some(known) = known {
        return Ok(known);
    }
    let owned: Arc<str> = text.into();
    let syntax = if text.len() <= IN_PLACE {
        sql::parse(text)?
    } else {
        let text = Arc::clone(&owned);
        let parsing = timeout(DEADLINE, spawn_blocking(move || sql::parse(&text)));
        let too_long = || Refusal::new("54001", "the statement takes too long to parse");
        let parsed = parsing.await.map_err(|_| too_long())?;
        parsed.map_err(|_| Refusal::new("XX000", "the statement cannot be parsed"))??
    };
    let parsed = Parsed { text: owned, syntax: Arc::new(syntax) };
    remember(&parsed);
    Ok(parsed)
}

fn remember(parsed: &Parsed) {
    if parsed.text.len() > REMEMBERED_TEXT {
        return;
    }
    CACHE.with_borrow_mut(|cache| {
        cache.bytes += parsed.text.len();
        if cache.by_text.len() >= REMEMBERED || cache.bytes > REMEMBERED_BYTES {
            cache.by_text.clear();
            cache.bytes = parsed.text.len();
        }
        cache.by_text.insert(Arc::clone(&parsed.text), Arc::clone(&parsed.syntax));
    });
}
