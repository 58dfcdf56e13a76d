//! The OTLP exporter against receivers that decode with what others wrote.

mod common;
mod delivery;
mod ending;
mod faults;
mod receiver;
mod settings;
mod spool;
mod tls;
