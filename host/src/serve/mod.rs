//! The service behind `scrim serve`: rooms that outlive a restart, streams, pictures, messages, reports. HTTP is one way in (`api`).
//!
//! ```text
//! Service ── rooms ── Room ── policies (warm or idle) · stream · events · recording
//!    └─ Shared: host (models, plugins), store, clock, auditor, the frame path's own threads
//! keeper (each second): snapshots to the store · idle rooms cool · streams without a publisher end · events and recordings age
//! ```
//! What always holds: a write is in the store before it is answered; without a store rooms go on with what they have, and `/health` says so.

pub mod audit;
pub mod chat;
pub mod clock;
pub mod demo;
pub mod events;
pub mod feedback;
pub mod learned;
pub mod livekit;
pub mod load;
pub mod meter;
pub mod picture;
pub mod policy;
pub mod recording;
pub mod room;
pub mod rooms;
pub mod stream;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use dashmap::DashMap;
use serde::Serialize;
use tokio::sync::watch;

use crate::host::{Host, HostError};
use crate::media::frame::Micros;
use crate::plugin::types::Slot;
use crate::store::{PolicyRow, Scope, Store, StoreError};
use audit::Auditor;
use clock::HostClock;
use room::{Chosen, Origin, Room};

/// How often the keeper goes round.
const KEEP_EVERY: Duration = Duration::from_secs(1);
/// How long the last events may take into the store.
const FLUSH_MAX: Duration = Duration::from_secs(2);
/// Pictures that may be judged at once: each may be 16 megapixels, 25 MB.
const PICTURES_MAX: usize = 32;
/// The store is written to as a test, and old things are deleted, every so many rounds.
const ROUNDS_TO_CHECK: u64 = 10;

#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error(transparent)]
    Host(#[from] HostError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the frame path's threads cannot be started: {0}")]
    Threads(#[source] std::io::Error),
}

/// What every room needs.
pub struct Shared {
    pub host: Arc<Host>,
    pub store: Store,
    pub clock: HostClock,
    pub data_dir: PathBuf,
    /// What the processors are at.
    pub load: load::Load,
    pub(crate) auditor: Auditor,
    pub(crate) writer: events::Writer,
    /// Threads of the frame path, which nothing else runs on.
    pub(crate) frame_path: tokio::runtime::Handle,
    globals: RwLock<BTreeMap<Slot, PolicyRow>>,
    next_source: AtomicU64,
    /// Why the store last failed; none while it takes writes.
    store_fault: Mutex<Option<String>>,
}

impl Shared {
    pub(crate) fn next_source(&self) -> u64 {
        self.next_source.fetch_add(1, Ordering::Relaxed)
    }

    /// The choice for rooms that make none.
    pub fn global(&self, slot: Slot) -> Chosen {
        let globals = self.globals.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(row) = globals.get(&slot) {
            return Chosen { origin: Origin::Global, plugin: Some(row.plugin.clone()), config: row.config.clone(), revision: row.revision };
        }
        let policy = &self.host.config.policy;
        let file = match slot {
            Slot::Cascade => &policy.cascade,
            Slot::Text => &policy.text,
            Slot::Threshold => &policy.threshold,
        };
        match file {
            Some(policy) => Chosen {
                origin: Origin::File,
                plugin: Some(policy.plugin.to_string()),
                config: serde_json::Value::Object(policy.config.clone()),
                revision: 0,
            },
            None => Chosen { origin: Origin::Default, plugin: None, config: serde_json::json!({}), revision: 0 },
        }
    }

    fn set_global(&self, slot: Slot, row: Option<PolicyRow>) {
        let mut globals = self.globals.write().unwrap_or_else(PoisonError::into_inner);
        match row {
            Some(row) => _ = globals.insert(slot, row),
            None => _ = globals.remove(&slot),
        }
    }

    /// Notes that the store failed; the next write that works clears it.
    pub fn store_failed(&self, error: &StoreError) {
        if error.is_unavailable() {
            metrics::gauge!(meter::STORE_OK).set(0.0);
            let mut fault = self.store_fault.lock().unwrap_or_else(PoisonError::into_inner);
            if fault.is_none() {
                tracing::error!(%error, "the store takes no writes; rooms go on with what they have");
            }
            *fault = Some(error.to_string());
        }
    }

    fn store_works(&self) {
        metrics::gauge!(meter::STORE_OK).set(1.0);
        if self.store_fault.lock().unwrap_or_else(PoisonError::into_inner).take().is_some() {
            tracing::info!("the store takes writes again");
        }
    }

    pub fn store_fault(&self) -> Option<String> {
        self.store_fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// See the module.
pub struct Service {
    pub shared: Arc<Shared>,
    rooms: DashMap<String, Arc<Room>>,
    /// One change of the set of rooms, or of the global policy, at a time.
    changes: tokio::sync::Mutex<()>,
    draining: watch::Sender<bool>,
    ready: AtomicBool,
    /// Uncovered pictures of this room may be watched: it shows the demo's clip.
    demo_room: Mutex<Option<String>>,
    /// What a page may broadcast where there is no camera.
    broadcast_clip: OnceLock<PathBuf>,
    /// Pictures that may be judged at once.
    pub pictures: tokio::sync::Semaphore,
    /// The LiveKit server whose rooms are moderated, if there is one.
    livekit: OnceLock<Arc<livekit::LiveKit>>,
    frame_path: Mutex<Option<tokio::runtime::Runtime>>,
}

impl Service {
    /// Puts the service together: rooms as the store has them, tasks started. Ready when this returns.
    ///
    /// # Errors
    /// When the store can't be read at all, or threads not be started.
    pub async fn start(host: Host, store: Store, data_dir: PathBuf) -> Result<Arc<Self>, ServeError> {
        let cores = std::thread::available_parallelism().map_or(2, |cores| cores.get());
        let threads = tokio::runtime::Builder::new_multi_thread().worker_threads(cores).thread_name("frame").enable_time().build();
        let frame_path = threads.map_err(ServeError::Threads)?;
        let writer = events::Writer::start(store.clone());
        let (auditor, audits) = Auditor::new();
        let globals = store.policies(Scope::Global).await?.into_iter().map(|row| (row.slot, row)).collect();
        let shared = Arc::new(Shared {
            host: Arc::new(host),
            clock: HostClock::start(),
            data_dir,
            load: load::Load::new(),
            auditor,
            writer,
            frame_path: frame_path.handle().clone(),
            globals: RwLock::new(globals),
            // 0 is the file's in `scrim censor`.
            next_source: AtomicU64::new(1),
            store_fault: Mutex::default(),
            store,
        });
        if let Err(error) = shared.store.end_interrupted_sessions(shared.clock.unix_us()).await {
            shared.store_failed(&error);
        }
        tokio::spawn(audit::run(Arc::downgrade(&shared), audits));
        let service = Arc::new(Self {
            shared,
            rooms: DashMap::new(),
            changes: tokio::sync::Mutex::default(),
            draining: watch::channel(false).0,
            ready: AtomicBool::new(false),
            demo_room: Mutex::default(),
            broadcast_clip: OnceLock::new(),
            pictures: tokio::sync::Semaphore::new(PICTURES_MAX),
            livekit: OnceLock::new(),
            frame_path: Mutex::new(Some(frame_path)),
        });
        service.load_rooms().await?;
        tokio::spawn(keep(Arc::downgrade(&service)));
        service.ready.store(true, Ordering::Relaxed);
        Ok(service)
    }

    /// Whether requests are served: warmed up, and not draining.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed) && !self.is_draining()
    }

    pub fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }

    /// The LiveKit server whose rooms are moderated.
    pub fn livekit(&self) -> Option<Arc<livekit::LiveKit>> {
        self.livekit.get().cloned()
    }

    /// Moderates the rooms of a LiveKit server from now on. There is one at most: a second is not taken.
    pub fn moderate(self: &Arc<Self>, livekit: Arc<livekit::LiveKit>) {
        if self.livekit.set(livekit.clone()).is_ok() {
            livekit.start(self);
        }
    }

    /// The room whose uncovered pictures may be watched.
    pub fn demo_room(&self) -> Option<String> {
        self.demo_room.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The clip that a page may broadcast where there is no camera.
    pub fn broadcast_clip(&self) -> Option<&Path> {
        self.broadcast_clip.get().map(PathBuf::as_path)
    }

    /// Hears when the service drains.
    pub fn drains(&self) -> watch::Receiver<bool> {
        self.draining.subscribe()
    }

    /// Takes no new source, lets what was captured be published, keeps every room's state; for at most `timeout`. What did not end in
    /// time is told.
    pub async fn drain(&self, timeout: Duration) {
        self.draining.send_replace(true);
        let rooms: Vec<Arc<Room>> = self.all();
        rooms.iter().flat_map(|room| room.streams()).for_each(|live| live.finish("the host is stopping"));
        let until = tokio::time::Instant::now() + timeout;
        while rooms.iter().any(|room| room.is_live()) && tokio::time::Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        if let Some(livekit) = self.livekit()
            && tokio::time::timeout_at(until, livekit.attendance.over()).await.is_err()
        {
            tracing::warn!("not every LiveKit room is left within the drain's time");
        }
        if let Some(dispatch) = self.livekit().and_then(|livekit| livekit.dispatch.clone())
            && tokio::time::timeout_at(until, dispatch.over()).await.is_err()
        {
            tracing::warn!("not every LiveKit room is handed over within the drain's time");
        }
        for room in &rooms {
            if room.is_live() {
                tracing::warn!(room = %room.name, "stream not ended within the drain's time");
            }
            if let Err(error) = room.keep_all().await {
                tracing::error!(room = %room.name, %error, "state not kept");
            }
        }
        if tokio::time::timeout(FLUSH_MAX, self.shared.writer.flush()).await.is_err() {
            tracing::error!("the last events are not kept");
        }
        self.shared.store.close().await;
        if let Some(frame_path) = self.frame_path.lock().unwrap_or_else(PoisonError::into_inner).take() {
            frame_path.shutdown_background();
        }
    }
}

/// Goes round for as long as the service lives.
async fn keep(service: std::sync::Weak<Service>) {
    let mut round = 0_u64;
    let mut tick = tokio::time::interval(KEEP_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let Some(service) = service.upgrade() else { return };
        if service.is_draining() {
            return;
        }
        let shared = &service.shared;
        shared.load.read(service.livekit().map_or(0, |livekit| livekit.attendance.broadcasters().settled));
        let serve = &shared.host.config.serve;
        let (mut bytes, mut warm) = (0, 0_u32);
        let rooms = service.all();
        for room in &rooms {
            if let Err(error) = room.keep().await {
                shared.store_failed(&error);
            }
            room.cool(Micros(u64::from(serve.idle_s.get()) * 1_000_000)).await;
            warm += u32::from(room.policies_if_warm().is_some());
            for live in room.streams() {
                bytes += live.bytes();
                if live.alone_for().is_some_and(|alone| alone > Duration::from_secs(u64::from(serve.resume_s.get()))) {
                    live.finish("the publisher did not come back");
                }
                if round.is_multiple_of(ROUNDS_TO_CHECK)
                    && let Err(error) = shared.store.update_session(live.session, live.session_counts()).await
                {
                    shared.store_failed(&error);
                }
            }
        }
        metrics::gauge!(meter::DELAY_LINE_BYTES).set(bytes as f64);
        metrics::gauge!(meter::ROOMS, "state" => "warm").set(f64::from(warm));
        metrics::gauge!(meter::ROOMS, "state" => "idle").set(rooms.len() as f64 - f64::from(warm));
        if round.is_multiple_of(ROUNDS_TO_CHECK) || shared.store_fault().is_some() {
            service.check_store(&rooms).await;
        }
        round += 1;
    }
}

impl Service {
    async fn check_store(&self, rooms: &[Arc<Room>]) {
        let shared = &self.shared;
        match shared.store.check().await {
            Ok(()) => shared.store_works(),
            Err(error) => return shared.store_failed(&error),
        }
        let serve = &shared.host.config.serve;
        let oldest = shared.clock.unix_us() - i64::from(serve.events_days.get()) * 86_400_000_000;
        for room in rooms {
            if let Err(error) = shared.store.prune_events(&room.name, i64::from(serve.events_max.get()), oldest).await {
                shared.store_failed(&error);
            }
        }
        if let Err(error) = shared.store.forget_texts(shared.clock.unix_us()).await {
            shared.store_failed(&error);
        }
        recording::expire(shared);
    }
}

/// The word that a value of a fixed set is written as.
pub(crate) fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => "unknown".to_owned(),
    }
}
