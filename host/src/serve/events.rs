//! A room's events: numbered, told live, kept.
//!
//! ```text
//! push ──► ring (the newest, in memory) ──► subscribers
//!     └──► writer (bounded) ──► store, in batches
//! ```
//! What always holds: numbers only grow, also over a restart (with a gap, for what a crash may have lost); pushing never waits. What the
//! store cannot take is kept in memory up to [`BACKLOG_MAX`], then dropped, the oldest first, and counted.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{broadcast, mpsc, oneshot};
use uuid::Uuid;

use crate::store::{EventRow, KeptText, Store, StoreError};

/// Events of a room in memory: what somebody who was gone for a moment has missed.
const RING_MAX: usize = 512;
/// Events that a slow subscriber may be behind.
const BEHIND_MAX: usize = 256;
/// Events that wait for the store, of all rooms.
pub const BACKLOG_MAX: usize = 8192;
/// More numbers than can be unsaved when a process dies.
const RESTART_GAP: i64 = 10_000;
/// The store is given what has come this often.
const BATCH_EVERY: Duration = Duration::from_millis(200);
/// After a failure it is tried again this often.
const RETRY_EVERY: Duration = Duration::from_secs(1);

/// Hands events to the store.
#[derive(Clone)]
pub struct Writer(mpsc::Sender<Item>);

enum Item {
    Event(EventRow),
    /// Answered when everything before it is in the store, or was given up.
    Flush(oneshot::Sender<()>),
}

/// One room's.
pub struct EventLog {
    room: Arc<str>,
    ring: Mutex<Ring>,
    live: broadcast::Sender<Arc<EventRow>>,
    writer: Writer,
}

struct Ring {
    next: i64,
    newest: VecDeque<Arc<EventRow>>,
}

impl EventLog {
    /// Goes on after the events that the store has.
    pub fn new(room: Arc<str>, last_seq: i64, writer: Writer) -> Self {
        let next = if last_seq == 0 { 1 } else { last_seq + RESTART_GAP };
        let ring = Mutex::new(Ring { next, newest: VecDeque::new() });
        Self { room, ring, live: broadcast::channel(BEHIND_MAX).0, writer }
    }

    /// Adds an event, with the words that it is about where they are kept; never waits.
    pub fn push(&self, at: i64, kind: &str, body: Value, text: Option<KeptText>) -> Arc<EventRow> {
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let seq = ring.next;
        ring.next += 1;
        let event = Arc::new(EventRow { id: Uuid::now_v7(), room: self.room.to_string(), seq, at, kind: kind.to_owned(), body, text });
        if ring.newest.len() == RING_MAX {
            ring.newest.pop_front();
        }
        ring.newest.push_back(event.clone());
        // Told under the lock, so that subscribers hear in order. Nobody listening is no fault.
        let _ = self.live.send(event.clone());
        drop(ring);
        if self.writer.0.try_send(Item::Event((*event).clone())).is_err() {
            metrics::counter!(super::meter::EVENTS_DROPPED).increment(1);
        }
        event
    }

    /// The number of the newest event; 0 before the first.
    pub fn last(&self) -> i64 {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner).next - 1
    }

    /// What comes from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<EventRow>> {
        self.live.subscribe()
    }

    /// Those after `seq` that memory has, and whether that is all of them.
    pub fn newest_after(&self, seq: i64) -> (Vec<Arc<EventRow>>, bool) {
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let found = ring.newest.iter().filter(|event| event.seq > seq).cloned().collect();
        let complete = ring.newest.front().is_some_and(|first| first.seq <= seq + 1);
        (found, complete)
    }

    /// An event by its id, from memory or from the store.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn find(&self, id: Uuid, store: &Store) -> Result<Option<Arc<EventRow>>, StoreError> {
        let in_memory = || self.ring.lock().unwrap_or_else(PoisonError::into_inner).newest.iter().find(|event| event.id == id).cloned();
        match in_memory() {
            Some(event) => Ok(Some(event)),
            None => Ok(store.event(&self.room, id).await?.map(Arc::new)),
        }
    }

    /// Up to `limit` after `seq`, oldest first, from the store and, for the newest, from memory.
    ///
    /// # Errors
    /// When the store does not answer and memory does not reach back.
    pub async fn page(&self, seq: i64, limit: usize, store: &Store) -> Result<Vec<Arc<EventRow>>, StoreError> {
        let (mut newest, complete) = self.newest_after(seq);
        if complete {
            newest.truncate(limit);
            return Ok(newest);
        }
        let mut page: Vec<Arc<EventRow>> =
            store.events(&self.room, seq, u32::try_from(limit).unwrap_or(u32::MAX)).await?.into_iter().map(Arc::new).collect();
        let last = page.last().map_or(seq, |event| event.seq);
        page.extend(newest.into_iter().filter(|event| event.seq > last));
        page.truncate(limit);
        Ok(page)
    }
}

impl Writer {
    /// Starts the task that writes, until every writer is gone.
    pub fn start(store: Store) -> Self {
        let (sender, receiver) = mpsc::channel(BACKLOG_MAX);
        tokio::spawn(write(store, receiver));
        Self(sender)
    }

    /// Returns when the store has everything pushed so far, or does not take it.
    pub async fn flush(&self) {
        let (tell, told) = oneshot::channel();
        // A task that is gone has nothing to write.
        if self.0.send(Item::Flush(tell)).await.is_ok() {
            let _ = told.await;
        }
    }
}

async fn write(store: Store, mut items: mpsc::Receiver<Item>) {
    let mut waiting: VecDeque<EventRow> = VecDeque::new();
    let mut open = true;
    while open || !waiting.is_empty() {
        let (mut batch, mut flushes) = (Vec::new(), Vec::new());
        tokio::select! {
            received = items.recv_many(&mut batch, 1024), if open => {
                open = received > 0;
                // A moment for more to come: a batch is one transaction.
                let hurry = batch.iter().any(|item| matches!(item, Item::Flush(_)));
                if open && !hurry {
                    tokio::time::sleep(BATCH_EVERY).await;
                    while let Ok(item) = items.try_recv() {
                        batch.push(item);
                    }
                }
            }
            () = tokio::time::sleep(RETRY_EVERY), if !waiting.is_empty() => {}
        }
        for item in batch {
            match item {
                Item::Event(event) => waiting.push_back(event),
                Item::Flush(tell) => flushes.push(tell),
            }
        }
        if let Err(error) = append(&store, &mut waiting).await {
            tracing::warn!(%error, waiting = waiting.len(), "events not kept yet");
            let excess = if open { waiting.len().saturating_sub(BACKLOG_MAX) } else { waiting.len() };
            waiting.drain(..excess);
            metrics::counter!(super::meter::EVENTS_DROPPED).increment(excess as u64);
        }
        // Whoever waited may be gone.
        flushes.into_iter().for_each(|tell| _ = tell.send(()));
    }
}

/// Writes what waits. What is left in `waiting` is to be tried again.
async fn append(store: &Store, waiting: &mut VecDeque<EventRow>) -> Result<(), StoreError> {
    if waiting.is_empty() {
        return Ok(());
    }
    store.append_events(waiting.make_contiguous()).await?;
    waiting.clear();
    Ok(())
}
