//! Every node of the grammar and what it is at the top of a statement. The match has no wildcard: a node that a
//! new parser brings does not compile until it has its place here.

use pg_query::NodeEnum;

/// What a node is as a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Reads or writes rows.
    Query,
    /// About the session, or one of the statements with a verb of its own.
    Session,
    /// Makes, changes or drops objects.
    Definition,
    /// Rights and roles.
    Grant,
    /// Maintenance.
    Maintenance,
    /// Only an administrator's.
    Administration,
    /// No statement by itself: part of one, or what the parser never gives.
    Part,
}

/// The role of a node.
#[expect(clippy::too_many_lines, reason = "one line for each node of the grammar")]
pub(super) const fn role(node: &NodeEnum) -> Role {
    use NodeEnum as N;
    match node {
        N::InsertStmt(_) | N::DeleteStmt(_) | N::UpdateStmt(_) | N::MergeStmt(_) | N::SelectStmt(_) => {
            Role::Query
        }
        N::CopyStmt(_)
        | N::VariableSetStmt(_)
        | N::VariableShowStmt(_)
        | N::TruncateStmt(_)
        | N::DeclareCursorStmt(_)
        | N::ClosePortalStmt(_)
        | N::FetchStmt(_)
        | N::DoStmt(_)
        | N::CallStmt(_)
        | N::NotifyStmt(_)
        | N::ListenStmt(_)
        | N::UnlistenStmt(_)
        | N::TransactionStmt(_)
        | N::ExplainStmt(_)
        | N::DiscardStmt(_)
        | N::LockStmt(_)
        | N::ConstraintsSetStmt(_)
        | N::PrepareStmt(_)
        | N::ExecuteStmt(_)
        | N::DeallocateStmt(_) => Role::Session,
        N::CreateSchemaStmt(_)
        | N::AlterTableStmt(_)
        | N::AlterCollationStmt(_)
        | N::AlterDomainStmt(_)
        | N::CreateStmt(_)
        | N::CreateExtensionStmt(_)
        | N::AlterExtensionStmt(_)
        | N::AlterExtensionContentsStmt(_)
        | N::CreateFdwStmt(_)
        | N::AlterFdwStmt(_)
        | N::CreateForeignServerStmt(_)
        | N::AlterForeignServerStmt(_)
        | N::CreateForeignTableStmt(_)
        | N::CreateUserMappingStmt(_)
        | N::AlterUserMappingStmt(_)
        | N::DropUserMappingStmt(_)
        | N::ImportForeignSchemaStmt(_)
        | N::CreatePolicyStmt(_)
        | N::AlterPolicyStmt(_)
        | N::CreateAmStmt(_)
        | N::CreateTrigStmt(_)
        | N::CreateEventTrigStmt(_)
        | N::AlterEventTrigStmt(_)
        | N::CreatePlangStmt(_)
        | N::CreateSeqStmt(_)
        | N::AlterSeqStmt(_)
        | N::DefineStmt(_)
        | N::CreateDomainStmt(_)
        | N::CreateOpClassStmt(_)
        | N::CreateOpFamilyStmt(_)
        | N::AlterOpFamilyStmt(_)
        | N::DropStmt(_)
        | N::CommentStmt(_)
        | N::SecLabelStmt(_)
        | N::IndexStmt(_)
        | N::CreateStatsStmt(_)
        | N::AlterStatsStmt(_)
        | N::CreateFunctionStmt(_)
        | N::AlterFunctionStmt(_)
        | N::RenameStmt(_)
        | N::AlterObjectDependsStmt(_)
        | N::AlterObjectSchemaStmt(_)
        | N::AlterOwnerStmt(_)
        | N::AlterOperatorStmt(_)
        | N::AlterTypeStmt(_)
        | N::RuleStmt(_)
        | N::CompositeTypeStmt(_)
        | N::CreateEnumStmt(_)
        | N::CreateRangeStmt(_)
        | N::AlterEnumStmt(_)
        | N::ViewStmt(_)
        | N::CreateTableAsStmt(_)
        | N::CreateConversionStmt(_)
        | N::CreateCastStmt(_)
        | N::CreateTransformStmt(_)
        | N::AlterTsdictionaryStmt(_)
        | N::AlterTsconfigurationStmt(_) => Role::Definition,
        N::GrantStmt(_)
        | N::GrantRoleStmt(_)
        | N::AlterDefaultPrivilegesStmt(_)
        | N::CreateRoleStmt(_)
        | N::AlterRoleStmt(_)
        | N::AlterRoleSetStmt(_)
        | N::DropRoleStmt(_) => Role::Grant,
        N::ClusterStmt(_)
        | N::VacuumStmt(_)
        | N::RefreshMatViewStmt(_)
        | N::CheckPointStmt(_)
        | N::ReindexStmt(_) => Role::Maintenance,
        N::CreateTableSpaceStmt(_)
        | N::DropTableSpaceStmt(_)
        | N::AlterTableSpaceOptionsStmt(_)
        | N::AlterTableMoveAllStmt(_)
        | N::LoadStmt(_)
        | N::CreatedbStmt(_)
        | N::AlterDatabaseStmt(_)
        | N::AlterDatabaseRefreshCollStmt(_)
        | N::AlterDatabaseSetStmt(_)
        | N::DropdbStmt(_)
        | N::AlterSystemStmt(_)
        | N::DropOwnedStmt(_)
        | N::ReassignOwnedStmt(_)
        | N::CreatePublicationStmt(_)
        | N::AlterPublicationStmt(_)
        | N::CreateSubscriptionStmt(_)
        | N::AlterSubscriptionStmt(_)
        | N::DropSubscriptionStmt(_) => Role::Administration,
        N::Alias(_)
        | N::RangeVar(_)
        | N::TableFunc(_)
        | N::IntoClause(_)
        | N::Var(_)
        | N::Param(_)
        | N::Aggref(_)
        | N::GroupingFunc(_)
        | N::WindowFunc(_)
        | N::WindowFuncRunCondition(_)
        | N::MergeSupportFunc(_)
        | N::SubscriptingRef(_)
        | N::FuncExpr(_)
        | N::NamedArgExpr(_)
        | N::OpExpr(_)
        | N::DistinctExpr(_)
        | N::NullIfExpr(_)
        | N::ScalarArrayOpExpr(_)
        | N::BoolExpr(_)
        | N::SubLink(_)
        | N::SubPlan(_)
        | N::AlternativeSubPlan(_)
        | N::FieldSelect(_)
        | N::FieldStore(_)
        | N::RelabelType(_)
        | N::CoerceViaIo(_)
        | N::ArrayCoerceExpr(_)
        | N::ConvertRowtypeExpr(_)
        | N::CollateExpr(_)
        | N::CaseExpr(_)
        | N::CaseWhen(_)
        | N::CaseTestExpr(_)
        | N::ArrayExpr(_)
        | N::RowExpr(_)
        | N::RowCompareExpr(_)
        | N::CoalesceExpr(_)
        | N::MinMaxExpr(_)
        | N::SqlvalueFunction(_)
        | N::XmlExpr(_)
        | N::JsonFormat(_)
        | N::JsonReturning(_)
        | N::JsonValueExpr(_)
        | N::JsonConstructorExpr(_)
        | N::JsonIsPredicate(_)
        | N::JsonBehavior(_)
        | N::JsonExpr(_)
        | N::JsonTablePath(_)
        | N::JsonTablePathScan(_)
        | N::JsonTableSiblingJoin(_)
        | N::NullTest(_)
        | N::BooleanTest(_)
        | N::MergeAction(_)
        | N::CoerceToDomain(_)
        | N::CoerceToDomainValue(_)
        | N::SetToDefault(_)
        | N::CurrentOfExpr(_)
        | N::NextValueExpr(_)
        | N::InferenceElem(_)
        | N::ReturningExpr(_)
        | N::TargetEntry(_)
        | N::RangeTblRef(_)
        | N::JoinExpr(_)
        | N::FromExpr(_)
        | N::OnConflictExpr(_)
        | N::Query(_)
        | N::TypeName(_)
        | N::ColumnRef(_)
        | N::ParamRef(_)
        | N::AExpr(_)
        | N::TypeCast(_)
        | N::CollateClause(_)
        | N::RoleSpec(_)
        | N::FuncCall(_)
        | N::AStar(_)
        | N::AIndices(_)
        | N::AIndirection(_)
        | N::AArrayExpr(_)
        | N::ResTarget(_)
        | N::MultiAssignRef(_)
        | N::SortBy(_)
        | N::WindowDef(_)
        | N::RangeSubselect(_)
        | N::RangeFunction(_)
        | N::RangeTableFunc(_)
        | N::RangeTableFuncCol(_)
        | N::RangeTableSample(_)
        | N::ColumnDef(_)
        | N::TableLikeClause(_)
        | N::IndexElem(_)
        | N::DefElem(_)
        | N::LockingClause(_)
        | N::XmlSerialize(_)
        | N::PartitionElem(_)
        | N::PartitionSpec(_)
        | N::PartitionBoundSpec(_)
        | N::PartitionRangeDatum(_)
        | N::PartitionCmd(_)
        | N::RangeTblEntry(_)
        | N::RtepermissionInfo(_)
        | N::RangeTblFunction(_)
        | N::TableSampleClause(_)
        | N::WithCheckOption(_)
        | N::SortGroupClause(_)
        | N::GroupingSet(_)
        | N::WindowClause(_)
        | N::RowMarkClause(_)
        | N::WithClause(_)
        | N::InferClause(_)
        | N::OnConflictClause(_)
        | N::CtesearchClause(_)
        | N::CtecycleClause(_)
        | N::CommonTableExpr(_)
        | N::MergeWhenClause(_)
        | N::ReturningOption(_)
        | N::ReturningClause(_)
        | N::TriggerTransition(_)
        | N::JsonOutput(_)
        | N::JsonArgument(_)
        | N::JsonFuncExpr(_)
        | N::JsonTablePathSpec(_)
        | N::JsonTable(_)
        | N::JsonTableColumn(_)
        | N::JsonKeyValue(_)
        | N::JsonParseExpr(_)
        | N::JsonScalarExpr(_)
        | N::JsonSerializeExpr(_)
        | N::JsonObjectConstructor(_)
        | N::JsonArrayConstructor(_)
        | N::JsonArrayQueryConstructor(_)
        | N::JsonAggConstructor(_)
        | N::JsonObjectAgg(_)
        | N::JsonArrayAgg(_)
        | N::RawStmt(_)
        | N::SetOperationStmt(_)
        | N::ReturnStmt(_)
        | N::PlassignStmt(_)
        | N::AlterTableCmd(_)
        | N::AtalterConstraint(_)
        | N::ReplicaIdentityStmt(_)
        | N::ObjectWithArgs(_)
        | N::AccessPriv(_)
        | N::Constraint(_)
        | N::CreateOpClassItem(_)
        | N::StatsElem(_)
        | N::FunctionParameter(_)
        | N::InlineCodeBlock(_)
        | N::CallContext(_)
        | N::VacuumRelation(_)
        | N::PublicationTable(_)
        | N::PublicationObjSpec(_)
        | N::Integer(_)
        | N::Float(_)
        | N::Boolean(_)
        | N::String(_)
        | N::BitString(_)
        | N::List(_)
        | N::IntList(_)
        | N::OidList(_)
        | N::AConst(_) => Role::Part,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The statements of the truth tables, by the lines that hold them.
    fn cases() -> Vec<String> {
        #[derive(serde::Deserialize)]
        struct Table {
            cases: Vec<Case>,
        }
        #[derive(serde::Deserialize)]
        struct Case {
            sql: String,
        }
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let tables = files.filter(|path| path.extension().is_some_and(|extension| extension == "yaml"));
        let read = |path| serde_saphyr::from_str::<Table>(&std::fs::read_to_string(path).unwrap()).unwrap();
        tables.flat_map(|path| read(path).cases).map(|case| case.sql).collect()
    }

    /// A node's kind, by the name of its variant.
    fn kind(node: &NodeEnum) -> String {
        format!("{node:?}").split('(').next().unwrap_or_default().to_owned()
    }

    #[test]
    fn every_statement_of_the_grammar_has_a_truth_table() {
        let (statements, _) = include_str!("grammar.rs").split_once("=> Role::Administration").unwrap();
        let known: BTreeSet<String> =
            statements.split("N::").skip(1).map(|arm| arm.split('(').next().unwrap().to_owned()).collect();
        assert!(known.len() > 100, "{}", known.len());
        let mut seen = BTreeSet::new();
        for sql in cases() {
            for statement in crate::parse(&sql).unwrap().statements {
                let node = statement.node().unwrap();
                assert_ne!(role(node), Role::Part, "{sql}");
                seen.insert(kind(node));
            }
        }
        let missing: Vec<&String> = known.difference(&seen).collect();
        assert!(missing.is_empty(), "no case for {missing:?}");
    }
}
