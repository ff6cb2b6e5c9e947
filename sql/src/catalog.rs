//! What is known of one (upstream, database): relations, functions, operators and types by name, absent ones
//! included. Built-ins are not here: they are compiled in.

mod answer;
mod assume;
mod needs;
mod object;
mod question;

use std::collections::HashMap;
use std::sync::Arc;

pub use assume::Assumed;
pub use needs::Needs;
pub(crate) use object::{Cast, Function, Operator, Relation, Type, View, spelling};
pub use question::Question;
use question::Subject;

use crate::builtins::Version;

/// Most names that are remembered; beyond it everything is forgotten.
const MOST: usize = 50_000;

/// Things by schema and name.
type Names<T> = HashMap<String, HashMap<String, T>>;

/// What is known of one (upstream, database).
#[derive(Clone, Debug)]
pub struct Catalog {
    version: Version,
    epoch: u64,
    size: usize,
    relations: Names<Option<Arc<Relation>>>,
    functions: Names<Arc<[Arc<Function>]>>,
    function_oids: HashMap<u32, Option<Arc<Function>>>,
    operators: Names<Arc<[Arc<Operator>]>>,
    types: Names<Option<Arc<Type>>>,
    type_oids: HashMap<u32, Option<Arc<Type>>>,
    casts: Option<Arc<[Arc<Cast>]>>,
    /// Relations that a TRUNCATE … CASCADE of this one reaches.
    cascades: Names<Arc<[(String, String)]>>,
}

/// Why an answer was not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CatalogError {
    /// A row is not of the form that its question asks for.
    #[error("a catalog answer has a row that its question did not ask for")]
    Row,
}

impl Catalog {
    /// Knows nothing yet.
    #[must_use]
    pub fn new(version: Version) -> Self {
        Self {
            version,
            epoch: 0,
            size: 0,
            relations: HashMap::new(),
            functions: HashMap::new(),
            function_oids: HashMap::new(),
            operators: HashMap::new(),
            types: HashMap::new(),
            type_oids: HashMap::new(),
            casts: None,
            cascades: HashMap::new(),
        }
    }

    /// The server's major version.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.version
    }

    /// Takes the server's answer to a question.
    ///
    /// # Errors
    /// When a row does not have the form asked for; nothing is learned then.
    pub fn answer(&mut self, question: &Question, rows: &[Vec<Option<String>>]) -> Result<(), CatalogError> {
        let answer = answer::Answer::read(rows)?;
        if self.size > MOST {
            self.forget_all();
        }
        self.learn_types(&answer);
        match question.subject() {
            Subject::Relations(asked) => self.learn_relations(asked, &answer),
            Subject::Functions(asked) => self.learn_functions(asked, &answer),
            Subject::FunctionOids(asked) => self.learn_function_oids(asked, &answer),
            Subject::Operators(asked) => self.learn_operators(asked, &answer),
            Subject::Types(asked) => self.learn_type_names(asked, &answer),
            Subject::TypeOids(asked) => {
                for oid in asked {
                    let known = answer.types.get(oid).cloned();
                    self.set(|c| &mut c.type_oids, *oid, known);
                }
            }
            Subject::Casts => {
                let casts: Arc<[Arc<Cast>]> = answer.casts.iter().cloned().collect();
                if self.casts.as_ref().is_some_and(|known| *known != casts) {
                    self.epoch += 1;
                }
                self.casts = Some(casts);
            }
            Subject::Cascades(asked) => {
                for (schema, name) in asked {
                    let reached = answer.reached(schema, name).into();
                    self.set_named(|c| &mut c.cascades, schema, name, reached);
                }
            }
        }
        Ok(())
    }

    fn learn_types(&mut self, answer: &answer::Answer) {
        for (oid, known) in &answer.types {
            self.set(|c| &mut c.type_oids, *oid, Some(Arc::clone(known)));
        }
    }

    fn learn_relations(&mut self, asked: &[(String, String)], answer: &answer::Answer) {
        for (schema, name) in asked {
            let known = answer.relation(schema, name);
            self.set_named(|c| &mut c.relations, schema, name, known);
        }
    }

    fn learn_functions(&mut self, asked: &[(String, String)], answer: &answer::Answer) {
        for (schema, name) in asked {
            let all = answer.functions.values().filter(|f| f.schema == *schema && f.name == *name);
            let known = all.cloned().collect();
            self.set_named(|c| &mut c.functions, schema, name, known);
        }
    }

    fn learn_function_oids(&mut self, asked: &[u32], answer: &answer::Answer) {
        for oid in asked {
            let known = answer.functions.get(oid).cloned();
            self.set(|c| &mut c.function_oids, *oid, known);
        }
    }

    fn learn_operators(&mut self, asked: &[(String, String)], answer: &answer::Answer) {
        for (schema, name) in asked {
            let all = answer.operators.iter().filter(|o| o.schema == *schema && o.name == *name);
            let known = all.cloned().collect();
            self.set_named(|c| &mut c.operators, schema, name, known);
        }
    }

    fn learn_type_names(&mut self, asked: &[(String, String)], answer: &answer::Answer) {
        for (schema, name) in asked {
            let known = answer.types.values().find(|t| t.schema == *schema && t.name == *name).cloned();
            self.set_named(|c| &mut c.types, schema, name, known);
        }
    }

    fn set<T: PartialEq>(&mut self, map: impl Fn(&mut Self) -> &mut HashMap<u32, T>, oid: u32, value: T) {
        let before = map(self).get(&oid);
        let (new, changed) = (before.is_none(), before.is_some_and(|before| *before != value));
        self.size += usize::from(new);
        self.epoch += u64::from(changed);
        map(self).insert(oid, value);
    }

    fn set_named<T: PartialEq>(
        &mut self,
        map: impl Fn(&mut Self) -> &mut Names<T>,
        schema: &str,
        name: &str,
        value: T,
    ) {
        let before = map(self).get(schema).and_then(|names| names.get(name));
        let (new, changed) = (before.is_none(), before.is_some_and(|before| *before != value));
        self.size += usize::from(new);
        self.epoch += u64::from(changed);
        map(self).entry(schema.to_owned()).or_default().insert(name.to_owned(), value);
    }

    /// Forgets everything.
    pub fn forget_all(&mut self) {
        let epoch = self.epoch + 1;
        *self = Self { epoch, ..Self::new(self.version) };
    }

    /// Forgets what lives in one schema: the session's temporary one, say.
    pub fn forget_schema(&mut self, schema: &str) {
        self.epoch += 1;
        self.relations.remove(schema);
        self.functions.remove(schema);
        self.operators.remove(schema);
        self.types.remove(schema);
        self.cascades.remove(schema);
        self.type_oids.retain(|_, known| known.as_ref().is_none_or(|known| known.schema != schema));
        self.function_oids.retain(|_, known| known.as_ref().is_none_or(|known| known.schema != schema));
    }

    /// Changes whenever anything that was known changes or is forgotten. Learning what was not known changes
    /// no fact that was made before.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Everything that is known, to be asked again: answers that are as before leave the epoch alone.
    #[must_use]
    pub fn recheck(&self) -> Needs {
        Needs {
            relations: keys(&self.relations),
            functions: keys(&self.functions),
            function_oids: self.function_oids.keys().copied().collect(),
            operators: keys(&self.operators),
            types: keys(&self.types),
            type_oids: self.type_oids.keys().copied().collect(),
            casts: self.casts.is_some(),
            cascades: keys(&self.cascades),
        }
    }
}

fn keys<T, C: FromIterator<(String, String)>>(names: &Names<T>) -> C {
    let pairs =
        names.iter().flat_map(|(schema, inner)| inner.keys().map(|name| (schema.clone(), name.clone())));
    pairs.collect()
}

/// Lookups: nothing means that the server must be asked.
impl Catalog {
    pub(crate) fn relation(&self, schema: &str, name: &str) -> Option<Option<&Arc<Relation>>> {
        self.relations.get(schema)?.get(name).map(Option::as_ref)
    }

    pub(crate) fn functions(&self, schema: &str, name: &str) -> Option<&Arc<[Arc<Function>]>> {
        self.functions.get(schema)?.get(name)
    }

    pub(crate) fn function(&self, oid: u32) -> Option<Option<&Arc<Function>>> {
        self.function_oids.get(&oid).map(Option::as_ref)
    }

    pub(crate) fn operators(&self, schema: &str, name: &str) -> Option<&Arc<[Arc<Operator>]>> {
        self.operators.get(schema)?.get(name)
    }

    pub(crate) fn type_named(&self, schema: &str, name: &str) -> Option<Option<&Arc<Type>>> {
        self.types.get(schema)?.get(name).map(Option::as_ref)
    }

    pub(crate) fn type_of(&self, oid: u32) -> Option<Option<&Arc<Type>>> {
        self.type_oids.get(&oid).map(Option::as_ref)
    }

    pub(crate) fn casts(&self) -> Option<&Arc<[Arc<Cast>]>> {
        self.casts.as_ref()
    }

    pub(crate) fn cascades(&self, schema: &str, name: &str) -> Option<&Arc<[(String, String)]>> {
        self.cascades.get(schema)?.get(name)
    }

    /// Names of relations that are known to exist in a schema, for suggestions.
    pub(crate) fn relation_names<'a>(&'a self, schema: &str) -> impl Iterator<Item = &'a str> {
        let names = self.relations.get(schema).into_iter().flatten();
        names.filter(|(_, known)| known.is_some()).map(|(name, _)| name.as_str())
    }
}
