//! Names, texts, data and keys in rooms of a real server.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use scrim_livekit::proto::{TrackSource, VideoCodec};
use scrim_livekit::{Encoding, Event, I420, Library, Options, Room, TEXT_MAX, VideoStream, VideoTrack};
use scrim_tests::livekit::{KEY, SECRET, Server, against_a_server, token_with, wait_for};
use tokio::time::{sleep, timeout};

const HERE: Options = Options { subscribe: true, dynacast: false, key: None };
const VP8: Encoding = Encoding { codec: VideoCodec::Vp8, bitrate: 1_000_000, frames_per_s: 30.0, simulcast: false };
const SIZE: (u32, u32) = (320, 180);

async fn join(server: &Server, library: &'static Library, identity: &str) -> Result<Room> {
    Ok(Room::join(library, &server.url(), &token_with("r", identity, |token| token)?, HERE).await?)
}

async fn keyed(server: &Server, library: &'static Library, identity: &str, key: Option<&str>) -> Result<Room> {
    let options = Options { key: key.map(|key| key.as_bytes().to_vec()), ..HERE };
    Ok(Room::join(library, &server.url(), &token_with("r", identity, |token| token)?, options).await?)
}

/// A text, as (identity, topic, text, attributes).
async fn text(room: &mut Room) -> Result<(String, String, String, HashMap<String, String>)> {
    wait_for(room, "a text", |event| match event {
        Event::Text { identity, topic, text, id, attributes } if !id.is_empty() => Some((identity, topic, text, attributes)),
        _ => None,
    })
    .await
}

fn mood(of: &str) -> HashMap<String, String> {
    HashMap::from([("mood".to_owned(), of.to_owned())])
}

/// What a server's owner may do: change somebody's name and attributes.
fn rename(server: &Server, identity: &str, name: &str, attributes: &HashMap<String, String>) -> Result<()> {
    let grants = livekit_api::access_token::VideoGrants { room_admin: true, room: "r".to_owned(), ..Default::default() };
    let token = livekit_api::access_token::AccessToken::with_api_key(KEY, SECRET).with_grants(grants).to_jwt()?;
    let url = format!("{}/twirp/livekit.RoomService/UpdateParticipant", server.url().replacen("ws", "http", 1));
    let body = serde_json::json!({ "room": "r", "identity": identity, "name": name, "attributes": attributes });
    ureq::post(&url)
        .header("Authorization", format!("Bearer {token}"))
        .header("Content-Type", "application/json")
        .send(body.to_string())?;
    Ok(())
}

#[test]
fn who_comes_is_told_by_name() -> Result<()> {
    against_a_server(|server, library| async move {
        let ann = token_with("r", "ann", |token| token.with_name("Ann B.").with_attributes(mood("fine")))?;
        let mut ann = Room::join(library, &server.url(), &ann, HERE).await?;
        let bob = token_with("r", "bob", |token| token.with_name("Bob"))?;
        let mut bob = Room::join(library, &server.url(), &bob, HERE).await?;
        let joined = |event| match event {
            Event::Joined { identity, name, attributes } => Some((identity, name, attributes)),
            _ => None,
        };
        // Who was there before, and who comes later.
        ensure!(wait_for(&mut bob, "who is there", joined).await? == ("ann".to_owned(), "Ann B.".to_owned(), mood("fine")));
        ensure!(wait_for(&mut ann, "who comes", joined).await? == ("bob".to_owned(), "Bob".to_owned(), HashMap::new()));
        rename(&server, "bob", "Robert", &mood("changed"))?;
        let (mut name, mut attributes) = (None, None);
        wait_for(&mut ann, "another name", |event| {
            match event {
                Event::NameChanged { identity, name: new } if identity == "bob" => name = Some(new),
                Event::AttributesChanged { identity, attributes: new } if identity == "bob" => attributes = Some(new),
                _ => {}
            }
            (name.is_some() && attributes.is_some()).then_some(())
        })
        .await?;
        ensure!(name.as_deref() == Some("Robert") && attributes == Some(mood("changed")), "{name:?}, {attributes:?}");
        Ok(())
    })
}

#[test]
fn what_one_says_another_reads() -> Result<()> {
    against_a_server(|server, library| async move {
        let (mut ann, bob) = (join(&server, library, "ann").await?, join(&server, library, "bob").await?);
        let mut eve = join(&server, library, "eve").await?;
        bob.send_text("lk.chat", "hello, Ánn", mood("fine"), &[], None).await?;
        let said = ("bob".to_owned(), "lk.chat".to_owned(), "hello, Ánn".to_owned(), mood("fine"));
        ensure!(text(&mut ann).await? == said && text(&mut eve).await? == said);

        // To one alone; and as long as may be, in many pieces.
        let long = "ü".repeat((TEXT_MAX - 16) / 2);
        bob.send_text("secret", &long, HashMap::new(), &["ann".to_owned()], None).await?;
        let (_, topic, heard, _) = text(&mut ann).await?;
        ensure!(topic == "secret" && heard == long, "{} bytes of {topic}", heard.len());
        bob.send_text("end", "", HashMap::new(), &[], None).await?;
        ensure!(text(&mut eve).await? == ("bob".to_owned(), "end".to_owned(), String::new(), HashMap::new()), "eve heard a secret");
        let Err(error) = bob.send_text("t", &"x".repeat(TEXT_MAX), HashMap::new(), &[], None).await else { bail!("it is too long") };
        ensure!(error.to_string().contains("65537 bytes"), "{error}");

        // In another's name only an agent speaks.
        ensure!(text(&mut ann).await?.1 == "end");
        bob.send_text("t", "I am Eve", HashMap::new(), &[], Some("eve")).await?;
        ensure!(text(&mut ann).await?.0 == "bob", "bob speaks as eve");
        let agent = token_with("r", "agent", |token| token.with_kind("agent"))?;
        let agent = Room::join(library, &server.url(), &agent, HERE).await?;
        agent.send_text("t", "for eve", HashMap::new(), &[], Some("eve")).await?;
        ensure!(text(&mut ann).await?.0 == "eve");

        // Packets, in order and with their topic.
        for number in 0..3_u8 {
            bob.send_data("numbers", &vec![number; usize::from(number) * 4000], number == 1, &["eve".to_owned()]).await?;
        }
        for number in [0, 2] {
            let packet = wait_for(&mut eve, "a packet", |event| match event {
                Event::Data { identity, topic, payload } if payload.first() != Some(&1) => Some((identity, topic, payload)),
                _ => None,
            });
            ensure!(packet.await? == ("bob".to_owned(), Some("numbers".to_owned()), vec![number; usize::from(number) * 4000]));
        }
        let Err(error) = bob.send_data("t", &[0; 16 * 1024 + 1], false, &[]).await else { bail!("it is too long") };
        ensure!(error.to_string().contains("16385 bytes"), "{error}");
        ensure!(ann.dropped() == 0 && eve.dropped() == 0);
        Ok(())
    })
}

#[test]
fn a_flood_of_texts_drops_texts_alone() -> Result<()> {
    against_a_server(|server, library| async move {
        let (mut ann, bob) = (join(&server, library, "ann").await?, join(&server, library, "bob").await?);
        // Who publishes nothing is told a few seconds late.
        wait_for(&mut ann, "bob", |event| matches!(event, Event::Joined { .. }).then_some(())).await?;
        // Attributes beyond what is heard.
        let many = HashMap::from([("a".to_owned(), "x".repeat(9000))]);
        bob.send_text("t", "much ado", many, &[], None).await?;
        let begin = Instant::now();
        while ann.dropped() == 0 {
            ensure!(begin.elapsed() < Duration::from_secs(10), "it was not dropped");
            sleep(Duration::from_millis(10)).await;
        }
        // Nobody listens meanwhile: what is too much goes, the newest first. Each text is a stream of its own, so neighbours may change places.
        for number in 0..80 {
            bob.send_text("flood", &number.to_string(), HashMap::new(), &[], None).await?;
        }
        while ann.dropped() < 17 {
            ensure!(begin.elapsed() < Duration::from_secs(30), "{} were dropped", ann.dropped());
            sleep(Duration::from_millis(10)).await;
        }
        sleep(Duration::from_millis(300)).await;
        ensure!(ann.dropped() == 17, "{} were dropped", ann.dropped());
        drop(bob);
        let mut heard = Vec::new();
        wait_for(&mut ann, "bob's going", |event| match event {
            Event::Text { text, .. } => {
                heard.push(text);
                None
            }
            Event::Left { identity } => Some(identity),
            _ => None,
        })
        .await?;
        let mut numbers = heard.iter().map(|text| text.parse()).collect::<Result<Vec<usize>, _>>()?;
        numbers.sort_unstable();
        numbers.dedup();
        ensure!(numbers.len() == 64 && heard.len() == 64 && numbers.starts_with(&Vec::from_iter(0..56)), "{heard:?}");
        Ok(())
    })
}

/// Pictures that the room gets of a track within some time, and how many of them are right.
async fn watch(room: &mut Room, seconds: u64) -> Result<(usize, usize)> {
    let (mut stream, mut encrypted) = (None::<VideoStream>, false);
    let (mut pictures, mut right) = (0, 0);
    let until = Instant::now() + Duration::from_secs(seconds);
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        let picture = async {
            match &mut stream {
                Some(stream) => stream.next().await,
                None => std::future::pending().await,
            }
        };
        let event = timeout(left, async {
            tokio::select! {
                picture = picture => Err(picture),
                event = room.next() => Ok(event),
            }
        });
        match event.await {
            Ok(Ok(Some(Event::Published { encrypted: true, width, .. }))) => encrypted = width == SIZE.0,
            Ok(Ok(Some(Event::Subscribed { track, .. }))) => stream = Some(VideoStream::of(room, track)?),
            Ok(Ok(event)) => _ = event.context("the room is over")?,
            Ok(Err(picture)) => {
                let picture = picture.context("the stream is over")?.picture;
                pictures += 1;
                let luma = &picture.data[..(picture.width * picture.height) as usize];
                right += usize::from(luma.iter().filter(|y| y.abs_diff(120) < 12).count() > luma.len() * 9 / 10);
            }
            Err(_) => break,
        }
    }
    ensure!(encrypted, "the track was not said to be encrypted");
    Ok((pictures, right))
}

#[test]
fn only_who_has_the_key_sees_and_reads() -> Result<()> {
    against_a_server(|server, library| async move {
        let ann = keyed(&server, library, "ann", Some("a key")).await?;
        let mut bob = keyed(&server, library, "bob", Some("a key")).await?;
        let mut eve = keyed(&server, library, "eve", Some("another")).await?;
        let mut sue = keyed(&server, library, "sue", None).await?;
        let track = VideoTrack::publish(&ann, "camera", SIZE, TrackSource::SourceCamera, VP8).await?;
        let sending = tokio::spawn(async move {
            let picture = I420 { width: SIZE.0, height: SIZE.1, data: vec![120; I420::len(SIZE.0, SIZE.1)] };
            let (begin, mut pace) = (Instant::now(), tokio::time::interval(Duration::from_millis(33)));
            loop {
                pace.tick().await;
                track.capture(picture.as_picture(), begin.elapsed().as_micros() as i64)?;
            }
            #[allow(unreachable_code, reason = "it ends with an error, or is aborted")]
            Ok::<(), scrim_livekit::Error>(())
        });
        let (bob_saw, eve_saw, sue_saw) = tokio::try_join!(watch(&mut bob, 6), watch(&mut eve, 6), watch(&mut sue, 6))?;
        println!("pictures, right ones: with the key {bob_saw:?}, with another {eve_saw:?}, without {sue_saw:?}");
        ensure!(bob_saw.1 > 30 && bob_saw.1 == bob_saw.0, "{bob_saw:?}");
        ensure!(eve_saw == (0, 0) && sue_saw == (0, 0), "{eve_saw:?}, {sue_saw:?}");
        ensure!(!sending.is_finished());
        sending.abort();

        ann.send_text("lk.chat", "for us", HashMap::new(), &[], None).await?;
        ensure!(text(&mut bob).await?.2 == "for us");
        for room in [&mut eve, &mut sue] {
            let heard =
                timeout(Duration::from_secs(1), wait_for(room, "a text", |event| matches!(event, Event::Text { .. }).then_some(())));
            ensure!(heard.await.is_err(), "{} read it", room.identity());
        }
        Ok(())
    })
}
