//! What people reported, journalled before it is answered, and what the threshold policy made of it.
//!
//! A report has an identity of its reporter's choice: however often it comes, it counts once.

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};
use uuid::Uuid;

use super::error::unavailable;
use super::{Store, StoreError, room_id, values};
use crate::geometry::Rect;
use crate::plugin::types::LabelThreshold;

/// A report as it comes in.
#[derive(Clone, Debug, PartialEq)]
pub struct NewFeedback {
    pub event_id: Uuid,
    pub room: String,
    /// The name of the threshold plugin in force.
    pub plugin: Option<String>,
    pub reporter: String,
    pub detector: String,
    pub label: String,
    pub confidence: f32,
    pub area: Option<Rect>,
    pub correct: bool,
    pub at: i64,
}

/// A report in the journal.
#[derive(Clone, Debug, PartialEq)]
pub struct FeedbackRow {
    pub event_id: Uuid,
    pub room: String,
    /// The name of the threshold plugin that was in force.
    pub plugin: Option<String>,
    pub reporter: String,
    pub detector: String,
    pub label: String,
    pub confidence: f32,
    pub area: Option<Rect>,
    pub correct: bool,
    pub at: i64,
    /// Place in the room's journal, from 1.
    pub seq: i64,
}

/// Reports of one label of a detector.
#[derive(Clone, Debug, PartialEq)]
pub struct FeedbackCount {
    pub detector: String,
    pub label: String,
    pub right: i64,
    pub wrong: i64,
}

/// Whether a report was new.
#[derive(Clone, Debug, PartialEq)]
pub enum Journalled {
    New(FeedbackRow),
    /// As it was journalled the first time, whatever came with it now.
    Already(FeedbackRow),
}

fn read(row: SqliteRow) -> Result<FeedbackRow, sqlx::Error> {
    Ok(FeedbackRow {
        event_id: values::uuid(&row, "event_id")?,
        room: row.try_get("room_name")?,
        plugin: row.try_get("plugin")?,
        reporter: row.try_get("reporter")?,
        detector: row.try_get("detector")?,
        label: row.try_get("label")?,
        confidence: values::float(&row, "confidence")?,
        area: values::optional_json(&row, "area")?,
        correct: row.try_get("correct")?,
        at: row.try_get("at")?,
        seq: row.try_get("seq")?,
    })
}

impl Store {
    pub async fn journal_feedback(&self, report: &NewFeedback) -> Result<Journalled, StoreError> {
        let confidence = values::finite("confidence", report.confidence)?;
        let area = values::area_text(report.area)?;
        let failed = unavailable("journal a report");
        let mut tx = self.begin().await.map_err(failed)?;
        let room = room_id(&mut tx, &report.room, failed).await?;
        let written = sqlx::query(
            "INSERT INTO feedback (room, event_id, seq, plugin, reporter, detector, label, confidence, area, correct, at)
             VALUES ($1, $2, (SELECT COALESCE(MAX(seq), 0) + 1 FROM feedback WHERE room = $1), $3, $4, $5, $6, $7, $8, $9, $10)
             ON CONFLICT (room, event_id) DO NOTHING",
        )
        .bind(&room)
        .bind(report.event_id.to_string())
        .bind(&report.plugin)
        .bind(&report.reporter)
        .bind(&report.detector)
        .bind(&report.label)
        .bind(confidence)
        .bind(area)
        .bind(report.correct)
        .bind(report.at)
        .execute(&mut *tx)
        .await
        .map_err(failed)?;
        let row = journalled(&mut tx, &room, report.event_id).await.map_err(failed)?;
        tx.commit().await.map_err(failed)?;
        Ok(if written.rows_affected() == 1 { Journalled::New(row) } else { Journalled::Already(row) })
    }

    /// The reports to a plugin, in the order of the journal: from its beginning, or after a report that is in it.
    pub async fn feedback_since(
        &self,
        room: &str,
        plugin_name: &str,
        after: Option<Uuid>,
        limit: u32,
    ) -> Result<Vec<FeedbackRow>, StoreError> {
        let failed = unavailable("read the journal of reports");
        let after_seq = match after {
            None => 0,
            Some(event_id) => {
                let seq: Option<i64> =
                    sqlx::query_scalar("SELECT f.seq FROM feedback f JOIN rooms r ON r.id = f.room WHERE r.name = $1 AND f.event_id = $2")
                        .bind(room)
                        .bind(event_id.to_string())
                        .fetch_optional(&self.readers)
                        .await
                        .map_err(failed)?;
                // To begin at the beginning would tell the policy twice what it knows.
                seq.ok_or_else(|| StoreError::Missing(format!("report `{event_id}` in the journal of room `{room}`")))?
            }
        };
        sqlx::query(
            "SELECT f.*, r.name AS room_name FROM feedback f JOIN rooms r ON r.id = f.room
             WHERE r.name = $1 AND f.plugin = $2 AND f.seq > $3 ORDER BY f.seq LIMIT $4",
        )
        .bind(room)
        .bind(plugin_name)
        .bind(after_seq)
        .bind(i64::from(limit))
        .try_map(read)
        .fetch_all(&self.readers)
        .await
        .map_err(failed)
    }

    /// Reports to a room, whatever plugin was in force.
    pub async fn feedback_count(&self, room: &str) -> Result<i64, StoreError> {
        sqlx::query_scalar("SELECT COUNT(*) FROM feedback f JOIN rooms r ON r.id = f.room WHERE r.name = $1")
            .bind(room)
            .fetch_one(&self.readers)
            .await
            .map_err(unavailable("count reports"))
    }

    /// How many of them said right and wrong, by detector and label.
    pub async fn feedback_by_label(&self, room: &str, limit: u32) -> Result<Vec<FeedbackCount>, StoreError> {
        let read = |row: SqliteRow| {
            Ok(FeedbackCount {
                detector: row.try_get("detector")?,
                label: row.try_get("label")?,
                right: row.try_get("right")?,
                wrong: row.try_get("wrong")?,
            })
        };
        sqlx::query(
            "SELECT f.detector, f.label, SUM(f.correct) AS \"right\", SUM(1 - f.correct) AS wrong
             FROM feedback f JOIN rooms r ON r.id = f.room
             WHERE r.name = $1 GROUP BY f.detector, f.label ORDER BY COUNT(*) DESC, f.detector, f.label LIMIT $2",
        )
        .bind(room)
        .bind(i64::from(limit))
        .try_map(read)
        .fetch_all(&self.readers)
        .await
        .map_err(unavailable("count reports by label"))
    }

    /// What the threshold policy said last, all of it: labels that it no longer names are gone.
    pub async fn save_thresholds(&self, room: &str, thresholds: &[LabelThreshold], now: i64) -> Result<(), StoreError> {
        let failed = unavailable("save thresholds");
        let mut tx = self.begin().await.map_err(failed)?;
        let room = room_id(&mut tx, room, failed).await?;
        sqlx::query("DELETE FROM thresholds WHERE room = $1").bind(&room).execute(&mut *tx).await.map_err(failed)?;
        for threshold in thresholds {
            let value = values::finite("threshold", threshold.threshold)?;
            sqlx::query(
                "INSERT INTO thresholds (room, detector, label, threshold, updated_at) VALUES ($1, $2, $3, $4, $5)
                 ON CONFLICT (room, detector, label) DO UPDATE SET threshold = excluded.threshold",
            )
            .bind(&room)
            .bind(&threshold.detector)
            .bind(&threshold.label)
            .bind(value)
            .bind(now)
            .execute(&mut *tx)
            .await
            .map_err(failed)?;
        }
        tx.commit().await.map_err(failed)
    }

    /// By detector and label.
    pub async fn thresholds(&self, room: &str) -> Result<Vec<LabelThreshold>, StoreError> {
        let read = |row: SqliteRow| {
            Ok(LabelThreshold {
                detector: row.try_get("detector")?,
                label: row.try_get("label")?,
                threshold: values::float(&row, "threshold")?,
            })
        };
        sqlx::query(
            "SELECT t.detector, t.label, t.threshold FROM thresholds t JOIN rooms r ON r.id = t.room
             WHERE r.name = $1 ORDER BY t.detector, t.label",
        )
        .bind(room)
        .try_map(read)
        .fetch_all(&self.readers)
        .await
        .map_err(unavailable("read thresholds"))
    }
}

async fn journalled(tx: &mut SqliteConnection, room: &str, event_id: Uuid) -> Result<FeedbackRow, sqlx::Error> {
    sqlx::query("SELECT f.*, r.name AS room_name FROM feedback f JOIN rooms r ON r.id = f.room WHERE f.room = $1 AND f.event_id = $2")
        .bind(room)
        .bind(event_id.to_string())
        .try_map(read)
        .fetch_one(tx)
        .await
}
