//! What the host remembers: rooms, their policies, what the policies learnt, what was reported, what happened. The one place with SQL.
//!
//! Verbs of the domain go in, plain rows come out; a room is named by its name. Times are microseconds since the Unix epoch and come
//! from the caller: nothing here reads a clock. A question about a room that is not there finds nothing; a write to one is
//! [`StoreError::Missing`].
//!
//! ```text
//! <folder>/scrim.db         SQLite, one file, its schema in host/migrations
//!          scrim.db-wal     what was written lately; part of the database
//!          scrim.db-shm     shared between connections, made again when lost
//! ```
//! What always holds: a write that was answered survives the end of the process and of the power (write-ahead log, `synchronous =
//! FULL`); a verb writes all of it or nothing, in one transaction; a revision, once given, never means other contents of the same row.
//! A failure of the disk is an error of the one call ([`StoreError::is_unavailable`]): when the disk works again, so does the store.
//! No file is ever deleted or repaired here.
//!
//! There is one connection that writes, since SQLite has one writer, and a few that read: readers never wait for the writer.

mod error;
mod events;
mod feedback;
mod plugins;
mod policies;
mod rooms;
mod sessions;
mod snapshots;
mod values;

#[cfg(test)]
mod fault_tests;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection, Sqlite, SqliteConnection, Transaction};

pub use error::StoreError;
use error::{DAMAGED, NOT_WRITABLE, remedy, unavailable};
pub use events::{EventRow, KeptText};
pub use feedback::{FeedbackCount, FeedbackRow, Journalled, NewFeedback};
pub use plugins::PluginRow;
pub use policies::{PolicyRow, Scope};
pub use rooms::RoomRow;
pub use sessions::{SessionCounts, SessionRow};
pub use snapshots::{SNAPSHOTS_KEPT, SnapshotRow};

/// A migration, once released, is never changed: its checksum is in every database. A new file is noticed when this one is built again.
static MIGRATOR: Migrator = sqlx::migrate!();

const READERS: u32 = 4;
/// How long a statement waits for another process to let go of the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a verb waits for its turn; longer than one wait for a busy file, so that this wait's own error is seen.
const TURN_TIMEOUT: Duration = Duration::from_secs(10);

/// See the module's documentation. Clones share the connections.
#[derive(Clone, Debug)]
pub struct Store {
    writer: SqlitePool,
    readers: SqlitePool,
}

impl Store {
    /// Opens the file, making it and its folder where they are not there, and brings its schema up to date. Reads all of it once, to
    /// see that it is whole.
    pub async fn open(path: &Path) -> Result<Store, StoreError> {
        // An absolute path is never taken for one of SQLite's special names.
        let path = std::path::absolute(path).map_err(|error| unusable_io(path, &error))?;
        if let Some(folder) = path.parent() {
            make_folder(folder).map_err(|error| unusable_io(&path, &error))?;
        }
        // Asked before SQLite sees the file: it would leave a log beside it that is as read-only as the file.
        if std::fs::metadata(&path).is_ok_and(|file| file.permissions().readonly()) {
            let why = "the file is read-only".to_owned();
            return Err(StoreError::Unusable { path, why, remedy: NOT_WRITABLE });
        }
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT)
            .synchronous(SqliteSynchronous::Full)
            // What is forgotten is not left in the file.
            .pragma("secure_delete", "ON");
        let store = Self::connect(&path, options).await?;
        match store.prepare(&path).await {
            Ok(()) => Ok(store),
            Err(error) => {
                store.close().await;
                Err(error)
            }
        }
    }

    async fn connect(path: &Path, options: SqliteConnectOptions) -> Result<Store, StoreError> {
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(TURN_TIMEOUT)
            .connect_lazy_with(options.clone().create_if_missing(false).pragma("query_only", "ON"));
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .acquire_timeout(TURN_TIMEOUT)
            .idle_timeout(None)
            .max_lifetime(None)
            // SQLite ends a transaction by itself when the disk is full or fails; sqlx then counts one that is no longer there, and
            // would refuse to begin the next. Such a connection is replaced.
            .before_acquire(|connection, _| Box::pin(async move { Ok(!connection.is_in_transaction()) }))
            .connect_with(options.journal_mode(SqliteJournalMode::Wal))
            .await
            .map_err(unusable(path))?;
        Ok(Store { writer, readers })
    }

    /// What a file must pass before it is used.
    async fn prepare(&self, path: &Path) -> Result<(), StoreError> {
        let faults: Vec<String> = sqlx::query_scalar("PRAGMA quick_check(3)").fetch_all(&self.writer).await.map_err(unusable(path))?;
        if faults != ["ok"] {
            let why = format!("the file is damaged ({})", faults.join("; "));
            return Err(StoreError::Unusable { path: path.to_owned(), why, remedy: DAMAGED });
        }
        let tables: Vec<String> = sqlx::query_scalar("SELECT name FROM sqlite_schema WHERE type = 'table'")
            .fetch_all(&self.writer)
            .await
            .map_err(unusable(path))?;
        if !tables.is_empty() && !tables.iter().any(|name| name == "_sqlx_migrations") {
            let why = "it is another program's database".to_owned();
            return Err(StoreError::Unusable { path: path.to_owned(), why, remedy: "name another file for Scrim's own" });
        }
        MIGRATOR.run(&self.writer).await.map_err(|error| unmigratable(path, error))?;
        // Whether it can be written shows only in a write.
        self.beat().await.map_err(unusable(path))
    }

    /// A small real write, so that a full, read-only or broken disk is noticed.
    pub async fn check(&self) -> Result<(), StoreError> {
        let beaten = self.beat().await;
        if beaten.as_ref().is_err_and(error::is_read_only)
            && let Ok(connection) = self.writer.acquire().await
        {
            // The next one may find the file writable again. What closing it says, the next write says too.
            let _ = connection.detach().close().await;
        }
        beaten.map_err(unavailable("write its heartbeat"))
    }

    async fn beat(&self) -> Result<(), sqlx::Error> {
        sqlx::query("INSERT INTO heartbeat (id, beats) VALUES (1, 1) ON CONFLICT (id) DO UPDATE SET beats = heartbeat.beats + 1")
            .execute(&self.writer)
            .await
            .map(drop)
    }

    /// Waits for the verbs under way, then lets go of the file. Verbs called later fail.
    pub async fn close(&self) {
        self.readers.close().await;
        // The last connection folds the write-ahead log into the file.
        self.writer.close().await;
    }

    /// A transaction that holds the file's one write lock from its beginning: what it reads stays so until it commits. Every write that
    /// fetches rows needs one: without, it is committed when its rows are dropped, where nobody hears of a full disk.
    async fn begin(&self) -> Result<Transaction<'static, Sqlite>, sqlx::Error> {
        self.writer.begin_with("BEGIN IMMEDIATE").await
    }
}

/// The identity of a room, for a write that hangs on it.
async fn room_id(connection: &mut SqliteConnection, room: &str, failed: impl Fn(sqlx::Error) -> StoreError) -> Result<String, StoreError> {
    let id: Option<String> =
        sqlx::query_scalar("SELECT id FROM rooms WHERE name = $1").bind(room).fetch_optional(connection).await.map_err(failed)?;
    id.ok_or_else(|| StoreError::Missing(rooms::named(room)))
}

fn unusable(path: &Path) -> impl Fn(sqlx::Error) -> StoreError + Copy + '_ {
    move |error| StoreError::Unusable { path: path.to_owned(), why: error.to_string(), remedy: remedy(&error) }
}

fn unusable_io(path: &Path, error: &std::io::Error) -> StoreError {
    let remedy = "see that its folder can be made and written by the user that runs Scrim";
    StoreError::Unusable { path: path.to_owned(), why: error.to_string(), remedy }
}

fn unmigratable(path: &Path, error: MigrateError) -> StoreError {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => unusable(path)(error),
        other => {
            let remedy = "its tables are of another version of Scrim: use that version, or start with a new file";
            StoreError::Unusable { path: path.to_owned(), why: other.to_string(), remedy }
        }
    }
}

/// Makes a folder and those above it, and sees that they are still there after the power fails.
fn make_folder(folder: &Path) -> std::io::Result<()> {
    let missing: Vec<PathBuf> = folder.ancestors().take_while(|above| !above.exists()).map(Path::to_owned).collect();
    std::fs::create_dir_all(folder)?;
    // A folder's entry is in the one above it. Only Unix opens folders as files.
    if cfg!(unix) {
        for above in missing.iter().filter_map(|folder| folder.parent()) {
            std::fs::File::open(above)?.sync_all()?;
        }
    }
    Ok(())
}

#[cfg(test)]
impl Store {
    /// Lets the file grow to so many pages at most, as a full disk would; none lifts the limit. A number below its present size means
    /// that it may not grow at all.
    pub(crate) async fn limit_pages(&self, pages: Option<u32>) {
        use std::ops::Deref;
        let pages = pages.unwrap_or(u32::MAX - 1).to_string();
        // For the connection there is, and for one that takes its place after a failure.
        let options = self.writer.connect_options();
        self.writer.set_connect_options(options.deref().clone().pragma("max_page_count", pages.clone()));
        let limit = sqlx::AssertSqlSafe(format!("PRAGMA max_page_count = {pages}"));
        sqlx::query(limit).execute(&self.writer).await.unwrap();
    }
}
