//! The one place that calls libpg_query: its Rust wrapper drops the error's position and walks the tree twice.

#![expect(unsafe_code, reason = "libpg_query is C; everything unsafe of this crate is in this file")]

use std::ffi::{CStr, CString, c_char, c_int};
use std::sync::{Mutex, PoisonError};

use pg_query::protobuf;
use prost_of_pg_query::Message;

use super::{SyntaxError, SyntaxErrorKind};

#[repr(C)]
struct RawError {
    message: *mut c_char,
    funcname: *mut c_char,
    filename: *mut c_char,
    lineno: c_int,
    cursorpos: c_int,
    context: *mut c_char,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct RawBytes {
    len: usize,
    data: *mut c_char,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct RawResult {
    tree: RawBytes,
    stderr_buffer: *mut c_char,
    error: *mut RawError,
}

unsafe extern "C" {
    fn pg_query_parse_protobuf_opts(input: *const c_char, options: c_int) -> RawResult;
    fn pg_query_free_protobuf_parse_result(result: RawResult);
}

/// libpg_query redirects the process's stderr while it parses; two at once could leave it redirected.
static PARSER: Mutex<()> = Mutex::new(());

/// Frees the C result however this scope ends.
struct Owned(RawResult);

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: the result came from `pg_query_parse_protobuf_opts` and is freed once, here.
        unsafe { pg_query_free_protobuf_parse_result(self.0) }
    }
}

/// Parses a text on the current thread's stack.
pub(super) fn parse(text: &str) -> Result<protobuf::ParseResult, SyntaxError> {
    let nul = |_| SyntaxError {
        message: "the text has a zero byte".to_owned(),
        position: None,
        kind: SyntaxErrorKind::Syntax,
    };
    let input = CString::new(text).map_err(nul)?;
    let owned = {
        let _one_at_a_time = PARSER.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: `input` is a terminated string that outlives the call, and 0 is the default options.
        Owned(unsafe { pg_query_parse_protobuf_opts(input.as_ptr(), 0) })
    };
    if !owned.0.error.is_null() {
        // SAFETY: a non-null error points to a filled struct that lives as long as `owned`.
        return Err(error(unsafe { &*owned.0.error }));
    }
    let bytes = if owned.0.tree.data.is_null() {
        &[][..]
    } else {
        // SAFETY: without an error, `data` points to `len` bytes that live as long as `owned`.
        unsafe { std::slice::from_raw_parts(owned.0.tree.data.cast::<u8>(), owned.0.tree.len) }
    };
    protobuf::ParseResult::decode(bytes).map_err(|_| SyntaxError {
        message: "the parser's answer could not be read".to_owned(),
        position: None,
        kind: SyntaxErrorKind::TooDeep,
    })
}

fn error(raw: &RawError) -> SyntaxError {
    let message = if raw.message.is_null() {
        "syntax error".to_owned()
    } else {
        // SAFETY: a non-null message is a terminated string owned by the error.
        unsafe { CStr::from_ptr(raw.message) }.to_string_lossy().into_owned()
    };
    let deep = message.contains("stack depth") || message.contains("nested too deeply");
    SyntaxError {
        message,
        position: usize::try_from(raw.cursorpos).ok().filter(|position| *position > 0),
        kind: if deep { SyntaxErrorKind::TooDeep } else { SyntaxErrorKind::Syntax },
    }
}
