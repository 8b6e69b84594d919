//! One live stream of a room: from what a publisher sends to what viewers get.
//!
//! ```text
//! offer ─► queue (10, newest wins) ─► decoding thread ─► frame path (room::live) ─► out (8, newest wins) ─► covering thread ─► viewers
//!                                                                                                            └─► auditor
//! ```
//! What always holds: what viewers get has gone through the frame path and is covered as it says; nothing a viewer or a publisher does makes
//! the frame path wait; every lost frame is counted by its reason. A publisher that is cut off may come back within `resume_s`: the gap
//! starts a new shot, so that nothing of before judges what comes.

mod intake;
mod outlet;
mod shown;
mod watched;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, Weak};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::json;
use tokio::sync::{broadcast, mpsc, oneshot};
use tracing::Instrument;
use uuid::Uuid;

use self::intake::Inbox;
pub use self::intake::{Offered, QUEUE_MAX};
use self::outlet::Outbox;
pub use self::shown::{Shown, Wanted};
use self::watched::Watched;
use super::room::{Room, lock};
use super::{Shared, meter, word};
use crate::config::FRAME_MS_NOMINAL;
use crate::host::HostError;
use crate::media::frame::{FrameSeq, Micros};
use crate::media::wire::{Control, Format};
use crate::plugin::types::{self, SourceKind};
use crate::room::admission;
use crate::room::judges::Judges;
use crate::room::live::{self, Told};
use crate::room::published::{Counts, Published};
use crate::room::request::Request;
use crate::room::settings::Settings;
use crate::room::source::Source;
use crate::store::SessionCounts;
use crate::telemetry::room_span;

/// Shown frames that a viewer may be behind before it misses some.
const BEHIND_MAX: usize = 8;
/// How often it is looked whether the last frame is out.
const OVER_EVERY: Duration = Duration::from_millis(100);
/// What publishers are taken to send until they are measured.
const FRAME_NOMINAL: Micros = Micros(33_333);

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
    pub watched: Watched,
}

/// By which way frames come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    Socket,
    Clip,
    LiveKit,
}

impl Way {
    /// The word of the metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Way::Socket => "socket",
            Way::Clip => "clip",
            Way::LiveKit => "livekit",
        }
    }
}

/// What a stream is of.
#[derive(Clone, Debug)]
pub struct Origin {
    pub way: Way,
    pub source: types::Source,
    /// Its uncovered frames may be watched: the demo's clip.
    pub raw: bool,
}

impl Origin {
    /// Somebody's camera, or what stands for one.
    pub fn camera(way: Way, name: &str) -> Self {
        let source = types::Source { id: name.to_owned(), kind: SourceKind::Camera, owner: name.to_owned() };
        Self { way, source, raw: false }
    }

    /// Whether both want the same place. A room has one for whoever sends frames itself, and one for each track of a LiveKit room.
    pub fn rivals(&self, other: &Origin) -> bool {
        match (self.way, other.way) {
            (Way::LiveKit, Way::LiveKit) => self.source.id == other.source.id,
            (Way::LiveKit, _) | (_, Way::LiveKit) => false,
            _ => true,
        }
    }
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
    pub origin: Origin,
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
    pub async fn begin(room: &Arc<Room>, origin: Origin) -> Result<Arc<Self>, HostError> {
        let shared = room.shared.clone();
        let policies = room.policies().await;
        let settings = Arc::new(shared.host.settings(&room.settled().config, FRAME_MS_NOMINAL.micros())?);
        let number = shared.next_source();
        let (tell, told) = mpsc::channel(live::TOLD_MAX);
        let session = match shared.store.begin_session(&room.name, &origin.source.id, shared.clock.unix_us()).await {
            Ok(row) => row.id,
            Err(error) => {
                shared.store_failed(&error);
                Uuid::now_v7()
            }
        };
        let (source, way) = (origin.source.clone(), origin.way);
        let stream = Arc::new(Self {
            session,
            started_at: shared.clock.unix_us(),
            number,
            inbox: Mutex::default(),
            arrived: Condvar::new(),
            outbox: Mutex::default(),
            left: Condvar::new(),
            told: tell.clone(),
            shown: broadcast::channel(BEHIND_MAX).0,
            control: broadcast::channel(32).0,
            raw: origin.raw.then(|| broadcast::channel(BEHIND_MAX).0),
            origin,
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
        let (heard, id) = (Arc::downgrade(room), source.id.clone());
        let observer = Arc::new(move |note| {
            if let Some(room) = heard.upgrade() {
                room.noted(&id, note);
            }
        });
        let judges = shared.host.judges(number, source.clone(), policies, observer);
        stream.run(room, judges, Source::new(settings), told);
        metrics::gauge!(meter::STREAMS).increment(1.0);
        room.tell(
            "stream_started",
            json!({ "session": stream.session, "source": source.id, "owner": source.owner, "kind": source.kind, "way": way }),
        );
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
                    metrics::counter!(meter::LOOKS, "why" => word(why)).increment(1);
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
            judges.policies().source_ended(stream.source_id(), clock.now());
            judges.policies().leave(stream.number);
            shared.host.release(&stream.admission_id());
            // The thread says nothing; it lets go when the last frame is shown, or when it never began.
            let _ = covered.await;
            stream.close_session(weak).await;
        };
        room.shared.frame_path.spawn(path.instrument(span));
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

    fn admit(&self, shared: &Shared, (width, height): (usize, usize)) -> Result<(), HostError> {
        let settings = lock(&self.settings).clone();
        shared.host.admit(&self.admission_id(), &settings, &admission::Format { width, height, frames_per_s: 1e6 / FRAME_NOMINAL.0 as f64 })
    }

    /// One caller may publish in many rooms.
    fn admission_id(&self) -> String {
        format!("{} ({})", self.source_id(), self.session)
    }

    pub fn source_id(&self) -> &str {
        &self.origin.source.id
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
    pub fn alone_for(&self) -> Option<Duration> {
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

    /// Returns when its last frame has been shown too.
    pub async fn over(&self) {
        while !self.over.load(Ordering::Relaxed) {
            tokio::time::sleep(OVER_EVERY).await;
        }
    }

    /// Frames that a publisher sent and that did not come this far.
    pub fn lost(&self, count: u64) {
        if count > 0 {
            self.dropped(count, "way");
        }
    }

    /// A viewer was too slow for so many frames.
    pub fn behind(&self, count: u64) {
        metrics::counter!(meter::FRAMES_DROPPED, "reason" => "viewer").increment(count);
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
        let Tally { shown, covered, exposed, watched, .. } = self.tally();
        SessionCounts {
            frames: shown as i64,
            covered: covered as i64,
            exposed: exposed as i64,
            viewers_peak: watched.peak as i64,
            viewers_total: watched.total as i64,
        }
    }

    /// So many are in its LiveKit room, and so many have come since the host has known it.
    pub fn watched(&self, viewers: usize, came: u64) {
        lock(&self.tally).watched.see(viewers as u64, came);
    }

    async fn close_session(self: Arc<Self>, room: Weak<Room>) {
        self.finish("the stream is over");
        metrics::gauge!(meter::STREAMS).decrement(1.0);
        let Some(room) = room.upgrade() else { return };
        let tally = self.tally();
        let body = json!({
            "session": self.session, "source": self.source_id(), "frames": tally.shown, "covered": tally.covered,
            "dropped": tally.dropped, "audited": tally.audited, "exposed": tally.exposed,
        });
        room.tell("stream_ended", body);
        let (why, now) = (self.ended.get().map_or("", |why| why), room.shared.clock.unix_us());
        if let Err(error) = room.shared.store.end_session(self.session, self.session_counts(), why, now).await {
            room.shared.store_failed(&error);
        }
        // Last, so that whoever finds the room without a stream finds the session ended.
        lock(&room.streams).retain(|live| live.session != self.session);
    }
}

fn spawn_thread(name: &str, run: impl FnOnce() + Send + 'static) {
    // Without threads there is no host; the process is beyond help then.
    if let Err(error) = std::thread::Builder::new().name(name.to_owned()).spawn(run) {
        tracing::error!(%error, name, "a stream's thread cannot be started");
    }
}
