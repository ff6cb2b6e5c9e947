//! The Postgres codec against itself, hostile bytes, and every split of a stream.

#![cfg(test)]

use bytes::{Bytes, BytesMut};
use chaperone_wire::{
    DecodeError, EncodeError, Frame,
    postgres::{
        ClientSplitter, Format, Piece, ServerSplitter, Target, TransactionStatus, backend, frontend,
        startup::{MAX_PACKET, Packet, Version},
        write::{self, Bare, Bound, ErrorText, Severity},
    },
};
use proptest::prelude::*;
use rstest::rstest;

/// One of everything that a client may send.
fn client_messages() -> Vec<u8> {
    let mut to = BytesMut::new();
    write::query(&mut to, "SELECT 'ü'; SELECT 2").unwrap();
    write::parse(&mut to, "s1", "SELECT $1::int, $2", &[23, 0]).unwrap();
    let values: [Option<&[u8]>; 3] = [Some(b"1"), None, Some(b"")];
    let bound =
        Bound { formats: &[Format::Binary], values: &values, results: &[Format::Text, Format::Binary] };
    write::bind(&mut to, "p1", "s1", bound).unwrap();
    write::describe(&mut to, Target::Statement("s1")).unwrap();
    write::describe(&mut to, Target::Portal("")).unwrap();
    write::execute(&mut to, "p1", 7).unwrap();
    write::close(&mut to, Target::Portal("p1")).unwrap();
    write::flush(&mut to);
    write::sync(&mut to);
    to.extend_from_slice(b"d\0\0\0\x07abc");
    to.extend_from_slice(b"d\0\0\0\x04");
    to.extend_from_slice(b"c\0\0\0\x04");
    write::copy_fail(&mut to, "no more").unwrap();
    to.extend_from_slice(b"F\0\0\0\x13\0\0\0\x2a\0\0\0\x01\0\0\0\x01x\0\0");
    write::password(&mut to, b"secret").unwrap();
    write::sasl_initial(&mut to, "SCRAM-SHA-256", b"n,,n=,r=abc").unwrap();
    write::terminate(&mut to);
    to.to_vec()
}

/// One of everything that a server may send.
fn server_messages() -> Vec<u8> {
    let mut to = BytesMut::new();
    to.extend_from_slice(b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0");
    to.extend_from_slice(b"R\0\0\0\x0c\0\0\0\x05salt");
    to.extend_from_slice(b"R\0\0\0\x0b\0\0\0\x0bx=y");
    write::authentication_ok(&mut to);
    write::parameter_status(&mut to, "server_version", "15.1").unwrap();
    write::backend_key_data(&mut to, 77, &[7; 32]).unwrap();
    write::negotiate(&mut to, Version::V3_2, &["_pq_.x"]).unwrap();
    write::ready_for_query(&mut to, TransactionStatus::Idle);
    write::text_row_description(&mut to, &["a", "b"]).unwrap();
    write::data_row(&mut to, &[Some(b"1"), None]).unwrap();
    write::data_row(&mut to, &[Some(b""), Some(&[9; 300][..])]).unwrap();
    write::command_complete(&mut to, "SELECT 2").unwrap();
    for answer in [Bare::ParseComplete, Bare::BindComplete, Bare::CloseComplete, Bare::NoData] {
        write::bare(&mut to, answer);
    }
    to.extend_from_slice(b"t\0\0\0\x0a\0\x01\0\0\0\x17");
    write::bare(&mut to, Bare::PortalSuspended);
    write::bare(&mut to, Bare::EmptyQueryResponse);
    to.extend_from_slice(b"G\0\0\0\x09\0\0\x01\0\0");
    to.extend_from_slice(b"H\0\0\0\x07\x01\0\0");
    to.extend_from_slice(b"W\0\0\0\x07\0\0\0");
    to.extend_from_slice(b"d\0\0\0\x08rows");
    write::bare(&mut to, Bare::CopyDone);
    to.extend_from_slice(b"V\0\0\0\x08\xff\xff\xff\xff");
    to.extend_from_slice(b"A\0\0\0\x0d\0\0\0\x05ch\0p\0");
    let error = ErrorText { position: Some(3), ..ErrorText::new(Severity::Error, "42601", "syntax") };
    write::error(&mut to, &error);
    write::notice(&mut to, &ErrorText::new(Severity::Notice, "00000", "hello"));
    write::ready_for_query(&mut to, TransactionStatus::Failed);
    to.to_vec()
}

fn cut_client(parts: &[&[u8]]) -> Result<Vec<Frame>, DecodeError> {
    let mut splitter = ClientSplitter::default();
    let mut frames = Vec::new();
    for part in parts {
        splitter.push(part);
        while let Some(frame) = splitter.next()? {
            frames.push(frame);
        }
    }
    Ok(frames)
}

/// Frames as they are; what streams, joined again.
fn cut_server(parts: &[&[u8]]) -> Result<(Vec<u8>, usize, usize), DecodeError> {
    let mut splitter = ServerSplitter::default();
    let (mut joined, mut frames, mut streamed) = (Vec::new(), 0, 0);
    for part in parts {
        splitter.push(part);
        while let Some(piece) = splitter.next()? {
            match piece {
                Piece::Frame(frame) => {
                    backend::Message::decode(&frame)?;
                    frames += 1;
                    joined.extend_from_slice(frame.raw());
                }
                Piece::Stream { bytes, messages } => {
                    streamed += messages;
                    joined.extend_from_slice(&bytes);
                }
            }
        }
    }
    Ok((joined, frames, streamed))
}

#[test]
fn every_client_message_survives_every_split() {
    let stream = client_messages();
    let whole = cut_client(&[&stream]).unwrap();
    assert_eq!(whole.len(), 17);
    assert_eq!(whole.iter().flat_map(|frame| frame.raw().to_vec()).collect::<Vec<_>>(), stream);
    for at in 0..=stream.len() {
        let (front, back) = stream.split_at(at);
        assert_eq!(cut_client(&[front, back]).unwrap(), whole, "split at {at}");
    }
    let bytes: Vec<&[u8]> = stream.chunks(1).collect();
    assert_eq!(cut_client(&bytes).unwrap(), whole);
}

#[test]
fn every_server_message_survives_every_split() {
    let stream = server_messages();
    let whole = cut_server(&[&stream]).unwrap();
    assert_eq!(whole.0, stream);
    assert_eq!(whole.2, 4, "two rows, one CopyData, one function result");
    for at in 0..=stream.len() {
        let (front, back) = stream.split_at(at);
        assert_eq!(cut_server(&[front, back]).unwrap(), whole, "split at {at}");
    }
    let bytes: Vec<&[u8]> = stream.chunks(1).collect();
    assert_eq!(cut_server(&bytes).unwrap(), whole);
}

#[test]
fn client_messages_mean_what_was_written() {
    let frames = cut_client(&[&client_messages()]).unwrap();
    let messages: Vec<_> = frames.iter().map(|frame| frontend::Message::decode(frame).unwrap()).collect();
    assert!(matches!(messages[0], frontend::Message::Query(query) if query.text == "SELECT 'ü'; SELECT 2"));
    let frontend::Message::Parse(parse) = messages[1] else { panic!("not a Parse") };
    assert_eq!((parse.name, parse.types.iter().collect::<Vec<_>>()), ("s1", vec![23, 0]));
    let frontend::Message::Bind(bind) = messages[2] else { panic!("not a Bind") };
    assert_eq!((bind.portal, bind.statement), ("p1", "s1"));
    assert_eq!(bind.values.iter().collect::<Vec<_>>(), [Some(&b"1"[..]), None, Some(&b""[..])]);
    assert_eq!(
        (bind.formats.of(2), bind.results.of(0), bind.results.of(1)),
        (Format::Binary, Format::Text, Format::Binary)
    );
    assert_eq!(messages[4], frontend::Message::Describe(Target::Portal("")));
    assert!(matches!(messages[5], frontend::Message::Execute(e) if e.portal == "p1" && e.max_rows == 7));
}

#[test]
fn later_client_messages_mean_what_was_written() {
    let frames = cut_client(&[&client_messages()]).unwrap();
    let messages: Vec<_> = frames.iter().map(|frame| frontend::Message::decode(frame).unwrap()).collect();
    let frontend::Message::FunctionCall(call) = messages[13] else { panic!("not a FunctionCall") };
    assert_eq!((call.function, call.arguments.iter().collect::<Vec<_>>()), (42, vec![Some(&b"x"[..])]));
    let frontend::Message::Password(password) = messages[14] else { panic!("not a Password") };
    assert_eq!(password.password(), Ok(&b"secret"[..]));
    let frontend::Message::Password(sasl) = messages[15] else { panic!("not a Password") };
    assert_eq!(sasl.sasl_initial(), Ok(("SCRAM-SHA-256", Some(&b"n,,n=,r=abc"[..]))));
    assert_eq!(messages[16], frontend::Message::Terminate);
}

#[rstest]
#[case::unknown_tag(b"z", DecodeError::Tag(b'z'))]
#[case::startup_after_startup(b"\0\0\0\x08", DecodeError::Tag(0))]
#[case::length_below_itself(b"S\0\0\0\x03", DecodeError::Length(3))]
#[case::oversize_at_its_header(b"S\x7f\xff\xff\xff", DecodeError::TooLong { length: 0x8000_0000, limit: 64 * 1024 })]
#[case::oversize_bind(b"B\x04\0\0\x01", DecodeError::TooLong { length: 0x0400_0002, limit: 64 * 1024 * 1024 })]
fn a_client_stream_is_refused_as_soon_as_it_is_wrong(#[case] bytes: &[u8], #[case] error: DecodeError) {
    assert_eq!(cut_client(&[bytes]), Err(error));
}

#[rstest]
#[case::query_without_terminator(b'Q', b"SELECT 1", DecodeError::Unterminated)]
#[case::query_with_more(b'Q', b"SELECT 1\0x", DecodeError::Trailing(1))]
#[case::second_text_after_nul(b'Q', b"SELECT 1\0DROP TABLE t\0", DecodeError::Trailing(13))]
#[case::query_not_utf8(b'Q', b"SELECT '\xc0\xaf'\0", DecodeError::Encoding)]
#[case::parse_name_not_utf8(b'P', b"\xff\0SELECT\0\0\0", DecodeError::Encoding)]
#[case::parse_types_short(b'P', b"\0SELECT\0\0\x02\0\0\0\x17", DecodeError::Truncated)]
#[case::sync_with_body(b'S', b"x", DecodeError::Trailing(1))]
#[case::describe_of_nothing(b'D', b"Qx\0", DecodeError::Value { field: "the kind of thing named", value: 81 })]
#[case::bind_value_too_long(b'B', b"\0\0\0\0\0\x01\0\0\0\x09x\0\0", DecodeError::Truncated)]
#[case::bind_value_negative(b'B', b"\0\0\0\0\0\x01\xff\xff\xff\xfe\0\0", DecodeError::Value { field: "a value's length", value: -2 })]
#[case::bind_format_unknown(b'B', b"\0\0\0\x01\0\x02\0\0\0\0", DecodeError::Value { field: "a format code", value: 2 })]
#[case::bind_formats_unmatched(b'B', b"\0\0\0\x02\0\0\0\x01\0\x01\xff\xff\xff\xff\0\0", DecodeError::Value { field: "the number of format codes", value: 2 })]
#[case::bind_count_beyond_bytes(b'B', b"\0\0\0\0\xff\xff\0\0", DecodeError::Truncated)]
#[case::execute_short(b'E', b"p\0\0\0", DecodeError::Truncated)]
#[case::server_tag(b'Z', b"I", DecodeError::Tag(b'Z'))]
fn a_malformed_client_message_is_refused(#[case] tag: u8, #[case] body: &[u8], #[case] error: DecodeError) {
    let mut raw = vec![tag];
    raw.extend_from_slice(&u32::try_from(body.len() + 4).unwrap().to_be_bytes());
    raw.extend_from_slice(body);
    let frame = Frame::new(Bytes::from(raw)).unwrap();
    assert_eq!(frontend::Message::decode(&frame), Err(error));
}

#[rstest]
#[case::unknown_status(b'Z', b"X")]
#[case::empty_status(b'Z', b"")]
#[case::short_key(b'K', b"\0\0\0\x01abc")]
#[case::long_key(b'K', &[1; 261])]
#[case::error_without_end(b'E', b"Mtext\0")]
#[case::error_after_end(b'E', b"Mtext\0\0x")]
#[case::columns_beyond_bytes(b'T', b"\xff\xff")]
#[case::mechanisms_without_end(b'R', b"\0\0\0\x0aSCRAM\0")]
#[case::md5_without_salt(b'R', b"\0\0\0\x05abc")]
#[case::options_beyond_bytes(b'v', b"\0\0\0\x02\xff\xff\xff\xffa\0")]
#[case::row_value_beyond_row(b'D', b"\0\x01\0\0\0\x05abcd")]
#[case::client_tag(b'Q', b"x\0")]
fn a_malformed_server_message_is_refused(#[case] tag: u8, #[case] body: &[u8]) {
    assert!(backend::Message::read(tag, body).is_err());
}

#[test]
fn an_endless_row_streams_without_being_held() {
    let mut splitter = ServerSplitter::default();
    splitter.push(b"D\x7f\xff\xff\xfe");
    let mut passed = 0;
    for _ in 0..1000 {
        splitter.push(&[0; 8192]);
        let Some(Piece::Stream { bytes, .. }) = splitter.next().unwrap() else { panic!("held back") };
        passed += bytes.len();
        assert!(splitter.buffer().is_empty());
    }
    assert_eq!(passed, 5 + 1000 * 8192);
}

#[test]
fn an_assembled_server_message_is_bounded() {
    let mut splitter = ServerSplitter::default();
    splitter.push(b"E\x02\0\0\0");
    assert!(matches!(splitter.next(), Err(DecodeError::TooLong { .. })));
    let mut rows = ServerSplitter::default();
    rows.push(b"D\x02\0\0\0");
    assert!(matches!(rows.whole(), Err(DecodeError::TooLong { .. })), "a row of our own reads is bounded");
}

#[test]
fn own_messages_cannot_smuggle_a_terminator() {
    let mut to = BytesMut::from(&b"before"[..]);
    assert_eq!(write::query(&mut to, "SELECT 1\0DROP"), Err(EncodeError::Nul));
    assert_eq!(write::startup(&mut to, Version::V3_0, &[("user", "a\0b")]), Err(EncodeError::Nul));
    assert_eq!(write::startup(&mut to, Version::V3_0, &[("", "b")]), Err(EncodeError::Nul));
    assert_eq!(&to[..], b"before", "nothing of a message that failed stays");
}

#[test]
fn startup_packets_mean_what_was_written() {
    let mut to = BytesMut::new();
    write::ssl_request(&mut to);
    write::startup(&mut to, Version::V3_2, &[("user", "u"), ("database", "d"), ("user", "v")]).unwrap();
    write::cancel_request(&mut to, 5, &[1; 32]).unwrap();
    assert_eq!(Packet::decode(&Packet::split(&mut to).unwrap().unwrap()), Ok(Packet::SslRequest));
    let start = Packet::split(&mut to).unwrap().unwrap();
    let Ok(Packet::Start(start)) = Packet::decode(&start) else { panic!("not a start") };
    assert_eq!(
        (start.version, start.parameter("user"), start.parameter("x")),
        (Version::V3_2, Some("v"), None)
    );
    let cancel = Packet::split(&mut to).unwrap().unwrap();
    let Ok(Packet::CancelRequest(cancel)) = Packet::decode(&cancel) else { panic!("not a cancel") };
    assert_eq!((cancel.pid, cancel.key), (5, &[1; 32][..]));
    assert_eq!(Packet::split(&mut to), Ok(None));
}

#[rstest]
#[case::version_2(&[0, 2, 0, 0])]
#[case::version_4(&[0, 4, 0, 0, 0])]
#[case::http(b"GET / HT")]
#[case::no_end(b"\0\x03\0\0user\0me\0")]
#[case::name_without_value(b"\0\x03\0\0user\0")]
#[case::bytes_after_end(b"\0\x03\0\0\0x")]
#[case::ssl_with_more(b"\x04\xd2\x16\x2fx")]
#[case::cancel_without_key(b"\x04\xd2\x16\x2e\0\0\0\x01")]
#[case::cancel_with_endless_key(&[&b"\x04\xd2\x16\x2e\0\0\0\x01"[..], &[1; 257]].concat())]
#[case::not_utf8(b"\0\x03\0\0user\0\xff\0\0")]
fn a_malformed_startup_packet_is_refused(#[case] body: &[u8]) {
    assert!(Packet::decode(body).is_err());
}

#[test]
fn a_startup_packet_is_bounded() {
    let length = u32::try_from(MAX_PACKET + 1).unwrap().to_be_bytes();
    assert!(matches!(Packet::split(&mut BytesMut::from(&length[..])), Err(DecodeError::TooLong { .. })));
    assert!(matches!(Packet::split(&mut BytesMut::from(&b"GET "[..])), Err(DecodeError::TooLong { .. })));
    assert_eq!(Packet::split(&mut BytesMut::from(&[0, 0, 0, 7][..])), Err(DecodeError::Length(7)));
}

#[test]
fn debug_output_never_holds_values() {
    let frames = cut_client(&[&client_messages()]).unwrap();
    let shown: String =
        frames.iter().map(|frame| format!("{:?}{frame:?}", frontend::Message::decode(frame))).collect();
    for hidden in ["SELECT", "secret", "no more", "abc", "97, 98"] {
        assert!(!shown.contains(hidden), "{hidden} in {shown}");
    }
}

/// The attempt alone matters.
fn attempted<T>(_: T) {}

proptest! {
    #[test]
    fn hostile_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), tag in any::<u8>()) {
        attempted(cut_client(&[&bytes]));
        attempted(cut_server(&[&bytes]));
        attempted(backend::Message::read(tag, &bytes));
        attempted(Packet::decode(&bytes));
        let mut raw = vec![tag];
        raw.extend_from_slice(&u32::try_from(bytes.len() + 4).unwrap().to_be_bytes());
        raw.extend_from_slice(&bytes);
        let frame = Frame::new(Bytes::from(raw)).unwrap();
        if let Ok(frontend::Message::Password(password)) = frontend::Message::decode(&frame) {
            attempted((password.password(), password.sasl_initial()));
        }
    }

    #[test]
    fn a_damaged_message_never_panics(at in 0usize..400, byte in any::<u8>()) {
        let mut client = client_messages();
        let place = at % client.len();
        client[place] = byte;
        for frame in cut_client(&[&client]).unwrap_or_default() {
            attempted(frontend::Message::decode(&frame));
        }
        let mut server = server_messages();
        let place = at % server.len();
        server[place] = byte;
        attempted(cut_server(&[&server]));
    }

    #[test]
    fn a_bind_reads_back(portal in "[^\0]{0,9}", statement in "[^\0]{0,9}",
                         values in proptest::collection::vec(proptest::option::of(proptest::collection::vec(any::<u8>(), 0..20)), 0..8)) {
        let borrowed: Vec<Option<&[u8]>> = values.iter().map(|value| value.as_deref()).collect();
        let mut to = BytesMut::new();
        let bound = Bound { formats: &[Format::Text], values: &borrowed, results: &[] };
        write::bind(&mut to, &portal, &statement, bound).unwrap();
        let frame = Frame::new(to.freeze()).unwrap();
        let Ok(frontend::Message::Bind(bind)) = frontend::Message::decode(&frame) else { panic!("not a Bind") };
        prop_assert_eq!(bind.portal, portal);
        prop_assert_eq!(bind.statement, statement);
        prop_assert_eq!(bind.values.iter().collect::<Vec<_>>(), borrowed);
    }
}
