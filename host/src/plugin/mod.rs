//! Policies as sandboxed WebAssembly components.
//!
//! ```text
//!  bytes ─► check ─► catalog (engine, wasi) ─► Loaded ─► instance ─► tenant ─► slot ─► executor ◄─ the room's driver
//!                                                          bindings, guest      └► shadow   └► record ─► replay
//! ```
//! Owns every guest: what may be loaded, what it may use, and when it is replaced. Bytes come in through the catalog, questions through a
//! [`executor::SlotHandle`]; answers, in the plain types of [`types`], go out through the room's `deliver`. What always holds: no guest
//! code runs on a room's own task, none without a deadline and a memory cap, and none sees anything but its call's arguments.

mod bindings;
pub mod catalog;
pub mod check;
pub mod engine;
pub mod events;
pub mod executor;
mod guest;
pub mod hindsight;
pub mod inputs;
pub mod instance;
pub mod meter;
pub mod prepare;
pub mod record;
pub mod replay;
pub mod shadow;
pub mod slot;
mod tenant;
pub mod tools;
pub mod types;
mod wasi;
