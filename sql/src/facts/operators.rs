//! Operators: every one that the path and the operands' types do not exclude.

use std::sync::Arc;

use pg_query::NodeEnum;
use pg_query::protobuf::{AExpr, AExprKind, Node};
use policy::Verb;

use super::UnresolvedKind;
use super::names::{qualified, strings};
use super::overload::Overload;
use super::types::Ty;
use super::walk::Walk;
use crate::builtins;
use crate::catalog::Operator;

impl Walk<'_> {
    pub(super) fn operation(&mut self, expression: &AExpr) -> Ty {
        let names = strings(&expression.name);
        let location = expression.location;
        let right = expression.rexpr.as_deref();
        match expression.kind() {
            AExprKind::AexprBetween | AExprKind::AexprBetweenSym => {
                self.range_test(expression, [">=", "<="]);
                Ty::BOOL
            }
            AExprKind::AexprNotBetween | AExprKind::AexprNotBetweenSym => {
                self.range_test(expression, ["<", ">"]);
                Ty::BOOL
            }
            AExprKind::AexprIn | AExprKind::AexprOpAny | AExprKind::AexprOpAll => {
                let left = expression.lexpr.as_deref().map_or_else(Vec::new, |node| self.operands(node));
                for of in self.members(right) {
                    self.compare(&names, &left, &of, location);
                }
                Ty::BOOL
            }
            AExprKind::AexprNullif => {
                let left = expression.lexpr.as_deref().map_or(Ty::Unknown, |node| self.expression(node));
                let of = right.map_or(Ty::Unknown, |node| self.expression(node));
                self.operator(&names, Some(left), Some(of), location);
                // The left one, as the operator takes it.
                if left == of { left } else { Ty::Unknown }
            }
            AExprKind::AexprDistinct | AExprKind::AexprNotDistinct => {
                self.binary(expression, &names);
                Ty::BOOL
            }
            AExprKind::AexprOp | AExprKind::AexprLike | AExprKind::AexprIlike | AExprKind::AexprSimilar => {
                self.binary(expression, &names)
            }
            AExprKind::Undefined => {
                self.unknown("an operator of an unknown kind");
                Ty::Unknown
            }
        }
    }

    fn binary(&mut self, expression: &AExpr, names: &[&str]) -> Ty {
        let left = expression.lexpr.as_deref().map(|node| self.operands(node));
        let right = expression.rexpr.as_deref().map(|node| self.operands(node));
        match (left, right) {
            (Some(left), Some(right)) => self.compare(names, &left, &right, expression.location),
            (left, right) => {
                let single =
                    |side: Option<Vec<Ty>>| side.map(|types| types.first().copied().unwrap_or(Ty::Unknown));
                self.operator(names, single(left), single(right), expression.location)
            }
        }
    }

    /// Compares field by field; a row against something that is no row counts with unknown types.
    fn compare(&mut self, names: &[&str], left: &[Ty], right: &[Ty], location: i32) -> Ty {
        let mut of = Ty::Unknown;
        for at in 0..left.len().max(right.len()) {
            let side = |types: &[Ty]| types.get(at).copied().unwrap_or(Ty::Unknown);
            of = self.operator(names, Some(side(left)), Some(side(right)), location);
        }
        of
    }

    /// The right side of IN, ANY and ALL: the types of each member.
    fn members(&mut self, node: Option<&Node>) -> Vec<Vec<Ty>> {
        let mut types: Vec<Vec<Ty>> = match node.and_then(|node| node.node.as_ref()) {
            Some(NodeEnum::List(list)) => list.items.iter().map(|item| self.operands(item)).collect(),
            Some(NodeEnum::AArrayExpr(array)) => {
                array.elements.iter().map(|item| self.operands(item)).collect()
            }
            Some(_) => {
                let of = node.map_or(Ty::Unknown, |node| self.expression(node));
                vec![vec![self.subscripted(of)]]
            }
            None => Vec::new(),
        };
        types.sort_by_key(|types| types.iter().map(|of| of.order()).collect::<Vec<_>>());
        types.dedup();
        types
    }

    fn range_test(&mut self, expression: &AExpr, operators: [&str; 2]) {
        let left = expression.lexpr.as_deref().map_or(Ty::Unknown, |node| self.expression(node));
        let Some(NodeEnum::List(bounds)) = expression.rexpr.as_deref().and_then(|node| node.node.as_ref())
        else {
            self.unknown("BETWEEN without bounds");
            return;
        };
        for node in &bounds.items {
            let of = self.expression(node);
            for name in operators {
                self.operator(&[name], Some(left), Some(of), expression.location);
            }
        }
    }

    /// Counts the functions behind an operator; its result's type.
    pub(super) fn operator(
        &mut self,
        names: &[&str],
        left: Option<Ty>,
        right: Option<Ty>,
        location: i32,
    ) -> Ty {
        let (schema, name) = qualified(names);
        // `!=` is another spelling that the scanner has turned into `<>` already.
        let mut known = false;
        let mut own = Vec::new();
        let mut pending = false;
        for schema in self.function_schemas(schema) {
            if schema == "pg_catalog" && builtins::operator_exists(self.scope.version, name) {
                known = true;
                if !builtins::operator_harmless(self.scope.version, name) {
                    self.missing(UnresolvedKind::Function, Verb::Execute, name, location);
                }
                continue;
            }
            match self.scope.catalog.operators(&schema, name) {
                Some(operators) => own.extend(operators.iter().cloned()),
                None if schema == "information_schema" => {}
                None => {
                    self.needs.operators.insert((schema, name.to_owned()));
                    pending = true;
                }
            }
        }
        if pending {
            return Ty::Unknown;
        }
        let usable: Vec<Arc<Operator>> = own.into_iter().filter(|op| self.fits(op, left, right)).collect();
        for operator in &usable {
            let function = Arc::clone(&operator.function);
            self.execute(&function, Verb::Execute, location);
            for (of, declared) in [(left, operator.left), (right, operator.right)] {
                if let Some(of) = of {
                    self.cast(of, Ty::of(declared), 'i', location);
                }
            }
        }
        if known {
            for of in [left, right].into_iter().flatten() {
                self.implicit_casts(of, location);
            }
        }
        if usable.is_empty() && !known {
            self.missing(UnresolvedKind::Function, Verb::Execute, &names.join("."), location);
        }
        let operands: Vec<Ty> = [left, right].into_iter().flatten().collect();
        let mut overloads = if known { self.builtin_operators(name, &operands) } else { Vec::new() };
        for operator in &usable {
            let declared: Vec<u32> =
                [operator.left, operator.right].into_iter().filter(|of| *of != 0).collect();
            let result = self.told_by(operator.result, &declared, &operands);
            overloads.push(Overload { declared, result });
        }
        self.best(&overloads, &operands)
    }

    fn fits(&mut self, operator: &Operator, left: Option<Ty>, right: Option<Ty>) -> bool {
        let mut side = |of: Option<Ty>, declared: u32| match of {
            Some(of) => declared != 0 && self.passes(of, declared),
            None => declared == 0,
        };
        side(left, operator.left) && side(right, operator.right)
    }
}
