//! Questions of our own over a session of its own: where the client's session would see an old catalog.

use wire::postgres::{backend::Message, write};

use super::{
    LoggedIn, LoginError,
    conversation::{Conversation, unexpected},
};

/// Rows as text, of each question.
type Answers = Vec<Vec<Vec<Option<String>>>>;

/// Asks one question after the other, and leaves.
pub(in crate::postgres) async fn ask(session: LoggedIn, questions: &[&str]) -> Result<Answers, LoginError> {
    let mut upstream = Conversation::new(session.stream);
    let mut answers = Vec::new();
    for question in questions {
        upstream.send(|to| write::query(to, question)).await?;
        answers.push(rows(&mut upstream).await?);
    }
    upstream
        .send(|to| {
            write::terminate(to);
            Ok(())
        })
        .await?;
    Ok(answers)
}

#[expect(clippy::wildcard_enum_match_arm, reason = "every other message is not due here")]
async fn rows(upstream: &mut Conversation) -> Result<Vec<Vec<Option<String>>>, LoginError> {
    let unreadable = |_| LoginError::Protocol("an answer is not UTF-8");
    let mut rows = Vec::new();
    loop {
        let frame = upstream.next().await?;
        match Message::decode(&frame)? {
            Message::RowDescription(_) | Message::CommandComplete(_) | Message::ParameterStatus(..) => {}
            Message::DataRow(row) => {
                let text = |value: &[u8]| String::from_utf8(value.to_vec()).map_err(unreadable);
                rows.push(row.iter().map(|value| value.map(text).transpose()).collect::<Result<_, _>>()?);
            }
            Message::ReadyForQuery(_) => return Ok(rows),
            _ => return Err(unexpected(&frame)),
        }
    }
}
