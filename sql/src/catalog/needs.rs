//! Names that must be read before a statement can be understood.

use std::collections::BTreeSet;

use super::Question;
use super::question::Subject;

/// Names that must be read before a statement can be understood.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    pub(crate) relations: BTreeSet<(String, String)>,
    pub(crate) functions: BTreeSet<(String, String)>,
    pub(crate) function_oids: BTreeSet<u32>,
    pub(crate) operators: BTreeSet<(String, String)>,
    pub(crate) types: BTreeSet<(String, String)>,
    pub(crate) type_oids: BTreeSet<u32>,
    pub(crate) casts: bool,
    pub(crate) cascades: BTreeSet<(String, String)>,
}

impl Needs {
    /// Whether nothing is needed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.relations.is_empty()
            && self.functions.is_empty()
            && self.function_oids.is_empty()
            && self.operators.is_empty()
            && self.types.is_empty()
            && self.type_oids.is_empty()
            && self.cascades.is_empty()
            && !self.casts
    }

    /// Takes in other needs, so that one round trip serves several statements.
    pub fn unite(&mut self, other: Self) {
        self.relations.extend(other.relations);
        self.functions.extend(other.functions);
        self.function_oids.extend(other.function_oids);
        self.operators.extend(other.operators);
        self.types.extend(other.types);
        self.type_oids.extend(other.type_oids);
        self.cascades.extend(other.cascades);
        self.casts |= other.casts;
    }

    /// The queries that answer these needs: at most one for each kind of object, independent of each other.
    #[must_use]
    pub fn questions(&self) -> Vec<Question> {
        let mut subjects = Vec::new();
        let mut named = |names: &BTreeSet<(String, String)>,
                         subject: fn(Vec<(String, String)>) -> Subject| {
            if !names.is_empty() {
                subjects.push(subject(names.iter().cloned().collect()));
            }
        };
        named(&self.relations, Subject::Relations);
        named(&self.functions, Subject::Functions);
        named(&self.operators, Subject::Operators);
        named(&self.types, Subject::Types);
        named(&self.cascades, Subject::Cascades);
        if !self.function_oids.is_empty() {
            subjects.push(Subject::FunctionOids(self.function_oids.iter().copied().collect()));
        }
        if !self.type_oids.is_empty() {
            subjects.push(Subject::TypeOids(self.type_oids.iter().copied().collect()));
        }
        if self.casts {
            subjects.push(Subject::Casts);
        }
        subjects.into_iter().map(Question::new).collect()
    }
}
