//! What kind of statement it is, by its outermost keyword: for records and for the protocol, never for decisions.

use pg_query::NodeEnum;
use pg_query::protobuf::TransactionStmtKind as Kind;

/// The kinds of statements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tag {
    /// SELECT, VALUES, TABLE.
    Select,
    /// INSERT.
    Insert,
    /// UPDATE.
    Update,
    /// DELETE.
    Delete,
    /// MERGE.
    Merge,
    /// COPY.
    Copy,
    /// EXPLAIN.
    Explain,
    /// PREPARE.
    Prepare,
    /// EXECUTE.
    Execute,
    /// DEALLOCATE.
    Deallocate,
    /// DECLARE.
    Declare,
    /// FETCH and MOVE.
    Fetch,
    /// CLOSE.
    Close,
    /// BEGIN, START TRANSACTION.
    Begin,
    /// COMMIT, END.
    Commit,
    /// ROLLBACK, ABORT.
    Rollback,
    /// SAVEPOINT.
    Savepoint,
    /// RELEASE.
    Release,
    /// ROLLBACK TO.
    RollbackTo,
    /// PREPARE TRANSACTION and its kin.
    TwoPhase,
    /// SET, RESET.
    Set,
    /// SHOW.
    Show,
    /// DISCARD.
    Discard,
    /// LISTEN.
    Listen,
    /// UNLISTEN.
    Unlisten,
    /// NOTIFY.
    Notify,
    /// LOCK.
    Lock,
    /// TRUNCATE.
    Truncate,
    /// CALL.
    Call,
    /// DO.
    Do,
    /// CREATE, ALTER, DROP and their kin.
    Definition,
    /// GRANT, REVOKE.
    Grant,
    /// VACUUM and its kin.
    Maintenance,
    /// What only an administrator does.
    Administration,
    /// The FunctionCall message.
    FunctionCall,
}

/// The tag of a statement's outermost node.
pub(super) fn of(node: Option<&NodeEnum>) -> Tag {
    use NodeEnum as N;
    match node {
        Some(N::SelectStmt(_)) => Tag::Select,
        Some(N::InsertStmt(_)) => Tag::Insert,
        Some(N::UpdateStmt(_)) => Tag::Update,
        Some(N::DeleteStmt(_)) => Tag::Delete,
        Some(N::MergeStmt(_)) => Tag::Merge,
        Some(N::CopyStmt(_)) => Tag::Copy,
        Some(N::ExplainStmt(_)) => Tag::Explain,
        Some(N::PrepareStmt(_)) => Tag::Prepare,
        Some(N::ExecuteStmt(_)) => Tag::Execute,
        Some(N::DeallocateStmt(_)) => Tag::Deallocate,
        Some(N::DeclareCursorStmt(_)) => Tag::Declare,
        Some(N::FetchStmt(_)) => Tag::Fetch,
        Some(N::ClosePortalStmt(_)) => Tag::Close,
        Some(N::TransactionStmt(statement)) => transaction(statement.kind()),
        Some(N::VariableSetStmt(_) | N::ConstraintsSetStmt(_)) => Tag::Set,
        Some(N::VariableShowStmt(_)) => Tag::Show,
        Some(N::DiscardStmt(_)) => Tag::Discard,
        Some(N::ListenStmt(_)) => Tag::Listen,
        Some(N::UnlistenStmt(_)) => Tag::Unlisten,
        Some(N::NotifyStmt(_)) => Tag::Notify,
        Some(N::LockStmt(_)) => Tag::Lock,
        Some(N::TruncateStmt(_)) => Tag::Truncate,
        Some(N::CallStmt(_)) => Tag::Call,
        Some(N::DoStmt(_)) => Tag::Do,
        Some(N::GrantStmt(_) | N::GrantRoleStmt(_) | N::AlterDefaultPrivilegesStmt(_)) => Tag::Grant,
        Some(
            N::VacuumStmt(_)
            | N::ClusterStmt(_)
            | N::ReindexStmt(_)
            | N::RefreshMatViewStmt(_)
            | N::CheckPointStmt(_),
        ) => Tag::Maintenance,
        Some(N::AlterSystemStmt(_) | N::LoadStmt(_) | N::CreatedbStmt(_) | N::DropdbStmt(_)) => {
            Tag::Administration
        }
        _ => Tag::Definition,
    }
}

const fn transaction(kind: Kind) -> Tag {
    match kind {
        Kind::TransStmtBegin | Kind::TransStmtStart => Tag::Begin,
        Kind::TransStmtCommit => Tag::Commit,
        Kind::TransStmtRollback => Tag::Rollback,
        Kind::TransStmtSavepoint => Tag::Savepoint,
        Kind::TransStmtRelease => Tag::Release,
        Kind::TransStmtRollbackTo => Tag::RollbackTo,
        Kind::TransStmtPrepare
        | Kind::TransStmtCommitPrepared
        | Kind::TransStmtRollbackPrepared
        | Kind::Undefined => Tag::TwoPhase,
    }
}
