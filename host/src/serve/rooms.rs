//! The set of rooms: made, changed, deleted, and loaded again after a restart.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;

use super::room::{Room, Settled, lock};
use super::stream::{Origin, Stream};
use super::{ServeError, Service, recording};
use crate::config::{Config, FRAME_MS_NOMINAL, Fault, RoomSettings};
use crate::host::HostError;
use crate::store::{RoomRow, Scope, StoreError};

/// How long a deletion waits for the room's last events to be written.
const FLUSH_MAX: Duration = Duration::from_secs(1);
/// Bytes of a room's name.
const NAME_BYTES_MAX: usize = 64;

#[derive(Debug, thiserror::Error)]
pub enum RoomError {
    #[error("{0:?} is no room name: give 1 to 64 letters, digits, `-`, `_` and `.`, a letter or digit first")]
    Name(String),
    #[error("there is no room {0:?}")]
    Unknown(String),
    #[error("the room's settings have {} fault(s)", .0.len())]
    Settings(Vec<Fault>),
    #[error(transparent)]
    Host(#[from] HostError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("room {0:?} has a live publisher: stop it first")]
    Live(String),
    #[error("room {0:?} is stopped: start it with `POST /v1/rooms/{0}/stream/start`")]
    Stopped(String),
    #[error("the host is stopping and takes no new stream")]
    Draining,
    #[error("room {0:?} has a publisher already")]
    HasPublisher(String),
}

impl Service {
    /// Every room, by name.
    pub fn all(&self) -> Vec<Arc<Room>> {
        let mut rooms: Vec<Arc<Room>> = self.rooms.iter().map(|entry| entry.value().clone()).collect();
        rooms.sort_by(|a, b| a.name.cmp(&b.name));
        rooms
    }

    /// # Errors
    /// When there is none of that name.
    pub fn room(&self, name: &str) -> Result<Arc<Room>, RoomError> {
        self.rooms.get(name).map(|entry| entry.value().clone()).ok_or_else(|| RoomError::Unknown(name.to_owned()))
    }

    /// The host's configuration as a room with these settings has it, held against the host's detectors.
    fn checked(&self, settings: &RoomSettings) -> Result<Config, RoomError> {
        let host = &self.shared.host;
        let config = host.config.for_room(settings).map_err(RoomError::Settings)?;
        host.check_covers(&config)?;
        host.settings(&config, FRAME_MS_NOMINAL.micros())?;
        Ok(config)
    }

    /// # Errors
    /// When the name is none or taken, the settings can't work, or the store fails.
    pub async fn create_room(&self, name: &str, settings: RoomSettings) -> Result<Arc<Room>, RoomError> {
        let inner = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name.is_empty()
            || name.len() > NAME_BYTES_MAX
            || !name.chars().all(inner)
            || !name.starts_with(|c: char| c.is_ascii_alphanumeric())
        {
            return Err(RoomError::Name(name.to_owned()));
        }
        let config = self.checked(&settings)?;
        let _change = self.changes.lock().await;
        let row = self.shared.store.create_room(name, &stored(&settings), self.shared.clock.unix_us()).await?;
        let room = Room::new(row, settings, config, Vec::new(), 0, self.shared.clone());
        room.tell("room", json!({ "event": "created" }));
        self.rooms.insert(name.to_owned(), room.clone());
        Ok(room)
    }

    /// Puts a merge patch of the settings in force, for the frames captured from then on.
    ///
    /// # Errors
    /// When they can't work, the revision is not the current one, or the store fails: the old ones stay.
    pub async fn change_room(
        &self,
        room: &Arc<Room>,
        changes: &serde_json::Map<String, serde_json::Value>,
        if_revision: Option<i64>,
    ) -> Result<Settled, RoomError> {
        let _write = room.writes.lock().await;
        let before = room.settled();
        if let Some(expected) = if_revision.filter(|expected| *expected != before.revision) {
            let what = format!("room {:?} (If-Match says {expected})", room.name);
            return Err(StoreError::Stale { what, current: before.revision }.into());
        }
        let settings = before.settings.patched(changes).map_err(RoomError::Settings)?;
        let config = self.checked(&settings)?;
        let streams = room.streams();
        let put = |config: &Config, streams: &[Arc<Stream>]| -> Result<(), HostError> {
            let settings = self.shared.host.settings(config, FRAME_MS_NOMINAL.micros())?;
            streams.iter().try_for_each(|live| live.configure(&self.shared, settings.clone()))
        };
        if let Err(error) = put(&config, &streams) {
            // One of them would need too much: none has the new settings.
            put(&before.config, &streams)?;
            return Err(error.into());
        }
        let stored = self.shared.store.update_room(&room.name, &stored(&settings), if_revision, self.shared.clock.unix_us()).await;
        let row = match stored {
            Ok(row) => row,
            Err(error) => {
                // Not kept, so not in force.
                put(&before.config, &streams)?;
                return Err(error.into());
            }
        };
        let settled = Settled { settings, config: Arc::new(config), revision: row.revision, updated_at: row.updated_at };
        room.settle(settled.clone());
        room.tell("room", json!({ "event": "changed", "revision": row.revision }));
        Ok(settled)
    }

    /// # Errors
    /// When it is live, the revision is not the current one, or the store fails.
    pub async fn delete_room(&self, name: &str, if_revision: Option<i64>) -> Result<(), RoomError> {
        let _change = self.changes.lock().await;
        let room = self.room(name)?;
        if room.is_live() {
            return Err(RoomError::Live(name.to_owned()));
        }
        // What happened in it is written first: a room made anew under the name must not get it.
        // A store that does not answer fails the deletion too.
        let _ = tokio::time::timeout(FLUSH_MAX, self.shared.writer.flush()).await;
        self.shared.store.delete_room(name, if_revision).await?;
        self.rooms.remove(name);
        recording::delete(&room);
        Ok(())
    }

    /// Ends what is live in a room and takes nothing new, or takes it again; kept over a restart.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn stop_room(&self, room: &Arc<Room>, stopped: bool) -> Result<Settled, RoomError> {
        if room.is_stopped() == stopped {
            return Ok(room.settled());
        }
        let changes = serde_json::Map::from_iter([("stopped".to_owned(), json!(stopped.then_some(true)))]);
        self.change_room(room, &changes, None).await
    }

    /// A stream with its publisher's place taken: the one that waits for its publisher, or a new one.
    ///
    /// # Errors
    /// When somebody else publishes, the host drains, or the room's settings can't work.
    pub async fn publish(&self, room: &Arc<Room>, origin: Origin) -> Result<Arc<Stream>, RoomError> {
        if self.is_draining() {
            return Err(RoomError::Draining);
        }
        let _write = room.writes.lock().await;
        if room.is_stopped() {
            return Err(RoomError::Stopped(room.name.to_string()));
        }
        if let Some(live) = room.streams().into_iter().find(|live| !live.has_ended() && live.origin.rivals(&origin)) {
            return if live.attach() { Ok(live) } else { Err(RoomError::HasPublisher(room.name.to_string())) };
        }
        let stream = Stream::begin(room, origin).await?;
        stream.attach();
        lock(&room.streams).push(stream.clone());
        Ok(stream)
    }

    pub(super) async fn load_rooms(&self) -> Result<(), ServeError> {
        for row in self.shared.store.rooms().await? {
            let RoomRow { name, settings, .. } = row.clone();
            let parsed: Result<RoomSettings, _> = serde_json::from_value(settings);
            let settings = parsed.unwrap_or_default();
            // Settings that no longer work (a detector is gone) leave the room with the host's, so that it still covers.
            let (config, fault) = match self.checked(&settings) {
                Ok(config) => (config, None),
                Err(error) => (self.shared.host.config.clone(), Some(error.to_string())),
            };
            let choices = self.shared.store.policies(Scope::Room(&name)).await?;
            let last = self.shared.store.last_event_seq(&name).await?;
            let room = Room::new(row, settings, config, choices, last, self.shared.clone());
            if let Some(fault) = fault {
                tracing::error!(room = name, fault, "the room's settings no longer work, the host's are in force");
                room.tell("room", json!({ "event": "settings_unusable", "reason": fault }));
            }
            self.rooms.insert(name, room);
        }
        tracing::info!(rooms = self.rooms.len(), ready = self.ready.load(Ordering::Relaxed), "rooms loaded");
        Ok(())
    }
}

fn stored(settings: &RoomSettings) -> serde_json::Value {
    serde_json::to_value(settings).unwrap_or_default()
}
