//! A track's pictures: into their stream, and from what it shows to the mirror's track.

use std::sync::Arc;
use std::time::Duration;

use scrim_livekit::proto::TrackSource;
use scrim_livekit::{Encoding, Received, Rotation, VideoStream, VideoTrack};
use serde_json::json;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};
use tokio::time::Instant;

use super::mirror::{Mirror, Published};
use crate::media::card;
use crate::media::frame::{Frame, FrameSeq, Matrix, Micros, Range};
use crate::media::turn::{Turn, turned};
use crate::media::wire::Control;
use crate::serve::room::Room;
use crate::serve::stream::{Offered, Shown, Stream};

/// A track that the server did not take is offered again after so long.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// Without a frame for so long, and without the other side having said why, viewers are told that the stream is interrupted.
const SILENCE_MAX: Duration = Duration::from_secs(2);
/// How often that is repeated: a viewer who joins meanwhile must get a picture, too.
const CARD_EVERY: Duration = Duration::from_millis(500);

/// An encrypted track of which no picture came for so long has another key, or sends none.
const UNREAD_AFTER: Duration = Duration::from_secs(5);

/// How a picture track is published.
pub struct Picture {
    pub from: TrackSource,
    pub name: String,
    pub encoding: Encoding,
}

/// Pixels of a picture for which a track may take all of the bits a second that are configured.
const PIXELS_FULL: u64 = 1280 * 720;
/// What even a small picture needs, bits a second.
const BITRATE_MIN: u64 = 150_000;

/// A picture that is smaller than 720p is encoded with fewer bits, in proportion: more cost time and show nothing. A size of 0 is not known.
pub fn encoding_for(most: Encoding, (width, height): (u32, u32)) -> Encoding {
    let pixels = u64::from(width) * u64::from(height);
    if pixels == 0 {
        return most;
    }
    let share = most.bitrate.saturating_mul(pixels.min(PIXELS_FULL)) / PIXELS_FULL;
    Encoding { bitrate: share.max(BITRATE_MIN).min(most.bitrate), ..most }
}

/// A track's frames into its stream, until either ends. `encrypted`: end to end, with a key that may not be ours.
pub async fn take_in(mut video: VideoStream, stream: Arc<Stream>, room: Arc<Room>, encrypted: bool) {
    let mut number = stream.last_sequence().map_or(0, |last| last + 1);
    let (mut lost, mut controls, mut refusal_told) = (0, stream.controls(), false);
    // The library does not say that a key is not the one: no picture comes.
    let mut unread = encrypted;
    loop {
        let received = match tokio::time::timeout(UNREAD_AFTER, video.next()).await {
            Ok(Some(received)) => received,
            Ok(None) => return,
            Err(_) => {
                if std::mem::take(&mut unread) {
                    let reason = "no picture of it can be read: is it encrypted with the room's key of livekit.shared_keys_file?";
                    tracing::warn!(room = %room.name, reason, "a track is not seen");
                    room.tell("livekit", json!({ "event": "unread", "source": stream.source_id(), "reason": reason }));
                }
                continue;
            }
        };
        unread = false;
        if stream.has_ended() {
            return;
        }
        stream.offer(Offered::Frame(upright(received, number)));
        number += 1;
        stream.lost(video.dropped() - lost);
        lost = video.dropped();
        // A source beyond what the host can take is refused frame by frame; people are told once.
        while let Ok(control) = controls.try_recv() {
            if let Control::Error { detail, .. } = control
                && !std::mem::replace(&mut refusal_told, true)
            {
                room.tell("livekit", json!({ "event": "refused", "source": stream.source_id(), "reason": detail }));
            }
        }
    }
}

/// As the camera saw it, whichever way it was held; timed by the library's clock.
fn upright(received: Received, number: u64) -> Frame {
    let Received { picture, timestamp_us, rotation } = received;
    let (width, height) = (picture.width as usize, picture.height as usize);
    let turn = match rotation {
        Rotation::None => None,
        Rotation::Quarter => Some(Turn::Quarter),
        Rotation::Half => Some(Turn::Half),
        Rotation::ThreeQuarters => Some(Turn::ThreeQuarters),
    };
    let (width, height, data) = match turn {
        Some(turn) => turned(turn, width, height, &picture.data),
        None => (width, height, picture.data),
    };
    let at = Micros(u64::try_from(timestamp_us).unwrap_or(0));
    Frame::new(FrameSeq(number), at, width, height, Range::Limited, Matrix::Bt601, data)
}

/// Publishes what a stream shows for as long as it does, on whatever connection the mirror has.
pub async fn pictures(stream: Arc<Stream>, mirror: Mirror, of: Picture, mut muted: watch::Receiver<bool>, room: Arc<Room>) {
    // Nothing is encoded for the socket's sake.
    let (mut frames, _ticket) = stream.watch(None);
    let mut epoch = mirror.epoch();
    let mut last: Option<Arc<Shown>> = None;
    loop {
        // A track begins with a picture: its size is asked for.
        let Some(first) = first(&stream, &mut frames, &mut epoch, &mut last).await else { return };
        let size = (first.frame.width as u32, first.frame.height as u32);
        let published = match mirror.video(&of.name, size, of.from, of.encoding).await {
            Ok(published) => published,
            Err(error) => {
                tracing::warn!(%error, "a moderated track is not published");
                tokio::time::sleep(AGAIN_AFTER).await;
                continue;
            }
        };
        capture(&published, &first);
        last = Some(first);
        if !show(&stream, &mut frames, &mut epoch, &mut muted, &room, &published, &mut last).await {
            mirror.take_back(published.epoch, published.track.sid()).await;
            return;
        }
    }
}

/// The next frame while a connection is up, or the last one if that is all there is; none when the stream is over.
async fn first(
    stream: &Stream,
    frames: &mut broadcast::Receiver<Arc<Shown>>,
    epoch: &mut watch::Receiver<u64>,
    last: &mut Option<Arc<Shown>>,
) -> Option<Arc<Shown>> {
    loop {
        let up = *epoch.borrow_and_update() != 0;
        tokio::select! {
            shown = frames.recv() => match shown {
                Ok(shown) if up => return Some(shown),
                Ok(shown) => *last = Some(shown),
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            },
            changed = epoch.changed() => changed.ok()?,
            () = stream.over() => return None,
            // Nothing new comes, but the mirror has been away: its viewers get what they had.
            () = tokio::time::sleep(SILENCE_MAX), if up && last.is_some() => return last.clone(),
        }
    }
}

/// One connection. False when the stream is over.
async fn show(
    stream: &Stream,
    frames: &mut broadcast::Receiver<Arc<Shown>>,
    epoch: &mut watch::Receiver<u64>,
    muted: &mut watch::Receiver<bool>,
    room: &Room,
    published: &Published<VideoTrack>,
    last: &mut Option<Arc<Shown>>,
) -> bool {
    // What the broadcaster mutes is muted for viewers as late as its pictures are.
    let mut mute_at = muted.borrow_and_update().then(Instant::now);
    let (mut is_muted, mut shown_at, mut card_at) = (false, Instant::now(), Instant::now() + SILENCE_MAX);
    loop {
        tokio::select! {
            shown = frames.recv() => match shown {
                Ok(shown) => {
                    if std::mem::take(&mut is_muted) && mute_at.is_none() {
                        mute(published, false);
                    }
                    capture(published, &shown);
                    shown_at = Instant::now();
                    card_at = shown_at + SILENCE_MAX;
                    *last = Some(shown);
                }
                Err(RecvError::Lagged(lost)) => stream.behind(lost),
                Err(RecvError::Closed) => return false,
            },
            changed = epoch.changed() => if changed.is_err() || *epoch.borrow_and_update() != published.epoch { return changed.is_ok() },
            changed = muted.changed() => {
                let wanted = changed.is_ok() && *muted.borrow_and_update();
                mute_at = wanted.then(|| Instant::now() + Duration::from(room.delay()));
                if !wanted && std::mem::take(&mut is_muted) {
                    mute(published, false);
                }
                if changed.is_err() {
                    // The broadcaster's side is gone; the stream's end follows.
                    stream.over().await;
                    return false;
                }
            }
            () = tokio::time::sleep_until(mute_at.unwrap_or(card_at)), if mute_at.is_some() => {
                mute_at = None;
                is_muted = true;
                mute(published, true);
            }
            () = tokio::time::sleep_until(card_at), if !is_muted => {
                if let Some(last) = last {
                    interrupted(published, last, shown_at);
                }
                card_at = Instant::now() + CARD_EVERY;
            }
            () = stream.over() => {
                while let Ok(shown) = frames.try_recv() {
                    capture(published, &shown);
                }
                return false;
            }
        }
    }
}

fn mute(published: &Published<VideoTrack>, mute: bool) {
    if let Err(error) = published.track.mute(mute) {
        tracing::warn!(%error, mute, "a moderated track is not muted as its broadcaster's is");
    }
}

fn capture(published: &Published<VideoTrack>, shown: &Shown) {
    let frame = &shown.frame;
    let picture = scrim_livekit::Picture { width: frame.width as u32, height: frame.height as u32, data: frame.data() };
    if let Err(error) = published.track.capture(picture, i64::try_from(frame.at.0).unwrap_or(i64::MAX)) {
        tracing::warn!(%error, "a moderated picture is not taken");
    }
}

/// Says in the picture that nothing comes.
fn interrupted(published: &Published<VideoTrack>, last: &Shown, since: Instant) {
    let (width, height) = (last.frame.width, last.frame.height);
    let data = card::interrupted(width, height);
    let at = last.frame.at.0 + since.elapsed().as_micros() as u64;
    let picture = scrim_livekit::Picture { width: width as u32, height: height as u32, data: &data };
    if let Err(error) = published.track.capture(picture, i64::try_from(at).unwrap_or(i64::MAX)) {
        tracing::warn!(%error, "the card of an interrupted stream is not taken");
    }
}

#[cfg(test)]
mod tests {
    use scrim_livekit::proto::VideoCodec;

    use super::*;

    #[test]
    fn small_pictures_take_fewer_bits_and_none_takes_more_than_is_configured() {
        let most = Encoding { codec: VideoCodec::Vp8, bitrate: 2_500_000, frames_per_s: 60.0, simulcast: false };
        let bits = |size| encoding_for(most, size).bitrate;
        assert_eq!([(1280, 720), (1920, 1080), (0, 0)].map(bits), [2_500_000; 3]);
        assert_eq!([(640, 360), (360, 640), (160, 90)].map(bits), [625_000, 625_000, 150_000]);
        assert_eq!(encoding_for(Encoding { bitrate: 50_000, ..most }, (640, 360)).bitrate, 50_000);
    }
}
