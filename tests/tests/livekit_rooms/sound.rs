//! Sound: as late as the room says, silent where it was muted.

use scrim_livekit::AudioStream;
use scrim_tests::sound::{Microphone, RATE, loudness, tone, unix_us};

use super::*;

/// The room's, by default.
const DELAY_US: i64 = 400_000;

#[test]
fn sound_is_as_late_as_the_room_says_and_silent_where_it_was_muted() -> Result<()> {
    with_a_host(|server, host, library| async move {
        let _until_the_end = server;
        let mut viewer = join(library, &token(&host, "Vera", "viewer")?, VIEWER).await?;
        let minted = token(&host, "Bob", "broadcaster")?;
        let broadcaster = join(library, &minted, PUBLISHER).await?;
        let identity = minted["identity"].as_str().context("an identity")?;
        let microphone = Microphone::start(&broadcaster, |number| tone(number, 440.0, 8000.0)).await?;
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
