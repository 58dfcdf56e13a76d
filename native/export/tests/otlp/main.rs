//! The OTLP exporter against receivers that decode with what others wrote.

mod common;
mod delivery;
mod ending;
mod faults;
#[path = "../shared/ports.rs"]
mod ports;
mod receiver;
mod settings;
mod spool;
mod tls;
