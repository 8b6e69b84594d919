//! Rooms that are encrypted end to end: moderated with their key, and not without.

use scrim_host::geometry::Rect;
use scrim_livekit::{I420, VideoStream};
use scrim_tests::portrait::{self, black};

use super::words::{say, text_of};
use super::*;

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
