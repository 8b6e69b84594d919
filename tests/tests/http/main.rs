//! The service from outside in: a real `scrim serve` with real models and plugins, asked over HTTP, WebSocket and the command line.
//! The tests of a file share a host where they can; it ends with the last of them.

mod access;
mod command;
mod content;
mod events;
mod learned;
mod page;
mod plugins;
mod policy;
mod recordings;
mod refusals;
mod restart;
mod rooms;
mod shared;
