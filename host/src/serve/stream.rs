//! One live stream of a room: from what a publisher sends to what viewers get.
//!
//! ```text
//! offer ─► queue (10, newest wins) ─► decoding thread ─► frame path (room::live) ─► out (8, newest wins) ─► covering thread ─► viewers
//!                                                                                                            └─► auditor
//! ```
//! What always holds: what viewers get has gone through the frame path and is covered as it says; nothing a viewer or a publisher does makes
//! the frame path wait; every lost frame is counted by its reason. A publisher that is cut off may come back within `resume_s`: the gap
//! starts a new shot, so that nothing of before judges what comes.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError, Weak};
use std::time::Instant;

use bytes::Bytes;
use serde_json::json;
use tokio::sync::{broadcast, mpsc, oneshot};
use tracing::Instrument;
use uuid::Uuid;

use super::Shared;
use super::audit::Audit;
use super::meter;
use super::room::{Room, lock};
use crate::censor::areas;
use crate::config::FRAME_MS_NOMINAL;
use crate::host::HostError;
use crate::media::frame::{Frame, FrameSeq, Micros};
use crate::media::picture::Limits;
use crate::media::wire::{self, Control, Extent, Format, Origin, Verdict};
use crate::plugin::types::{self, SourceKind};
use crate::room::admission;
use crate::room::channel::Unjudged;
use crate::room::judges::Judges;
use crate::room::live::{self, Told};
use crate::room::settings::Settings;
use crate::room::source::{Counts, Cover, Published, Request, Source};
use crate::store::SessionCounts;
use crate::telemetry::room_span;
use crate::vision::cover::cover;

/// Messages that wait to be decoded, at most.
pub const QUEUE_MAX: usize = 10;
/// Published frames that wait to be covered, at most.
const OUT_MAX: usize = 8;
/// Shown frames that a viewer may be behind before it misses some.
const BEHIND_MAX: usize = 8;
/// What publishers are taken to send until they are measured.
const FRAME_NOMINAL: Micros = Micros(33_333);
/// Of the JPEG pictures that viewers get.
const JPEG_QUALITY: u8 = 85;
/// A publisher's clock further off than this is tied anew.
const CLOCK_DRIFT_MAX: Micros = Micros::from_millis(1000);

/// What a publisher gives.
pub enum Offered {
    /// One binary message of the socket's format.
    Message(Bytes),
    /// A decoded frame, numbered and timed by its own source.
    Frame(Frame),
}

/// A frame as viewers get it.
pub struct Shown {
    /// The publisher's own number and capture time.
    pub sequence: u64,
    pub capture_us: u64,
    /// Covered.
    pub frame: Frame,
    pub verdict: Verdict,
    jpeg: OnceLock<Bytes>,
    i420: OnceLock<Bytes>,
}

impl Shown {
    /// The socket's message; empty if it can't be encoded.
    pub fn message(&self, format: Format) -> &Bytes {
        let once = match format {
            Format::Jpeg => &self.jpeg,
            Format::I420 => &self.i420,
        };
        once.get_or_init(|| {
            let origin = Origin { sequence: self.sequence, capture: Micros(self.capture_us) };
            wire::cover_message(&self.frame, format, JPEG_QUALITY, origin, self.verdict.clone()).unwrap_or_else(|error| {
                tracing::warn!(%error, "a covered frame cannot be encoded");
                Bytes::new()
            })
        })
    }
}

/// Counts of one session.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub received: u64,
    pub dropped: u64,
    pub shown: u64,
    pub covered: u64,
    pub audited: u64,
    pub exposed: u64,
    pub late: u64,
    pub path: Counts,
    pub size: Option<(usize, usize)>,
}

#[derive(Default)]
struct Inbox {
    /// Each with whether its publisher was away before it.
    waiting: VecDeque<(Offered, bool)>,
    resumes: bool,
    closed: bool,
}

#[derive(Default)]
struct Outbox {
    waiting: VecDeque<(Published, u64, u64)>,
    closed: bool,
}

struct Publisher {
    connected: bool,
    /// When it was cut off.
    gone: Option<Instant>,
    last_sequence: Option<u64>,
}

/// See the module.
pub struct Stream {
    pub session: Uuid,
    pub source_id: String,
    pub started_at: i64,
    number: u64,
    inbox: Mutex<Inbox>,
    arrived: Condvar,
    outbox: Mutex<Outbox>,
    left: Condvar,
    told: mpsc::Sender<Told>,
    shown: broadcast::Sender<Arc<Shown>>,
    /// To the publisher.
    control: broadcast::Sender<Control>,
    /// Uncovered frames, for the demo's room alone.
    raw: Option<broadcast::Sender<Arc<Shown>>>,
    publisher: Mutex<Publisher>,
    tally: Mutex<Tally>,
    /// Number and capture time of the publisher for frames in the path.
    names: Mutex<VecDeque<(FrameSeq, u64, u64)>>,
    settings: Mutex<Arc<Settings>>,
    wants: [AtomicUsize; 2],
    bytes: AtomicU64,
    /// Why no frame follows.
    ended: OnceLock<String>,
    /// Its last frame has been shown.
    over: AtomicBool,
    exposed_since: Mutex<Option<Instant>>,
}

impl Stream {
    /// Begins a stream in a room: its threads, its frame path, its session.
    ///
    /// # Errors
    /// When the room's settings can't work.
    pub async fn begin(room: &Arc<Room>, source_id: &str, raw: bool) -> Result<Arc<Self>, HostError> {
        let shared = room.shared.clone();
        let policies = room.policies().await;
        let settings = Arc::new(shared.host.settings(&room.settled().config, FRAME_MS_NOMINAL.micros())?);
        let number = shared.next_source();
        let (tell, told) = mpsc::channel(live::TOLD_MAX);
        let session = match shared.store.begin_session(&room.name, source_id, shared.clock.unix_us()).await {
            Ok(row) => row.id,
            Err(error) => {
                shared.store_failed(&error);
                Uuid::now_v7()
            }
        };
        let stream = Arc::new(Self {
            session,
            source_id: source_id.to_owned(),
            started_at: shared.clock.unix_us(),
            number,
            inbox: Mutex::default(),
            arrived: Condvar::new(),
            outbox: Mutex::default(),
            left: Condvar::new(),
            told: tell.clone(),
            shown: broadcast::channel(BEHIND_MAX).0,
            control: broadcast::channel(32).0,
            raw: raw.then(|| broadcast::channel(BEHIND_MAX).0),
            publisher: Mutex::new(Publisher { connected: false, gone: Some(Instant::now()), last_sequence: None }),
            tally: Mutex::default(),
            names: Mutex::default(),
            settings: Mutex::new(settings.clone()),
            wants: [AtomicUsize::new(0), AtomicUsize::new(0)],
            bytes: AtomicU64::new(0),
            ended: OnceLock::new(),
            over: AtomicBool::new(false),
            exposed_since: Mutex::default(),
        });
        let commits = tell.clone();
        policies.enter(number, shared.clock.now(), Box::new(move |commit| _ = commits.try_send(Told::Commit(commit))));
        let source = types::Source { id: source_id.to_owned(), kind: SourceKind::Camera, owner: source_id.to_owned() };
        let (heard, id) = (Arc::downgrade(room), source_id.to_owned());
        let observer = Arc::new(move |note| {
            if let Some(room) = heard.upgrade() {
                room.noted(&id, note);
            }
        });
        let judges = shared.host.judges(number, source, policies, observer);
        stream.run(room, judges, Source::new(settings), told);
        metrics::gauge!(meter::STREAMS).increment(1.0);
        room.tell("stream_started", json!({ "session": stream.session, "source": source_id }));
        Ok(stream)
    }

    fn run(self: &Arc<Self>, room: &Arc<Room>, judges: Judges, source: Source, told: mpsc::Receiver<Told>) {
        let shared = room.shared.clone();
        let (frame_in, frames) = mpsc::channel(live::FRAMES_MAX);
        let (stream, weak, policies) = (self.clone(), Arc::downgrade(room), judges.policies().clone());
        spawn_thread("decode", move || stream.decode(&weak, &policies, &frame_in));
        let (stream, weak) = (self.clone(), Arc::downgrade(room));
        let (covering, covered) = oneshot::channel::<()>();
        spawn_thread("cover", move || {
            stream.cover_all(&weak);
            stream.over.store(true, Ordering::Relaxed);
            drop(covering);
        });
        let (stream, weak) = (self.clone(), Arc::downgrade(room));
        let span = room_span(&room.name);
        let path = async move {
            let publisher = stream.clone();
            let dispatch_to = stream.clone();
            let answers = judges.clone();
            let dispatch = move |request: Request, now| {
                if let Request::Look { why, .. } = &request {
                    metrics::counter!(meter::LOOKS, "why" => super::word(why)).increment(1);
                }
                let told = dispatch_to.told.clone();
                answers.dispatch(request, now, move |answer| _ = told.try_send(Told::Answer(answer)));
            };
            let clock = shared.clock;
            let publish = |source: &Source, published: Published| publisher.published(source, published, &judges, clock.now());
            let source = live::run(source, live::Inputs { frames, told }, Some(clock.stream()), dispatch, publish).await;
            lock(&stream.tally).path = source.counts().clone();
            lock(&stream.outbox).closed = true;
            stream.left.notify_all();
            judges.policies().source_ended(&stream.source_id, clock.now());
            judges.policies().leave(stream.number);
            shared.host.release(&stream.admission_id());
            // The thread says nothing; it lets go when the last frame is shown, or when it never began.
            let _ = covered.await;
            stream.close_session(weak).await;
        };
        room.shared.frame_path.spawn(path.instrument(span));
    }

    /// Takes what a publisher sent. Never waits: with a full queue the oldest goes.
    pub fn offer(&self, offered: Offered) {
        let way = if matches!(offered, Offered::Message(_)) { "socket" } else { "clip" };
        metrics::counter!(meter::FRAMES_IN, "way" => way).increment(1);
        let mut inbox = lock(&self.inbox);
        let full = inbox.waiting.len() >= QUEUE_MAX;
        if full
            && let Some((_, true)) = inbox.waiting.pop_front()
            && let Some((_, resumed)) = inbox.waiting.front_mut()
        {
            *resumed = true;
        }
        let resumed = std::mem::take(&mut inbox.resumes);
        inbox.waiting.push_back((offered, resumed));
        let waiting = inbox.waiting.len();
        drop(inbox);
        self.arrived.notify_one();
        lock(&self.tally).received += 1;
        if full {
            self.dropped(1, "queue");
            // Half of what came cannot be kept up with: half of the rate is a start.
            let _ = self.control.send(Control::SlowDown { queue: waiting as u32, frames_per_second: self.rate_hint() });
        }
    }

    fn rate_hint(&self) -> f32 {
        let tally = lock(&self.tally);
        let kept = tally.received.saturating_sub(tally.dropped).max(1) as f32;
        (30.0 * kept / tally.received.max(1) as f32).max(1.0)
    }

    fn dropped(&self, count: u64, reason: &'static str) {
        metrics::counter!(meter::FRAMES_DROPPED, "reason" => reason).increment(count);
        let mut tally = lock(&self.tally);
        tally.dropped += count;
        let total = tally.dropped;
        drop(tally);
        // Nobody connected, nobody to tell.
        let _ = self.control.send(Control::Dropped { count, total, reason: reason.to_owned() });
    }

    fn next_offered(&self) -> Option<(Offered, bool)> {
        let mut inbox = lock(&self.inbox);
        loop {
            if let Some(offered) = inbox.waiting.pop_front() {
                return Some(offered);
            }
            if inbox.closed {
                return None;
            }
            inbox = self.arrived.wait(inbox).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The decoding thread.
    fn decode(&self, room: &Weak<Room>, policies: &crate::room::policies::Policies, to: &mpsc::Sender<Frame>) {
        let (mut seq, mut clock, mut admitted) = (0, None::<(u64, Micros)>, None);
        let (mut last_at, mut resumes) = (Micros::ZERO, false);
        while let Some((offered, resumed)) = self.next_offered() {
            resumes |= resumed;
            let Some(room) = room.upgrade() else { return };
            let shared = &room.shared;
            let since = Instant::now();
            let decoded = match offered {
                Offered::Message(bytes) => unpacked(&bytes),
                Offered::Frame(frame) => Ok((frame.seq.0, frame.at.0, frame)),
            };
            let (sequence, capture_us, mut frame) = match decoded {
                Ok(decoded) => decoded,
                Err(detail) => {
                    let _ = self.control.send(Control::Error { title: "frame not usable".to_owned(), detail });
                    self.dropped(1, "undecodable");
                    continue;
                }
            };
            metrics::histogram!(meter::STAGE, "stage" => "decode").record(since.elapsed());
            if lock(&self.publisher).last_sequence.is_some_and(|last| sequence <= last) {
                self.dropped(1, "order");
                continue;
            }
            let size = (frame.width, frame.height);
            if admitted != Some(size) {
                if let Err(error) = self.admit(shared, size) {
                    let _ = self.control.send(Control::Error { title: "stream refused".to_owned(), detail: error.to_string() });
                    self.dropped(1, "refused");
                    continue;
                }
                admitted = Some(size);
                lock(&self.tally).size = Some(size);
            }
            let now = shared.clock.now();
            let at = self.host_time(&mut clock, capture_us, now).max(last_at + Micros(1));
            last_at = at;
            frame.seq = FrameSeq(seq);
            frame.at = at;
            seq += 1;
            frame.resumed = std::mem::take(&mut resumes);
            lock(&self.publisher).last_sequence = Some(sequence);
            lock(&self.names).push_back((frame.seq, sequence, capture_us));
            policies.captured(at);
            if let Some(raw) = self.raw.as_ref().filter(|raw| raw.receiver_count() > 0) {
                let verdict = Verdict { judged: false, cover: Extent::Clear, reason: None, masks: Vec::new(), shot: 0 };
                let _ = raw.send(Arc::new(Shown::new(sequence, capture_us, frame.clone(), verdict)));
            }
            drop(room);
            // The frame path never stops taking; should it be gone, so is the stream.
            if to.blocking_send(frame).is_err() {
                return;
            }
        }
    }

    /// When a frame was captured, by the host's clock: as far from the last tie as by the publisher's own, never in the future.
    fn host_time(&self, clock: &mut Option<(u64, Micros)>, capture_us: u64, now: Micros) -> Micros {
        let (theirs, ours) = *clock.get_or_insert((capture_us, now));
        let at = Micros((ours.0 + capture_us).saturating_sub(theirs));
        // A publisher that resumes may have another clock; one that runs away is held to ours.
        let off = if at > now { at.saturating_sub(now) } else { now.saturating_sub(at) };
        if at > now || off > CLOCK_DRIFT_MAX {
            *clock = Some((capture_us, now));
            return now;
        }
        at
    }

    fn admit(&self, shared: &Shared, (width, height): (usize, usize)) -> Result<(), HostError> {
        let settings = lock(&self.settings).clone();
        shared.host.admit(&self.admission_id(), &settings, &admission::Format { width, height, frames_per_s: 1e6 / FRAME_NOMINAL.0 as f64 })
    }

    /// One caller may publish in many rooms.
    fn admission_id(&self) -> String {
        format!("{} ({})", self.source_id, self.session)
    }

    /// A frame leaves the delay line; must not wait.
    fn published(&self, source: &Source, published: Published, judges: &Judges, now: Micros) {
        judges.policies().published(self.number, published.frame.at);
        let due = published.frame.at + published.settings.delay;
        metrics::histogram!(meter::LATENESS).record(std::time::Duration::from(now.saturating_sub(due)));
        self.bytes.store(source.bytes() as u64, Ordering::Relaxed);
        let (sequence, capture_us) = self.name_of(published.frame.seq);
        let mut tally = lock(&self.tally);
        tally.path = source.counts().clone();
        // Later than a frame's length is late to a viewer.
        tally.late += u64::from(now.saturating_sub(due) > FRAME_NOMINAL);
        drop(tally);
        let mut outbox = lock(&self.outbox);
        let full = outbox.waiting.len() >= OUT_MAX;
        if full {
            outbox.waiting.pop_front();
        }
        outbox.waiting.push_back((published, sequence, capture_us));
        drop(outbox);
        self.left.notify_one();
        if full {
            self.dropped(1, "output");
        }
    }

    fn name_of(&self, seq: FrameSeq) -> (u64, u64) {
        let mut names = lock(&self.names);
        let (mut left_out, mut found) = (0, (seq.0, 0));
        while let Some((named, sequence, capture_us)) = names.pop_front() {
            if named == seq {
                found = (sequence, capture_us);
                break;
            }
            left_out += 1;
        }
        drop(names);
        if left_out > 0 {
            // The delay became shorter.
            self.dropped(left_out, "shortened");
        }
        found
    }

    fn next_published(&self) -> Option<(Published, u64, u64)> {
        let mut outbox = lock(&self.outbox);
        loop {
            if let Some(next) = outbox.waiting.pop_front() {
                return Some(next);
            }
            if outbox.closed {
                return None;
            }
            outbox = self.left.wait(outbox).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The covering thread.
    fn cover_all(&self, room: &Weak<Room>) {
        let mut count = 0_u64;
        while let Some((published, sequence, capture_us)) = self.next_published() {
            let Some(room) = room.upgrade() else { return };
            let Published { mut frame, cover: how, passed_unjudged, shot, settings } = published;
            let since = Instant::now();
            cover(&mut frame, areas(&how), settings.style);
            metrics::histogram!(meter::STAGE, "stage" => "cover").record(since.elapsed());
            let verdict = verdict_of(&how, passed_unjudged, shot);
            self.count(&verdict);
            count += 1;
            let every = u64::from(room.shared.host.config.serve.audit_every);
            if every > 0 && count.is_multiple_of(every) {
                let masks = areas(&how).to_vec();
                room.shared.auditor.look_at(Audit {
                    frame: frame.clone(),
                    masks,
                    settings,
                    room: Arc::downgrade(&room),
                    session: self.session,
                });
            }
            let shown = Arc::new(Shown::new(sequence, capture_us, frame, verdict));
            let since = Instant::now();
            for format in [Format::Jpeg, Format::I420] {
                if self.wants[format as usize].load(Ordering::Relaxed) > 0 {
                    shown.message(format);
                }
            }
            metrics::histogram!(meter::STAGE, "stage" => "encode").record(since.elapsed());
            // Nobody watching is no fault.
            let _ = self.shown.send(shown);
        }
    }

    fn count(&self, verdict: &Verdict) {
        metrics::counter!(meter::FRAMES_OUT, "cover" => super::word(&verdict.cover)).increment(1);
        if let Some(reason) = &verdict.reason {
            let name = if verdict.cover == Extent::Full { meter::FULL_COVERS } else { meter::PASSED_UNJUDGED };
            metrics::counter!(name, "reason" => reason.clone()).increment(1);
        }
        let mut tally = lock(&self.tally);
        tally.shown += 1;
        tally.covered += u64::from(verdict.cover != Extent::Clear);
    }

    /// Watches the stream; what is wanted is encoded for as long as the ticket lives.
    pub fn watch(self: &Arc<Self>, want: Option<Format>) -> (broadcast::Receiver<Arc<Shown>>, Wanted) {
        let wanted = Wanted { stream: self.clone(), want };
        if let Some(count) = wanted.count() {
            count.fetch_add(1, Ordering::Relaxed);
        }
        (self.shown.subscribe(), wanted)
    }

    /// The uncovered frames, in the demo's room alone.
    pub fn watch_raw(&self) -> Option<broadcast::Receiver<Arc<Shown>>> {
        self.raw.as_ref().map(broadcast::Sender::subscribe)
    }

    /// What the publisher is told.
    pub fn controls(&self) -> broadcast::Receiver<Control> {
        self.control.subscribe()
    }

    /// Takes the publisher's place. False if somebody has it, or the stream is over.
    pub fn attach(&self) -> bool {
        let mut publisher = lock(&self.publisher);
        if publisher.connected || self.has_ended() {
            return false;
        }
        publisher.connected = true;
        publisher.gone = None;
        lock(&self.inbox).resumes = true;
        true
    }

    /// The publisher was cut off.
    pub fn detach(&self) {
        let mut publisher = lock(&self.publisher);
        publisher.connected = false;
        publisher.gone = Some(Instant::now());
    }

    /// The publisher's last number that was taken.
    pub fn last_sequence(&self) -> Option<u64> {
        lock(&self.publisher).last_sequence
    }

    /// For how long there has been no publisher.
    pub fn alone_for(&self) -> Option<std::time::Duration> {
        lock(&self.publisher).gone.map(|gone| gone.elapsed())
    }

    /// No frame follows: what is in the line is still published.
    pub fn finish(&self, why: &str) {
        if self.ended.set(why.to_owned()).is_ok() {
            let _ = self.control.send(Control::Bye { reason: why.to_owned() });
            lock(&self.inbox).closed = true;
            self.arrived.notify_all();
        }
    }

    pub fn has_ended(&self) -> bool {
        self.ended.get().is_some()
    }

    /// Whether its last frame has been shown too.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Tells the publisher that a message of its was not taken.
    pub fn refuse(&self, detail: String) {
        // Nobody connected, nobody to tell.
        let _ = self.control.send(Control::Error { title: "message not usable".to_owned(), detail });
    }

    /// New settings, for the frames captured from now on; a source that would need more than there is keeps the old.
    ///
    /// # Errors
    /// What there is too little of.
    pub fn configure(&self, shared: &Shared, settings: Settings) -> Result<(), HostError> {
        let settings = Arc::new(settings);
        let before = std::mem::replace(&mut *lock(&self.settings), settings.clone());
        if let Some(size) = lock(&self.tally).size
            && let Err(error) = self.admit(shared, size)
        {
            *lock(&self.settings) = before;
            return Err(error);
        }
        // The channel holds more than can be waiting; a driver that is gone needs no settings.
        let _ = self.told.try_send(Told::Configure(settings));
        Ok(())
    }

    pub fn tally(&self) -> Tally {
        lock(&self.tally).clone()
    }

    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// The auditor has looked at a published frame.
    pub(super) fn audited(&self, exposed: bool) {
        let mut tally = lock(&self.tally);
        tally.audited += 1;
        tally.exposed += u64::from(exposed);
        drop(tally);
        let mut since = lock(&self.exposed_since);
        match (exposed, *since) {
            (true, None) => *since = Some(Instant::now()),
            (false, Some(from)) => {
                metrics::histogram!(meter::TIME_TO_COVER).record(from.elapsed());
                *since = None;
            }
            _ => {}
        }
    }

    /// As the store keeps them.
    pub fn session_counts(&self) -> SessionCounts {
        let tally = self.tally();
        SessionCounts { frames: tally.shown as i64, covered: tally.covered as i64, exposed: tally.exposed as i64 }
    }

    async fn close_session(self: Arc<Self>, room: Weak<Room>) {
        self.finish("the stream is over");
        metrics::gauge!(meter::STREAMS).decrement(1.0);
        let Some(room) = room.upgrade() else { return };
        let tally = self.tally();
        let body = json!({
            "session": self.session, "source": self.source_id, "frames": tally.shown, "covered": tally.covered,
            "dropped": tally.dropped, "audited": tally.audited, "exposed": tally.exposed,
        });
        room.tell("stream_ended", body);
        let (why, now) = (self.ended.get().map_or("", |why| why), room.shared.clock.unix_us());
        if let Err(error) = room.shared.store.end_session(self.session, self.session_counts(), why, now).await {
            room.shared.store_failed(&error);
        }
        // Last, so that whoever finds the room without a stream finds the session ended.
        lock(&room.stream).take_if(|live| live.session == self.session);
    }
}

impl Shown {
    fn new(sequence: u64, capture_us: u64, frame: Frame, verdict: Verdict) -> Self {
        Self { sequence, capture_us, frame, verdict, jpeg: OnceLock::new(), i420: OnceLock::new() }
    }
}

/// A viewer's wish, for as long as it lives.
pub struct Wanted {
    stream: Arc<Stream>,
    want: Option<Format>,
}

impl Wanted {
    fn count(&self) -> Option<&AtomicUsize> {
        self.want.map(|format| &self.stream.wants[format as usize])
    }
}

impl Drop for Wanted {
    fn drop(&mut self) {
        if let Some(count) = self.count() {
            count.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// A publisher's message: its number, its capture time, its frame, or what is wrong with it.
fn unpacked(message: &[u8]) -> Result<(u64, u64, Frame), String> {
    let limits = Limits::default();
    let inbound = wire::parse_inbound(message, limits).map_err(|error| error.to_string())?;
    let frame = wire::frame_of(&inbound, inbound.head.capture, limits).map_err(|error| error.to_string())?;
    Ok((inbound.head.sequence, inbound.head.capture.0, frame))
}

fn verdict_of(how: &Cover, passed_unjudged: Option<Unjudged>, shot: u32) -> Verdict {
    let (judged, cover, reason) = match how {
        Cover::Full { reason, .. } => (false, Extent::Full, Some(super::word(reason))),
        Cover::Masks(masks) => {
            let cover = if masks.is_empty() { Extent::Clear } else { Extent::Masked };
            (passed_unjudged.is_none(), cover, passed_unjudged.as_ref().map(super::word))
        }
    };
    Verdict { judged, cover, reason, masks: areas(how).to_vec(), shot }
}

fn spawn_thread(name: &str, run: impl FnOnce() + Send + 'static) {
    // Without threads there is no host; the process is beyond help then.
    if let Err(error) = std::thread::Builder::new().name(name.to_owned()).spawn(run) {
        tracing::error!(%error, name, "a stream's thread cannot be started");
    }
}
