//! AdmissionReview in and out.

use json_patch::Patch;
use k8s_openapi::api::authentication::v1::UserInfo;
use serde::Deserialize;
use serde_json::{Value, json};

use super::settings::Refusal;

const API_VERSION: &str = "admission.k8s.io/v1";
const KIND: &str = "AdmissionReview";

/// Why a body is no review that can be answered.
#[derive(Debug, thiserror::Error)]
pub enum ReviewError {
    /// Not JSON, or not of this shape.
    #[error("the body is not an AdmissionReview")]
    Unreadable(#[from] serde_json::Error),
    /// Another version or kind.
    #[error("the body is `{kind}` of `{api_version}`; send AdmissionReview of admission.k8s.io/v1")]
    Unknown {
        /// As sent.
        kind: String,
        /// As sent.
        api_version: String,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Review {
    api_version: String,
    kind: String,
    request: Request,
}

/// What the API server asks.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// Names this question; the answer repeats it.
    pub uid: String,
    /// What is done.
    pub operation: Operation,
    /// The part of the object, such as `exec`.
    #[serde(default)]
    pub sub_resource: Option<String>,
    /// The object's namespace; empty for cluster-wide ones.
    #[serde(default)]
    pub namespace: String,
    /// Who does it.
    pub user_info: UserInfo,
    /// The object as it would become.
    #[serde(default)]
    pub object: Option<Value>,
    /// The object as it is.
    #[serde(default)]
    pub old_object: Option<Value>,
}

/// What is done to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Operation {
    /// It is created.
    Create,
    /// It is changed.
    Update,
    /// It is deleted.
    Delete,
    /// Somebody connects to it.
    Connect,
}

impl Request {
    /// Reads a review.
    pub fn read(body: &[u8]) -> Result<Self, ReviewError> {
        let Review { api_version, kind, request } = serde_json::from_slice(body)?;
        match (api_version.as_str(), kind.as_str()) {
            (API_VERSION, KIND) => Ok(request),
            _ => Err(ReviewError::Unknown { kind, api_version }),
        }
    }

    /// The object as it would become.
    pub(crate) fn new_object(&self) -> Result<&Value, Refusal> {
        self.object.as_ref().ok_or_else(|| Refusal::new("the request has no object", "send one"))
    }

    /// The object as it is.
    pub(crate) fn previous_object(&self) -> Result<&Value, Refusal> {
        self.old_object.as_ref().ok_or_else(|| Refusal::new("the request has no old object", "send one"))
    }
}

/// What the API server is told.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// Admitted, changed by the patch.
    Admitted {
        /// Empty: as it is.
        patch: Patch,
        /// For its author.
        warnings: Vec<String>,
    },
    /// Refused for its author to see why.
    Refused(Refusal),
    /// Refused because we could not find out; trying again may help.
    Unknown(String),
}

impl Answer {
    /// Admitted as it is.
    pub const fn admitted() -> Self {
        Self::Admitted { patch: Patch(Vec::new()), warnings: Vec::new() }
    }

    /// In one word, for metrics.
    pub(crate) const fn verdict(&self) -> &'static str {
        match self {
            Self::Admitted { .. } => "admitted",
            Self::Refused(_) => "refused",
            Self::Unknown(_) => "unknown",
        }
    }

    /// As an AdmissionReview.
    pub fn review(&self, uid: &str) -> Value {
        let mut response = match self {
            Self::Admitted { patch, warnings } => admitted(patch, warnings),
            Self::Refused(refusal) => refused(403, "Forbidden", &format!("chaperone: {refusal}")),
            Self::Unknown(why) => refused(503, "ServiceUnavailable", &format!("chaperone: {why}; try again")),
        };
        if let Some(response) = response.as_object_mut() {
            response.insert("uid".to_owned(), json!(uid));
        }
        json!({"apiVersion": API_VERSION, "kind": KIND, "response": response})
    }
}

fn admitted(patch: &Patch, warnings: &[String]) -> Value {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let mut response = json!({"allowed": true});
    if let Some(response) = response.as_object_mut() {
        if !patch.0.is_empty() {
            response.insert("patchType".to_owned(), json!("JSONPatch"));
            response.insert("patch".to_owned(), json!(STANDARD.encode(json!(patch).to_string())));
        }
        if !warnings.is_empty() {
            response.insert("warnings".to_owned(), json!(warnings));
        }
    }
    response
}

fn refused(code: u16, reason: &str, message: &str) -> Value {
    json!({"allowed": false, "status": {"status": "Failure", "code": code, "reason": reason, "message": message}})
}
