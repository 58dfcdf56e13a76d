//! The server as its clients meet it: over real sockets, on loopback.

mod common;
mod door;
mod flood;
mod health;
mod http;
mod lifecycle;
mod limits;
#[path = "../shared/ports.rs"]
mod ports;
mod sharing;
mod traces;
mod vm;
