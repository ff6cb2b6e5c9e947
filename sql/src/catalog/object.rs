//! The objects that the catalog remembers.

use std::sync::Arc;

use policy::{FunctionName, RelationName};

use crate::Statement;

/// A table, view, sequence or anything else in `pg_class`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Relation {
    pub(crate) schema: String,
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// OID of its row type.
    pub(crate) row_type: u32,
    pub(crate) columns: Vec<Column>,
    /// Partitions and inheritance children, all levels.
    pub(crate) children: Vec<RelationName>,
    /// What a view reads.
    pub(crate) view: Option<View>,
}

impl Relation {
    pub(crate) fn is_partitioned(&self) -> bool {
        self.kind == Kind::Partitioned
    }
}

/// The kinds of relations that differ in what reaches what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    View,
    Partitioned,
    Other,
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) name: String,
    /// OID of its type.
    pub(crate) of: u32,
}

/// A view's definition, with the search path that its names are to be read in.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) text: String,
    pub(crate) path: Vec<String>,
    /// Nothing when it did not parse.
    pub(crate) statement: Option<Arc<Statement>>,
}

impl PartialEq for View {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text && self.path == other.path
    }
}

impl Eq for View {}

/// A function, aggregate, window function or procedure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Function {
    pub(crate) oid: u32,
    pub(crate) schema: String,
    pub(crate) name: String,
    pub(crate) procedure: bool,
    /// OIDs of the types of its input arguments.
    pub(crate) arguments: Vec<u32>,
    /// The same as rules spell them.
    pub(crate) spelled: Vec<String>,
    /// How many of the last arguments have defaults.
    pub(crate) defaults: usize,
    pub(crate) variadic: bool,
    pub(crate) result: u32,
    pub(crate) extension: Option<String>,
}

impl Function {
    pub(crate) fn signature(&self) -> FunctionName {
        FunctionName {
            schema: self.schema.clone(),
            name: self.name.clone(),
            arguments: self.spelled.clone(),
            extension: self.extension.clone(),
        }
    }
}

/// An operator outside the built-in ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Operator {
    pub(crate) schema: String,
    pub(crate) name: String,
    /// OID of the left operand's type; 0 for a prefix operator.
    pub(crate) left: u32,
    /// OID of the right operand's type; 0 for a postfix operator.
    pub(crate) right: u32,
    pub(crate) result: u32,
    pub(crate) function: Arc<Function>,
}

/// A type outside the built-in ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Type {
    pub(crate) oid: u32,
    pub(crate) schema: String,
    pub(crate) name: String,
    /// `typtype`: `b`ase, `c`omposite, `d`omain, `e`num, `r`ange, `m`ultirange, `p`seudo.
    pub(crate) kind: char,
    /// A domain's base type.
    pub(crate) base: u32,
    /// An array's element type.
    pub(crate) element: u32,
    /// A domain's checks, with the search path that their names are to be read in.
    pub(crate) checks: Vec<View>,
}

/// A cast that was made by a user or an extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cast {
    pub(crate) source: u32,
    pub(crate) target: u32,
    /// `e`xplicit, `a`ssignment or `i`mplicit.
    pub(crate) context: char,
    /// Nothing where bytes are shared or text is read.
    pub(crate) function: Option<Arc<Function>>,
}
