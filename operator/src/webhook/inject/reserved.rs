//! The names that are ours.

use crate::webhook::settings::{EMPTY_VOLUME, FENCE, RESERVED_PREFIX, SIDECAR, SPOOL_VOLUME, TOKEN_VOLUME};

/// A container that injection makes.
pub(crate) fn is_our_container(name: &str) -> bool {
    [FENCE, SIDECAR].contains(&name)
}

/// A volume that injection makes.
pub(crate) fn is_our_volume(name: &str) -> bool {
    [TOKEN_VOLUME, SPOOL_VOLUME, EMPTY_VOLUME].contains(&name)
}

/// A name that nobody else may use.
pub(crate) fn is_reserved(name: &str) -> bool {
    name.starts_with(RESERVED_PREFIX)
}
