//! Video in and out, as I420 of limited range, as WebRTC has it.

use std::sync::Arc;

use crate::event::RemoteTrack;
use crate::library::{Error, Handle, Library};
use crate::proto;
use crate::proto::ffi_request::Message as Request;
use crate::proto::ffi_response::Message as Response;
use crate::proto::video_stream_event::Message;
use crate::queue::Queue;
use crate::room::Room;

/// Frames that may wait to be copied out; the newest win.
const WAITING_MAX: usize = 2;

/// A picture: three planes one after the other without gaps, Y of width × height bytes, Cb and Cr of half of each, rounded up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct I420 {
    pub width: u32,
    pub height: u32,
    pub data: Vec<u8>,
}

/// A picture that is somebody else's, its planes as [`I420`] has them.
#[derive(Clone, Copy, Debug)]
pub struct Picture<'a> {
    pub width: u32,
    pub height: u32,
    pub data: &'a [u8],
}

impl I420 {
    pub fn as_picture(&self) -> Picture<'_> {
        Picture { width: self.width, height: self.height, data: &self.data }
    }

    /// Bytes of a picture of this size.
    pub fn len(width: u32, height: u32) -> usize {
        let (width, height) = (width as usize, height as usize);
        width * height + 2 * width.div_ceil(2) * height.div_ceil(2)
    }
}

/// By how much a picture is to be turned clockwise to stand upright.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rotation {
    #[default]
    None,
    Quarter,
    Half,
    ThreeQuarters,
}

/// A frame of somebody's track.
#[derive(Debug)]
pub struct Received {
    pub picture: I420,
    /// On the library's clock, microseconds.
    pub timestamp_us: i64,
    pub rotation: Rotation,
}

/// Where the library's threads leave a stream's frames.
pub(crate) type Inbox = Queue<(Handle, proto::VideoFrameReceived)>;

/// On a thread of the library.
pub(crate) fn take(library: &Library, inbox: Option<&Inbox>, message: Message) {
    match (message, inbox) {
        (Message::FrameReceived(frame), inbox) => {
            // Frames come after a stream was dropped, too: their memory is let go of.
            let handle = library.handle(frame.buffer.handle.id);
            if let Some(inbox) = inbox {
                inbox.push((handle, frame));
            }
        }
        (Message::Eos(_), Some(inbox)) => inbox.end(),
        (Message::Eos(_), None) => {}
    }
}

/// The frames of somebody's track. That the track is over is told by its room ([`crate::Event::Unsubscribed`]); the stream is dropped then.
pub struct VideoStream {
    library: &'static Library,
    handle: Handle,
    inbox: Arc<Inbox>,
    /// Held for as long as its frames are wanted.
    _track: RemoteTrack,
}

impl VideoStream {
    /// # Errors
    /// When the library refuses the track.
    pub fn of(room: &Room, track: RemoteTrack) -> Result<Self, Error> {
        const WHAT: &str = "the frames of a track";
        let library = room.library();
        let request = proto::NewVideoStreamRequest {
            track_handle: track.handle.id,
            r#type: proto::VideoStreamType::VideoStreamNative.into(),
            format: Some(proto::VideoBufferType::I420.into()),
            normalize_stride: Some(false),
            queue_size_frames: Some(WAITING_MAX as u32),
        };
        let Response::NewVideoStream(answer) = library.ask(WHAT, Request::NewVideoStream(request))? else {
            return Err(Error::Refused { what: WHAT });
        };
        let (handle, inbox) = (library.handle(answer.stream.handle.id), Arc::new(Inbox::new(WAITING_MAX)));
        library.route_video(handle.id, inbox.clone());
        Ok(Self { library, handle, inbox, _track: track })
    }

    /// The next frame, copied out of the library's memory; none when the library has closed the stream. What can't be read is passed over and counted.
    pub async fn next(&mut self) -> Option<Received> {
        loop {
            let (handle, frame) = self.inbox.next().await?;
            let picture = copied(&handle, &frame.buffer.info);
            drop(handle);
            let Some(picture) = picture else {
                self.inbox.lose();
                continue;
            };
            let rotation = match frame.rotation() {
                proto::VideoRotation::VideoRotation0 => Rotation::None,
                proto::VideoRotation::VideoRotation90 => Rotation::Quarter,
                proto::VideoRotation::VideoRotation180 => Rotation::Half,
                proto::VideoRotation::VideoRotation270 => Rotation::ThreeQuarters,
            };
            return Some(Received { picture, timestamp_us: frame.timestamp_us, rotation });
        }
    }

    /// Frames that newer ones replaced before they were taken, or that could not be read.
    pub fn dropped(&self) -> u64 {
        self.inbox.dropped()
    }
}

impl Drop for VideoStream {
    fn drop(&mut self) {
        self.library.end_video(self.handle.id);
    }
}

/// The planes without gaps. The handle keeps the memory that `info` points to.
fn copied(_held: &Handle, info: &proto::VideoBufferInfo) -> Option<I420> {
    let (width, height) = (info.width as usize, info.height as usize);
    if info.r#type() != proto::VideoBufferType::I420 || info.components.len() != 3 || width == 0 || height == 0 {
        return None;
    }
    let mut data = Vec::with_capacity(I420::len(info.width, info.height));
    let (chroma_width, chroma_height) = (width.div_ceil(2), height.div_ceil(2));
    let sizes = [(width, height), (chroma_width, chroma_height), (chroma_width, chroma_height)];
    for (plane, (width, height)) in info.components.iter().zip(sizes) {
        let (stride, size) = (plane.stride as usize, plane.size as usize);
        if plane.data_ptr == 0 || stride < width || size < stride * (height - 1) + width {
            return None;
        }
        // SAFETY: the library says that so many bytes begin there, and keeps them until the handle is dropped.
        let bytes = unsafe { std::slice::from_raw_parts(plane.data_ptr as *const u8, size) };
        bytes.chunks(stride).take(height).for_each(|row| data.extend_from_slice(&row[..width]));
    }
    Some(I420 { width: info.width, height: info.height, data })
}

/// How a track of ours is encoded.
#[derive(Clone, Copy, Debug)]
pub struct Encoding {
    pub codec: proto::VideoCodec,
    /// At most, bits a second.
    pub bitrate: u64,
    /// At most.
    pub frames_per_s: f64,
    /// Smaller layers beside the whole picture.
    pub simulcast: bool,
}

/// A video track of ours.
pub struct VideoTrack {
    library: &'static Library,
    source: Handle,
    track: Handle,
    sid: String,
}

impl VideoTrack {
    /// Publishes a track of pictures that are at first of this size.
    ///
    /// # Errors
    /// When the library or the server refuses it.
    pub async fn publish(
        room: &Room,
        name: &str,
        (width, height): (u32, u32),
        from: proto::TrackSource,
        encoding: Encoding,
    ) -> Result<Self, Error> {
        const WHAT: &str = "a video track";
        let library = room.library();
        let request = proto::NewVideoSourceRequest {
            r#type: proto::VideoSourceType::VideoSourceNative.into(),
            resolution: proto::VideoSourceResolution { width, height },
            is_screencast: Some(from == proto::TrackSource::SourceScreenshare),
        };
        let Response::NewVideoSource(answer) = library.ask(WHAT, Request::NewVideoSource(request))? else {
            return Err(Error::Refused { what: WHAT });
        };
        let source = library.handle(answer.source.handle.id);
        let request = proto::CreateVideoTrackRequest { name: name.to_owned(), source_handle: source.id };
        let Response::CreateVideoTrack(answer) = library.ask(WHAT, Request::CreateVideoTrack(request))? else {
            return Err(Error::Refused { what: WHAT });
        };
        let track = library.handle(answer.track.handle.id);
        let options = proto::TrackPublishOptions {
            video_encoding: Some(proto::VideoEncoding { max_bitrate: encoding.bitrate, max_framerate: encoding.frames_per_s }),
            video_codec: Some(encoding.codec.into()),
            simulcast: Some(encoding.simulcast),
            source: Some(from.into()),
        };
        let sid = room.publish(&track, options).await?;
        Ok(Self { library, source, track, sid })
    }

    pub fn sid(&self) -> &str {
        &self.sid
    }

    /// Hands a picture over; it is copied before this returns. Limited range.
    ///
    /// # Errors
    /// When the bytes do not fit the size, or the library refuses it.
    pub fn capture(&self, picture: Picture<'_>, timestamp_us: i64) -> Result<(), Error> {
        self.capture_turned(picture, timestamp_us, Rotation::None)
    }

    /// As [`VideoTrack::capture`], a picture that is to be turned to stand upright.
    ///
    /// # Errors
    /// When the bytes do not fit the size, or the library refuses it.
    pub fn capture_turned(&self, picture: Picture<'_>, timestamp_us: i64, rotation: Rotation) -> Result<(), Error> {
        let Picture { width, height, data } = picture;
        let expected = I420::len(width, height);
        if data.len() != expected || width == 0 || height == 0 {
            return Err(Error::Picture { width, height, expected, found: data.len() });
        }
        let (chroma_width, chroma_height) = (width.div_ceil(2), height.div_ceil(2));
        let (luma, chroma) = ((width * height) as usize, (chroma_width * chroma_height) as usize);
        let component = |from: usize, stride: u32, size: usize| proto::video_buffer_info::ComponentInfo {
            data_ptr: data[from..from + size].as_ptr() as u64,
            stride,
            size: size as u32,
        };
        let buffer = proto::VideoBufferInfo {
            r#type: proto::VideoBufferType::I420.into(),
            width,
            height,
            data_ptr: data.as_ptr() as u64,
            stride: None,
            components: vec![
                component(0, width, luma),
                component(luma, chroma_width, chroma),
                component(luma + chroma, chroma_width, chroma),
            ],
        };
        let rotation = match rotation {
            Rotation::None => proto::VideoRotation::VideoRotation0,
            Rotation::Quarter => proto::VideoRotation::VideoRotation90,
            Rotation::Half => proto::VideoRotation::VideoRotation180,
            Rotation::ThreeQuarters => proto::VideoRotation::VideoRotation270,
        };
        let rotation = rotation.into();
        let request = proto::CaptureVideoFrameRequest { source_handle: self.source.id, buffer, timestamp_us, rotation };
        self.library.ask("taking a picture", Request::CaptureVideoFrame(request)).map(drop)
    }

    /// Muted, viewers see that nothing comes.
    ///
    /// # Errors
    /// When the library refuses it.
    pub fn mute(&self, mute: bool) -> Result<(), Error> {
        let request = proto::LocalTrackMuteRequest { track_handle: self.track.id, mute };
        self.library.ask("muting a track", Request::LocalTrackMute(request)).map(drop)
    }
}
