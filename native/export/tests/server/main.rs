//! The server as its clients meet it: over real sockets, on loopback.

mod common;
mod door;
mod flood;
mod health;
mod http;
mod lifecycle;
mod limits;
mod sharing;
mod traces;
mod vm;
