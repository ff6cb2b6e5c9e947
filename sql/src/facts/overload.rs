//! Among the candidates that may be meant, as much of PostgreSQL's choice as tells the type of the result. What is
//! counted is every candidate all the same.

use super::builtin;
use super::types::{FIRST_USER, Ty};
use super::walk::Walk;
use crate::builtins;

/// A candidate's declared types, and its result.
pub(super) struct Overload {
    pub(super) declared: Vec<u32>,
    pub(super) result: Ty,
}

/// Types that pass for each other, and those that PostgreSQL likes best among them.
struct Family {
    members: &'static [u32],
    preferred: &'static [u32],
}

const TEXTS: Family = Family { members: &[25, 1043, 1042, 19], preferred: &[25] };
const NUMBERS: Family = Family { members: &[20, 21, 23, 700, 701, 1700], preferred: &[701, 26] };
const TIMES: Family = Family { members: &[1082, 1114, 1184, 1083, 1266], preferred: &[1184] };
const BOOLEANS: Family = Family { members: &[16], preferred: &[16] };

fn family(of: Ty) -> Option<&'static Family> {
    const ALL: [&Family; 4] = [&TEXTS, &NUMBERS, &TIMES, &BOOLEANS];
    match of {
        Ty::Known(oid) => ALL.into_iter().find(|family| family.members.contains(&oid)),
        Ty::Unknown | Ty::Literal => None,
    }
}

/// The type of the result where any of these may be meant.
fn merged(overloads: &[&Overload]) -> Ty {
    overloads.iter().map(|overload| overload.result).reduce(Ty::merge_results).unwrap_or(Ty::Unknown)
}

/// Keeps those that most arguments match.
fn keep_most(left: &mut Vec<&Overload>, arguments: &[Ty], matches: impl Fn(Ty, u32) -> bool) {
    let count = |overload: &Overload| {
        arguments.iter().zip(&overload.declared).filter(|(of, declared)| matches(**of, **declared)).count()
    };
    let most = left.iter().map(|overload| count(overload)).max().unwrap_or(0);
    left.retain(|overload| count(overload) == most);
}

impl Walk<'_> {
    /// The type of the result of a call with these arguments, given everything that takes them. PostgreSQL's own
    /// steps, as far as they need no more than what is known: exact types, preferred types, literals as text.
    pub(super) fn best(&mut self, overloads: &[Overload], arguments: &[Ty]) -> Ty {
        let mut left: Vec<&Overload> = overloads.iter().collect();
        if merged(&left) != Ty::Unknown || arguments.contains(&Ty::Unknown) {
            return merged(&left);
        }
        let plain: Vec<Ty> = arguments.iter().map(|of| self.plain_type(*of)).collect();
        keep_most(&mut left, &plain, |of, declared| of == Ty::Known(declared));
        if merged(&left) != Ty::Unknown {
            return merged(&left);
        }
        let known = |of: &Ty| matches!(of, Ty::Literal) || family(*of).is_some();
        if !plain.iter().all(known) {
            return Ty::Unknown;
        }
        keep_most(&mut left, &plain, |of, declared| {
            of == Ty::Known(declared) || family(of).is_some_and(|family| family.preferred.contains(&declared))
        });
        for (at, _) in plain.iter().enumerate().filter(|(_, of)| **of == Ty::Literal) {
            let is_text = |overload: &&Overload| {
                overload.declared.get(at).is_some_and(|declared| TEXTS.members.contains(declared))
            };
            if left.iter().any(is_text) {
                left.retain(is_text);
            }
        }
        merged(&left)
    }

    /// The type under a domain.
    pub(super) fn plain_type(&mut self, of: Ty) -> Ty {
        match of {
            Ty::Known(oid) => Ty::Known(self.base(oid)),
            Ty::Unknown | Ty::Literal => of,
        }
    }

    /// The built-in operators of a name that take these operands.
    pub(super) fn builtin_operators(&mut self, name: &str, operands: &[Ty]) -> Vec<Overload> {
        let version = self.scope.version;
        let binary = operands.len() == 2;
        let all = builtins::operators(version, name).filter(|operator| (operator.left != 0) == binary);
        let all: Vec<_> = all.collect();
        // Comparisons are all alike.
        if let Some(first) = all.first().filter(|first| all.iter().all(|other| other.result == first.result))
        {
            return vec![Overload { declared: Vec::new(), result: Ty::result(first.result) }];
        }
        let mut taking = Vec::new();
        for operator in all {
            let declared = if binary { vec![operator.left, operator.right] } else { vec![operator.right] };
            if operands.iter().zip(&declared).all(|(of, declared)| self.passes(*of, *declared)) {
                let result = self.told_by(operator.result, &declared, operands);
                taking.push(Overload { declared, result });
            }
        }
        taking
    }

    /// A result's type; a polymorphic one is told by the argument that has its place.
    pub(super) fn told_by(&mut self, result: u32, declared: &[u32], arguments: &[Ty]) -> Ty {
        /// `anyelement`, `anynonarray`, `anyenum`.
        const ELEMENTS: [u32; 3] = [2283, 2776, 3500];
        const ARRAY: u32 = 2277;
        let at = |wanted: &[u32]| {
            let place = declared.iter().position(|declared| wanted.contains(declared))?;
            arguments.get(place).copied()
        };
        let of = if ELEMENTS.contains(&result) {
            at(&ELEMENTS).or_else(|| at(&[ARRAY]).map(|of| self.element(of)))
        } else if result == ARRAY {
            at(&[ARRAY]).or_else(|| at(&ELEMENTS).map(|of| self.array(of)))
        } else {
            return Ty::result(result);
        };
        // What stands there as a literal may become anything.
        of.filter(|of| *of != Ty::Literal).unwrap_or(Ty::Unknown)
    }

    /// Whether a type may stand where a polymorphic one is declared. True unless that is known to be impossible.
    pub(super) fn has_shape(&mut self, from: u32, polymorphic: u32) -> bool {
        let wanted = match polymorphic {
            // anyarray, anycompatiblearray
            2277 | 5078 => 'a',
            3831 | 5080 => 'r',
            4537 | 4538 => 'm',
            3500 => 'e',
            _ => return true,
        };
        let (kind, array) = if from < FIRST_USER {
            let Some(of) = builtins::type_by_oid(self.scope.version, from) else { return true };
            (of.kind, builtin::subscripted(self.scope.version, from) != Ty::Unknown)
        } else {
            let Some(of) = self.user_type(from) else { return true };
            (of.kind, of.element != 0)
        };
        kind == 'p' || if wanted == 'a' { array } else { kind == wanted }
    }
}
