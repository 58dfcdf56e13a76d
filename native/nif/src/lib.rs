//! The shared library that the VM loads.
//!
//! Terms in, one call into a crate that knows no Erlang, terms out. The
//! registry is a static: a new version of the Erlang module that loads the
//! same library finds every count (see `upgrade`).
#![deny(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod atoms;
mod attribute;
mod cache;
mod capture;
mod cold;
mod context;
mod door;
mod exemplar;
mod exporter;
mod guard;
mod health;
mod hot;
mod lifetime;
mod list;
mod listener;
mod load;
mod log;
mod operations;
mod owner;
mod party;
mod printed;
mod propagation;
mod raw;
mod record;
mod redaction;
mod refusal;
mod request;
mod span;
mod span_entry;
mod state;
mod text;
mod tracing;
mod vm;
mod work;
