//! What is remembered of texts: their syntax, and what was decided about them.
//!
//! ```text
//!  text ── constants lifted ──> key ── this thread's map ── every thread's map ── a parse
//!                                       statement, decisions   statement
//! ```
//! A key is compared whole. Both maps are bounded: what was not used since the last time that a half was full is
//! forgotten. The thread's own map takes no lock, and a text that is found there costs no allocation.

use std::{
    cell::RefCell,
    collections::HashMap,
    sync::{Arc, LazyLock, PoisonError, RwLock},
};

use sql::{Lift, Pinned, Syntax};

use super::decision::{Asked, Decision};

/// Longer texts are not remembered, in bytes.
const TEXT: usize = 64 * 1024;
/// How many texts half a map has, and how long their keys are together: a tree takes some forty times as much.
const TEXTS: usize = 2048;
const BYTES: usize = 512 * 1024;
/// Decisions about one text: one per scope and caller, and the old ones after a change.
const DECISIONS: usize = 8;

thread_local! {
    static OWN: RefCell<Own> = RefCell::default();
}

/// Statements of all threads. Looked at when a thread has not seen a text before.
static SHARED: LazyLock<RwLock<Halves<Known<()>>>> = LazyLock::new(RwLock::default);

/// What a thread remembers.
#[derive(Default)]
struct Own {
    lift: Lift,
    texts: Halves<Known<Vec<Arc<Decision>>>>,
}

/// What a thread remembers of one text.
type Entry<'a> = (&'a Arc<Syntax>, &'a mut Vec<Arc<Decision>>);

impl Own {
    /// Looks at what is remembered of a text.
    fn entry<R>(&mut self, text: &str, look: impl FnOnce(Option<Entry<'_>>) -> R) -> R {
        self.lift.read(text);
        let pinned = match self.texts.used(self.lift.key()) {
            Some(Known::Pinned(pinned)) => Arc::clone(pinned),
            Some(Known::Syntax(syntax, decisions)) => return look(Some((syntax, decisions))),
            None => return look(None),
        };
        self.lift.pin(text, &pinned);
        match self.texts.used(self.lift.key()) {
            Some(Known::Syntax(syntax, decisions)) => look(Some((syntax, decisions))),
            Some(Known::Pinned(_)) | None => look(None),
        }
    }
}

/// What is known under a key.
enum Known<T> {
    /// These constants of such texts count: the key goes on.
    Pinned(Arc<Pinned>),
    /// What such texts parse to, and more.
    Syntax(Arc<Syntax>, T),
}

/// A map that forgets what was not used lately.
struct Halves<T> {
    young: HashMap<Box<[u8]>, T>,
    old: HashMap<Box<[u8]>, T>,
    /// The length of the young ones' keys.
    bytes: usize,
}

impl<T> Default for Halves<T> {
    fn default() -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), bytes: 0 }
    }
}

impl<T> Halves<T> {
    fn get(&self, key: &[u8]) -> Option<&T> {
        self.young.get(key).or_else(|| self.old.get(key))
    }

    /// The same, for the thread that owns the map: what is used stays.
    fn used(&mut self, key: &[u8]) -> Option<&mut T> {
        if !self.old.is_empty()
            && !self.young.contains_key(key)
            && let Some((key, value)) = self.old.remove_entry(key)
        {
            self.insert(key, value);
        }
        self.young.get_mut(key)
    }

    fn insert(&mut self, key: Box<[u8]>, value: T) {
        if self.young.len() >= TEXTS || self.bytes >= BYTES {
            self.old = std::mem::take(&mut self.young);
            self.bytes = 0;
        }
        self.bytes += key.len();
        self.young.insert(key, value);
    }
}

/// What a thread knows of a text.
pub(super) enum Found {
    /// It was decided, and that still holds.
    Decided(Arc<Decision>),
    /// What it, or a text like it, parses to.
    Parsed(Arc<Syntax>),
    /// Nothing.
    Nothing,
}

/// What is known of a text here and now.
pub(super) fn find(text: &str, asked: &Asked, types: &[u32]) -> Found {
    if text.len() > TEXT {
        return Found::Nothing;
    }
    let look = |entry: Option<Entry<'_>>| {
        let Some((syntax, decisions)) = entry else { return Found::Nothing };
        match decisions.iter().find(|decision| decision.answers(asked, types)) {
            Some(decision) => Found::Decided(Arc::clone(decision)),
            None => Found::Parsed(Arc::clone(syntax)),
        }
    };
    OWN.with_borrow_mut(|own| own.entry(text, look))
}

/// What another thread parsed a text to.
pub(super) fn parsed_elsewhere(text: &str) -> Option<Arc<Syntax>> {
    if text.len() > TEXT {
        return None;
    }
    let mut lift = Lift::new();
    lift.read(text);
    let shared = SHARED.read().unwrap_or_else(PoisonError::into_inner);
    let pinned = match shared.get(lift.key())? {
        Known::Syntax(syntax, ()) => return Some(Arc::clone(syntax)),
        Known::Pinned(pinned) => pinned,
    };
    lift.pin(text, pinned);
    match shared.get(lift.key())? {
        Known::Syntax(syntax, ()) => Some(Arc::clone(syntax)),
        Known::Pinned(_) => None,
    }
}

/// Remembers what a text parses to, for this thread and, if it was parsed here, for all.
pub(super) fn keep_syntax(text: &str, syntax: &Arc<Syntax>, share: bool) {
    if text.len() > TEXT {
        return;
    }
    OWN.with_borrow_mut(|Own { lift, texts }| {
        lift.read(text);
        let pinned = Arc::new(lift.pinned(text, syntax));
        insert(texts, lift, text, (&pinned, syntax), Vec::new());
        if share {
            lift.read(text);
            let mut shared = SHARED.write().unwrap_or_else(PoisonError::into_inner);
            insert(&mut shared, lift, text, (&pinned, syntax), ());
        }
    });
}

fn insert<T>(
    texts: &mut Halves<Known<T>>,
    lift: &mut Lift,
    text: &str,
    (pinned, syntax): (&Arc<Pinned>, &Arc<Syntax>),
    more: T,
) {
    if !pinned.is_empty() {
        if texts.get(lift.key()).is_none() {
            texts.insert(lift.key().into(), Known::Pinned(Arc::clone(pinned)));
        }
        lift.pin(text, pinned);
    }
    texts.insert(lift.key().into(), Known::Syntax(Arc::clone(syntax), more));
}

/// Remembers a decision about a text, in this thread, if its syntax is remembered.
pub(super) fn keep_decision(text: &str, decision: &Arc<Decision>) {
    if text.len() > TEXT {
        return;
    }
    let add = |entry: Option<Entry<'_>>| {
        let Some((_, decisions)) = entry else { return };
        let generation = decision.allow().generation();
        decisions.retain(|older| older.allow().generation() == generation);
        if decisions.len() >= DECISIONS {
            decisions.remove(0);
        }
        decisions.push(Arc::clone(decision));
    };
    OWN.with_borrow_mut(|own| own.entry(text, add));
}
