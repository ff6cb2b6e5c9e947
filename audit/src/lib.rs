//! Records, their hash chain, verification and encodings
