//! What a node says on paths that its roles leave to others.

use axum::Router;
use axum::routing::{MethodRouter, any};

use crate::api;
use crate::api::problem::Problem;
use crate::config::Roles;
use crate::gateway::wire;

/// In the place of the REST API.
pub(super) fn without_api(roles: &Roles) -> Router {
    let refuse = refusal(format!("this node does not serve the REST API: its roles are {roles}"));
    Router::new().route(api::PREFIX, any(refuse.clone())).route(&format!("{}/{{*path}}", api::PREFIX), any(refuse))
}

/// In the place of the stream.
pub(super) fn without_stream(roles: &Roles) -> Router {
    let refuse = refusal(format!("this node does not serve the stream of learners' pages: its roles are {roles}"));
    Router::new().route(wire::STREAM_PATH, any(refuse))
}

fn refusal(detail: String) -> MethodRouter {
    any(move || std::future::ready(Problem::not_found(detail)))
}
