//! Pictures: covered from the first one on, through what a broadcaster does and through a server's restart.

use scrim_host::geometry::Rect;
use scrim_livekit::VideoStream;
use scrim_tests::portrait::{self, COVERED_MIN, black, is_card};

use super::*;

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
