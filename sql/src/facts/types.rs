//! As much of types as is needed to tell which functions, operators and casts cannot be meant.

use pg_query::protobuf::TypeName;
use policy::Verb;

use super::builtin;
use super::names;
use super::walk::Walk;
use crate::catalog::spelling;

/// OIDs below this are PostgreSQL's own.
pub(super) const FIRST_USER: u32 = 16_384;

pub(super) const BOOL: u32 = 16;
pub(super) const INT8: u32 = 20;
pub(super) const INT4: u32 = 23;
pub(super) const TEXT: u32 = 25;
pub(super) const VARCHAR: u32 = 1043;
pub(super) const REGCLASS: u32 = 2205;
pub(super) const NUMERIC: u32 = 1700;
const UNKNOWN: u32 = 705;
const RECORD: u32 = 2249;

/// Types that take any argument, or any array, row, range: `any`, `anyelement` and so on, and `record`.
const POLYMORPHIC: [u32; 15] =
    [2249, 2276, 2277, 2283, 2776, 3500, 3831, 4537, 4538, 5077, 5078, 5079, 5080, 2287, 705];

/// What is known of an expression's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ty {
    /// Nothing.
    Unknown,
    /// A quoted literal, NULL, or a parameter without a type: becomes whatever is wanted.
    Literal,
    /// This one.
    Known(u32),
}

impl Ty {
    pub(super) const RECORD: Self = Self::Known(RECORD);
    pub(super) const BOOL: Self = Self::Known(BOOL);

    /// The type of a column or a result.
    pub(super) const fn of(oid: u32) -> Self {
        match oid {
            0 => Self::Unknown,
            UNKNOWN => Self::Literal,
            oid => Self::Known(oid),
        }
    }

    /// What a result of a declared type is: a polymorphic one may be anything.
    pub(super) fn result(oid: u32) -> Self {
        if POLYMORPHIC.contains(&oid) && oid != RECORD { Self::Unknown } else { Self::of(oid) }
    }

    /// The type of a call that may mean functions with either result.
    pub(super) fn merge_results(self, other: Self) -> Self {
        if self == other { self } else { Self::Unknown }
    }

    /// Whether a declared type takes a row and much else.
    pub(super) fn takes_anything(oid: u32) -> bool {
        POLYMORPHIC.contains(&oid)
    }

    /// Any order, to sort by.
    pub(super) const fn order(self) -> u64 {
        match self {
            Self::Unknown => 0,
            Self::Literal => 1,
            Self::Known(oid) => 2 + oid as u64,
        }
    }

    /// What is known where either may be meant.
    pub(super) fn merge(self, other: Self) -> Self {
        match (self, other) {
            (a, b) if a == b => a,
            (Self::Literal, known) | (known, Self::Literal) => known,
            _ => Self::Unknown,
        }
    }
}

impl Walk<'_> {
    /// A type as written: its OID where it is known. The types of arrays are known for built-in elements only.
    pub(super) fn type_name(&mut self, name: &TypeName) -> Ty {
        let names = names::strings(&name.names);
        let (schema, last) = names::qualified(&names);
        if name.pct_type || last.is_empty() {
            return Ty::Unknown;
        }
        let Some(oid) = self.type_named(schema, last, name.location) else { return Ty::Unknown };
        if name.array_bounds.is_empty() {
            return Ty::of(oid);
        }
        if oid < FIRST_USER {
            builtin::array_of(self.scope.version, oid)
        } else {
            // An array of a user's type: its elements are what casts and checks are about.
            self.cast(Ty::Unknown, Ty::of(oid), 'e', name.location);
            Ty::Unknown
        }
    }

    /// The type of an array's elements.
    pub(super) fn element(&mut self, of: Ty) -> Ty {
        match of {
            Ty::Known(oid) if oid < FIRST_USER => builtin::element_of(self.scope.version, oid),
            Ty::Known(oid) => self.user_type(oid).map_or(Ty::Unknown, |of| Ty::of(of.element)),
            Ty::Unknown => Ty::Unknown,
            Ty::Literal => Ty::Literal,
        }
    }

    /// The type of what a subscript takes out: of an array, or of a fixed-length type such as `name`.
    pub(super) fn subscripted(&mut self, of: Ty) -> Ty {
        match of {
            Ty::Known(oid) if oid < FIRST_USER => builtin::subscripted(self.scope.version, oid),
            of => self.element(of),
        }
    }

    /// Whether a type is certain to be neither a row nor something that may be one.
    pub(super) fn is_scalar(&mut self, of: Ty) -> bool {
        let Ty::Known(oid) = of else { return false };
        let oid = self.base(oid);
        let kind = if oid < FIRST_USER {
            crate::builtins::type_by_oid(self.scope.version, oid).map(|of| of.kind)
        } else {
            self.user_type(oid).map(|of| of.kind)
        };
        matches!(kind, Some('b' | 'e' | 'r' | 'm'))
    }

    /// The array of a type.
    pub(super) fn array(&self, of: Ty) -> Ty {
        match of {
            Ty::Known(oid) if oid < FIRST_USER => builtin::array_of(self.scope.version, oid),
            Ty::Known(_) | Ty::Unknown | Ty::Literal => Ty::Unknown,
        }
    }

    /// A type as rules spell it among a function's arguments.
    pub(super) fn spelled(&mut self, name: &TypeName) -> String {
        let names = names::strings(&name.names);
        let (schema, last) = names::qualified(&names);
        let oid = self.type_named(schema, last, name.location);
        let plain = match oid.and_then(|oid| self.user_type(oid)) {
            Some(of) => spelling(&of.schema, &of.name),
            None => spelling("pg_catalog", last),
        };
        if name.array_bounds.is_empty() { plain } else { plain + "[]" }
    }

    /// The type under a domain, through all its levels.
    pub(super) fn base(&mut self, oid: u32) -> u32 {
        let mut oid = oid;
        for _ in 0..16 {
            match self.user_type(oid) {
                Some(of) if of.kind == 'd' && of.base != 0 => oid = of.base,
                _ => return oid,
            }
        }
        oid
    }

    /// Whether an argument of a type may be passed where another is declared, without being told to. True
    /// unless that is known to be impossible.
    pub(super) fn passes(&mut self, from: Ty, to: u32) -> bool {
        let Ty::Known(from) = from else { return true };
        if from == to {
            return true;
        }
        let (from, to) = (self.base(from), self.base(to));
        if POLYMORPHIC.contains(&to) {
            return self.has_shape(from, to);
        }
        if from == to {
            return true;
        }
        if from < FIRST_USER && to < FIRST_USER && builtin::passes(self.scope.version, from, to) {
            return true;
        }
        // The row of a join or a subquery passes for a row of a table.
        if from == RECORD && to >= FIRST_USER && self.may_be_row(to) {
            return true;
        }
        // Arrays pass where their elements do.
        if let (Ty::Known(_), Ty::Known(element)) = (self.element(Ty::of(from)), self.element(Ty::of(to))) {
            let of = self.element(Ty::of(from));
            return self.passes(of, element);
        }
        let Some(casts) = self.user_casts() else { return true };
        casts.iter().any(|cast| cast.context == 'i' && cast.source == from && cast.target == to)
            || (from >= FIRST_USER && to >= FIRST_USER && self.may_be_row(from) && self.may_be_row(to))
    }

    /// Rows of one table pass as rows of its parents.
    fn may_be_row(&mut self, oid: u32) -> bool {
        self.user_type(oid).is_none_or(|of| of.kind == 'c')
    }

    fn user_casts(&mut self) -> Option<std::sync::Arc<[std::sync::Arc<crate::catalog::Cast>]>> {
        let known = self.scope.catalog.casts().cloned();
        if known.is_none() {
            self.needs.casts = true;
        }
        known
    }

    /// Counts what a cast runs: the functions of users' casts that may be meant, and a domain's checks.
    /// `context` is `e`xplicit, `a`ssignment or `i`mplicit.
    pub(super) fn cast(&mut self, from: Ty, to: Ty, context: char, location: i32) {
        let Ty::Known(to) = to else { return };
        if from == Ty::Known(to) {
            return;
        }
        self.checks(to);
        let to = self.base(to);
        // An array is cast element by element.
        if let element @ Ty::Known(_) = self.element(Ty::of(to)) {
            let of = match from {
                Ty::Literal => Ty::Literal,
                from => self.element(from),
            };
            self.cast(of, element, context, location);
        }
        self.fields(from, to, context, location);
        let from = match from {
            Ty::Literal => return,
            Ty::Known(from) => Some(self.base(from)),
            Ty::Unknown => None,
        };
        // Built-in casts are all harmless. Users make casts between built-in types, too.
        let Some(casts) = self.user_casts() else { return };
        for cast in casts.iter() {
            let usable = match context {
                'e' => true,
                'a' => cast.context != 'e',
                _ => cast.context == 'i',
            };
            let meant = usable && cast.target == to && from.is_none_or(|from| from == cast.source);
            if let (true, Some(function)) = (meant, &cast.function) {
                self.execute(function, Verb::Execute, location);
            }
        }
    }

    /// The type of several expressions of which one is the result. Where they differ they are cast to one of
    /// their types.
    pub(super) fn common(&mut self, types: &[Ty], location: i32) -> Ty {
        let mut known = types.iter().copied().filter(|of| *of != Ty::Literal);
        // Nothing but literals is text.
        let Some(first) = known.next() else { return Ty::Known(TEXT) };
        if known.all(|of| of == first) {
            return first;
        }
        for of in types {
            self.implicit_casts(*of, location);
        }
        Ty::Unknown
    }

    /// Counts the users' casts that may bring a type to where another is wanted.
    pub(super) fn implicit_casts(&mut self, of: Ty, location: i32) {
        let from = match of {
            Ty::Literal => return,
            Ty::Unknown => None,
            Ty::Known(oid) => Some(self.base(oid)),
        };
        if let Some(element @ Ty::Known(_)) = from.map(|from| self.element(Ty::of(from))) {
            self.implicit_casts(element, location);
        }
        let Some(casts) = self.user_casts() else { return };
        for cast in
            casts.iter().filter(|cast| cast.context == 'i' && from.is_none_or(|from| from == cast.source))
        {
            if let Some(function) = &cast.function {
                self.execute(function, Verb::Execute, location);
            }
        }
    }

    /// A row is cast field by field. Row types may hold each other: each is looked at once.
    fn fields(&mut self, from: Ty, to: u32, context: char, location: i32) {
        let fields = self.user_type(to).map_or_else(Vec::new, |of| of.fields.clone());
        if fields.is_empty() || self.rows.contains(&to) {
            return;
        }
        self.rows.push(to);
        let of = if from == Ty::Literal { Ty::Literal } else { Ty::Unknown };
        for field in fields {
            self.cast(of, Ty::of(field), context, location);
        }
        self.rows.pop();
    }

    /// Counts the checks of a domain, and of the domains under it.
    fn checks(&mut self, oid: u32) {
        let mut oid = oid;
        for _ in 0..16 {
            let Some(of) = self.user_type(oid) else { return };
            if of.kind != 'd' {
                return;
            }
            for function in &of.checks {
                self.execute(function, Verb::Execute, -1);
            }
            oid = of.base;
        }
    }
}
