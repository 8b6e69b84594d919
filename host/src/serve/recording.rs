//! Recordings of a room's policies: off unless asked for, one at a time, bounded in size and age. A recording holds thumbnails and texts of
//! the room, so starting, stopping and fetching one is an event that names who did it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use serde_json::json;
use uuid::Uuid;

use super::Shared;
use super::room::{Room, lock};
use crate::plugin::record::{RecordError, Recorder};
use crate::plugin::types::Slot;

#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    #[error("a recording of this room is running: stop it first")]
    Running,
    #[error("no recording of this room is running")]
    NotRunning,
    #[error("there is no recording {0} of this room; the host deletes them after a while")]
    Unknown(Uuid),
    #[error("the recording can't be made: {0}")]
    Folder(#[from] std::io::Error),
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// A recording that runs.
pub struct Recording {
    pub id: Uuid,
    path: PathBuf,
    recorder: Arc<Recorder>,
    pub started: Instant,
}

/// A recording that is whole.
pub struct Recorded {
    pub id: Uuid,
    pub bytes: u64,
    /// Entries that found no place.
    pub dropped: u64,
}

fn folder(room: &Room) -> PathBuf {
    room.shared.data_dir.join("recordings").join(room.id.to_string())
}

/// Begins one.
///
/// # Errors
/// When one runs, or the file can't be made.
pub async fn start(room: &Arc<Room>, who: &str) -> Result<Uuid, RecordingError> {
    let policies = room.policies().await;
    let mut running = lock(&room.recording);
    if running.is_some() {
        return Err(RecordingError::Running);
    }
    let folder = folder(room);
    std::fs::create_dir_all(&folder)?;
    for old in std::fs::read_dir(&folder)? {
        // A new one replaces the last.
        std::fs::remove_file(old?.path())?;
    }
    let id = Uuid::now_v7();
    let path = folder.join(format!("{id}.rec"));
    let bytes_max = u64::from(room.shared.host.config.serve.recording_mib.get()) << 20;
    let recorder = Arc::new(Recorder::create(&path, bytes_max)?);
    let at = policies.moment(room.shared.clock.now());
    Slot::ALL.iter().for_each(|slot| policies.slot(*slot).record(Some(recorder.clone()), at));
    *running = Some(Recording { id, path, recorder, started: Instant::now() });
    drop(running);
    room.tell("recording", json!({ "event": "started", "id": id, "by": who }));
    Ok(id)
}

/// Ends the one that runs.
///
/// # Errors
/// When none runs, or it could not be written; what was written is kept.
pub async fn stop(room: &Arc<Room>, who: &str) -> Result<Recorded, RecordingError> {
    let Recording { id, path, recorder, .. } = lock(&room.recording).take().ok_or(RecordingError::NotRunning)?;
    if let Some(policies) = room.policies_if_warm() {
        let at = policies.moment(room.shared.clock.now());
        Slot::ALL.iter().for_each(|slot| policies.slot(*slot).record(None, at));
    }
    // Calls that wait in the slots are recorded before the order to stop; whatever is under way ends within a budget.
    for _ in 0..50 {
        if Arc::strong_count(&recorder) == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let dropped = recorder.finish()?;
    let bytes = std::fs::metadata(&path)?.len();
    room.tell("recording", json!({ "event": "stopped", "id": id, "by": who, "bytes": bytes, "dropped": dropped }));
    Ok(Recorded { id, bytes, dropped })
}

/// The file of a whole recording.
///
/// # Errors
/// When there is none of that id, or it runs still.
pub async fn fetch(room: &Room, id: Uuid, who: &str) -> Result<Vec<u8>, RecordingError> {
    if lock(&room.recording).as_ref().is_some_and(|running| running.id == id) {
        return Err(RecordingError::Running);
    }
    let path = folder(room).join(format!("{id}.rec"));
    let bytes = tokio::fs::read(&path).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => RecordingError::Unknown(id),
        _ => RecordingError::Folder(error),
    })?;
    room.tell("recording", json!({ "event": "fetched", "id": id, "by": who }));
    Ok(bytes)
}

/// Ends and deletes the recordings of a room that is gone.
pub fn delete(room: &Room) {
    // Its slots let go of the recorder with the room; nobody fetches what it has.
    lock(&room.recording).take();
    let folder = folder(room);
    if let Err(error) = std::fs::remove_dir_all(&folder)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(%error, path = %folder.display(), "recordings of a deleted room cannot be deleted");
    }
}

/// Deletes recordings that are too old.
pub fn expire(shared: &Shared) {
    let age_max = Duration::from_secs(3600 * u64::from(shared.host.config.serve.recording_hours.get()));
    let files = |folder: PathBuf| std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    for file in files(shared.data_dir.join("recordings")).flat_map(files) {
        let written = std::fs::metadata(&file).and_then(|meta| meta.modified()).unwrap_or_else(|_| SystemTime::now());
        if written.elapsed().unwrap_or_default() > age_max
            && let Err(error) = std::fs::remove_file(&file)
        {
            tracing::warn!(%error, path = %file.display(), "an old recording cannot be deleted");
        }
    }
}
