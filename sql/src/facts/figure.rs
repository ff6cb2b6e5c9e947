//! The names that PostgreSQL gives to outputs without one (`FigureColnameInternal`). They must be its own to the
//! letter: a column that only seems to be there would hide one of an outer query that the server reads instead.

use pg_query::NodeEnum;
use pg_query::protobuf::{
    AExprKind, FuncCall, JsonExprOp, MinMaxOp, Node, SelectStmt, SetOperation, SqlValueFunctionOp, SubLink,
    SubLinkType, XmlExpr, XmlExprOp,
};

use super::names::strings;
use super::select::is_star;
use crate::builtins::Version;

/// An output without a name of its own.
const NAMELESS: &str = "?column?";

/// What an expression calls itself.
enum Figured {
    /// Nothing.
    Nothing,
    /// This, unless a cast around it names its type.
    Weak(String),
    /// This.
    Strong(String),
    /// What is known here does not tell.
    Uncertain,
}

/// The name of an output that the statement does not name; none where it is not certain.
pub(super) fn figure(node: &Node, version: Version) -> Option<String> {
    match figured(node, version) {
        Figured::Nothing => Some(NAMELESS.to_owned()),
        Figured::Weak(name) | Figured::Strong(name) => Some(name),
        Figured::Uncertain => None,
    }
}

fn figured(node: &Node, version: Version) -> Figured {
    use NodeEnum as N;
    let inside = |node: Option<&Node>| node.map_or(Figured::Nothing, |node| figured(node, version));
    let Some(inner) = &node.node else { return Figured::Nothing };
    match inner {
        N::ColumnRef(reference) => last(&reference.fields).map_or(Figured::Nothing, Figured::Strong),
        N::AIndirection(indirection) => {
            last(&indirection.indirection).map_or_else(|| inside(indirection.arg.as_deref()), Figured::Strong)
        }
        N::FuncCall(call) => function(call, version),
        N::CollateClause(collate) => inside(collate.arg.as_deref()),
        N::SubLink(link) => sublink(link, version),
        N::TypeCast(cast) => match (inside(cast.arg.as_deref()), &cast.type_name) {
            (Figured::Nothing | Figured::Weak(_), Some(name)) => {
                last(&name.names).map_or(Figured::Uncertain, Figured::Weak)
            }
            (of, _) => of,
        },
        N::CaseExpr(case) => match inside(case.defresult.as_deref()) {
            Figured::Nothing | Figured::Weak(_) => Figured::Weak("case".to_owned()),
            of => of,
        },
        _ => fixed(inner).map_or(Figured::Nothing, |name| Figured::Strong(name.to_owned())),
    }
}

/// Expressions that call themselves by what they are.
fn fixed(inner: &NodeEnum) -> Option<&'static str> {
    use NodeEnum as N;
    Some(match inner {
        N::AExpr(expression) if expression.kind() == AExprKind::AexprNullif => "nullif",
        N::GroupingFunc(_) => "grouping",
        N::MergeSupportFunc(_) => "merge_action",
        N::AArrayExpr(_) => "array",
        N::RowExpr(_) => "row",
        N::CoalesceExpr(_) => "coalesce",
        N::MinMaxExpr(of) if of.op() == MinMaxOp::IsLeast => "least",
        N::MinMaxExpr(_) => "greatest",
        N::SqlvalueFunction(function) => value_function(function.op()),
        N::XmlExpr(xml) => return xml_function(xml),
        N::XmlSerialize(_) => "xmlserialize",
        N::JsonParseExpr(_) => "json",
        N::JsonScalarExpr(_) => "json_scalar",
        N::JsonSerializeExpr(_) => "json_serialize",
        N::JsonObjectConstructor(_) => "json_object",
        N::JsonArrayConstructor(_) | N::JsonArrayQueryConstructor(_) => "json_array",
        N::JsonObjectAgg(_) => "json_objectagg",
        N::JsonArrayAgg(_) => "json_arrayagg",
        N::JsonFuncExpr(function) => match function.op() {
            JsonExprOp::JsonExistsOp => "json_exists",
            JsonExprOp::JsonQueryOp => "json_query",
            JsonExprOp::JsonValueOp => "json_value",
            JsonExprOp::JsonTableOp | JsonExprOp::Undefined => return None,
        },
        _ => return None,
    })
}

/// PostgreSQL 13 reads EXTRACT as another function.
fn function(call: &FuncCall, version: Version) -> Figured {
    match last(&call.funcname) {
        Some(name) if name == "extract" && version < Version::V14 => Figured::Uncertain,
        Some(name) => Figured::Strong(name),
        None => Figured::Nothing,
    }
}

fn sublink(link: &SubLink, version: Version) -> Figured {
    match link.sub_link_type() {
        SubLinkType::ExistsSublink => Figured::Strong("exists".to_owned()),
        SubLinkType::ArraySublink => Figured::Strong("array".to_owned()),
        SubLinkType::ExprSublink => match link.subselect.as_deref().and_then(|node| node.node.as_ref()) {
            Some(NodeEnum::SelectStmt(select)) => only_output(select, version),
            _ => Figured::Uncertain,
        },
        _ => Figured::Nothing,
    }
}

/// The name of a subquery's one column, which even without one of its own is a name to what is around it.
fn only_output(select: &SelectStmt, version: Version) -> Figured {
    if !matches!(select.op(), SetOperation::SetopNone | SetOperation::Undefined) {
        return select.larg.as_deref().map_or(Figured::Uncertain, |left| only_output(left, version));
    }
    if !select.values_lists.is_empty() {
        return Figured::Strong("column1".to_owned());
    }
    let Some(NodeEnum::ResTarget(target)) = select.target_list.first().and_then(|node| node.node.as_ref())
    else {
        return Figured::Uncertain;
    };
    if !target.name.is_empty() {
        return Figured::Strong(target.name.clone());
    }
    let Some(value) = target.val.as_deref().filter(|value| !is_expanded(value)) else {
        return Figured::Uncertain;
    };
    match figured(value, version) {
        Figured::Nothing => Figured::Strong(NAMELESS.to_owned()),
        Figured::Weak(name) => Figured::Strong(name),
        of => of,
    }
}

/// `*`, `t.*`, `(row).*`.
fn is_expanded(node: &Node) -> bool {
    match &node.node {
        Some(NodeEnum::ColumnRef(reference)) => is_star(reference.fields.last()),
        Some(NodeEnum::AIndirection(indirection)) => is_star(indirection.indirection.last()),
        _ => false,
    }
}

fn last(nodes: &[Node]) -> Option<String> {
    strings(nodes).last().map(|name| (*name).to_owned())
}

fn xml_function(xml: &XmlExpr) -> Option<&'static str> {
    Some(match xml.op() {
        XmlExprOp::IsXmlconcat => "xmlconcat",
        XmlExprOp::IsXmlelement => "xmlelement",
        XmlExprOp::IsXmlforest => "xmlforest",
        XmlExprOp::IsXmlparse => "xmlparse",
        XmlExprOp::IsXmlpi => "xmlpi",
        XmlExprOp::IsXmlroot => "xmlroot",
        XmlExprOp::IsXmlserialize => "xmlserialize",
        XmlExprOp::IsDocument | XmlExprOp::Undefined => return None,
    })
}

const fn value_function(op: SqlValueFunctionOp) -> &'static str {
    use SqlValueFunctionOp as Op;
    match op {
        Op::SvfopCurrentDate => "current_date",
        Op::SvfopCurrentTime | Op::SvfopCurrentTimeN => "current_time",
        Op::SvfopCurrentTimestamp | Op::SvfopCurrentTimestampN => "current_timestamp",
        Op::SvfopLocaltime | Op::SvfopLocaltimeN => "localtime",
        Op::SvfopLocaltimestamp | Op::SvfopLocaltimestampN => "localtimestamp",
        Op::SvfopCurrentRole => "current_role",
        Op::SvfopCurrentUser => "current_user",
        Op::SvfopUser => "user",
        Op::SvfopSessionUser => "session_user",
        Op::SvfopCurrentCatalog => "current_catalog",
        Op::SvfopCurrentSchema => "current_schema",
        Op::SqlvalueFunctionOpUndefined => NAMELESS,
    }
}
