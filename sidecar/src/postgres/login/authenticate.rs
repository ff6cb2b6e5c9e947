//! Proving to the upstream that we have the password, and seeing it prove that it has it too.

use postgres_protocol::authentication::{
    md5_hash,
    sasl::{ChannelBinding, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramSha256},
};
use secrecy::ExposeSecret;
use wire::postgres::{
    backend::{Authentication, Mechanisms, Message},
    write,
};

use super::{
    LoginError,
    conversation::{Conversation, unexpected},
};
use crate::{credentials::Lease, upstream::Security};

/// Answers what the upstream asks for, up to its AuthenticationOk.
pub(super) async fn authenticate(
    upstream: &mut Conversation,
    lease: &Lease,
    security: &Security,
) -> Result<(), LoginError> {
    let frame = upstream.next().await?;
    let Message::Authentication(asked) = Message::decode(&frame)? else { return Err(unexpected(&frame)) };
    match asked {
        // The upstream trusts this pod or network; nothing is to be proved.
        Authentication::Ok => return Ok(()),
        Authentication::Sasl(mechanisms) => {
            let (mechanism, scram) = choose(mechanisms, lease, security)?;
            return Box::pin(converse(upstream, mechanism, scram)).await;
        }
        Authentication::Md5(salt) => {
            let hash = md5_hash(lease.username.as_bytes(), lease.password.expose_secret(), salt);
            upstream.send(|to| write::password(to, hash.as_bytes())).await?;
        }
        Authentication::Cleartext => {
            if !matches!(security, Security::Tls { verified: true, .. }) {
                return Err(LoginError::Method(
                    "the password in the clear, which goes only over verified TLS (VerifyFull, or VerifyCA \
                     with a `caBundle`)",
                ));
            }
            upstream.send(|to| write::password(to, lease.password.expose_secret())).await?;
        }
        Authentication::Other(_) => {
            return Err(LoginError::Method("a kind of authentication that is not spoken here"));
        }
        Authentication::SaslContinue(_) | Authentication::SaslFinal(_) => return Err(unexpected(&frame)),
    }
    done(upstream).await
}

/// The strongest mechanism that both sides can do.
fn choose(
    mechanisms: Mechanisms<'_>,
    lease: &Lease,
    security: &Security,
) -> Result<(&'static str, ScramSha256), LoginError> {
    let offers = |name: &str| mechanisms.iter().any(|offered| offered == name);
    let (mechanism, binding) = match security {
        Security::Tls { binding: Some(binding), .. } if offers(SCRAM_SHA_256_PLUS) => {
            (SCRAM_SHA_256_PLUS, ChannelBinding::tls_server_end_point(binding.bytes().to_vec()))
        }
        _ if !offers(SCRAM_SHA_256) => {
            return Err(LoginError::Method("a SASL mechanism that is not spoken here"));
        }
        // "I could bind, but you do not offer it": a server that did offer it then sees the tampering.
        Security::Tls { binding: Some(_), .. } => (SCRAM_SHA_256, ChannelBinding::unrequested()),
        Security::Tls { binding: None, .. } | Security::Plain => {
            (SCRAM_SHA_256, ChannelBinding::unsupported())
        }
    };
    Ok((mechanism, ScramSha256::new(lease.password.expose_secret(), binding)))
}

async fn converse(
    upstream: &mut Conversation,
    mechanism: &str,
    mut scram: ScramSha256,
) -> Result<(), LoginError> {
    upstream.send(|to| write::sasl_initial(to, mechanism, scram.message())).await?;
    let frame = upstream.next().await?;
    let Message::Authentication(Authentication::SaslContinue(challenge)) = Message::decode(&frame)? else {
        return Err(unexpected(&frame));
    };
    let challenge = challenge.0.to_vec();
    // Thousands of hashes: not on the thread that serves other sessions.
    let hashed = tokio::task::spawn_blocking(move || scram.update(&challenge).map(|()| scram));
    let hashed = hashed.await.map_err(|_| LoginError::Unproven)?;
    let mut scram = hashed.map_err(|_| LoginError::Protocol("its SCRAM challenge cannot be answered"))?;
    upstream.send(|to| write::sasl_response(to, scram.message())).await?;
    let frame = upstream.next().await?;
    let Message::Authentication(Authentication::SaslFinal(proof)) = Message::decode(&frame)? else {
        return Err(not_proved(&frame));
    };
    scram.finish(proof.0).map_err(|_| LoginError::Unproven)?;
    done(upstream).await
}

/// An "all is well" in place of the proof is a server that does not know the password.
fn not_proved(frame: &wire::Frame) -> LoginError {
    match Message::decode(frame) {
        Ok(Message::Authentication(Authentication::Ok)) => LoginError::Unproven,
        _ => unexpected(frame),
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "every other message is not due here")]
async fn done(upstream: &mut Conversation) -> Result<(), LoginError> {
    let frame = upstream.next().await?;
    match Message::decode(&frame)? {
        Message::Authentication(Authentication::Ok) => Ok(()),
        _ => Err(unexpected(&frame)),
    }
}
