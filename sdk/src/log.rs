//! Messages to the room's admin. The host drops what is past 20 messages a second or 1 KiB each, and counts what it dropped.
//!
//! Natively the messages are kept per thread; [`crate::testing::Harness::logs`] takes them.

use std::fmt::Display;

/// How loud a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Debug,
    Info,
    Warn,
    Error,
}

/// Logs for whoever looks closely.
pub fn debug(message: impl Display) {
    emit(Level::Debug, message.to_string());
}

/// Logs something worth knowing.
pub fn info(message: impl Display) {
    emit(Level::Info, message.to_string());
}

/// Logs something that should not be, and is handled.
pub fn warn(message: impl Display) {
    emit(Level::Warn, message.to_string());
}

/// Logs a failure.
pub fn error(message: impl Display) {
    emit(Level::Error, message.to_string());
}

#[cfg(target_arch = "wasm32")]
fn emit(level: Level, message: String) {
    crate::wasm::log(level, &message);
}

#[cfg(not(target_arch = "wasm32"))]
fn emit(level: Level, message: String) {
    captured::push(level, message);
}

#[cfg(not(target_arch = "wasm32"))]
pub(crate) mod captured {
    use std::cell::RefCell;
    use std::collections::VecDeque;

    use super::Level;

    /// The newest messages that are kept; a benchmark that logs must not eat the machine.
    const MESSAGES_MAX: usize = 1024;

    thread_local! {
        static MESSAGES: RefCell<VecDeque<(Level, String)>> = const { RefCell::new(VecDeque::new()) };
    }

    pub fn push(level: Level, message: String) {
        MESSAGES.with_borrow_mut(|messages| {
            if messages.len() == MESSAGES_MAX {
                messages.pop_front();
            }
            messages.push_back((level, message));
        });
    }

    pub fn take() -> Vec<(Level, String)> {
        MESSAGES.with_borrow_mut(|messages| messages.drain(..).collect())
    }
}
