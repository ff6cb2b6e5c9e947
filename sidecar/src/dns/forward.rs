//! Asking the cluster's nameserver. Each query has a socket and an identifier of its own, and an answer
//! counts only from the nameserver, with that identifier and the same question.

use std::{io, net::SocketAddr, time::Duration};

use hickory_proto::op::Message;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::timeout,
};

use super::{DATAGRAM, resolver::ResolvConf};

/// How long the nameserver may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// Why a name could not be forwarded.
#[derive(Debug, thiserror::Error)]
pub(super) enum ForwardError {
    #[error("there is no nameserver in resolv.conf")]
    NoServer,
    #[error("the nameserver cannot be reached: {0}")]
    Io(#[from] io::Error),
    #[error("the nameserver did not answer in time")]
    Timeout(#[from] tokio::time::error::Elapsed),
    #[error("the nameserver's answer is not one")]
    Answer,
}

/// The nameserver's answer, under the client's identifier.
pub(super) async fn ask(resolv: &ResolvConf, query: &[u8]) -> Result<Vec<u8>, ForwardError> {
    let server = resolv.nameserver.ok_or(ForwardError::NoServer)?;
    let mut answer = timeout(PATIENCE, over_udp(server, query)).await??;
    let truncated = Message::from_vec(&answer).is_ok_and(|message| message.metadata.truncation);
    if truncated {
        answer = timeout(PATIENCE, over_tcp(server, query)).await??;
    }
    Ok(answer)
}

/// The query under another identifier.
fn renamed(query: &[u8], id: [u8; 2]) -> Vec<u8> {
    id.iter().chain(query.iter().skip(2)).copied().collect()
}

async fn over_udp(server: SocketAddr, query: &[u8]) -> Result<Vec<u8>, ForwardError> {
    let any = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    let sent = renamed(query, rand::random());
    socket.send(&sent).await?;
    let mut buffer = vec![0; DATAGRAM];
    loop {
        let length = socket.recv(&mut buffer).await?;
        let answer = buffer.get(..length).unwrap_or_default();
        if answers(&sent, answer) {
            return Ok(original(query, answer));
        }
    }
}

async fn over_tcp(server: SocketAddr, query: &[u8]) -> Result<Vec<u8>, ForwardError> {
    let mut stream = TcpStream::connect(server).await?;
    let sent = renamed(query, rand::random());
    stream.write_u16(u16::try_from(sent.len()).map_err(|_| ForwardError::Answer)?).await?;
    stream.write_all(&sent).await?;
    let mut answer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut answer).await?;
    if answers(&sent, &answer) { Ok(original(query, &answer)) } else { Err(ForwardError::Answer) }
}

/// Whether `answer` belongs to `sent`: identifier and question.
fn answers(sent: &[u8], answer: &[u8]) -> bool {
    let (Ok(sent), Ok(answer)) = (Message::from_vec(sent), Message::from_vec(answer)) else { return false };
    sent.metadata.id == answer.metadata.id && sent.queries == answer.queries
}

fn original(query: &[u8], answer: &[u8]) -> Vec<u8> {
    query.iter().take(2).chain(answer.iter().skip(2)).copied().collect()
}
