//! One room of the service: its settings, its policies, its live streams, its events. What outlives the process is in the store; this holds
//! what the room needs now.
//!
//! ```text
//! idle ── asked for anything ──► warm (plugin instances, state restored) ── nothing for `idle_s` ──► snapshot ──► idle
//! ```
//! What always holds: a write is stored before it is answered, and one is made at a time; a room without a store goes on with what it has;
//! a policy that can't be installed leaves the host's default in its slot, and an event says so.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;
use uuid::Uuid;

use super::Shared;
use super::events::EventLog;
use super::meter;
use super::recording::Recording;
use super::stream::Stream;
use crate::config::{Config, FRAME_MS_NOMINAL, RoomSettings};
use crate::media::frame::Micros;
use crate::plugin::catalog::PluginName;
use crate::plugin::events::PolicyEvent;
use crate::plugin::inputs::Inputs;
use crate::plugin::prepare::Candidate;
use crate::plugin::slot::Kept;
use crate::plugin::types::{Request, Slot};
use crate::room::note::{Decision, Finding, Judging, Note, Observer, Weighing};
use crate::room::policies::Policies;
use crate::speech::SoundRule;
use crate::store::{EventRow, KeptText, PolicyRow, RoomRow, Scope, SnapshotRow, StoreError};
use crate::vision::detection::Detection;

/// A label is told of once in so long, in each source.
const DETECTION_EVERY: Micros = Micros::from_millis(1000);
/// Labels of sources that are remembered for that.
const TOLD_MAX: usize = 1024;
/// Reports replayed after a restart, at most: far more than come between two snapshots.
const REPORTS_MAX: u32 = 1024;
/// How long a snapshot may take before a room goes idle without it; the last one is kept then.
const SNAPSHOT_WAIT: Duration = Duration::from_millis(500);

/// Where a slot's policy was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    Room,
    Global,
    File,
    /// Nobody chose: the host's own default.
    Default,
}

/// Which policy a room is to have in a slot.
#[derive(Clone, Debug, PartialEq)]
pub struct Chosen {
    pub origin: Origin,
    /// `name@version`; none is the host's default.
    pub plugin: Option<String>,
    pub config: Value,
    /// Of the choice of whoever was asked: the room's own, 0 if it has none, or the global one.
    pub revision: i64,
}

/// A room's settings in force.
#[derive(Clone)]
pub struct Settled {
    pub settings: RoomSettings,
    /// The host's configuration with them over it.
    pub config: Arc<Config>,
    pub revision: i64,
    pub updated_at: i64,
}

/// See the module.
pub struct Room {
    pub name: Arc<str>,
    pub id: Uuid,
    pub created_at: i64,
    pub events: EventLog,
    pub shared: Arc<Shared>,
    settled: RwLock<Settled>,
    choices: RwLock<BTreeMap<Slot, PolicyRow>>,
    warm: tokio::sync::Mutex<Option<Policies>>,
    /// The same, for those who must not wait.
    policies_now: Mutex<Option<Policies>>,
    pub(super) streams: Mutex<Vec<Arc<Stream>>>,
    /// Nothing is published until it is started again.
    stopped: watch::Sender<bool>,
    used: AtomicU64,
    /// One change of settings or policies at a time.
    pub writes: tokio::sync::Mutex<()>,
    /// Reports reach the plugin in the order of the journal.
    pub(super) reports: tokio::sync::Mutex<()>,
    latest: Mutex<BTreeMap<Slot, Decision>>,
    told: Mutex<HashMap<(String, String), Micros>>,
    /// Snapshots that the store has, by when they were taken.
    kept: Mutex<BTreeMap<Slot, Micros>>,
    pub(super) recording: Mutex<Option<Recording>>,
    /// What the threshold policy was asked in the last hour.
    pub(super) inputs: Arc<Inputs>,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Room {
    /// From what the store has. `config` is the room's own, already checked.
    pub fn new(
        row: RoomRow,
        settings: RoomSettings,
        config: Config,
        choices: Vec<PolicyRow>,
        last_seq: i64,
        shared: Arc<Shared>,
    ) -> Arc<Self> {
        let name: Arc<str> = row.name.into();
        let settled = Settled { settings, config: Arc::new(config), revision: row.revision, updated_at: row.updated_at };
        Arc::new(Self {
            events: EventLog::new(name.clone(), last_seq, shared.writer.clone()),
            name,
            id: row.id,
            created_at: row.created_at,
            stopped: watch::channel(settled.settings.stopped == Some(true)).0,
            settled: RwLock::new(settled),
            choices: RwLock::new(choices.into_iter().map(|row| (row.slot, row)).collect()),
            warm: tokio::sync::Mutex::default(),
            policies_now: Mutex::default(),
            streams: Mutex::default(),
            used: AtomicU64::new(shared.clock.now().0),
            writes: tokio::sync::Mutex::default(),
            reports: tokio::sync::Mutex::default(),
            latest: Mutex::default(),
            told: Mutex::default(),
            kept: Mutex::default(),
            recording: Mutex::default(),
            inputs: Arc::default(),
            shared,
        })
    }

    pub fn settled(&self) -> Settled {
        self.settled.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How far viewers are behind.
    pub fn delay(&self) -> Micros {
        self.settled.read().unwrap_or_else(PoisonError::into_inner).config.delay().micros()
    }

    /// How sound is treated now.
    pub fn sound(&self) -> SoundRule {
        SoundRule::of(&self.settled.read().unwrap_or_else(PoisonError::into_inner).config)
    }

    /// The longest time between two looks, ms; none where nothing is looked for.
    pub fn look_max_ms(&self) -> Option<u32> {
        let settings = self.shared.host.settings(&self.settled().config, FRAME_MS_NOMINAL.micros()).ok()?;
        (!settings.detectors.is_empty()).then_some((settings.look_max.0 / 1000) as u32)
    }

    pub(super) fn settle(&self, settled: Settled) {
        let stopped = settled.settings.stopped == Some(true);
        if self.stopped.send_replace(stopped) != stopped && stopped {
            self.streams().iter().for_each(|live| live.finish("the room was stopped"));
        }
        *self.settled.write().unwrap_or_else(PoisonError::into_inner) = settled;
    }

    /// Whether it is stopped, now and when that changes.
    pub fn stops(&self) -> watch::Receiver<bool> {
        self.stopped.subscribe()
    }

    pub fn is_stopped(&self) -> bool {
        *self.stopped.borrow()
    }

    /// Something happened that people may want to know.
    pub fn tell(&self, kind: &str, body: Value) {
        self.events.push(self.shared.clock.unix_us(), kind, body, None);
    }

    /// The same of what somebody said, typed or showed; the words are kept with it for as long as the room asks for.
    pub fn tell_of(&self, kind: &str, body: Value, text: &str) -> Arc<EventRow> {
        let (now, hours) = (self.shared.clock.unix_us(), self.settled().config.room.keep_text_h);
        let text = (hours > 0).then(|| KeptText { text: text.to_owned(), until: now + i64::from(hours) * 3_600_000_000 });
        self.events.push(now, kind, body, text)
    }

    /// The live streams, the oldest first.
    pub fn streams(&self) -> Vec<Arc<Stream>> {
        lock(&self.streams).clone()
    }

    /// The stream that is watched over the socket: the oldest.
    pub fn live(&self) -> Option<Arc<Stream>> {
        lock(&self.streams).first().cloned()
    }

    pub fn is_live(&self) -> bool {
        !lock(&self.streams).is_empty()
    }

    /// Each slot's last decision.
    pub fn latest(&self) -> BTreeMap<Slot, Decision> {
        lock(&self.latest).clone()
    }

    /// Which policy the room is to have: its own choice, else the global one, else the file's.
    pub fn chosen(&self, slot: Slot) -> Chosen {
        let own = self.choices.read().unwrap_or_else(PoisonError::into_inner).get(&slot).cloned();
        match own {
            Some(row) => Chosen { origin: Origin::Room, plugin: Some(row.plugin), config: row.config, revision: row.revision },
            None => Chosen { revision: 0, ..self.shared.global(slot) },
        }
    }

    /// The revision of the room's own choice; 0 where it has none.
    pub fn own_revision(&self, slot: Slot) -> i64 {
        self.choices.read().unwrap_or_else(PoisonError::into_inner).get(&slot).map_or(0, |row| row.revision)
    }

    pub(super) fn choose(&self, slot: Slot, row: Option<PolicyRow>) {
        let mut choices = self.choices.write().unwrap_or_else(PoisonError::into_inner);
        match row {
            Some(row) => _ = choices.insert(slot, row),
            None => _ = choices.remove(&slot),
        }
    }

    /// The room's policies, brought up if the room was idle.
    pub async fn policies(self: &Arc<Self>) -> Policies {
        self.used.store(self.shared.clock.now().0, Ordering::Relaxed);
        let mut warm = self.warm.lock().await;
        if let Some(policies) = &*warm {
            return policies.clone();
        }
        let policies = self.shared.host.policies(None, self.observer());
        policies.captured(self.shared.clock.now());
        policies.keep_inputs(self.inputs.clone());
        for slot in Slot::ALL {
            let Chosen { plugin: Some(plugin), config, .. } = self.chosen(slot) else { continue };
            if let Err(reason) = self.install(&policies, slot, &plugin, config.to_string()).await {
                tracing::warn!(room = %self.name, %slot, plugin, reason, "policy not installed, the host's default stands in");
                self.tell("policy", json!({ "event": "not_installed", "slot": slot, "plugin": plugin, "reason": reason }));
            }
        }
        *lock(&self.policies_now) = Some(policies.clone());
        *warm = Some(policies.clone());
        policies
    }

    /// The policies if the room is warm.
    pub fn policies_if_warm(&self) -> Option<Policies> {
        lock(&self.policies_now).clone()
    }

    async fn install(&self, policies: &Policies, slot: Slot, plugin: &str, config: String) -> Result<(), String> {
        let name: PluginName = plugin.parse().map_err(|error| format!("{error}"))?;
        let kept = self.kept_state(slot, name.name()).await.unwrap_or_else(|error| {
            self.tell("policy", json!({ "event": "state_unread", "slot": slot, "plugin": plugin, "reason": error.to_string() }));
            None
        });
        let candidate = Candidate::Named(self.shared.host.catalog.clone(), name);
        let policies = policies.clone();
        let installed = tokio::task::spawn_blocking(move || {
            let had_state = kept.is_some();
            match policies.install(slot, &candidate, &config, kept) {
                // A state that it can't read costs the state, not the policy; the refusal is an event.
                Err(_) if had_state => policies.install(slot, &candidate, &config, None),
                outcome => outcome,
            }
        });
        installed.await.unwrap_or_else(|error| Err(error.to_string()))
    }

    pub(super) async fn kept_state(&self, slot: Slot, plugin: &str) -> Result<Option<Kept>, StoreError> {
        let store = &self.shared.store;
        let row = store.latest_snapshot(&self.name, slot, plugin).await?;
        let after = row.as_ref().and_then(|row| row.last_feedback);
        let reports = match slot {
            Slot::Threshold => store.feedback_since(&self.name, plugin, after, REPORTS_MAX).await?,
            _ => Vec::new(),
        };
        if row.is_none() && reports.is_empty() {
            return Ok(None);
        }
        let report = |row: crate::store::FeedbackRow| {
            let found = Detection {
                detector: row.detector.into(),
                label: row.label.into(),
                confidence: row.confidence,
                area: row.area,
                trail: None,
            };
            let request = Request::Feedback { event_id: row.event_id.to_string(), reporter: row.reporter, found, correct: row.correct };
            (Micros(row.at.max(0) as u64), request)
        };
        Ok(Some(Kept {
            reported: after.map(|id| id.to_string().into()),
            snapshot: row.map(|row| (row.version, row.state.into())),
            reports: reports.into_iter().map(report).collect(),
        }))
    }

    /// Keeps what is new of the slots' state in the store.
    ///
    /// # Errors
    /// When the store does not take it; it is tried again.
    pub async fn keep(&self) -> Result<(), StoreError> {
        let Some(policies) = self.policies_if_warm() else { return Ok(()) };
        for slot in Slot::ALL {
            let status = policies.slot(slot).status();
            let Some(snapshot) = status.snapshot else { continue };
            if lock(&self.kept).get(&slot) == Some(&snapshot.taken_at) {
                continue;
            }
            let row = SnapshotRow {
                room: self.name.to_string(),
                slot,
                generation: i64::from(snapshot.generation.0),
                plugin: snapshot.plugin.name().to_owned(),
                version: snapshot.version,
                state: snapshot.state.to_vec(),
                last_feedback: snapshot.reported.as_deref().and_then(|id| Uuid::parse_str(id).ok()),
                taken_at: i64::try_from(snapshot.taken_at.0).unwrap_or(i64::MAX),
            };
            self.shared.store.save_snapshot(&row).await?;
            if slot == Slot::Threshold {
                self.shared.store.save_thresholds(&self.name, &status.current, row.taken_at).await?;
            }
            lock(&self.kept).insert(slot, snapshot.taken_at);
        }
        Ok(())
    }

    /// Takes a snapshot of every slot and keeps it.
    ///
    /// # Errors
    /// When the store does not take it.
    pub async fn keep_all(&self) -> Result<(), StoreError> {
        let Some(policies) = self.policies_if_warm() else { return Ok(()) };
        let now = policies.moment(self.shared.clock.now());
        for slot in Slot::ALL {
            policies.slot(slot).snapshot(now);
        }
        let taken = |slot: &Slot| {
            let status = policies.slot(*slot).status();
            !status.serving || status.snapshot.is_some_and(|snapshot| snapshot.taken_at >= now)
        };
        let until = tokio::time::Instant::now() + SNAPSHOT_WAIT;
        while !Slot::ALL.iter().all(taken) && tokio::time::Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        self.keep().await
    }

    /// Gives the instances back if nothing was asked for a while. A state that can't be kept keeps the room warm.
    pub async fn cool(&self, idle: Micros) {
        let used = Micros(self.used.load(Ordering::Relaxed));
        let busy = self.is_live() || lock(&self.recording).is_some();
        if busy || self.policies_if_warm().is_none() || self.shared.clock.now().saturating_sub(used) < idle {
            return;
        }
        let mut warm = self.warm.lock().await;
        match self.keep_all().await {
            Ok(()) => {
                *lock(&self.policies_now) = None;
                *warm = None;
                lock(&self.kept).clear();
                tracing::info!(room = %self.name, "idle, plugin instances given back");
            }
            Err(error) => tracing::warn!(room = %self.name, %error, "idle, but its state can't be kept"),
        }
    }

    fn observer(self: &Arc<Self>) -> Observer {
        let room = Arc::downgrade(self);
        let runtime = tokio::runtime::Handle::current();
        Arc::new(move |note| {
            let Some(room) = room.upgrade() else { return };
            if let Note::Event(PolicyEvent::RolledBack { slot, automatic: true, .. }) = &note {
                // What the host went back to is what the room is to have after a restart too.
                let (room, slot) = (room.clone(), *slot);
                runtime.spawn(async move { room.keep_choice_in_force(slot).await });
            }
            room.noted("", note);
        })
    }

    /// Hears what happens in the room or in one of its sources.
    pub(super) fn noted(&self, source: &str, note: Note) {
        match note {
            Note::Event(event) => self.tell("policy", policy_body(&event)),
            Note::Decision(decision) => _ = lock(&self.latest).insert(decision.slot, decision),
            Note::Skipped { .. } => metrics::counter!(meter::SKIPS).increment(1),
            Note::Weighed(weighing) => self.weighed(source, &weighing),
            Note::Judged(judging) => self.judged(source, &judging),
            Note::Look(_) => {}
        }
    }

    fn weighed(&self, source: &str, weighing: &Weighing) {
        let now = self.shared.clock.now();
        for (detection, verdict) in weighing.detections.iter().zip(&weighing.verdicts).filter(|(_, verdict)| verdict.counts) {
            if self.is_news(source, &detection.label, now) {
                self.tell("detection", detection_body(source, weighing.id.seq.0, detection, verdict.threshold));
            }
        }
    }

    fn judged(&self, source: &str, judging: &Judging) {
        let now = self.shared.clock.now();
        for found in judging.findings.iter().filter(|found| found.verdict.counts) {
            if self.is_news(source, &found.detection.label, now) {
                self.tell_found(source, judging, found);
            }
        }
    }

    /// Tells of something that was found in words; the words only where the room keeps them.
    pub(super) fn tell_found(&self, source: &str, judging: &Judging, found: &Finding) -> Arc<EventRow> {
        let mut body = detection_body(source, 0, &found.detection, found.verdict.threshold);
        // Words belong to a time, not to one frame.
        body["frame"] = Value::Null;
        body["at_us"] = json!(judging.at.0);
        body["medium"] = json!(judging.medium);
        body["severity"] = json!(found.finding.severity);
        body["words"] = json!(found.finding.count);
        let said: Vec<&str> = judging.utterance.words.iter().map(|word| word.text.as_str()).collect();
        self.tell_of("detection", body, &said.join(" "))
    }

    fn is_news(&self, source: &str, label: &str, now: Micros) -> bool {
        let mut told = lock(&self.told);
        let key = (source.to_owned(), label.to_owned());
        if told.get(&key).is_some_and(|at| now.saturating_sub(*at) < DETECTION_EVERY) {
            return false;
        }
        if told.len() >= TOLD_MAX {
            told.retain(|_, at| now.saturating_sub(*at) < DETECTION_EVERY);
        }
        told.insert(key, now);
        true
    }

    /// Makes what is in force in a slot the room's own choice, in the store too.
    async fn keep_choice_in_force(&self, slot: Slot) {
        // The choice that is just being stored may be the one that failed.
        let _write = self.writes.lock().await;
        let Some(policies) = self.policies_if_warm() else { return };
        let status = policies.slot(slot).status();
        let (Some(plugin), Some(config)) = (status.plugin, status.config) else { return };
        let config: Value = serde_json::from_str(&config).unwrap_or_default();
        let now = self.shared.clock.unix_us();
        match self.shared.store.set_policy(Scope::Room(&self.name), slot, &plugin.to_string(), &config, None, now).await {
            Ok(row) => self.choose(slot, Some(row)),
            Err(error) => tracing::warn!(room = %self.name, %slot, %error, "the rollback is in force but not kept"),
        }
    }
}

/// A policy event with its kind beside its fields.
pub fn policy_body(event: &PolicyEvent) -> Value {
    let Ok(Value::Object(outer)) = serde_json::to_value(event) else { return Value::Null };
    let Some((kind, fields)) = outer.into_iter().next() else { return Value::Null };
    let mut body = match fields {
        Value::Object(fields) => fields,
        other => serde_json::Map::from_iter([("value".to_owned(), other)]),
    };
    body.insert("event".to_owned(), kind.into());
    if let PolicyEvent::Committed { digest, .. } = event {
        body.insert("digest".to_owned(), digest.to_string().into());
    }
    Value::Object(body)
}

/// A detection that counted, as events hold it and reports refer to it.
pub fn detection_body(source: &str, frame: u64, detection: &Detection, threshold: f32) -> Value {
    json!({
        "source": source,
        "frame": frame,
        "detector": &*detection.detector,
        "label": &*detection.label,
        "confidence": detection.confidence,
        "threshold": threshold,
        "area": detection.area,
    })
}
