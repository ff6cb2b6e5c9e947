//! The document, the request and the decision: a pure function with reasons
