//! The plugin host against real WebAssembly: what it loads, what it refuses, and what it does with guests that misbehave.

mod catalog;
mod hindsight;
mod hostile;
mod replay;
mod room;
mod swap;
mod wasi;
