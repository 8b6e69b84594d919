//! LiveKit's client library against a real server: what one publishes another gets, what ends is told, what is refused says why.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use scrim_livekit::proto::{TrackSource, VideoCodec};
use scrim_livekit::{Encoding, Event, I420, Options, RemoteTrack, Room, VideoStream, VideoTrack};
use scrim_tests::livekit::{against_a_server, token, wait_for};

const SIZE: (u32, u32) = (640, 360);
const PUBLISHER: Options = Options { subscribe: false, dynacast: false, key: None };
const VIEWER: Options = Options { subscribe: true, dynacast: false, key: None };
const VP8: Encoding = Encoding { codec: VideoCodec::Vp8, bitrate: 2_000_000, frames_per_s: 30.0, simulcast: false };
/// Luma steps that survive coding, limited range.
const STEP: u8 = 12;
const STEPS: u8 = 16;

/// A grey whose brightness says which it is; the colour differs in each quarter.
fn picture(number: u8) -> I420 {
    let (width, height) = SIZE;
    let mut data = vec![16 + STEP * (number % STEPS); (width * height) as usize];
    data.extend(vec![90; (width / 2 * height / 2) as usize]);
    data.extend(vec![170; (width / 2 * height / 2) as usize]);
    I420 { width, height, data }
}

fn number_of(picture: &I420) -> u8 {
    let luma = &picture.data[..(picture.width * picture.height) as usize];
    let mean = luma.iter().map(|&y| u64::from(y)).sum::<u64>() / luma.len() as u64;
    ((mean as u8).saturating_sub(16) + STEP / 2) / STEP
}

async fn subscribed(room: &mut Room) -> Result<RemoteTrack> {
    wait_for(room, "a track", |event| if let Event::Subscribed { track, .. } = event { Some(track) } else { None }).await
}

async fn until(room: &mut Room, what: &str, holds: impl Fn(&Event) -> bool) -> Result<()> {
    wait_for(room, what, |event| holds(&event).then_some(())).await
}

#[test]
fn what_one_publishes_another_gets() -> Result<()> {
    against_a_server(|server, library| async move {
        let mut viewer = Room::join(library, &server.url(), &token("studio", "viewer", false, true)?, VIEWER).await?;
        ensure!(viewer.identity() == "viewer");
        let publisher = Room::join(library, &server.url(), &token("studio", "publisher", true, false)?, PUBLISHER).await?;
        until(&mut viewer, "the publisher's coming", |event| matches!(event, Event::Joined { identity, .. } if identity == "publisher"))
            .await?;
        let track = VideoTrack::publish(&publisher, "camera", SIZE, TrackSource::SourceCamera, VP8).await?;
        let sid = track.sid().to_owned();
        let remote = subscribed(&mut viewer).await?;
        ensure!(remote.video && remote.sid == sid && remote.name == "camera", "{remote:?} instead of {sid}");
        let mut stream = VideoStream::of(&viewer, remote)?;

        // Each picture is shown long enough to be seen whatever is lost; the steps come in order.
        let (begin, mut shown, mut seen) = (Instant::now(), 0_u8, Vec::<u8>::new());
        let mut pace = tokio::time::interval(Duration::from_millis(33));
        let (mut sent, mut got, mut latency) = (0_u32, 0_u32, Vec::new());
        let mut changed = Instant::now();
        while begin.elapsed() < Duration::from_secs(20) && seen.len() < usize::from(STEPS) {
            tokio::select! {
                _ = pace.tick() => {
                    if sent > 0 && sent.is_multiple_of(20) {
                        shown = (shown + 1).min(STEPS - 1);
                        changed = Instant::now();
                    }
                    track.capture(picture(shown).as_picture(), begin.elapsed().as_micros() as i64)?;
                    sent += 1;
                }
                received = stream.next() => {
                    let Some(received) = received else { bail!("the stream ended") };
                    let I420 { width, height, ref data } = received.picture;
                    ensure!(data.len() == I420::len(width, height));
                    got += 1;
                    // The sender begins smaller where it does not know the way yet.
                    let number = number_of(&received.picture);
                    if (width, height) == SIZE && seen.last().is_none_or(|last| number > *last) {
                        seen.push(number);
                        if number == shown && number > 0 {
                            latency.push(changed.elapsed());
                        }
                        let cb = data[(width * height) as usize + 1000];
                        let cr = data[(width * height + width / 2 * height / 2) as usize + 1000];
                        ensure!(cb.abs_diff(90) < 10 && cr.abs_diff(170) < 10, "the colour is {cb}, {cr}");
                    }
                }
            }
        }
        latency.sort();
        println!(
            "{sent} sent, {got} got, {} replaced, steps {seen:?}, a step crossed in {:?} at the median",
            stream.dropped(),
            latency.get(latency.len() / 2)
        );
        ensure!(seen == (0..STEPS).collect::<Vec<_>>(), "the steps came as {seen:?}");

        track.mute(true)?;
        until(&mut viewer, "the mute", |event| matches!(event, Event::Muted { sid: muted, .. } if *muted == sid)).await?;
        track.mute(false)?;
        until(&mut viewer, "its end", |event| matches!(event, Event::Unmuted { sid: muted, .. } if *muted == sid)).await?;
        publisher.unpublish(&sid).await?;
        until(&mut viewer, "the track's end", |event| matches!(event, Event::Unsubscribed { sid: gone, .. } if *gone == sid)).await?;
        drop(stream);
        publisher.leave().await?;
        until(&mut viewer, "the publisher's going", |event| matches!(event, Event::Left { identity } if identity == "publisher")).await?;
        viewer.leave().await?;
        Ok(())
    })
}

#[test]
fn what_is_refused_says_why() -> Result<()> {
    against_a_server(|server, library| async move {
        let Err(error) = Room::join(library, &server.url(), "no token", PUBLISHER).await else { bail!("a word is no token") };
        ensure!(error.to_string().starts_with("joining a room: ") && error.to_string().len() > 25, "{error}");
        let Err(error) = Room::join(library, "ws://127.0.0.1:9", &token("r", "a", true, false)?, PUBLISHER).await else {
            bail!("nobody listens there")
        };
        ensure!(error.to_string().starts_with("joining a room"), "{error}");

        // Who may not publish does not.
        let mute = Room::join(library, &server.url(), &token("r", "mute", false, false)?, PUBLISHER).await?;
        let refused = VideoTrack::publish(&mute, "camera", SIZE, TrackSource::SourceCamera, VP8).await;
        ensure!(refused.is_err(), "it may not publish");
        // Who takes another's identity takes its place.
        let mut first = Room::join(library, &server.url(), &token("r", "twin", true, false)?, PUBLISHER).await?;
        let second = Room::join(library, &server.url(), &token("r", "twin", true, false)?, PUBLISHER).await?;
        until(&mut first, "the end of the first", |event| matches!(event, Event::Over { reason } if reason == "duplicate identity"))
            .await?;
        ensure!(first.next().await.is_none(), "nothing follows the last event");

        let track = VideoTrack::publish(&second, "camera", SIZE, TrackSource::SourceCamera, VP8).await?;
        let short = I420 { data: vec![0; 7], ..picture(0) };
        let Err(error) = track.capture(short.as_picture(), 0) else { bail!("seven bytes are no picture") };
        ensure!(error.to_string().contains("345600 bytes as I420, not 7"), "{error}");
        Ok(())
    })
}

#[test]
fn a_server_that_goes_away_is_told() -> Result<()> {
    against_a_server(|server, library| async move {
        let mut room = Room::join(library, &server.url(), &token("r", "a", true, true)?, VIEWER).await?;
        drop(server);
        until(&mut room, "the loss of the server", |event| matches!(event, Event::Reconnecting | Event::Over { .. })).await
    })
}

#[test]
fn a_room_that_is_dropped_is_left() -> Result<()> {
    against_a_server(|server, library| async move {
        let mut viewer = Room::join(library, &server.url(), &token("r", "viewer", false, true)?, VIEWER).await?;
        let publisher = Room::join(library, &server.url(), &token("r", "publisher", true, false)?, PUBLISHER).await?;
        let track = VideoTrack::publish(&publisher, "camera", SIZE, TrackSource::SourceCamera, VP8).await?;
        let remote = subscribed(&mut viewer).await?;
        let stream = VideoStream::of(&viewer, remote)?;
        drop((track, publisher));
        until(&mut viewer, "the publisher's going", |event| matches!(event, Event::Left { identity } if identity == "publisher")).await?;
        drop(stream);
        Ok(())
    })
}
