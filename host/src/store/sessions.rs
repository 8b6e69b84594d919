//! Sessions: the live stretches of a source.

use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Row, Sqlite};
use uuid::Uuid;

use super::error::unavailable;
use super::{Store, StoreError, room_id, values};

#[derive(Clone, Debug, PartialEq)]
pub struct SessionRow {
    pub id: Uuid,
    pub room: String,
    pub source: String,
    pub started_at: i64,
    pub ended_at: Option<i64>,
    pub frames: i64,
    pub covered: i64,
    /// Frames that the auditor says should have been covered.
    pub exposed: i64,
    /// The most viewers at once.
    pub viewers_peak: i64,
    /// Viewers that came.
    pub viewers_total: i64,
    /// Why it ended.
    pub end: Option<String>,
}

/// A session's frames and viewers from its beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionCounts {
    pub frames: i64,
    pub covered: i64,
    pub exposed: i64,
    pub viewers_peak: i64,
    pub viewers_total: i64,
}

/// Why a session ended whose end nobody wrote down.
const INTERRUPTED: &str = "the host stopped";

fn read(row: SqliteRow) -> Result<SessionRow, sqlx::Error> {
    Ok(SessionRow {
        id: values::uuid(&row, "id")?,
        room: row.try_get("room_name")?,
        source: row.try_get("source")?,
        started_at: row.try_get("started_at")?,
        ended_at: row.try_get("ended_at")?,
        frames: row.try_get("frames")?,
        covered: row.try_get("covered")?,
        exposed: row.try_get("exposed")?,
        viewers_peak: row.try_get("viewers_peak")?,
        viewers_total: row.try_get("viewers_total")?,
        end: row.try_get("ended_why")?,
    })
}

fn running(id: Uuid) -> StoreError {
    StoreError::Missing(format!("running session `{id}`"))
}

/// The first six parameters.
fn counted(statement: &'static str, id: Uuid, counts: SessionCounts) -> Query<'static, Sqlite, SqliteArguments> {
    let SessionCounts { frames, covered, exposed, viewers_peak, viewers_total } = counts;
    sqlx::query(statement).bind(id.to_string()).bind(frames).bind(covered).bind(exposed).bind(viewers_peak).bind(viewers_total)
}

impl Store {
    pub async fn begin_session(&self, room: &str, source: &str, now: i64) -> Result<SessionRow, StoreError> {
        let failed = unavailable("begin a session");
        let id = Uuid::now_v7();
        let mut tx = self.begin().await.map_err(failed)?;
        let room_id = room_id(&mut tx, room, failed).await?;
        sqlx::query("INSERT INTO sessions (id, room, source, started_at) VALUES ($1, $2, $3, $4)")
            .bind(id.to_string())
            .bind(room_id)
            .bind(source)
            .bind(now)
            .execute(&mut *tx)
            .await
            .map_err(failed)?;
        tx.commit().await.map_err(failed)?;
        Ok(SessionRow {
            id,
            room: room.to_owned(),
            source: source.to_owned(),
            started_at: now,
            ended_at: None,
            frames: 0,
            covered: 0,
            exposed: 0,
            viewers_peak: 0,
            viewers_total: 0,
            end: None,
        })
    }

    /// Only a running session has news.
    pub async fn update_session(&self, id: Uuid, counts: SessionCounts) -> Result<(), StoreError> {
        let updated = counted("UPDATE sessions SET frames = $2, covered = $3, exposed = $4, viewers_peak = $5, viewers_total = $6 WHERE id = $1 AND ended_at IS NULL", id, counts)
            .execute(&self.writer)
            .await
            .map_err(unavailable("update a session"))?;
        if updated.rows_affected() == 0 { Err(running(id)) } else { Ok(()) }
    }

    pub async fn end_session(&self, id: Uuid, counts: SessionCounts, why: &str, now: i64) -> Result<(), StoreError> {
        let ended = counted(
            "UPDATE sessions SET frames = $2, covered = $3, exposed = $4, viewers_peak = $5, viewers_total = $6, ended_why = $7, ended_at = $8
             WHERE id = $1 AND ended_at IS NULL",
            id,
            counts,
        )
        .bind(why)
        .bind(now)
        .execute(&self.writer)
        .await
        .map_err(unavailable("end a session"))?;
        if ended.rows_affected() == 0 { Err(running(id)) } else { Ok(()) }
    }

    /// The newest first.
    pub async fn sessions(&self, room: &str, limit: u32) -> Result<Vec<SessionRow>, StoreError> {
        sqlx::query(
            "SELECT s.*, r.name AS room_name FROM sessions s JOIN rooms r ON r.id = s.room
             WHERE r.name = $1 ORDER BY s.started_at DESC, s.id DESC LIMIT $2",
        )
        .bind(room)
        .bind(i64::from(limit))
        .try_map(read)
        .fetch_all(&self.readers)
        .await
        .map_err(unavailable("list sessions"))
    }

    /// For start-up, when none can be running: ends what the last process left open. Says how many.
    pub async fn end_interrupted_sessions(&self, now: i64) -> Result<u64, StoreError> {
        let ended = sqlx::query("UPDATE sessions SET ended_at = $1, ended_why = $2 WHERE ended_at IS NULL")
            .bind(now)
            .bind(INTERRUPTED)
            .execute(&self.writer)
            .await
            .map_err(unavailable("end interrupted sessions"))?;
        Ok(ended.rows_affected())
    }
}
