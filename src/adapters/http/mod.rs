//! The HTTP door: is the node alive, can it serve, what does it know, in figures for Prometheus.
//!
//! Owns the four paths and `axum`. Changes nothing in the node. Invariant: bounded in connections, in time and in
//! request size; no request reaches the replicated data.

mod config;
mod listener;

pub use self::config::Config;
