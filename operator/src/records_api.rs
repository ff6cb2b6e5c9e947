//! Reading the records of this replica's store, on loopback: whoever may forward a port to the operator's
//! pods may read them, and nobody else.

use std::sync::Arc;

use axum::{
    Json, Router,
    body::Body,
    extract::{Path, Query, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use futures_util::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt, path::Path as StorePath};
use serde::{Deserialize, Serialize};

use crate::collector::SEGMENTS;

/// How many names one answer lists at most.
const PAGE: usize = 1000;

type Store = Arc<dyn ObjectStore>;

/// `GET /v1/segments?after=NAME` lists names in order, `GET /v1/segments/NAME` gives the bytes.
pub fn router(store: Store) -> Router {
    Router::new().route("/v1/segments", get(list)).route("/v1/segments/{name}", get(read)).with_state(store)
}

#[derive(Deserialize)]
struct ListQuery {
    #[serde(default)]
    after: String,
}

/// A page of names. Another one follows when `more` is true.
#[derive(Debug, Serialize, Deserialize)]
pub struct Page {
    /// Names of segments, in the order of the chain.
    pub names: Vec<String>,
    /// Whether there are more.
    pub more: bool,
}

async fn list(State(store): State<Store>, Query(query): Query<ListQuery>) -> Response {
    let prefix = StorePath::from(SEGMENTS);
    let objects: Result<Vec<_>, _> = store.list(Some(&prefix)).try_collect().await;
    let objects = match objects {
        Ok(objects) => objects,
        Err(error) => return failed(&error),
    };
    let names = objects.iter().filter_map(|object| object.location.filename().map(str::to_owned));
    let mut names: Vec<String> = names.filter(|name| *name > query.after).collect();
    names.sort();
    let more = names.len() > PAGE;
    names.truncate(PAGE);
    Json(Page { names, more }).into_response()
}

async fn read(State(store): State<Store>, Path(name): Path<String>) -> Response {
    let path = StorePath::from(SEGMENTS).join(name);
    match store.get(&path).await {
        Ok(object) => {
            let kind = (header::CONTENT_TYPE, "application/jsonl");
            ([kind], Body::from_stream(object.into_stream())).into_response()
        }
        Err(object_store::Error::NotFound { .. }) => {
            (StatusCode::NOT_FOUND, "there is no such segment\n").into_response()
        }
        Err(error) => failed(&error),
    }
}

fn failed(error: &object_store::Error) -> Response {
    tracing::warn!(error = %error, "the record store cannot be read");
    (StatusCode::SERVICE_UNAVAILABLE, "the record store cannot be read\n").into_response()
}
