//! The messages between operator and sidecar, generated from `proto/channel.proto`.

/// Version 1 of the control channel.
#[expect(
    missing_docs,
    unused_qualifications,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    clippy::too_many_lines,
    reason = "generated code; the .proto holds the documentation"
)]
pub mod v1 {
    tonic::include_proto!("chaperone.channel.v1");
}

/// The audience of the tokens by which sidecars prove themselves.
pub const TOKEN_AUDIENCE: &str = "chaperone.dev";

/// The largest message on the channel, in bytes.
pub const MESSAGE_LIMIT: usize = 16 * 1024 * 1024;
