//! What users see while the operator is taken away, one test at a time.

mod leader_killed;
mod operator_away;
