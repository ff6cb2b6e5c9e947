//! Expressions: what they read, call and cast, and as much of their type as can be told.

use pg_query::NodeEnum;
use pg_query::protobuf::{AIndirection, CaseExpr, ColumnRef, Node, ParamRef, SubLink, SubLinkType, a_const};

use super::names::{string, strings};
use super::range::Outputs;
use super::select::is_star;
use super::types::{BOOL, INT4, INT8, NUMERIC, Ty};
use super::walk::Walk;

impl Walk<'_> {
    pub(super) fn optional(&mut self, node: Option<&Node>) {
        if let Some(node) = node {
            self.expression(node);
        }
    }

    pub(super) fn expressions(&mut self, nodes: &[Node]) -> Vec<Ty> {
        nodes.iter().map(|node| self.expression(node)).collect()
    }

    /// Walks an expression; its type.
    pub(super) fn expression(&mut self, node: &Node) -> Ty {
        use NodeEnum as N;
        let Some(inner) = &node.node else { return Ty::Unknown };
        match inner {
            N::ColumnRef(reference) => self.column(reference),
            N::ParamRef(parameter) => self.parameter(parameter),
            N::AConst(constant) => constant_type(constant.val.as_ref()),
            N::AExpr(expression) => self.operation(expression),
            N::FuncCall(call) => self.call(call),
            N::TypeCast(cast) => {
                let from = cast.arg.as_deref().map_or(Ty::Unknown, |arg| self.expression(arg));
                let to = cast.type_name.as_ref().map_or(Ty::Unknown, |name| self.type_name(name));
                self.cast(from, to, 'e', cast.location);
                to
            }
            N::BoolExpr(expression) => {
                self.expressions(&expression.args);
                Ty::BOOL
            }
            N::NullTest(test) => {
                self.optional(test.arg.as_deref());
                Ty::BOOL
            }
            N::BooleanTest(test) => {
                self.optional(test.arg.as_deref());
                Ty::BOOL
            }
            N::SubLink(link) => self.sublink(link),
            N::CaseExpr(case) => self.case(case),
            N::CoalesceExpr(expression) => {
                let types = self.expressions(&expression.args);
                self.common(&types, expression.location)
            }
            N::MinMaxExpr(expression) => {
                let types = self.expressions(&expression.args);
                self.common(&types, expression.location)
            }
            N::AIndirection(indirection) => self.indirection(indirection),
            N::CollateClause(clause) => clause.arg.as_deref().map_or(Ty::Unknown, |arg| self.expression(arg)),
            _ => self.rarer(inner),
        }
    }

    /// The kinds of expressions that are met less often.
    fn rarer(&mut self, inner: &NodeEnum) -> Ty {
        use NodeEnum as N;
        match inner {
            N::AArrayExpr(array) => {
                let types = self.expressions(&array.elements);
                let of = self.common(&types, array.location);
                self.array(of)
            }
            N::RowExpr(row) => {
                self.expressions(&row.args);
                Ty::RECORD
            }
            N::List(list) => {
                self.expressions(&list.items);
                Ty::Unknown
            }
            N::NamedArgExpr(argument) => {
                argument.arg.as_deref().map_or(Ty::Unknown, |arg| self.expression(arg))
            }
            N::GroupingFunc(grouping) => {
                self.expressions(&grouping.args);
                Ty::Known(INT4)
            }
            N::GroupingSet(set) => {
                self.expressions(&set.content);
                Ty::Unknown
            }
            N::MultiAssignRef(assignment) => {
                // Every column of the assignment points to the one source.
                if assignment.colno <= 1 {
                    self.optional(assignment.source.as_deref());
                }
                Ty::Unknown
            }
            N::SetToDefault(_) | N::CurrentOfExpr(_) | N::AStar(_) | N::SqlvalueFunction(_) => Ty::Unknown,
            N::ResTarget(target) => target.val.as_deref().map_or(Ty::Unknown, |value| self.expression(value)),
            N::XmlExpr(xml) => {
                self.expressions(&xml.named_args);
                self.expressions(&xml.args);
                Ty::Unknown
            }
            N::XmlSerialize(xml) => {
                self.optional(xml.expr.as_deref());
                let to = xml.type_name.as_ref().map_or(Ty::Unknown, |name| self.type_name(name));
                self.cast(Ty::Known(super::types::TEXT), to, 'e', xml.location);
                to
            }
            _ => self.json_expression(inner),
        }
    }

    fn column(&mut self, reference: &ColumnRef) -> Ty {
        let names = strings(&reference.fields);
        let location = reference.location;
        if is_star(reference.fields.last()) {
            match names[..] {
                [] => self.star(),
                [alias] => self.star_of(None, alias, location),
                [.., schema, alias] => self.star_of(Some(schema), alias, location),
            };
            return Ty::RECORD;
        }
        match names[..] {
            [] => Ty::Unknown,
            [name] => self.bare(name, location),
            [alias, name] => self.qualified(None, alias, name, location),
            [.., schema, alias, name] => self.qualified(Some(schema), alias, name, location),
        }
    }

    fn parameter(&mut self, parameter: &ParamRef) -> Ty {
        let at = usize::try_from(parameter.number).ok().and_then(|number| number.checked_sub(1));
        match at.and_then(|at| self.parameters.get(at)).copied() {
            // The value arrives as this type: a domain's checks run on it.
            Some(oid) if oid != 0 => {
                self.cast(Ty::Literal, Ty::of(oid), 'e', parameter.location);
                Ty::of(oid)
            }
            _ => Ty::Literal,
        }
    }

    fn sublink(&mut self, link: &SubLink) -> Ty {
        let outputs = self.sublink_outputs(link);
        let first = outputs.at(0);
        match link.sub_link_type() {
            SubLinkType::ExprSublink => first,
            SubLinkType::ArraySublink => self.array(first),
            SubLinkType::ExistsSublink | SubLinkType::AnySublink | SubLinkType::AllSublink => Ty::BOOL,
            _ => Ty::Unknown,
        }
    }

    /// A subquery in an expression: what it gives, and the operator that compares with it.
    fn sublink_outputs(&mut self, link: &SubLink) -> Outputs {
        let left = link.testexpr.as_deref().map(|node| self.operands(node));
        let outputs = match link.subselect.as_deref() {
            Some(node) => self.on_new_level(|walk| walk.query(node)).settled(),
            None => Outputs::default(),
        };
        if let Some(left) = left {
            let names = strings(&link.oper_name);
            let names = if names.is_empty() { vec!["="] } else { names };
            for (at, of) in left.into_iter().enumerate() {
                self.operator(&names, Some(of), Some(outputs.at(at)), link.location);
            }
        }
        outputs
    }

    /// The types on one side of a comparison: those of a row's fields, or its own.
    pub(super) fn operands(&mut self, node: &Node) -> Vec<Ty> {
        match &node.node {
            Some(NodeEnum::RowExpr(row)) if !row.args.is_empty() => self.expressions(&row.args),
            Some(NodeEnum::SubLink(link)) if link.sub_link_type() == SubLinkType::ExprSublink => {
                let outputs = self.sublink_outputs(link);
                let columns = outputs.columns.len().max(usize::from(!outputs.is_placed()));
                (0..columns).map(|at| outputs.at(at)).collect()
            }
            _ => vec![self.expression(node)],
        }
    }

    fn case(&mut self, case: &CaseExpr) -> Ty {
        let subject = case.arg.as_deref().map(|node| self.expression(node));
        let mut results = Vec::new();
        for node in &case.args {
            let Some(NodeEnum::CaseWhen(when)) = &node.node else { continue };
            let condition = when.expr.as_deref().map_or(Ty::Unknown, |node| self.expression(node));
            if let Some(subject) = subject {
                self.operator(&["="], Some(subject), Some(condition), when.location);
            }
            results.push(when.result.as_deref().map_or(Ty::Unknown, |node| self.expression(node)));
        }
        if let Some(node) = case.defresult.as_deref() {
            results.push(self.expression(node));
        }
        self.common(&results, case.location)
    }

    /// `expression.field`, `expression[i]`.
    fn indirection(&mut self, indirection: &AIndirection) -> Ty {
        let mut of = indirection.arg.as_deref().map_or(Ty::Unknown, |node| self.expression(node));
        for step in &indirection.indirection {
            match &step.node {
                Some(NodeEnum::AIndices(indices)) => {
                    self.optional(indices.lidx.as_deref());
                    self.optional(indices.uidx.as_deref());
                    of = if indices.is_slice { of } else { self.subscripted(of) };
                }
                _ => {
                    if let Some(name) = string(step) {
                        self.attribute(name, of, -1);
                    }
                    of = Ty::Unknown;
                }
            }
        }
        of
    }
}

fn constant_type(value: Option<&a_const::Val>) -> Ty {
    match value {
        Some(a_const::Val::Ival(_)) => Ty::Known(INT4),
        Some(a_const::Val::Fval(float)) => {
            Ty::Known(if float.fval.parse::<i64>().is_ok() { INT8 } else { NUMERIC })
        }
        Some(a_const::Val::Boolval(_)) => Ty::Known(BOOL),
        Some(a_const::Val::Sval(_)) | None => Ty::Literal,
        Some(a_const::Val::Bsval(_)) => Ty::Known(1560),
    }
}
