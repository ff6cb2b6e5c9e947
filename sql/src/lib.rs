//! What a SQL statement means: text to syntax to facts in a scope
