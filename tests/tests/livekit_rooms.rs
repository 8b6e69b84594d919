//! A real `scrim serve` between a broadcaster and viewers of a real LiveKit server: what is published into an ingest room reaches the viewers' room
//! moderated, and ends there as it ends here.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use scrim_host::geometry::Rect;
use scrim_host::media::frame::Frame;
use scrim_livekit::proto::{TrackSource, VideoCodec};
use scrim_livekit::{
    AudioStream, AudioTrack, Encoding, Event, I420, Library, Options, Picture, RemoteTrack, Room, VideoStream, VideoTrack,
};
use scrim_tests::livekit::{Server, alone, library};
use scrim_tests::portrait::{self, COVERED_MIN, SIZE, black, is_card};
use scrim_tests::served::{Answer, Served};
use serde_json::{Value, json};
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(20);
const PUBLISHER: Options = Options { subscribe: false, dynacast: false, key: None };
const VIEWER: Options = Options { subscribe: true, dynacast: false, key: None };
const VP8: Encoding = Encoding { codec: VideoCodec::Vp8, bitrate: 2_000_000, frames_per_s: 30.0, simulcast: false };

/// Runs a test in a network of its own, with a server and a host of its own that has a room `studio`.
fn with_a_host<F: Future<Output = Result<()>>>(test: impl FnOnce(Server, Served, &'static Library) -> F) -> Result<()> {
    with_shared_keys("", test)
}

/// As [`with_a_host`], with the shared keys of encrypted rooms.
fn with_shared_keys<F: Future<Output = Result<()>>>(
    shared_keys: &str,
    test: impl FnOnce(Server, Served, &'static Library) -> F,
) -> Result<()> {
    if alone()? {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let server = Server::start(folder.path())?;
    let data_dir = folder.path().join("data");
    std::fs::create_dir(&data_dir)?;
    let keys = folder.path().join("shared-keys");
    std::fs::write(&keys, shared_keys)?;
    let host = Served::start_livekit(&data_dir, &server, &format!("[livekit]\nshared_keys_file = {keys:?}\n"))?;
    host.json("POST", "/v1/rooms", &json!({ "name": "studio", "cover": ["FACE_*"] }))?.expect(201)?;
    let library = library()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let log = data_dir.join("serve.log");
    let outcome = runtime.block_on(test(server, host, library));
    if outcome.is_err() {
        println!("the host's log:\n{}", std::fs::read_to_string(log).unwrap_or_default());
    }
    outcome
}

fn token(host: &Served, name: &str, role: &str) -> Result<Value> {
    host.json("POST", "/v1/rooms/studio/tokens", &json!({ "name": name, "role": role }))?.expect(201)
}

async fn join(library: &'static Library, token: &Value, options: Options) -> Result<Room> {
    let text = |key: &str| token[key].as_str().with_context(|| format!("{key} in {token}"));
    Ok(Room::join(library, text("url")?, text("token")?, options).await?)
}

/// Publishes one picture, over and over, until dropped.
struct Camera {
    track: std::sync::Arc<VideoTrack>,
    pump: tokio::task::JoinHandle<()>,
}

impl Camera {
    async fn start(room: &Room, frame: Frame, from: TrackSource) -> Result<Self> {
        let track = VideoTrack::publish(room, "cam", (SIZE.0 as u32, SIZE.1 as u32), from, VP8).await?;
        let track = std::sync::Arc::new(track);
        let out = track.clone();
        let pump = tokio::spawn(async move {
            let (begin, mut pace) = (Instant::now(), tokio::time::interval(Duration::from_millis(33)));
            loop {
                pace.tick().await;
                let picture = Picture { width: frame.width as u32, height: frame.height as u32, data: frame.data() };
                if out.capture(picture, begin.elapsed().as_micros() as i64).is_err() {
                    return;
                }
            }
        });
        Ok(Self { track, pump })
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        self.pump.abort();
    }
}

async fn until<T>(room: &mut Room, what: &str, mut found: impl FnMut(Event) -> Option<T>) -> Result<T> {
    let searching = async {
        while let Some(event) = room.next().await {
            if let Event::Over { reason } = &event {
                bail!("the room was over before {what}: {reason}");
            }
            if let Some(found) = found(event) {
                return Ok(found);
            }
        }
        bail!("the room was over before {what}")
    };
    timeout(SOON, searching).await.unwrap_or_else(|_| bail!("{what}: not within {SOON:?}"))
}

async fn subscribed(room: &mut Room) -> Result<(String, RemoteTrack)> {
    let track = |event| match event {
        Event::Subscribed { identity, track } => Some((identity, track)),
        _ => None,
    };
    until(room, "a moderated track", track).await
}

#[test]
fn viewers_get_what_was_moderated_from_the_first_frame_on() -> Result<()> {
    with_a_host(|server, host, library| async move {
        let _until_the_end = server;
        let frame = portrait::picture(SIZE)?;
        let face = portrait::face(&frame)?;
        let mut viewer = join(library, &token(&host, "Vera", "viewer")?, VIEWER).await?;
        let minted = token(&host, "Bob", "broadcaster")?;
        let broadcaster = join(library, &minted, PUBLISHER).await?;
        let identity = minted["identity"].as_str().context("an identity")?;
        let begin = Instant::now();
        let camera = Camera::start(&broadcaster, frame.clone(), TrackSource::SourceCamera).await?;

        let (from, remote) = subscribed(&mut viewer).await?;
        println!("the mirror's track came after {:?}", begin.elapsed());
        ensure!(from == format!("mirror~{identity}") && remote.video && remote.name == "camera", "{remote:?} of {from}");
        let sid = remote.sid.clone();
        let mut stream = VideoStream::of(&viewer, remote)?;
        let (mut frames, mut least, mut clear, mut whole) = (0, 1.0_f32, false, 0);
        while frames < 150 {
            let received = timeout(SOON, stream.next()).await?.context("the stream goes on")?;
            let covered = black(&received.picture, face);
            ensure!(covered >= COVERED_MIN, "frame {frames} of what viewers get shows {:.0} % of the face", 100.0 * (1.0 - covered));
            least = least.min(covered);
            let all = black(&received.picture, Rect::FULL);
            whole += usize::from(all > 0.95);
            // The rest of the picture is there.
            clear |= all < 0.6;
            frames += 1;
        }
        println!("{frames} frames, at least {:.1} % of the face covered, {whole} covered whole", 100.0 * least);
        ensure!(clear, "the picture beside the face is never seen");

        // Its session counts who watches.
        let session = || host.get("/v1/rooms/studio/sessions")?.expect(200).map(|all| all[0].clone());
        let watched = |session: &Value| (session["viewers"].as_u64(), session["peak"].as_u64(), session["total"].as_u64());
        eventually(|| Ok(watched(&session()?) == (Some(1), Some(1), Some(1)))).await?;
        let second = join(library, &token(&host, "Zoe", "viewer")?, VIEWER).await?;
        eventually(|| Ok(watched(&session()?) == (Some(2), Some(2), Some(2)))).await?;
        second.leave().await?;
        eventually(|| Ok(watched(&session()?) == (Some(1), Some(2), Some(2)))).await?;

        // What the broadcaster does happens to the mirror.
        camera.track.mute(true)?;
        until(&mut viewer, "the mute", |event| matches!(event, Event::Muted { sid: muted, .. } if muted == sid).then_some(())).await?;
        camera.track.mute(false)?;
        until(&mut viewer, "its end", |event| matches!(event, Event::Unmuted { sid: muted, .. } if muted == sid).then_some(())).await?;
        timeout(SOON, stream.next()).await?.context("pictures come again")?;
        let live = host.get("/v1/rooms/studio")?.expect(200)?["live"].clone();
        ensure!(live[0]["way"] == "livekit" && live[0]["kind"] == "camera" && live[0]["owner"] == identity, "{live}");
        ensure!(live[0]["late"].as_u64().is_some_and(|late| late < 30), "{live}");

        broadcaster.unpublish(camera.track.sid()).await?;
        until(&mut viewer, "the track's end", |event| matches!(event, Event::Unsubscribed { sid: gone, .. } if gone == sid).then_some(()))
            .await?;
        drop((camera, stream));
        broadcaster.leave().await?;
        until(&mut viewer, "the mirror's going", |event| matches!(event, Event::Left { identity } if identity == from).then_some(()))
            .await?;
        eventually(|| Ok(host.get("/v1/rooms/studio")?.expect(200)?["live"][0] == Value::Null)).await?;
        let over = session()?;
        ensure!(watched(&over) == (Some(0), Some(2), Some(2)) && over["duration_us"].as_u64() > Some(5_000_000), "{over}");

        // As somebody who loads the page again: it comes back while what it showed before is still on its way to viewers.
        let mut broadcaster = join(library, &minted, PUBLISHER).await?;
        let mut camera = Camera::start(&broadcaster, frame.clone(), TrackSource::SourceCamera).await?;
        let (_, remote) = subscribed(&mut viewer).await?;
        timeout(SOON, VideoStream::of(&viewer, remote)?.next()).await?.context("a picture")?;
        drop(camera);
        broadcaster.leave().await?;
        broadcaster = join(library, &minted, PUBLISHER).await?;
        camera = Camera::start(&broadcaster, frame, TrackSource::SourceCamera).await?;
        until(&mut viewer, "the first mirror's going", |event| matches!(event, Event::Left { identity } if identity == from).then_some(()))
            .await?;
        let (_, remote) = subscribed(&mut viewer).await?;
        let mut stream = VideoStream::of(&viewer, remote)?;
        for number in 0..30 {
            let covered = black(&timeout(SOON, stream.next()).await?.context("the stream goes on")?.picture, face);
            ensure!(covered >= 0.95, "frame {number} of what comes back shows {:.0} % of the face", 100.0 * (1.0 - covered));
        }
        let log = std::fs::read_to_string(host.data_dir.join("serve.log"))?;
        ensure!(!log.contains("a viewers' room is over for its mirror"), "two mirrors were there at once");
        drop((camera, stream));
        broadcaster.leave().await?;
        viewer.leave().await?;
        host.terminate(Duration::from_secs(20))
    })
}

/// Comes back when something holds, which it does before long.
async fn eventually(mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    let begin = Instant::now();
    while !holds()? {
        ensure!(begin.elapsed() < SOON, "it does not come about");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// A tone, 48 kHz, one channel, in chunks of 10 ms, for as long as it is wanted.
struct Microphone {
    track: std::sync::Arc<AudioTrack>,
    pump: tokio::task::JoinHandle<()>,
}

const RATE: usize = 48_000;
/// The room's, by default.
const DELAY_US: i64 = 400_000;
const CHUNK: usize = RATE / 100;
const TONE_HZ: f32 = 440.0;

impl Microphone {
    async fn start(room: &Room) -> Result<Self> {
        let track = std::sync::Arc::new(AudioTrack::publish(room, "mic", TrackSource::SourceMicrophone, RATE as u32, 1).await?);
        let out = track.clone();
        let pump = tokio::spawn(async move {
            let mut at = 0_usize;
            loop {
                let tone = |i: usize| (8000.0 * (std::f32::consts::TAU * TONE_HZ * (i as f32 / RATE as f32)).sin()) as i16;
                let chunk: Vec<i16> = (at..at + CHUNK).map(tone).collect();
                at = (at + CHUNK) % RATE;
                if out.capture(&chunk).await.is_err() {
                    return;
                }
            }
        });
        Ok(Self { track, pump })
    }
}

impl Drop for Microphone {
    fn drop(&mut self) {
        self.pump.abort();
    }
}

/// Mean of the absolute samples.
fn loudness(samples: &[i16]) -> f32 {
    samples.iter().map(|&s| f32::from(s).abs()).sum::<f32>() / samples.len().max(1) as f32
}

fn unix_us() -> i64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64)
}

#[test]
fn sound_is_as_late_as_the_room_says_and_silent_where_it_was_muted() -> Result<()> {
    with_a_host(|server, host, library| async move {
        let _until_the_end = server;
        let mut viewer = join(library, &token(&host, "Vera", "viewer")?, VIEWER).await?;
        let minted = token(&host, "Bob", "broadcaster")?;
        let broadcaster = join(library, &minted, PUBLISHER).await?;
        let identity = minted["identity"].as_str().context("an identity")?;
        let microphone = Microphone::start(&broadcaster).await?;
        let (_, remote) = subscribed(&mut viewer).await?;
        ensure!(!remote.video && remote.name == "microphone", "{remote:?}");
        let mut sound = AudioStream::of(&viewer, remote, RATE as u32, 1)?;

        // A second of the tone, then a span that is muted ahead, with 10 ms chunks on both sides of it.
        let mut loud = 0;
        while loud < 100 {
            let chunk = timeout(SOON, sound.next()).await?.context("sound goes on")?;
            loud = if loudness(&chunk.samples) > 2000.0 { loud + 1 } else { 0 };
        }
        let from = unix_us() + 200_000;
        let to = from + 500_000;
        let muted = host.json("POST", "/v1/rooms/studio/mute", &json!({ "identity": identity, "from": from, "to": to }))?;
        ensure!(muted.status == 204, "{muted:?}");
        // Millisecond by millisecond: Opus smears a step over a few of them, and what counts is where half of the loudness is.
        let mut heard: Vec<(bool, Instant)> = Vec::new();
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(3) {
            let chunk = timeout(SOON, sound.next()).await?.context("sound goes on")?;
            heard.extend(chunk.samples.chunks(RATE / 1000).map(|part| (loudness(part) > 2500.0, chunk.arrived)));
        }
        // The library's jitter buffer may dip for some milliseconds where the machine is busy: the mute is the longest silence.
        let silence = heard.chunk_by(|a, b| a.0 == b.0).filter(|span| !span[0].0).max_by_key(|span| span.len()).context("a silence")?;
        println!("{} ms silent of 500 asked", silence.len());
        ensure!(silence.len().abs_diff(500) <= 20, "{} ms are silent where 500 were asked", silence.len());

        // Where it begins: a delay after what was asked, and later by the way from the microphone to here, never sooner.
        let late = unix_us() - silence[0].1.elapsed().as_micros() as i64 - (from + DELAY_US);
        println!("the mute is heard {} ms after it was due at the host", late / 1000);
        ensure!((-20_000..400_000).contains(&late), "the mute is heard {late} us after it was due");

        // Whoever is not there can't be muted; a span that ends before it begins is none.
        let nobody = host.json("POST", "/v1/rooms/studio/mute", &json!({ "identity": "nobody", "from": from, "to": to }))?;
        ensure!(nobody.status == 404, "{nobody:?}");
        let backwards = host.json("POST", "/v1/rooms/studio/mute", &json!({ "identity": identity, "from": to, "to": from }))?;
        ensure!(backwards.status == 409, "{backwards:?}");

        microphone.track.mute(true)?;
        until(&mut viewer, "the mute", |event| matches!(event, Event::Muted { .. }).then_some(())).await?;
        drop((microphone, sound));
        broadcaster.leave().await?;
        until(&mut viewer, "the mirror's going", |event| matches!(event, Event::Left { .. }).then_some(())).await?;
        host.terminate(Duration::from_secs(20))
    })
}

#[test]
fn what_a_broadcaster_writes_is_judged_and_answered() -> Result<()> {
    with_a_host(|server, host, library| async move {
        let _until_the_end = server;
        let mut viewer = join(library, &token(&host, "Vera", "viewer")?, VIEWER).await?;
        let mut broadcaster = join(library, &token(&host, "Bob", "broadcaster")?, PUBLISHER).await?;
        let mirror =
            until(&mut viewer, "the mirror", |event| if let Event::Joined { identity, .. } = event { Some(identity) } else { None })
                .await?;
        say(&broadcaster, "good evening to all of you").await?;
        let heard = until(&mut viewer, "the message", text_of).await?;
        ensure!(heard == (mirror.clone(), "good evening to all of you".to_owned()), "{heard:?}");
        let told = until(&mut broadcaster, "what became of it", text_of).await?.1;
        ensure!(told.contains("\"passed\""), "{told}");

        say(&broadcaster, "you are a fucking idiot").await?;
        let (_, heard) = until(&mut viewer, "the masked message", text_of).await?;
        ensure!(heard.contains('*') && !heard.contains("fucking") && heard.starts_with("you are"), "{heard}");
        let told = until(&mut broadcaster, "what became of it", text_of).await?.1;
        ensure!(told.contains("\"masked\""), "{told}");

        host.json("PATCH", "/v1/rooms/studio", &json!({ "chat": "refuse" }))?.expect(200)?;
        say(&broadcaster, "you are a fucking idiot").await?;
        let told = until(&mut broadcaster, "what became of it", text_of).await?.1;
        ensure!(told.contains("\"refused\""), "{told}");
        say(&broadcaster, "sorry").await?;
        let (_, heard) = until(&mut viewer, "the next message", text_of).await?;
        ensure!(heard == "sorry", "what was refused reached the viewer: {heard}");
        drop(broadcaster);
        host.terminate(Duration::from_secs(20))
    })
}

async fn say(broadcaster: &Room, text: &str) -> Result<()> {
    Ok(broadcaster.send_text("lk.chat", text, HashMap::new(), &[], None).await?)
}

fn text_of(event: Event) -> Option<(String, String)> {
    match event {
        Event::Text { identity, text, .. } => Some((identity, text)),
        _ => None,
    }
}

#[test]
fn a_server_that_restarts_gets_its_rooms_back_covered() -> Result<()> {
    with_a_host(|server, host, library| async move {
        let frame = portrait::picture(SIZE)?;
        let face = portrait::face(&frame)?;
        let minted = token(&host, "Bob", "broadcaster")?;
        let broadcaster = join(library, &minted, PUBLISHER).await?;
        let camera = Camera::start(&broadcaster, frame.clone(), TrackSource::SourceCamera).await?;
        let mut viewer = join(library, &token(&host, "Vera", "viewer")?, VIEWER).await?;
        let (_, remote) = subscribed(&mut viewer).await?;
        let mut stream = VideoStream::of(&viewer, remote)?;
        timeout(SOON, stream.next()).await?.context("a picture")?;
        let server = server.restart()?;
        drop((stream, viewer, camera, broadcaster));

        // As a page does it: all join again, with what they have.
        let broadcaster = join(library, &minted, PUBLISHER).await?;
        let _camera = Camera::start(&broadcaster, frame, TrackSource::SourceCamera).await?;
        let mut viewer = join(library, &token(&host, "Vera", "viewer")?, VIEWER).await?;
        let begin = Instant::now();
        let (_, remote) = subscribed(&mut viewer).await?;
        let mut stream = VideoStream::of(&viewer, remote)?;
        let (mut with_a_hole, mut frames) = (0, 0);
        while with_a_hole < 30 {
            let received = timeout(SOON, stream.next()).await?.context("the stream goes on")?;
            let covered = black(&received.picture, face);
            ensure!(
                covered >= COVERED_MIN || is_card(&received.picture),
                "frame {frames} after the restart shows {:.0} % of the face",
                100.0 * (1.0 - covered)
            );
            with_a_hole += usize::from(covered >= COVERED_MIN && black(&received.picture, Rect::FULL) < 0.6);
            frames += 1;
        }
        println!("back {:?} after the restart, {frames} frames looked at", begin.elapsed());

        // A room that is stopped has no mirror, until it is started again.
        let stopped = host.send("POST", "/v1/rooms/studio/stream/stop", &[], &[])?.expect(200)?;
        ensure!(stopped["settings"]["stopped"] == true, "{stopped}");
        until(&mut viewer, "the mirror's going", |event| matches!(event, Event::Left { .. }).then_some(())).await?;
        // A mirror from before the restart may have left as well: what counts is that nothing stays live.
        let begin = Instant::now();
        while host.get("/v1/rooms?live=true")?.expect(200)? != json!([]) {
            ensure!(begin.elapsed() < SOON, "something is still live in it");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let started = host.send("POST", "/v1/rooms/studio/stream/start", &[], &[])?.expect(200)?;
        ensure!(started["settings"]["stopped"].is_null(), "{started}");
        subscribed(&mut viewer).await?;
        drop(server);
        drop((stream, viewer, broadcaster));
        host.terminate(Duration::from_secs(20))
    })
}

/// Says something over HTTP, with whatever stands for a key.
fn post(host: &Served, bearer: Option<&str>, body: &Value) -> Result<Answer> {
    let bearer = bearer.map(|token| format!("Bearer {token}"));
    let headers: Vec<_> =
        bearer.iter().map(|value| ("authorization", value.as_str())).chain([("content-type", "application/json")]).collect();
    host.send("POST", "/v1/rooms/studio/chat", &headers, body.to_string().as_bytes())
}

/// A text of the chat, and who is said to have written it.
fn written(event: Event) -> Option<(String, String)> {
    match event {
        Event::Text { topic, text, attributes, .. } if topic == "lk.chat" => {
            Some((attributes.get("scrim.author").cloned().unwrap_or_default(), text))
        }
        _ => None,
    }
}

#[test]
fn viewers_write_with_their_own_tokens_and_the_policy_reads_it_first() -> Result<()> {
    with_a_host(|server, host, library| async move {
        let _until_the_end = server;
        let (vera, zoe) = (token(&host, "Vera", "viewer")?, token(&host, "Zoe", "viewer")?);
        let text_of = |token: &Value, key: &str| token[key].as_str().map(str::to_owned).with_context(|| format!("{key} in {token}"));
        let mut reader = join(library, &vera, VIEWER).await?;
        let writer = join(library, &zoe, VIEWER).await?;
        let (hers, me) = (text_of(&zoe, "token")?, text_of(&zoe, "identity")?);
        // Until the host has seen that she is there.
        let hello = json!({ "text": "good evening to all of you" });
        let mut first = Value::Null;
        eventually(|| {
            let answer = post(&host, Some(&hers), &hello)?;
            ensure!([200, 409].contains(&answer.status), "{answer:?}");
            let there = answer.status == 200;
            first = if there { answer.json()? } else { Value::Null };
            Ok(there)
        })
        .await?;
        ensure!(first["outcome"] == "passed" && first["shown"] == hello["text"], "{first}");
        let (author, text) = until(&mut reader, "the message", written).await?;
        ensure!((&*author, &*text) == ("Zoe", "good evening to all of you"), "{author}: {text}");

        let rude = post(&host, Some(&hers), &json!({ "text": "you are a fucking idiot" }))?.expect(200)?;
        ensure!(rude["outcome"] == "masked", "{rude}");
        let (_, text) = until(&mut reader, "the masked message", written).await?;
        ensure!(Some(text.as_str()) == rude["shown"].as_str() && text.contains('*') && !text.contains("fucking"), "{text}");

        // A program with a key says who writes; the name is judged as any other.
        let answer = post(&host, None, &json!({ "text": "the doors are open", "author": "Front desk" }))?.expect(200)?;
        ensure!(answer["outcome"] == "passed", "{answer}");
        let (author, text) = until(&mut reader, "the program's message", written).await?;
        ensure!((&*author, &*text) == ("Front desk", "the doors are open"), "{author}: {text}");
        for (body, status) in [
            (json!({ "text": "who?" }), 422),
            (json!({ "text": "hm", "author": "you fucking idiot" }), 422),
            (json!({ "text": "hm", "author": "turned \u{202e}around" }), 422),
            (json!({ "text": "x".repeat(4097), "author": "Ann" }), 422),
            (json!({ "text": "  ", "author": "Ann" }), 422),
        ] {
            ensure!(post(&host, None, &body)?.status == status, "{body}");
        }

        // Nobody else: no other room's token, no broadcaster's for its own room, none that is no token, none that speaks for another.
        host.json("POST", "/v1/rooms", &json!({ "name": "attic" }))?.expect(201)?;
        let elsewhere = host.json("POST", "/v1/rooms/attic/tokens", &json!({ "name": "Eve", "role": "viewer" }))?.expect(201)?;
        let bob = token(&host, "Bob", "broadcaster")?;
        for (bearer, body, status) in [
            (text_of(&elsewhere, "token")?, json!({ "text": "hi" }), 403),
            (text_of(&bob, "token")?, json!({ "text": "hi" }), 403),
            (format!("{}x", &hers[..hers.len() - 4]), json!({ "text": "hi" }), 401),
            (hers.clone(), json!({ "text": "hi", "author": "Vera" }), 422),
        ] {
            let answer = post(&host, Some(&bearer), &body)?;
            ensure!(answer.status == status, "{status}: {answer:?}");
        }
        // A broadcaster's second token is a viewer's.
        ensure!(post(&host, Some(&text_of(&bob, "view_token")?), &json!({ "text": "nice to be here" }))?.status == 200);
        ensure!(until(&mut reader, "the broadcaster's message", written).await?.0 == "Bob");

        // Who writes too fast is told so, and nobody else is.
        let flood = (0..12).map(|_| post(&host, Some(&hers), &json!({ "text": "again" }))).collect::<Result<Vec<_>>>()?;
        let hasty = flood.iter().find(|answer| answer.status == 429).context("nobody was told to slow down")?;
        ensure!(hasty.header("retry-after").is_some(), "{hasty:?}");
        ensure!(post(&host, None, &json!({ "text": "calm down", "author": "Front desk" }))?.status == 200);

        // A room may refuse instead of masking.
        host.json("PATCH", "/v1/rooms/studio", &json!({ "chat": "refuse" }))?.expect(200)?;
        let refused = post(&host, None, &json!({ "text": "you are a fucking idiot", "author": "Ann" }))?.expect(200)?;
        ensure!(refused["outcome"] == "refused" && refused["shown"].is_null(), "{refused}");

        // Who has left writes no more, though its token holds.
        writer.leave().await?;
        println!("{me} has left");
        eventually(|| Ok(post(&host, Some(&hers), &json!({ "text": "still here" }))?.status == 409)).await?;
        host.terminate(Duration::from_secs(20))
    })
}

/// How far two pictures go together, -1..=1: the correlation of their luma; 0 for those that can't be held against each other.
fn alike(one: &I420, other: &I420) -> f64 {
    if (one.width, one.height) != (other.width, other.height) {
        return 0.0;
    }
    let luma = |picture: &I420| picture.data[..(picture.width * picture.height) as usize].iter().map(|&y| f64::from(y)).collect::<Vec<_>>();
    let centred = |values: Vec<f64>| {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        values.into_iter().map(|value| value - mean).collect::<Vec<_>>()
    };
    let (one, other) = (centred(luma(one)), centred(luma(other)));
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let size = (product(&one, &one) * product(&other, &other)).sqrt();
    if size == 0.0 { 0.0 } else { product(&one, &other) / size }
}

#[test]
fn an_encrypted_room_is_moderated_with_its_key_and_not_without() -> Result<()> {
    with_shared_keys("studio the shared key\n", |server, host, library| async move {
        let _until_the_end = server;
        let frame = portrait::picture(SIZE)?;
        let face = portrait::face(&frame)?;
        let with = |key: &str, options: Options| Options { key: Some(key.as_bytes().to_vec()), ..options };
        let mut viewer = join(library, &token(&host, "Vera", "viewer")?, with("the shared key", VIEWER)).await?;
        let mut stranger = join(library, &token(&host, "Sue", "viewer")?, VIEWER).await?;
        let broadcaster = join(library, &token(&host, "Bob", "broadcaster")?, with("the shared key", PUBLISHER)).await?;
        let camera = Camera::start(&broadcaster, frame.clone(), TrackSource::SourceCamera).await?;
        let told = |event| match event {
            Event::Published { encrypted, .. } => Some(encrypted),
            _ => None,
        };
        ensure!(until(&mut viewer, "the mirror's track", told).await?, "what the host publishes is not encrypted");
        let (_, remote) = subscribed(&mut viewer).await?;
        let mut stream = VideoStream::of(&viewer, remote)?;
        let (mut clear, mut last) = (0, None);
        for number in 0..90 {
            let received = timeout(SOON, stream.next()).await?.context("the stream goes on")?;
            let covered = black(&received.picture, face);
            ensure!(covered >= 0.95, "frame {number} shows {:.0} % of the face", 100.0 * (1.0 - covered));
            let partly = black(&received.picture, Rect::FULL) < 0.6;
            clear += usize::from(partly);
            last = partly.then_some(received.picture).or(last);
        }
        let last = last.context("a picture")?;
        ensure!(clear > 30, "{clear} of 90 frames in the clear");
        // Without the key there is nothing to be seen.
        let (_, remote) = subscribed(&mut stranger).await?;
        let mut nothing = VideoStream::of(&stranger, remote)?;
        let (begin, mut seen) = (Instant::now(), 0);
        while let Ok(received) = timeout(Duration::from_secs(3).saturating_sub(begin.elapsed()), nothing.next()).await {
            // A decoder may make noise of what is encrypted.
            let picture = received.context("the track goes on")?.picture;
            let alike = alike(&picture, &last);
            ensure!(alike < 0.3, "somebody without the key sees what is shown: {alike:.2}");
            seen += 1;
        }
        println!("without the key: {seen} pictures, of nothing");
        say(&broadcaster, "for us alone").await?;
        ensure!(until(&mut viewer, "the message", text_of).await?.1 == "for us alone");
        drop((camera, nothing, stream));

        // Another key: no picture of it can be read, nothing is published, and the event says why.
        let events = || Ok::<_, anyhow::Error>(host.get("/v1/rooms/studio/events?limit=500")?.expect(200)?["events"].to_string());
        let other = join(library, &token(&host, "Eve", "broadcaster")?, with("another key", PUBLISHER)).await?;
        let _eves = Camera::start(&other, frame.clone(), TrackSource::SourceCamera).await?;
        eventually(|| Ok(events()?.contains("no picture of it can be read"))).await?;

        // A room that the host has no key of: the event says so at once.
        host.json("POST", "/v1/rooms", &json!({ "name": "attic", "cover": ["FACE_*"] }))?.expect(201)?;
        let minted = host.json("POST", "/v1/rooms/attic/tokens", &json!({ "name": "Ann", "role": "broadcaster" }))?.expect(201)?;
        let ann = join(library, &minted, with("the shared key", PUBLISHER)).await?;
        let _anns = Camera::start(&ann, frame, TrackSource::SourceCamera).await?;
        let attic = || Ok::<_, anyhow::Error>(host.get("/v1/rooms/attic/events?limit=500")?.expect(200)?["events"].to_string());
        eventually(|| Ok(attic()?.contains("this host has no key for it"))).await?;
        ensure!(host.get("/v1/rooms/attic")?.expect(200)?["live"] == json!([]), "it is live");
        drop((other, ann, broadcaster));
        host.terminate(Duration::from_secs(20))
    })
}
