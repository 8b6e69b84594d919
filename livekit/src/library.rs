//! The library itself: loaded once, asked by requests, heard by one callback.

use std::collections::HashMap;
use std::ffi::{CStr, c_char};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use prost::Message as _;
use tokio::sync::oneshot;

use crate::audio::Inbox as AudioInbox;
use crate::event::Inbox as RoomInbox;
use crate::proto;
use crate::proto::ffi_event::Message as Event;
use crate::proto::ffi_request::Message as Request;
use crate::proto::ffi_response::Message as Response;
use crate::proto::room_event::Message as RoomMessage;
use crate::text::Readings;
use crate::video::Inbox as VideoInbox;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{path}: {reason}; `cargo xtask fetch` puts the library of the livekit package there")]
    Load { path: String, reason: String },
    #[error("the library refused {what}")]
    Refused { what: &'static str },
    #[error("{what}: {reason}")]
    Failed { what: &'static str, reason: String },
    #[error("{what}: no answer within {seconds} s")]
    Late { what: &'static str, seconds: u64 },
    #[error("a picture of {width}×{height} has {expected} bytes as I420, not {found}")]
    Picture { width: u32, height: u32, expected: usize, found: usize },
    #[error(
        "{found} samples are not up to a second of sound in {channels} channels at {rate} Hz; give whole frames, and longer sound in parts"
    )]
    Sound { rate: u32, channels: u32, found: usize },
    #[error("sound of {channels} channels at {rate} Hz; take 1 or 2 channels at a multiple of 100 Hz from 8000 to 48000")]
    Format { rate: u32, channels: u32 },
    #[error("a packet of {found} bytes; at most {most} are sent")]
    Data { found: usize, most: usize },
    #[error("a text of {found} bytes with its topic and attributes; at most {most} are sent, send it in parts")]
    Text { found: usize, most: usize },
}

type Callback = extern "C" fn(*const u8, usize);
type Initialize = unsafe extern "C" fn(Callback, bool, *const c_char, *const c_char);
type Ask = unsafe extern "C" fn(*const u8, usize, *mut *const u8, *mut usize) -> u64;
type DropHandle = unsafe extern "C" fn(u64) -> bool;

/// The loaded library. It is never unloaded: its threads outlive every room.
pub struct Library {
    ask: Ask,
    drop_handle: DropHandle,
    next: AtomicU64,
    routes: Mutex<Routes>,
    readings: Mutex<Readings>,
}

/// Who waits for what the callback brings.
#[derive(Default)]
struct Routes {
    /// By the number that the request carried.
    answers: HashMap<u64, oneshot::Sender<Event>>,
    rooms: HashMap<u64, Arc<RoomInbox>>,
    videos: HashMap<u64, Arc<VideoInbox>>,
    audios: HashMap<u64, Arc<AudioInbox>>,
}

static LIBRARY: OnceLock<Library> = OnceLock::new();

impl Library {
    /// Loads the library, once in a process; later calls answer with the same.
    ///
    /// # Errors
    /// When the file is not there or is none that this protocol fits.
    pub fn load(path: &Path) -> Result<&'static Self, Error> {
        static LOADING: Mutex<()> = Mutex::new(());
        let _one = LOADING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(library) = LIBRARY.get() {
            return Ok(library);
        }
        let failed = |error: libloading::Error| Error::Load { path: path.display().to_string(), reason: error.to_string() };
        // SAFETY: the library's initialisers are those of the SDK; nothing of it is used before `livekit_ffi_initialize`.
        let library = unsafe { libloading::Library::new(path) }.map_err(failed)?;
        // SAFETY: these are the signatures of FFI 0.13, as the Python SDK of the same wheel declares them.
        let (initialize, ask, drop_handle) = unsafe {
            (
                *library.get::<Initialize>(b"livekit_ffi_initialize").map_err(failed)?,
                *library.get::<Ask>(b"livekit_ffi_request").map_err(failed)?,
                *library.get::<DropHandle>(b"livekit_ffi_drop_handle").map_err(failed)?,
            )
        };
        // The symbols stay valid for as long as the process lives.
        std::mem::forget(library);
        let loaded = LIBRARY.get_or_init(|| Self {
            ask,
            drop_handle,
            next: AtomicU64::new(1),
            routes: Mutex::default(),
            readings: Mutex::default(),
        });
        const SDK: &CStr = c"rust";
        const VERSION: &CStr = c"0.13.2";
        // SAFETY: the callback may be called from any thread, from now on; both strings are static.
        unsafe { initialize(heard, true, SDK.as_ptr(), VERSION.as_ptr()) };
        Ok(loaded)
    }

    fn routes(&self) -> MutexGuard<'_, Routes> {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks something that is answered at once.
    pub(crate) fn ask(&self, what: &'static str, request: Request) -> Result<Response, Error> {
        let bytes = proto::FfiRequest { message: Some(request) }.encode_to_vec();
        let (mut answer, mut length) = (std::ptr::null(), 0);
        // SAFETY: the request's bytes are read during the call; the answer is the library's until its handle is dropped.
        let handle = unsafe { (self.ask)(bytes.as_ptr(), bytes.len(), &mut answer, &mut length) };
        if handle == 0 || answer.is_null() {
            return Err(Error::Refused { what });
        }
        let handle = self.handle(handle);
        // SAFETY: `length` bytes from `answer` are valid while the handle lives.
        let decoded = proto::FfiResponse::decode(unsafe { std::slice::from_raw_parts(answer, length) });
        drop(handle);
        decoded.ok().and_then(|response| response.message).ok_or(Error::Refused { what })
    }

    /// A number for a request, so that the library makes none up: one of its own could be the number of another request of ours.
    pub(crate) fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Asks something that is answered by an event; `request` gets the number that the event will carry.
    pub(crate) fn begin(&self, what: &'static str, request: impl FnOnce(Option<u64>) -> Request) -> Result<Waiting<'_>, Error> {
        let number = self.number();
        let (tell, told) = oneshot::channel();
        // Before the request: its event may come first.
        self.routes().answers.insert(number, tell);
        let waiting = Waiting { library: self, number, what, told };
        self.ask(what, request(Some(number)))?;
        Ok(waiting)
    }

    pub(crate) async fn ask_and_wait(
        &self,
        what: &'static str,
        seconds: u64,
        request: impl FnOnce(Option<u64>) -> Request,
    ) -> Result<Event, Error> {
        self.begin(what, request)?.answer(seconds).await
    }

    pub(crate) fn handle(&self, id: u64) -> Handle {
        Handle { drop_handle: self.drop_handle, id }
    }

    pub(crate) fn route_room(&self, handle: u64, inbox: Arc<RoomInbox>) {
        self.routes().rooms.insert(handle, inbox);
    }

    pub(crate) fn end_room(&self, handle: u64) {
        let inbox = self.routes().rooms.remove(&handle);
        inbox.inspect(|inbox| self.readings().end(inbox));
    }

    pub(crate) fn readings(&self) -> MutexGuard<'_, Readings> {
        self.readings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn route_video(&self, handle: u64, inbox: Arc<VideoInbox>) {
        self.routes().videos.insert(handle, inbox);
    }

    pub(crate) fn end_video(&self, handle: u64) {
        self.routes().videos.remove(&handle);
    }

    pub(crate) fn route_audio(&self, handle: u64, inbox: Arc<AudioInbox>) {
        self.routes().audios.insert(handle, inbox);
    }

    pub(crate) fn end_audio(&self, handle: u64) {
        self.routes().audios.remove(&handle);
    }

    /// One event. What nobody waits for is let go of, with its handles.
    fn take(&self, event: Event) {
        match event {
            Event::RoomEvent(event) => {
                let inbox = self.routes().rooms.get(&event.room_handle).cloned();
                match event.message {
                    Some(RoomMessage::TextStreamOpened(opened)) => crate::text::opened(self, inbox, opened),
                    Some(message) => {
                        let event = crate::event::owned(self, inbox.as_deref(), message);
                        if let (Some(inbox), Some(event)) = (inbox, event) {
                            inbox.push(event);
                        }
                    }
                    None => {}
                }
            }
            Event::VideoStreamEvent(event) => {
                let inbox = self.routes().videos.get(&event.stream_handle).cloned();
                let Some(message) = event.message else { return };
                crate::video::take(self, inbox.as_deref(), message);
            }
            Event::AudioStreamEvent(event) => {
                let inbox = self.routes().audios.get(&event.stream_handle).cloned();
                let Some(message) = event.message else { return };
                crate::audio::take(self, inbox.as_deref(), message);
            }
            Event::TextStreamReaderReadAll(read) => crate::text::read(self, read),
            Event::Logs(batch) => batch.records.into_iter().for_each(log),
            Event::Panic(panic) => tracing::error!(message = panic.message, "LiveKit's library panicked"),
            Event::Connect(proto::ConnectCallback { async_id, .. })
            | Event::Disconnect(proto::DisconnectCallback { async_id })
            | Event::PublishTrack(proto::PublishTrackCallback { async_id, .. })
            | Event::UnpublishTrack(proto::UnpublishTrackCallback { async_id, .. })
            | Event::PublishData(proto::PublishDataCallback { async_id, .. })
            | Event::CaptureAudioFrame(proto::CaptureAudioFrameCallback { async_id, .. })
            | Event::SendText(proto::StreamSendTextCallback { async_id, .. }) => self.answer(async_id, event),
        }
    }

    fn answer(&self, number: u64, event: Event) {
        let waiting = self.routes().answers.remove(&number);
        let unheard = match waiting {
            Some(tell) => tell.send(event).err(),
            None => Some(event),
        };
        // Who waited is gone: what came for it must not stay.
        if let Some(event) = unheard {
            crate::room::forget(self, event);
        }
    }
}

/// A request that an event will answer. Dropped, it is taken out of the routes.
pub(crate) struct Waiting<'a> {
    library: &'a Library,
    number: u64,
    what: &'static str,
    told: oneshot::Receiver<Event>,
}

impl Waiting<'_> {
    /// Waits for it; a call that is given up may be made again.
    pub async fn answer(&mut self, seconds: u64) -> Result<Event, Error> {
        let what = self.what;
        match tokio::time::timeout(std::time::Duration::from_secs(seconds), &mut self.told).await {
            Ok(Ok(event)) => Ok(event),
            Ok(Err(_)) => Err(Error::Refused { what }),
            Err(_) => Err(Error::Late { what, seconds }),
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.library.routes().answers.remove(&self.number);
    }
}

/// Something of the library's that is ours to drop.
#[derive(Debug)]
pub(crate) struct Handle {
    drop_handle: DropHandle,
    pub id: u64,
}

impl Handle {
    /// For requests that take the handle with them: it is no longer ours to drop.
    pub fn given(self) -> u64 {
        let id = self.id;
        std::mem::forget(self);
        id
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: the handle is the library's own, and is dropped here alone.
        unsafe { (self.drop_handle)(self.id) };
    }
}

/// The callback: on the library's threads, its bytes valid during the call.
extern "C" fn heard(bytes: *const u8, length: usize) {
    let Some(library) = LIBRARY.get().filter(|_| !bytes.is_null()) else { return };
    // A panic must not unwind into the library.
    let taken = std::panic::catch_unwind(|| {
        // SAFETY: the library hands over `length` readable bytes for the length of this call.
        let bytes = unsafe { std::slice::from_raw_parts(bytes, length) };
        match proto::FfiEvent::decode(bytes) {
            Ok(proto::FfiEvent { message: Some(event) }) => library.take(event),
            // One that this file does not name.
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "an event of LiveKit's library cannot be read"),
        }
    });
    if taken.is_err() {
        tracing::error!("an event of LiveKit's library made us panic; it is lost");
    }
}

fn log(record: proto::LogRecord) {
    let (from, said) = (record.target, record.message);
    match proto::LogLevel::try_from(record.level) {
        Ok(proto::LogLevel::LogError) => tracing::warn!(target: "livekit", from, "{said}"),
        Ok(proto::LogLevel::LogWarn) => tracing::info!(target: "livekit", from, "{said}"),
        _ => tracing::debug!(target: "livekit", from, "{said}"),
    }
}
