//! What the server still has to answer, in order, and what each of its messages means for that.
//!
//! ```text
//!  Query, FunctionCall   … until ReadyForQuery; an error stays until then
//!  Parse, Bind, Describe, Execute, Close   one answer each; an error skips all up to the next Sync
//!  Sync                  ReadyForQuery
//! ```
//! Pure: no I/O, no clock.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use sql::Facts;
use wire::postgres::TransactionStatus;

/// How many answers may be outstanding; a client that sends more waits.
pub(in crate::postgres) const OUTSTANDING: usize = 4096;

/// The messages that are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::postgres) enum Kind {
    Query,
    FunctionCall,
    Parse,
    Bind,
    Describe,
    Execute,
    Close,
    Sync,
}

/// Whose message it is, and so what becomes of the answer.
#[derive(Clone, Debug)]
pub(in crate::postgres) enum Whose {
    /// The client's: passed on.
    Client,
    /// One of ours in place of a refused one: its error is replaced by this one.
    Refused(Bytes),
    /// A read of ours: kept from the client. `last` ends the read.
    Own {
        /// The last message of the read.
        last: bool,
    },
}

/// One outstanding answer.
#[derive(Clone, Debug)]
pub(in crate::postgres) struct Expected {
    pub(in crate::postgres) kind: Kind,
    pub(in crate::postgres) whose: Whose,
    /// A change of names is confirmed or failed with it.
    pub(in crate::postgres) change: bool,
    /// What its statements do to the session once it is confirmed, with their text.
    pub(in crate::postgres) effects: Option<Box<Effects>>,
    failed: bool,
}

/// Facts of statements that change the session, and the text they came from.
#[derive(Clone, Debug)]
pub(in crate::postgres) struct Effects {
    pub(in crate::postgres) text: Arc<str>,
    pub(in crate::postgres) facts: Vec<Arc<Facts>>,
}

impl Expected {
    pub(in crate::postgres) const fn new(kind: Kind, whose: Whose) -> Self {
        Self { kind, whose, change: false, effects: None, failed: false }
    }

    const fn is_own(&self) -> bool {
        matches!(self.whose, Whose::Own { .. })
    }

    /// With a change of names.
    pub(in crate::postgres) const fn changing(mut self) -> Self {
        self.change = true;
        self
    }
}

/// What to do with one message of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::postgres) enum Answer {
    /// Pass it on.
    Pass,
    /// It belongs to a read of ours.
    Read,
    /// Pass this on instead.
    Replace(Bytes),
}

/// Something that a server may not send here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server sent a message `{}` that nothing asked for", char::from(*.0))]
pub(in crate::postgres) struct Unexpected(pub(in crate::postgres) u8);

/// What a message settled.
#[derive(Debug, Default)]
pub(in crate::postgres) struct Settled {
    /// What is answered with it, confirmed (true) or failed (false).
    pub(in crate::postgres) answered: Option<(Expected, bool)>,
    /// What failed with it, oldest first.
    pub(in crate::postgres) skipped: Vec<Expected>,
    /// The transaction's status, if the server just said it.
    pub(in crate::postgres) status: Option<TransactionStatus>,
    /// The server waits for COPY data.
    pub(in crate::postgres) copy_in: bool,
    /// The server skips everything up to the next Sync, which has not been sent yet.
    pub(in crate::postgres) skips: bool,
}

/// The outstanding answers of a session.
#[derive(Debug, Default)]
pub(in crate::postgres) struct Queue {
    expected: VecDeque<Expected>,
    /// How many of them are not for the client.
    own: usize,
    /// How many of them bring effects.
    effects: usize,
}

impl Queue {
    /// A message goes upstream.
    pub(in crate::postgres) fn push(&mut self, expected: Expected) {
        self.own += usize::from(expected.is_own());
        self.effects += usize::from(expected.effects.is_some());
        self.expected.push_back(expected);
    }

    fn pop(&mut self) -> Option<Expected> {
        let expected = self.expected.pop_front()?;
        self.own -= usize::from(expected.is_own());
        self.effects -= usize::from(expected.effects.is_some());
        Some(expected)
    }

    pub(in crate::postgres) fn is_empty(&self) -> bool {
        self.expected.is_empty()
    }

    pub(in crate::postgres) fn len(&self) -> usize {
        self.expected.len()
    }

    /// Whether any answer to the client itself is outstanding.
    pub(in crate::postgres) fn client_waits(&self) -> bool {
        self.expected.len() > self.own
    }

    /// Whether effects on the session are outstanding.
    pub(in crate::postgres) const fn has_effects(&self) -> bool {
        self.effects > 0
    }

    /// Whether an outstanding effect is such a one.
    pub(in crate::postgres) fn any_effect(&self, is: impl Fn(&sql::Effect) -> bool) -> bool {
        let effects = self.expected.iter().filter_map(|expected| expected.effects.as_ref());
        effects.flat_map(|effects| &effects.facts).flat_map(|facts| &facts.effects).any(is)
    }

    /// Whether the next bytes belong to a read of ours, so that rows are wanted whole.
    pub(in crate::postgres) fn reads(&self) -> bool {
        matches!(self.expected.front(), Some(Expected { whose: Whose::Own { .. }, .. }))
    }

    /// Rows, COPY data or a function's result.
    pub(in crate::postgres) fn on_stream(&self) -> Result<Answer, Unexpected> {
        match self.expected.front() {
            Some(Expected { kind: Kind::Query | Kind::Execute | Kind::FunctionCall, whose, .. }) => {
                Ok(match whose {
                    Whose::Client => Answer::Pass,
                    Whose::Own { .. } => Answer::Read,
                    Whose::Refused(_) => return Err(Unexpected(b'D')),
                })
            }
            _ => Err(Unexpected(b'D')),
        }
    }

    /// A whole message.
    pub(in crate::postgres) fn on_message(
        &mut self,
        tag: u8,
        ready: Option<TransactionStatus>,
    ) -> Result<(Answer, Settled), Unexpected> {
        let mut settled = Settled::default();
        let answer = match tag {
            // Notices, parameters and notifications come at any time.
            b'N' | b'S' | b'A' => Answer::Pass,
            b'E' => self.on_error(&mut settled),
            b'Z' => {
                settled.status = ready;
                self.take(tag, &[Kind::Query, Kind::FunctionCall, Kind::Sync], &mut settled)?
            }
            b'1' => self.take(tag, &[Kind::Parse], &mut settled)?,
            b'2' => self.take(tag, &[Kind::Bind], &mut settled)?,
            b'3' => self.take(tag, &[Kind::Close], &mut settled)?,
            b't' => self.stay(tag, &[Kind::Describe])?,
            b'T' | b'n' => match self.expected.front().map(|expected| expected.kind) {
                Some(Kind::Describe) => self.take(tag, &[Kind::Describe], &mut settled)?,
                _ => self.stay(tag, &[Kind::Query])?,
            },
            b'C' | b'I' => match self.expected.front().map(|expected| expected.kind) {
                Some(Kind::Execute) => self.take(tag, &[Kind::Execute], &mut settled)?,
                _ => self.stay(tag, &[Kind::Query])?,
            },
            b's' => self.take(tag, &[Kind::Execute], &mut settled)?,
            b'G' => {
                let answer = self.stay(tag, &[Kind::Query, Kind::Execute])?;
                settled.copy_in = true;
                self.drop_ignored();
                answer
            }
            b'H' | b'c' => self.stay(tag, &[Kind::Query, Kind::Execute])?,
            _ => return Err(Unexpected(tag)),
        };
        Ok((answer, settled))
    }

    /// While it waits for COPY data the server ignores Sync and Flush: those that are under way get no answer.
    fn drop_ignored(&mut self) {
        for (index, expected) in std::mem::take(self).expected.into_iter().enumerate() {
            if index == 0 || expected.kind != Kind::Sync {
                self.push(expected);
            }
        }
    }

    fn passed(expected: &Expected) -> Answer {
        match &expected.whose {
            Whose::Client | Whose::Refused(_) => Answer::Pass,
            Whose::Own { .. } => Answer::Read,
        }
    }

    fn stay(&self, tag: u8, kinds: &[Kind]) -> Result<Answer, Unexpected> {
        let front = self.expected.front().filter(|front| kinds.contains(&front.kind));
        // Nothing of ours that stands in for a refused message succeeds.
        let front = front.filter(|front| !matches!(front.whose, Whose::Refused(_)));
        front.map(Self::passed).ok_or(Unexpected(tag))
    }

    fn take(&mut self, tag: u8, kinds: &[Kind], settled: &mut Settled) -> Result<Answer, Unexpected> {
        let fits = self.expected.front().is_some_and(|front| {
            let succeeds_only_for_us = matches!(front.whose, Whose::Refused(_)) && tag != b'Z';
            kinds.contains(&front.kind) && !succeeds_only_for_us
        });
        let front = self.pop().filter(|_| fits).ok_or(Unexpected(tag))?;
        let answer = Self::passed(&front);
        let confirmed = !front.failed;
        settled.answered = Some((front, confirmed));
        Ok(answer)
    }

    fn on_error(&mut self, settled: &mut Settled) -> Answer {
        let Some(front) = self.expected.front_mut() else {
            // Nothing was asked: the server says goodbye.
            return Answer::Pass;
        };
        let answer = match &front.whose {
            Whose::Client => Answer::Pass,
            Whose::Refused(error) => Answer::Replace(error.clone()),
            Whose::Own { .. } => Answer::Read,
        };
        match front.kind {
            Kind::Query | Kind::FunctionCall | Kind::Sync => front.failed = true,
            Kind::Parse | Kind::Bind | Kind::Describe | Kind::Execute | Kind::Close => {
                // A Query within an extended exchange is skipped like the rest.
                while self.expected.front().is_some_and(|front| front.kind != Kind::Sync) {
                    settled.skipped.extend(self.pop());
                }
                settled.skips = self.expected.is_empty();
            }
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(kinds: &[Kind]) -> Queue {
        let mut queue = Queue::default();
        for kind in kinds {
            queue.push(Expected::new(*kind, Whose::Client));
        }
        queue
    }

    const IDLE: Option<TransactionStatus> = Some(TransactionStatus::Idle);

    #[test]
    fn an_extended_exchange_is_answered_in_order() {
        let mut queue = queue(&[Kind::Parse, Kind::Bind, Kind::Execute, Kind::Sync]);
        for tag in [b'1', b'2', b'C', b'Z'] {
            assert_eq!(queue.on_message(tag, IDLE).expect("fits").0, Answer::Pass);
        }
        assert!(queue.is_empty());
    }

    #[test]
    fn an_error_skips_up_to_the_sync_that_is_under_way() {
        let mut queue = queue(&[Kind::Parse, Kind::Bind, Kind::Execute, Kind::Sync, Kind::Parse]);
        let (_, settled) = queue.on_message(b'E', None).expect("fits");
        assert_eq!(settled.skipped.len(), 3);
        assert!(!settled.skips && settled.answered.is_none());
        assert!(queue.on_message(b'Z', IDLE).is_ok());
        assert!(queue.on_message(b'1', None).is_ok());
    }

    #[test]
    fn an_error_without_a_sync_under_way_says_that_the_server_skips() {
        let mut queue = queue(&[Kind::Bind, Kind::Execute]);
        let (_, settled) = queue.on_message(b'E', None).expect("fits");
        assert!(settled.skips && queue.is_empty());
    }

    #[test]
    fn the_error_of_a_refused_message_is_replaced() {
        let mut queue = Queue::default();
        queue.push(Expected::new(Kind::Query, Whose::Refused(Bytes::from_static(b"ours"))));
        let (answer, _) = queue.on_message(b'E', None).expect("fits");
        assert_eq!(answer, Answer::Replace(Bytes::from_static(b"ours")));
        assert_eq!(queue.on_message(b'Z', IDLE).expect("fits").0, Answer::Pass);
    }

    #[test]
    fn a_refused_message_that_succeeds_is_not_believed() {
        let mut queue = Queue::default();
        queue.push(Expected::new(Kind::Execute, Whose::Refused(Bytes::new())));
        assert_eq!(queue.on_message(b'C', None).map(|_| ()), Err(Unexpected(b'C')));
    }

    #[test]
    fn syncs_under_way_are_ignored_once_copy_begins() {
        let mut queue = queue(&[Kind::Execute, Kind::Sync]);
        let (_, settled) = queue.on_message(b'G', None).expect("fits");
        assert!(settled.copy_in);
        assert!(queue.on_message(b'C', None).is_ok());
        assert!(queue.is_empty());
    }

    #[test]
    fn what_is_counted_is_what_is_outstanding() {
        let mut queue = Queue::default();
        let effects = Some(Box::new(Effects { text: "".into(), facts: Vec::new() }));
        queue.push(Expected { effects, ..Expected::new(Kind::Execute, Whose::Client) });
        queue.push(Expected::new(Kind::Sync, Whose::Client));
        queue.push(Expected::new(Kind::Close, Whose::Own { last: true }));
        assert!(queue.has_effects() && queue.client_waits());
        assert!(queue.on_message(b'G', None).is_ok(), "the Sync is ignored");
        assert!(queue.on_message(b'C', None).is_ok());
        assert!(!queue.has_effects() && !queue.client_waits() && queue.len() == 1);
        assert!(queue.on_message(b'3', None).is_ok());
        assert!(queue.is_empty());
    }

    #[test]
    fn an_answer_that_nothing_asked_for_is_refused() {
        assert!(queue(&[]).on_message(b'C', None).is_err());
        assert!(queue(&[Kind::Bind]).on_message(b'1', None).is_err());
        assert!(queue(&[Kind::Query]).on_message(b'W', None).is_err());
    }
}
