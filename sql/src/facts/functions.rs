//! Functions: every one that the path, the number of arguments and their types do not exclude.

use std::sync::Arc;

use pg_query::NodeEnum;
use pg_query::protobuf::{CoercionForm, FuncCall, Node};
use policy::{Access, FunctionName, Object, Verb};

use super::builtin;
use super::names::{qualified, strings};
use super::overload::Overload;
use super::types::{FIRST_USER, Ty};
use super::walk::Walk;
use super::{UnresolvedKind, reviewed};
use crate::builtins::{self, BuiltinFunction, Version};
use crate::catalog::Function;

/// A function that a call may mean.
#[derive(Clone)]
enum Candidate {
    Builtin(&'static BuiltinFunction),
    Own(Arc<Function>),
}

/// The form of a call, as far as it excludes candidates.
#[derive(Clone, Copy)]
pub(super) struct Form<'f> {
    pub(super) arguments: &'f [Ty],
    /// The number of arguments is as given.
    counted: bool,
    /// The last argument is an array of the rest.
    variadic: bool,
    /// `t.f`: only what takes a row can be meant.
    of_row: bool,
    verb: Verb,
}

impl<'f> Form<'f> {
    pub(super) const fn new(arguments: &'f [Ty]) -> Self {
        Self { arguments, counted: true, variadic: false, of_row: false, verb: Verb::Execute }
    }

    /// The same for CALL.
    pub(super) const fn procedure(self) -> Self {
        Self { verb: Verb::Call, ..self }
    }
}

impl Candidate {
    fn declared(&self) -> &[u32] {
        match self {
            Self::Builtin(function) => &function.arguments,
            Self::Own(function) => &function.arguments,
        }
    }

    fn defaults(&self) -> usize {
        match self {
            Self::Builtin(function) => function.defaults,
            Self::Own(function) => function.defaults,
        }
    }

    fn variadic(&self) -> bool {
        match self {
            Self::Builtin(function) => function.variadic,
            Self::Own(function) => function.variadic,
        }
    }

    fn result(&self) -> u32 {
        match self {
            Self::Builtin(function) => function.result,
            Self::Own(function) => function.result,
        }
    }

    fn takes(&self, count: usize, form: &Form<'_>) -> bool {
        let most = self.declared().len();
        if !form.counted {
            return true;
        }
        if self.variadic() && !form.variadic {
            return count + 1 >= most || count + self.defaults() >= most;
        }
        count <= most && count + self.defaults() >= most
    }
}

impl Walk<'_> {
    pub(super) fn call(&mut self, call: &FuncCall) -> Ty {
        let names = strings(&call.funcname);
        if call.funcformat() == CoercionForm::CoerceSqlSyntax && names == ["pg_catalog", "system_user"] {
            self.needs_version(Version::V16, "SYSTEM_USER", call.location);
        }
        // PostgreSQL 13 reads EXTRACT as another function.
        let date_part = self.scope.version < Version::V14 && names == ["pg_catalog", "extract"];
        let names = if date_part { vec!["pg_catalog", "date_part"] } else { names };
        let named = call.args.iter().any(|node| matches!(node.node, Some(NodeEnum::NamedArgExpr(_))));
        let mut arguments = self.expressions(&call.args);
        for node in &call.agg_order {
            let Some(NodeEnum::SortBy(sort)) = &node.node else { continue };
            self.order(std::slice::from_ref(node), &[]);
            if call.agg_within_group && sort.node.is_some() {
                arguments.push(Ty::Unknown);
            }
        }
        self.optional(call.agg_filter.as_deref());
        if let Some(window) = call.over.as_deref() {
            self.window(window);
        }
        if self.special_call(&names, &call.args, call.location) {
            return Ty::Unknown;
        }
        let unknown = vec![Ty::Unknown; arguments.len()];
        let form = Form {
            counted: !call.agg_within_group,
            variadic: call.func_variadic,
            ..Form::new(if named { &unknown } else { &arguments })
        };
        self.call_form(&names, form, call.location)
    }

    pub(super) fn call_by_name(&mut self, names: &[&str], arguments: &[Ty], location: i32) -> Ty {
        self.call_form(names, Form::new(arguments), location)
    }

    /// Counts every function that a call may mean; its result's type.
    pub(super) fn call_form(&mut self, names: &[&str], form: Form<'_>, location: i32) -> Ty {
        let (schema, name) = qualified(names);
        let Some(all) = self.candidates(schema, name) else { return Ty::Unknown };
        let usable: Vec<Candidate> =
            all.into_iter().filter(|candidate| self.usable(candidate, &form)).collect();
        for candidate in &usable {
            self.count(candidate, form, location);
        }
        if usable.iter().any(|candidate| matches!(candidate, Candidate::Builtin(_))) {
            self.json_call(name, form.arguments, location);
        }
        let cast = form.arguments.len() == 1 && self.cast_by_name(schema, name, form.arguments, location);
        if usable.is_empty() && !cast {
            self.missing(UnresolvedKind::Function, form.verb, &names.join("."), location);
        }
        if cast {
            return Ty::Unknown;
        }
        let mut overloads = Vec::new();
        for candidate in &usable {
            let declared = candidate.declared().to_vec();
            let result = self.told_by(candidate.result(), &declared, form.arguments);
            overloads.push(Overload { declared, result });
        }
        self.best(&overloads, form.arguments)
    }

    fn usable(&mut self, candidate: &Candidate, form: &Form<'_>) -> bool {
        let count = form.arguments.len();
        if !candidate.takes(count, form) {
            return false;
        }
        if !form.counted {
            return true;
        }
        let fixed = candidate.declared().len() - usize::from(candidate.variadic() && !form.variadic);
        let declared: Vec<u32> = candidate.declared().iter().copied().take(fixed).collect();
        if form.of_row && !declared.iter().all(|of| self.takes_row(*of)) {
            return false;
        }
        form.arguments.iter().zip(declared).all(|(of, declared)| self.passes(*of, declared))
    }

    /// Whether a declared type takes a row: a composite or polymorphic type, or a domain over one.
    fn takes_row(&mut self, oid: u32) -> bool {
        let oid = self.base(oid);
        Ty::takes_anything(oid) || (oid >= FIRST_USER && self.user_type(oid).is_none_or(|of| of.kind == 'c'))
    }

    fn count(&mut self, candidate: &Candidate, form: Form<'_>, location: i32) {
        match candidate {
            Candidate::Builtin(function) => {
                let position = self.position(location);
                let object = Object::Function(builtin::signature(function));
                let baseline = function.harmless() && form.verb == Verb::Execute;
                let via = self.via.clone();
                self.access(Access { baseline, via, position, ..Access::new(self.verb(form.verb), object) });
            }
            Candidate::Own(function) => self.execute(function, form.verb, location),
        }
        let mut declared: Vec<Ty> = candidate.declared().iter().map(|oid| Ty::of(*oid)).collect();
        if candidate.variadic() && !form.variadic {
            // The rest are elements of the last.
            let rest = declared.pop().map_or(Ty::Unknown, |last| self.element(last));
            declared.resize(form.arguments.len().max(declared.len()), rest);
        }
        for (of, declared) in form.arguments.iter().zip(declared) {
            self.cast(*of, declared, 'i', location);
        }
    }

    /// Counts a function that is not built in.
    pub(super) fn execute(&mut self, function: &Function, verb: Verb, location: i32) {
        let position = self.position(location);
        let builtin = builtin::same(self.scope.version, function);
        let harmless = match (&builtin, &function.extension) {
            (Some(builtin), _) => builtin.harmless(),
            (None, Some(extension)) => reviewed::harmless(extension, &function.name),
            (None, None) => false,
        };
        let access = Access::new(self.verb(verb), Object::Function(function.signature()));
        let baseline = harmless && verb == Verb::Execute;
        self.access(Access { baseline, via: self.via.clone(), position, ..access });
        // Its body may set anything.
        self.runs_code |= !harmless && builtin.is_none();
        if self.scope.doubt.catalog && builtin.is_none() {
            self.plain(verb, Object::Unresolved(format!("{}.{}", function.schema, function.name)), location);
        }
    }

    /// All functions of a name in the path, and none while the server must be asked.
    fn candidates(&mut self, schema: Option<&str>, name: &str) -> Option<Vec<Candidate>> {
        let mut all = Vec::new();
        let mut pending = false;
        for place in self.function_schemas(schema) {
            if builtin::is_system(&place) {
                let builtins = builtins::functions(self.scope.version, &place, name);
                if !builtins.is_empty() {
                    all.extend(builtins.into_iter().map(Candidate::Builtin));
                    continue;
                }
            }
            match self.scope.catalog.functions(&place, name) {
                Some(functions) => all.extend(functions.iter().cloned().map(Candidate::Own)),
                None if place == "information_schema" && schema.is_none() => {}
                None => {
                    self.needs.functions.insert((place, name.to_owned()));
                    pending = true;
                }
            }
        }
        (!pending).then_some(all)
    }

    /// `name(x)` is a cast where `name` is a type. Built-in types bring nothing but built-in casts.
    fn cast_by_name(&mut self, schema: Option<&str>, name: &str, arguments: &[Ty], location: i32) -> bool {
        let from = arguments.first().copied().unwrap_or(Ty::Unknown);
        let mut found = false;
        let mut places = self.function_schemas(schema);
        places.extend(self.scope.temp_schema.filter(|_| schema.is_none()).map(str::to_owned));
        for place in places {
            if place == "pg_catalog" {
                if let Some(oid) = builtin::type_named(self.scope.version, name) {
                    found = true;
                    self.cast(from, Ty::of(oid), 'e', location);
                }
                continue;
            }
            match self.scope.catalog.type_named(&place, name) {
                Some(Some(of)) => {
                    found = true;
                    let to = Ty::of(of.oid);
                    self.cast(from, to, 'e', location);
                }
                Some(None) => {}
                None => {
                    self.needs.types.insert((place, name.to_owned()));
                }
            }
        }
        found
    }

    /// `row.name`, which is `name(row)` where it is no column. Whether there is such a function.
    pub(super) fn attribute(&mut self, name: &str, row: Ty, location: i32) -> bool {
        let arguments = [if row == Ty::Literal { Ty::Unknown } else { row }];
        let form = Form { of_row: true, ..Form::new(&arguments) };
        let Some(all) = self.candidates(None, name) else { return true };
        let usable: Vec<Candidate> =
            all.into_iter().filter(|candidate| self.usable(candidate, &form)).collect();
        for candidate in &usable {
            self.count(candidate, form, location);
        }
        let cast = self.cast_row(name, &arguments, location);
        !usable.is_empty() || cast
    }

    /// `row.name` is a cast as well, where `name` is a domain over rows. Whether there is such a one.
    fn cast_row(&mut self, name: &str, arguments: &[Ty], location: i32) -> bool {
        let mut found = false;
        for place in self.path.clone().into_iter().filter(|place| !builtin::is_system(place)) {
            match self.scope.catalog.type_named(&place, name) {
                Some(Some(of)) if of.kind == 'd' => {
                    let base = self.base(of.oid);
                    if self.user_type(base).is_some_and(|base| base.kind == 'c') {
                        found = true;
                        let from = arguments.first().copied().unwrap_or(Ty::Unknown);
                        self.cast(from, Ty::of(of.oid), 'e', location);
                    }
                }
                Some(_) => {}
                None => {
                    self.needs.types.insert((place, name.to_owned()));
                }
            }
        }
        found
    }

    /// The FunctionCall message: the function of an OID.
    pub(super) fn call_oid(&mut self, oid: u32) {
        if let Some(function) = builtins::function_by_oid(self.scope.version, oid) {
            // Never baseline: a rule must name it.
            self.plain(Verb::Execute, Object::Function(builtin::signature(function)), -1);
            if !function.harmless() {
                // Its arguments are not looked at: it may be set_config.
                self.opaque();
            }
            return;
        }
        match self.scope.catalog.function(oid) {
            Some(Some(function)) => {
                let name = function.signature();
                self.plain(Verb::Execute, Object::Function(name), -1);
                self.opaque();
            }
            Some(None) => {
                self.missing(
                    UnresolvedKind::Function,
                    Verb::Execute,
                    &format!("the function of OID {oid}"),
                    -1,
                );
            }
            None => {
                self.needs.function_oids.insert(oid);
            }
        }
    }

    /// Functions named by a definition (CREATE TRIGGER, DROP FUNCTION …): the overload of these types, or all
    /// that may be meant; nothing when the server must be asked or has none.
    pub(super) fn functions_named(
        &mut self,
        names: &[&str],
        arguments: Option<&[Node]>,
    ) -> Vec<FunctionName> {
        let (schema, name) = qualified(names);
        let all = self.candidates(schema, name).unwrap_or_default();
        let types: Option<Vec<Ty>> = arguments.map(|nodes| {
            let of = |walk: &mut Self, node: &Node| match &node.node {
                Some(NodeEnum::TypeName(name)) => walk.type_name(name),
                _ => Ty::Unknown,
            };
            nodes.iter().map(|node| of(self, node)).collect()
        });
        let same = all.into_iter().filter(|candidate| {
            types.as_ref().is_none_or(|types| {
                let fits = |(of, declared): (&Ty, &u32)| *of == Ty::Unknown || *of == Ty::of(*declared);
                types.len() == candidate.declared().len() && types.iter().zip(candidate.declared()).all(fits)
            })
        });
        same.map(|candidate| match candidate {
            Candidate::Builtin(function) => builtin::signature(function),
            Candidate::Own(function) => function.signature(),
        })
        .collect()
    }

    pub(super) fn needs_version(&mut self, version: Version, what: &str, location: i32) {
        if self.scope.version < version {
            self.newer(what, location);
        }
    }
}
