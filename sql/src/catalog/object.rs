//! The objects that the catalog remembers.

use std::sync::Arc;

use policy::{Columns, FunctionName, RelationName};

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
    /// What it is a partition or child of, all levels.
    pub(crate) ancestors: Vec<RelationName>,
    /// What a view does.
    pub(crate) view: Option<View>,
    /// No server said so: it may be a view, and has more columns than these.
    pub(crate) assumed: bool,
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

/// What a view does, from the tree that the server stores: it names objects by OID, so no search path changes
/// what they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct View {
    /// What it reads.
    pub(crate) reads: Vec<(RelationName, Columns)>,
    /// What it calls, built-in functions included.
    pub(crate) functions: Vec<Arc<Function>>,
    /// Which columns lie behind its own, by number.
    pub(crate) origins: Vec<(i32, RelationName, String)>,
}

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
    /// Types of a row type's fields, built-in ones left out.
    pub(crate) fields: Vec<u32>,
    /// The functions that a domain's checks call.
    pub(crate) checks: Vec<Arc<Function>>,
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

/// A type as rules spell it among a function's arguments: built-in ones as `format_type` does, all others with
/// their schema.
pub(crate) fn spelling(schema: &str, name: &str) -> String {
    if schema != "pg_catalog" {
        return format!("{schema}.{name}");
    }
    let spelled = match name {
        "int2" => "smallint",
        "int4" => "integer",
        "int8" => "bigint",
        "float4" => "real",
        "float8" => "double precision",
        "bool" => "boolean",
        "bpchar" => "character",
        "varchar" => "character varying",
        "varbit" => "bit varying",
        "time" => "time without time zone",
        "timetz" => "time with time zone",
        "timestamp" => "timestamp without time zone",
        "timestamptz" => "timestamp with time zone",
        "char" => "\"char\"",
        "any" => "\"any\"",
        name => name,
    };
    spelled.to_owned()
}
