//! `POST /recover`: an operator has the cluster formed anew from this node.
//!
//! Owns who may ask: only a door on loopback takes it, and only with a header that no web page can send by itself. Does not
//! decide whether there is anything to recover. Invariant: the answer says what may be lost.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::json;

use crate::consensus::{Recovered, Refusal};

type Answer = Pin<Box<dyn Future<Output = Result<Recovered, Refusal>> + Send>>;

/// Has the node recover.
pub(super) type Recover = Arc<dyn Fn() -> Answer + Send + Sync>;

/// The header by which the one who asks shows that it means this door.
pub(super) const HEADER: &str = "quorate-recover";

/// Makes the path; `is_local` says that only this machine reaches the door.
pub(super) fn router(recover: Recover, is_local: bool) -> Router {
    Router::new().route("/recover", post(answer)).with_state((recover, is_local))
}

async fn answer(
    State((recover, is_local)): State<(Recover, bool)>,
    headers: HeaderMap,
) -> Response {
    let refused = |status: StatusCode, text: &str| (status, format!("{text}\n")).into_response();
    if !is_local {
        let text =
            "http.listen is open to other machines; /recover is taken on a loopback address only";
        return refused(StatusCode::FORBIDDEN, text);
    }
    if !headers.contains_key(HEADER) {
        return refused(StatusCode::FORBIDDEN, &format!("the header '{HEADER}' is missing"));
    }
    match recover().await {
        Ok(recovered) => Json(told(&recovered)).into_response(),
        Err(refusal) => refused(StatusCode::CONFLICT, &refusal.to_string()),
    }
}

fn told(recovered: &Recovered) -> serde_json::Value {
    let Recovered { before, formation, last, voters } = recovered;
    json!({
        "epoch": formation.epoch,
        "formation": formation.to_string(),
        "before": before.to_string(),
        "last": last,
        "voters": voters,
        "lost": "what the other voters had acknowledged and this node had not heard of",
    })
}
