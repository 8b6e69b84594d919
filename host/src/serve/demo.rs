//! The demo's room: a clip in a loop as its publisher, and nothing else that others have not.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::Service;
use super::room::lock;
use super::stream::{Offered, Origin, Way};
use crate::config::RoomSettings;
use crate::media::file::FileSource;
use crate::media::frame::{FrameSeq, Micros};

/// The demo's room.
pub const ROOM: &str = "demo";
/// Before a clip that can't be read is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// Makes the room if it is not there.
async fn room(service: &Service) -> Result<(), super::rooms::RoomError> {
    if service.room(ROOM).is_err() {
        let settings = RoomSettings { cover: Some(vec!["FACE_*".to_owned()]), ..RoomSettings::default() };
        service.create_room(ROOM, settings).await?;
    }
    Ok(())
}

/// Makes the room if it is not there, and offers the clip to those who broadcast without a camera.
///
/// # Errors
/// When the room can't be made.
pub async fn offer(service: &Service, clip: PathBuf) -> Result<(), super::rooms::RoomError> {
    room(service).await?;
    service.broadcast_clip.get_or_init(|| clip);
    Ok(())
}

/// Makes the room if it is not there, and feeds it with the clip for as long as the service lives.
///
/// # Errors
/// When the room can't be made.
pub async fn start(service: &Arc<Service>, clip: PathBuf) -> Result<(), super::rooms::RoomError> {
    room(service).await?;
    *lock(&service.demo_room) = Some(ROOM.to_owned());
    let weak = Arc::downgrade(service);
    let runtime = tokio::runtime::Handle::current();
    std::thread::spawn(move || {
        while feed(&weak, &clip, &runtime).is_some() {
            std::thread::sleep(RETRY_AFTER);
        }
    });
    Ok(())
}

/// One stretch of the stream; none when the service is gone or drains.
fn feed(service: &Weak<Service>, clip: &Path, runtime: &tokio::runtime::Handle) -> Option<()> {
    let stream = {
        let service = service.upgrade().filter(|service| !service.is_draining())?;
        let room = service.room(ROOM).ok()?;
        match runtime.block_on(service.publish(&room, Origin { raw: true, ..Origin::camera(Way::Clip, "clip") })) {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%error, "the demo's room takes no clip now");
                return Some(());
            }
        }
    };
    let (start, mut number) = (Instant::now(), stream.last_sequence().map_or(0, |last| last + 1));
    let mut offset = Micros::ZERO;
    'clips: loop {
        let source = match FileSource::open(clip) {
            Ok(source) => source,
            Err(error) => {
                tracing::error!(%error, "the demo's clip cannot be read");
                break;
            }
        };
        let mut last = Micros::ZERO;
        for frame in source {
            let Ok(mut frame) = frame else { break };
            if stream.has_ended() {
                break 'clips;
            }
            last = frame.at;
            let at = offset + frame.at;
            std::thread::sleep((start + Duration::from(at)).saturating_duration_since(Instant::now()));
            // The stream ties these to the host's clock.
            (frame.seq, frame.at) = (FrameSeq(number), at + Micros(1));
            number += 1;
            stream.offer(Offered::Frame(frame));
        }
        offset = offset + last + Micros(33_333);
    }
    stream.detach();
    service.upgrade().filter(|service| !service.is_draining()).map(drop)
}
