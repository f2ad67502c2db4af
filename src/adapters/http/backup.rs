//! `GET /backup`: the whole state as the bytes of a backup file.
//!
//! Owns the path and who may ask for it: the door has no password, so that it gives the state out only where nobody but
//! this machine reaches it. Invariant: an answer that was cut short lacks the piece that says it is whole.

use std::convert::Infallible;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::stream;

use crate::node::Node;

/// Whom to ask, and whether it may be asked.
#[derive(Clone)]
struct Asked {
    node: Node,
    is_loopback: bool,
}

pub(super) fn router(node: Node, is_loopback: bool) -> Router {
    Router::new().route("/backup", get(backup)).with_state(Asked { node, is_loopback })
}

async fn backup(State(Asked { node, is_loopback }): State<Asked>) -> Response {
    if !is_loopback {
        let why = "the http door is open to other machines and asks for no password: no backup\n";
        return (StatusCode::FORBIDDEN, why).into_response();
    }
    match node.backup().await {
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")).into_response(),
        Ok(pieces) => {
            let pieces = stream::unfold(pieces, |mut pieces| async {
                pieces.recv().await.map(|piece| (Ok::<_, Infallible>(piece), pieces))
            });
            let kind = [(header::CONTENT_TYPE, "application/octet-stream")];
            (kind, Body::from_stream(pieces)).into_response()
        }
    }
}
