//! What can go wrong between a verb and the file.

use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The name is taken.
    #[error("{0} exists already")]
    Exists(String),
    #[error("there is no {0}")]
    Missing(String),
    /// The caller's revision is not the one in the store; `current` is 0 where nothing is set.
    #[error("{what} was changed by somebody else and is at revision {current} now: read it again, then repeat the change")]
    Stale { what: String, current: i64 },
    /// A value that a database cannot give back as it was.
    #[error("{what} cannot be stored: {why}")]
    Refused { what: String, why: &'static str },
    /// Nothing was written; the same call may succeed later.
    #[error("the store could not {doing}: {source}; {}", remedy(.source))]
    Unavailable { doing: &'static str, source: sqlx::Error },
    /// The store did not open. Its file was left as it is.
    #[error("the store at {} cannot be used: {why}; {remedy}", path.display())]
    Unusable { path: PathBuf, why: String, remedy: &'static str },
}

impl StoreError {
    /// Whether the fault lies with the store, not with the question.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, StoreError::Unavailable { .. })
    }
}

pub(super) fn unavailable(doing: &'static str) -> impl Fn(sqlx::Error) -> StoreError + Copy {
    move |source| StoreError::Unavailable { doing, source }
}

/// SQLite's primary result code.
fn code(error: &sqlx::Error) -> Option<i32> {
    // The low byte of an extended code is the primary one.
    error.as_database_error()?.code()?.parse().ok().map(|code: i32| code & 0xff)
}

const READONLY: i32 = 8;

/// Whether the file could not be written when the connection was made: SQLite opens it for reading then, and stays so.
pub(super) fn is_read_only(error: &sqlx::Error) -> bool {
    code(error) == Some(READONLY)
}

/// What a person can do about it.
pub(super) fn remedy(error: &sqlx::Error) -> &'static str {
    const PERM: i32 = 3;
    const BUSY: i32 = 5;
    const LOCKED: i32 = 6;
    const CORRUPT: i32 = 11;
    const FULL: i32 = 13;
    const CANTOPEN: i32 = 14;
    const NOTADB: i32 = 26;
    match code(error) {
        Some(FULL) => "free some space on its disk",
        Some(PERM | READONLY | CANTOPEN) => NOT_WRITABLE,
        Some(BUSY | LOCKED) => "another process holds the file: end that process, or wait for it",
        Some(CORRUPT | NOTADB) => DAMAGED,
        _ => "see that its disk works and that the user that runs Scrim may read and write there",
    }
}

pub(super) const NOT_WRITABLE: &str = "make the file, those beside it (-wal, -shm) and their folder writable for the user that runs Scrim";
pub(super) const DAMAGED: &str = "stop Scrim, move the file (with its -wal and -shm) away, and put a copy back or start with a new one";
