//! Audio in and out, as interleaved samples of 16 bits.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::Mutex;

use crate::event::RemoteTrack;
use crate::library::{Error, Handle, Library, Waiting as Asked};
use crate::proto;
use crate::proto::audio_stream_event::Message;
use crate::proto::ffi_event::Message as Answer;
use crate::proto::ffi_request::Message as Request;
use crate::proto::ffi_response::Message as Response;
use crate::queue::Queue;
use crate::room::Room;

/// Chunks of 10 ms that may wait to be taken: half a second. The oldest goes.
const WAITING_MAX: usize = 50;
/// What the library keeps of a track of ours before it lets us wait. It takes 10 ms from there every 10 ms, and sends silence where there is
/// nothing. So this is how late we may wake without a gap, but also how far sound falls behind pictures for good once we have been late: less than
/// anybody hears as out of step. The library's own second would be heard.
const QUEUE_MS: u32 = 50;
/// How long taking a second of sound may last.
const TAKEN_S: u64 = 5;

/// A piece of somebody's track.
#[derive(Debug)]
pub struct Sound {
    pub rate: u32,
    pub channels: u32,
    /// Interleaved.
    pub samples: Vec<i16>,
    /// When the library handed it over, on its own thread. It has no other time.
    pub arrived: Instant,
}

/// Where the library's threads leave a stream's sound.
pub(crate) type Inbox = Queue<Sound>;

/// On a thread of the library. A chunk is a kilobyte or two: it is copied here and its handle is dropped at once.
pub(crate) fn take(library: &Library, inbox: Option<&Inbox>, message: Message) {
    match (message, inbox) {
        (Message::FrameReceived(frame), inbox) => {
            let arrived = Instant::now();
            // Sound comes after a stream was dropped, too: its memory is let go of.
            let handle = library.handle(frame.frame.handle.id);
            let Some(inbox) = inbox else { return };
            let sound = copied(&handle, &frame.frame.info, arrived);
            drop(handle);
            match sound {
                Some(sound) => inbox.push(sound),
                None => inbox.lose(),
            }
        }
        (Message::Eos(_), Some(inbox)) => inbox.end(),
        (Message::Eos(_), None) => {}
    }
}

/// The handle keeps the memory that `info` points to.
fn copied(_held: &Handle, info: &proto::AudioFrameBufferInfo, arrived: Instant) -> Option<Sound> {
    let (rate, channels) = (info.sample_rate, info.num_channels);
    // More than a second of it is none of ours.
    if info.data_ptr == 0 || !info.data_ptr.is_multiple_of(2) || !fits(rate, channels) || info.samples_per_channel > rate {
        return None;
    }
    let length = (info.samples_per_channel * channels) as usize;
    // SAFETY: the library says that so many samples begin there, and keeps them until the handle is dropped.
    let samples = unsafe { std::slice::from_raw_parts(info.data_ptr as *const i16, length) }.to_vec();
    Some(Sound { rate, channels, samples, arrived })
}

/// Sound that WebRTC takes, in whole samples every 10 ms.
fn fits(rate: u32, channels: u32) -> bool {
    (8000..=48_000).contains(&rate) && rate.is_multiple_of(100) && (1..=2).contains(&channels)
}

/// The sound of somebody's track, in chunks of 10 ms. That the track is over is told by its room ([`crate::Event::Unsubscribed`]); the stream is
/// dropped then.
pub struct AudioStream {
    library: &'static Library,
    handle: Handle,
    inbox: Arc<Inbox>,
    /// Held for as long as its sound is wanted.
    _track: RemoteTrack,
}

impl AudioStream {
    /// Its sound, converted to this rate and as many channels.
    ///
    /// # Errors
    /// When the format is none that it can be had in, or the library refuses the track.
    pub fn of(room: &Room, track: RemoteTrack, sample_rate: u32, channels: u32) -> Result<Self, Error> {
        const WHAT: &str = "the sound of a track";
        if !fits(sample_rate, channels) {
            return Err(Error::Format { rate: sample_rate, channels });
        }
        let library = room.library();
        let request = proto::NewAudioStreamRequest {
            track_handle: track.handle.id,
            r#type: proto::AudioStreamType::AudioStreamNative.into(),
            sample_rate: Some(sample_rate),
            num_channels: Some(channels),
            queue_size_frames: Some(WAITING_MAX as u32),
        };
        let Response::NewAudioStream(answer) = library.ask(WHAT, Request::NewAudioStream(request))? else {
            return Err(Error::Refused { what: WHAT });
        };
        let (handle, inbox) = (library.handle(answer.stream.handle.id), Arc::new(Inbox::new(WAITING_MAX)));
        library.route_audio(handle.id, inbox.clone());
        Ok(Self { library, handle, inbox, _track: track })
    }

    /// The next chunk; none when the library has closed the stream.
    pub async fn next(&mut self) -> Option<Sound> {
        self.inbox.next().await
    }

    /// Chunks that newer ones pushed out before they were taken, or that could not be read.
    pub fn dropped(&self) -> u64 {
        self.inbox.dropped()
    }
}

impl Drop for AudioStream {
    fn drop(&mut self) {
        self.library.end_audio(self.handle.id);
    }
}

/// An audio track of ours.
pub struct AudioTrack {
    library: &'static Library,
    source: Handle,
    track: Handle,
    sid: String,
    rate: u32,
    channels: u32,
    /// The library takes one piece at a time. One whose capture was given up is still being taken: its answer is waited for by the next.
    taking: Mutex<Option<Asked<'static>>>,
}

impl AudioTrack {
    /// Publishes a track of sound.
    ///
    /// # Errors
    /// When the format is none that can be sent, or the library or the server refuses it.
    pub async fn publish(room: &Room, name: &str, from: proto::TrackSource, sample_rate: u32, channels: u32) -> Result<Self, Error> {
        const WHAT: &str = "an audio track";
        if !fits(sample_rate, channels) {
            return Err(Error::Format { rate: sample_rate, channels });
        }
        let library = room.library();
        let request = proto::NewAudioSourceRequest {
            r#type: proto::AudioSourceType::AudioSourceNative.into(),
            sample_rate: Some(sample_rate),
            num_channels: Some(channels),
            queue_size_ms: Some(QUEUE_MS),
        };
        let Response::NewAudioSource(answer) = library.ask(WHAT, Request::NewAudioSource(request))? else {
            return Err(Error::Refused { what: WHAT });
        };
        let source = library.handle(answer.source.handle.id);
        let request = proto::CreateAudioTrackRequest { name: name.to_owned(), source_handle: source.id };
        let Response::CreateAudioTrack(answer) = library.ask(WHAT, Request::CreateAudioTrack(request))? else {
            return Err(Error::Refused { what: WHAT });
        };
        let track = library.handle(answer.track.handle.id);
        let options = proto::TrackPublishOptions { source: Some(from.into()), ..proto::TrackPublishOptions::default() };
        let sid = room.publish(&track, options).await?;
        Ok(Self { library, source, track, sid, rate: sample_rate, channels, taking: Mutex::new(None) })
    }

    pub fn sid(&self) -> &str {
        &self.sid
    }

    /// Hands interleaved samples over, up to a second of them, and waits until the library has room for the next. They are copied when this is first
    /// polled: given up after that, they are heard all the same.
    ///
    /// # Errors
    /// When these are no whole frames or too many, or the library refuses them.
    pub async fn capture(&self, samples: &[i16]) -> Result<(), Error> {
        const WHAT: &str = "taking sound";
        let (rate, channels) = (self.rate, self.channels);
        let frames = samples.len() / channels as usize;
        if samples.is_empty() || !samples.len().is_multiple_of(channels as usize) || frames > rate as usize {
            return Err(Error::Sound { rate, channels, found: samples.len() });
        }
        let mut taking = self.taking.lock().await;
        answered(&mut taking).await?;
        let buffer = proto::AudioFrameBufferInfo {
            data_ptr: samples.as_ptr() as u64,
            num_channels: channels,
            sample_rate: rate,
            samples_per_channel: frames as u32,
        };
        let source_handle = self.source.id;
        let request =
            |request_async_id| Request::CaptureAudioFrame(proto::CaptureAudioFrameRequest { source_handle, buffer, request_async_id });
        *taking = Some(self.library.begin(WHAT, request)?);
        match answered(&mut taking).await? {
            Some(Answer::CaptureAudioFrame(proto::CaptureAudioFrameCallback { error: Some(reason), .. })) => {
                Err(Error::Failed { what: WHAT, reason })
            }
            _ => Ok(()),
        }
    }

    /// Muted, listeners see that nothing comes.
    ///
    /// # Errors
    /// When the library refuses it.
    pub fn mute(&self, mute: bool) -> Result<(), Error> {
        let request = proto::LocalTrackMuteRequest { track_handle: self.track.id, mute };
        self.library.ask("muting a track", Request::LocalTrackMute(request)).map(drop)
    }
}

/// The answer to what was asked; one that is late may still come.
async fn answered(taking: &mut Option<Asked<'static>>) -> Result<Option<Answer>, Error> {
    let Some(asked) = taking.as_mut() else { return Ok(None) };
    let answer = asked.answer(TAKEN_S).await;
    if !matches!(answer, Err(Error::Late { .. })) {
        *taking = None;
    }
    answer.map(Some)
}
