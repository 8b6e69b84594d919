//! Somebody who tries every way to what is not meant for it, with LiveKit's own clients: its browser library in Chromium, and its Python SDK. A
//! broadcaster shows and says something meanwhile, and a viewer tells what reaches it. The table in `docs/livekit.md` is of this and of
//! `livekit_access.rs`.

use std::collections::{BTreeMap, HashMap};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac};
use livekit_api::access_token::{AccessToken, VideoGrants};
use scrim_livekit::proto::{TrackSource, VideoCodec};
use scrim_livekit::{Encoding, Event, Options, Room, VideoTrack};
use scrim_tests::browser::{root, script};
use scrim_tests::livekit::{KEY, SECRET, Server, alone, library};
use scrim_tests::served::Served;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// One at a time: servers would take each other's ports where there is no network namespace.
static ONE: Mutex<()> = Mutex::new(());
const VP8: Encoding = Encoding { codec: VideoCodec::Vp8, bitrate: 500_000, frames_per_s: 15.0, simulcast: false };
const SIZE: (u32, u32) = (320, 180);
/// What the broadcaster says, which no viewer may read like this, and what it sends beside the chat, which nobody may get.
const SAID: &str = "you are a fucking idiot";
const SENT: &str = "a broadcaster's data";
/// What Eve says and sends.
const EVES: &str = "from eve";

#[test]
fn with_livekits_browser_client_nothing_is_reached() -> Result<()> {
    hostile(|settings| script("hostile.mjs", &[&settings.to_string()]))
}

#[test]
fn with_livekits_python_sdk_nothing_is_reached() -> Result<()> {
    // Before the test has a network of its own, in which nothing can be fetched.
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), Into::into);
    let pinned = root().join("tests/livekit/sdk-requirements.txt");
    let programs = scrim_toolchain::python::environment(&target.join("livekit-sdk"), &pinned, &|line| eprintln!("{line}"))?;
    hostile(|settings| {
        let mut command = Command::new(programs.join("python"));
        command.arg(root().join("tests/livekit/hostile.py")).arg(settings.to_string());
        Ok(command)
    })
}

fn hostile(attacker: impl FnOnce(&Value) -> Result<Command>) -> Result<()> {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    if alone()? {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let data_dir = folder.path().join("data");
    std::fs::create_dir(&data_dir)?;
    let server = Server::start(folder.path())?;
    let host = Served::start_livekit(&data_dir, &server, "")?;
    for room in ["studio", "other"] {
        host.json("POST", "/v1/rooms", &json!({ "name": room }))?.expect(201)?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let (told, reached) = runtime.block_on(attacked(&server, &host, attacker))?;
    refused(&told)?;
    unharmed(&told, &reached)?;
    host.terminate(Duration::from_secs(20))
}

fn token(host: &Served, room: &str, name: &str, role: &str) -> Result<(String, Value)> {
    let minted = host.json("POST", &format!("/v1/rooms/{room}/tokens"), &json!({ "name": name, "role": role }))?.expect(201)?;
    Ok((minted["token"].as_str().context("a token")?.to_owned(), minted))
}

fn now() -> i64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
}

/// A token's claims, changed, under the old signature; or signed anew, as only Scrim can.
fn changed(token: &str, anew: bool, change: impl FnOnce(&mut Value)) -> Result<String> {
    let parts: Vec<&str> = token.split('.').collect();
    let mut claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[1])?)?;
    change(&mut claims);
    let signed = format!("{}.{}", parts[0], URL_SAFE_NO_PAD.encode(claims.to_string()));
    if !anew {
        return Ok(format!("{signed}.{}", parts[2]));
    }
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes())?;
    mac.update(signed.as_bytes());
    Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())))
}

/// What the attacker has told, attempt by attempt.
type Outcomes = BTreeMap<String, Value>;

/// What has reached somebody who only watches.
#[derive(Debug, Default)]
struct Reached {
    /// Who has come, and under which name.
    who: HashMap<String, String>,
    /// Whose tracks were told.
    tracks: Vec<String>,
    said: Vec<String>,
    /// Names and attributes that were changed.
    renamed: Vec<String>,
}

/// Lets the attacker try while Ann broadcasts and Vera watches.
async fn attacked(server: &Server, host: &Served, attacker: impl FnOnce(&Value) -> Result<Command>) -> Result<(Outcomes, Reached)> {
    let library = library()?;
    let options = |subscribe| Options { subscribe, dynacast: false, key: None };
    let (ann, minted) = token(host, "studio", "Ann", "broadcaster")?;
    let ingest = minted["room"].as_str().context("its room")?.to_owned();
    let broadcaster = Room::join(library, &server.url(), &ann, options(false)).await?;
    let _track = VideoTrack::publish(&broadcaster, "camera", SIZE, TrackSource::SourceCamera, VP8).await?;
    let mut vera = Room::join(library, &server.url(), &token(host, "studio", "Vera", "viewer")?.0, options(true)).await?;
    let speaking = tokio::spawn(async move {
        loop {
            // What the server does not take is not said.
            let _ = broadcaster.send_text("lk.chat", SAID, HashMap::new(), &[], None).await;
            let _ = broadcaster.send_data("anything", SENT.as_bytes(), false, &[]).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });

    // Names are judged against who is connected; a round of the guard says who is.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let settings = attack(server, host, &ingest)?;
    let command = attacker(&settings)?;
    let trying = tokio::task::spawn_blocking(move || -> Result<std::process::Output> {
        let mut command = command;
        Ok(command.stderr(std::process::Stdio::inherit()).output()?)
    });
    tokio::pin!(trying);
    let mut reached = Reached::default();
    let output = loop {
        tokio::select! {
            output = &mut trying => break output??,
            event = vera.next() => reached.take(event.context("the viewer is still in")?)?,
        }
    };
    // What was sent last arrives, too.
    let rest = tokio::time::sleep(Duration::from_secs(2));
    tokio::pin!(rest);
    loop {
        tokio::select! {
            () = &mut rest => break,
            event = vera.next() => reached.take(event.context("the viewer is still in")?)?,
        }
    }
    speaking.abort();
    let text = String::from_utf8_lossy(&output.stdout);
    println!("{text}{reached:#?}");
    ensure!(output.status.success(), "the attacker ended with {}", output.status);
    let mut told = Outcomes::new();
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).with_context(|| format!("{line:?}"))?;
        told.insert(line["attempt"].as_str().context("an attempt")?.to_owned(), line["outcome"].clone());
    }
    Ok((told, reached))
}

/// What the attacker has to try with.
fn attack(server: &Server, host: &Served, ingest: &str) -> Result<Value> {
    let (viewer, _) = token(host, "studio", "Eve", "viewer")?;
    let (broadcaster, _) = token(host, "studio", "Mallory", "broadcaster")?;
    let (other, _) = token(host, "other", "Eve", "viewer")?;
    let all = VideoGrants { room_join: true, room: "studio".to_owned(), ..VideoGrants::default() };
    let another = "another secret, which is long enough too";
    let forged = AccessToken::with_api_key(KEY, another).with_identity("eve").with_grants(all).to_jwt()?;
    let body = json!({
        "event": "participant_joined", "room": { "name": "studio" }, "participant": { "identity": "viewer~1", "state": "JOINED" },
        "id": "EV_hostile", "createdAt": now().to_string()
    })
    .to_string();
    let hash = STANDARD.encode(Sha256::digest(&body));
    let hook = |secret: &str| AccessToken::with_api_key(KEY, secret).with_sha256(&hash).to_jwt();
    Ok(json!({
        "page": host.url(""),
        "url": server.url(),
        "room": "studio",
        "names": ["Ann", "ANN", "\u{410}nn"],
        "tokens": {
            "into_ingest": changed(&viewer, false, |claims| claims["video"]["room"] = ingest.into())?,
            "into_viewers": changed(&broadcaster, false, |claims| claims["video"]["room"] = "studio".into())?,
            "publishes": changed(&viewer, false, |claims| claims["video"]["canPublish"] = true.into())?,
            "expired": changed(&viewer, true, |claims| (claims["nbf"], claims["exp"]) = ((now() - 7200).into(), (now() - 3600).into()))?,
            "other_here": changed(&other, false, |claims| claims["video"]["room"] = "studio".into())?,
            "viewer": viewer,
            "broadcaster": broadcaster,
            "other": other,
            "forged": forged,
        },
        "webhook": { "body": body, "good": hook(SECRET)?, "forged": hook(another)? },
    }))
}

impl Reached {
    fn take(&mut self, event: Event) -> Result<()> {
        match event {
            Event::Joined { identity, name, .. } => _ = self.who.insert(identity, name),
            Event::Published { identity, .. } => self.tracks.push(identity),
            Event::Text { text, .. } => self.said.push(text),
            Event::Data { payload, .. } => self.said.push(String::from_utf8_lossy(&payload).into_owned()),
            Event::NameChanged { name, .. } => self.renamed.push(name),
            Event::AttributesChanged { attributes, .. } => self.renamed.push(format!("{attributes:?}")),
            Event::Over { reason } => anyhow::bail!("the viewer's room is over: {reason}"),
            _ => {}
        }
        Ok(())
    }
}

/// Nobody gets in who must not, and what is asked over HTTP is answered as it should be.
fn refused(told: &Outcomes) -> Result<()> {
    let outcome = |attempt: &str| told.get(attempt).with_context(|| format!("{attempt:?} was not tried"));
    for token in ["into_ingest", "into_viewers", "publishes", "expired", "other_here", "forged"] {
        let joined = outcome(&format!("join {token}"))?;
        ensure!(joined == "refused", "{token}: {joined}");
    }
    for name in ["Ann", "ANN", "\u{410}nn"] {
        let answer = outcome(&format!("name {name}"))?;
        ensure!(answer["status"] == 409, "the name {name:?}: {answer}");
    }
    ensure!(outcome("webhook forged")?["status"] == 401);
    ensure!(*outcome("webhook first")? == json!({ "status": 200, "body": { "new": true } }));
    ensure!(*outcome("webhook replayed")? == json!({ "status": 200, "body": { "new": false } }));
    // Of other attempts a client may think that they were taken: what counts is what reaches others.
    let said = outcome("viewer publishes")?;
    ensure!(said.as_str().is_some_and(|said| said.starts_with("refused")), "a viewer publishes: {said}");
    Ok(())
}

/// What the attacker has seen, and what has reached a viewer, is what was moderated.
fn unharmed(told: &Outcomes, reached: &Reached) -> Result<()> {
    let seen = |attempt: &str| told.get(attempt).with_context(|| format!("{attempt:?} was not tried"));
    let nothing = json!({ "who": {}, "tracks": [], "heard": [] });
    for place in ["broadcaster looks round", "other room looks round"] {
        ensure!(*seen(place)? == nothing, "{place}: {}", seen(place)?);
    }
    let viewer = seen("viewer looks round")?;
    let heard: Vec<&str> = viewer["heard"].as_array().context("a list")?.iter().filter_map(Value::as_str).collect();
    ensure!(heard.iter().any(|text| text.contains('*')), "Eve hears as much as any viewer: {viewer}");
    let moderated = |text: &str| !text.contains("fucking") && !text.contains(SENT) && !text.contains(EVES);
    ensure!(heard.iter().all(|text| moderated(text)), "{viewer}");
    let mirrors = |who: &str| who.starts_with("mirror~broadcaster~");
    let tracks = viewer["tracks"].as_array().context("a list")?;
    ensure!(tracks.iter().all(|of| of.as_str().is_some_and(mirrors)), "{viewer}");

    ensure!(reached.said.iter().any(|text| text.contains('*')), "nothing was said: {reached:?}");
    ensure!(reached.said.iter().all(|text| moderated(text)), "{reached:?}");
    ensure!(reached.tracks.iter().all(|who| mirrors(who)), "{reached:?}");
    ensure!(reached.renamed.is_empty(), "{reached:?}");
    let called_ann: Vec<&String> = reached.who.iter().filter(|(_, name)| *name == "Ann").map(|(who, _)| who).collect();
    ensure!(called_ann.len() == 1 && mirrors(called_ann[0]), "{reached:?}");
    ensure!(reached.who.keys().all(|who| mirrors(who) || who.starts_with("viewer~")), "{reached:?}");
    Ok(())
}
