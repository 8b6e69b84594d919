//! Who gets into LiveKit's rooms, and who does not: a real `scrim serve`, a real server, the real client library. Every way in that a token, a
//! webhook or the server's API offers is tried.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac};
use livekit_api::access_token::{AccessToken, VideoGrants};
use scrim_host::api::auth::{Role, new_key};
use scrim_host::serve::livekit::server::Server as Api;
use scrim_host::serve::livekit::token::Secrets;
use scrim_livekit::proto::{TrackSource, VideoCodec};
use scrim_livekit::{Encoding, Event, Library, Options, Room, VideoTrack};
use scrim_tests::livekit::{KEY, SECRET, Server, alone, library, url};
use scrim_tests::served::{Answer, Served};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::time::{sleep, timeout};

const SOON: Duration = Duration::from_secs(20);
/// Within this an intruder is out: a round each second, and what the server takes.
const GUARD_MAX: Duration = Duration::from_secs(4);
const SIZE: (u32, u32) = (320, 180);
const QUIET: Options = Options { subscribe: false, dynacast: false, key: None };
const EAGER: Options = Options { subscribe: true, dynacast: false, key: None };
const VP8: Encoding = Encoding { codec: VideoCodec::Vp8, bitrate: 500_000, frames_per_s: 15.0, simulcast: false };
const ROOM: &str = "studio";
const WEBHOOK: &str = "/livekit/webhook";

/// Scrim, the server, and its API as its operator has it.
struct Setup {
    scrim: Served,
    /// None while it is gone.
    server: Option<Server>,
    library: &'static Library,
    api: Api,
    keys: Keys,
    folders: [tempfile::TempDir; 2],
}

/// Bearer keys by role.
struct Keys {
    viewer: String,
    publisher: String,
    operator: String,
    admin: String,
}

fn against_scrim<F: Future<Output = Result<()>>>(webhooks: bool, test: impl FnOnce(Setup) -> F) -> Result<()> {
    if alone()? {
        return Ok(());
    }
    let folders = [tempfile::tempdir()?, tempfile::tempdir()?];
    let ((viewer, a), (publisher, b), (operator, c), (admin, d)) =
        (new_key("v", Role::Viewer)?, new_key("p", Role::Publisher)?, new_key("o", Role::Operator)?, new_key("a", Role::Admin)?);
    let lines = [a, b, c, d].join(";");
    let url = url()?;
    // Scrim first: it finds the server as soon as there is one.
    let variables =
        [("LIVEKIT_URL", url.as_str()), ("LIVEKIT_API_KEY", KEY), ("LIVEKIT_API_SECRET", SECRET), ("SCRIM_KEYS", lines.as_str())];
    let scrim = Served::start_in(folders[0].path(), "", &variables)?;
    let server =
        if webhooks { Server::start_with_webhook(folders[1].path(), &scrim.url(WEBHOOK))? } else { Server::start(folders[1].path())? };
    let secrets = Secrets { key: KEY.to_owned(), secret: SECRET.to_owned() };
    let api = Api::new(&url.replacen("ws", "http", 1), &secrets);
    let keys = Keys { viewer, publisher, operator, admin };
    let setup = Setup { scrim, server: Some(server), library: library()?, api, keys, folders };
    setup.ask(&setup.keys.admin, "POST", "/v1/rooms", Some(&json!({ "name": ROOM })))?.expect(201)?;
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(test(setup))
}

impl Setup {
    fn ask(&self, key: &str, method: &str, path: &str, body: Option<&Value>) -> Result<Answer> {
        let bearer = format!("Bearer {key}");
        let body = body.map(Value::to_string).unwrap_or_default();
        let mut headers = vec![("authorization", bearer.as_str())];
        if !body.is_empty() {
            headers.push(("content-type", "application/json"));
        }
        self.scrim.send(method, path, &headers, body.as_bytes())
    }

    fn ask_token(&self, key: &str, name: &str, role: &str) -> Result<Answer> {
        self.ask(key, "POST", &format!("/v1/rooms/{ROOM}/tokens"), Some(&json!({ "name": name, "role": role })))
    }

    fn token(&self, name: &str, role: &str) -> Result<Token> {
        let answer = self.ask_token(&self.keys.operator, name, role)?;
        ensure!(answer.header("cache-control") == Some("no-store"), "a token is kept by nobody on the way");
        let view = answer.expect(201)?;
        let text = |key: &str| Ok::<_, anyhow::Error>(view[key].as_str().with_context(|| format!("{view} has no {key}"))?.to_owned());
        ensure!(text("url")? == url()?, "{view}");
        let view_token = view["view_token"].as_str().map(str::to_owned);
        Ok(Token { token: text("token")?, view_token, identity: text("identity")?, room: text("room")?, rooms: view["rooms"].clone() })
    }

    async fn join(&self, token: &str, options: Options) -> Result<Room> {
        Ok(Room::join(self.library, &url()?, token, options).await?)
    }

    async fn refuses(&self, token: &str, what: &str) -> Result<()> {
        ensure!(Room::join(self.library, &url()?, token, QUIET).await.is_err(), "{what} was let in");
        Ok(())
    }

    fn audience(&self) -> Result<Value> {
        self.ask(&self.keys.viewer, "GET", &format!("/v1/rooms/{ROOM}/audience"), None)?.expect(200)
    }

    /// Waits until so many broadcasters are connected, publish, and so many viewers watch.
    async fn audience_is(&self, broadcasters: usize, live: usize, viewers: usize) -> Result<()> {
        let since = Instant::now();
        loop {
            let audience = self.audience()?;
            if audience["broadcasters"] == broadcasters && audience["live"] == live && audience["viewers"] == viewers {
                return Ok(());
            }
            ensure!(since.elapsed() < SOON, "the audience is {audience}, not {broadcasters} broadcasters, {live} live, {viewers} viewers");
            sleep(Duration::from_millis(50)).await;
        }
    }

    fn webhook(&self, body: &str, token: Option<&str>) -> Result<Answer> {
        let mut headers = vec![("content-type", "application/webhook+json")];
        headers.extend(token.map(|token| ("authorization", token)));
        self.scrim.send("POST", WEBHOOK, &headers, body.as_bytes())
    }
}

struct Token {
    token: String,
    view_token: Option<String>,
    identity: String,
    room: String,
    rooms: Value,
}

fn now() -> i64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
}

/// A token of the operator's own making, which is none of Scrim's.
fn foreign(room: &str, identity: &str, grants: VideoGrants) -> Result<String> {
    let grants = VideoGrants { room_join: true, room: room.to_owned(), ..grants };
    Ok(AccessToken::with_api_key(KEY, SECRET).with_identity(identity).with_grants(grants).to_jwt()?)
}

/// Signs claims that the library would not.
fn sign(claims: &Value) -> Result<String> {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&json!({ "alg": "HS256", "typ": "JWT" })), part(claims));
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes())?;
    mac.update(signed.as_bytes());
    Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())))
}

fn claims(token: &str) -> Result<Value> {
    let part = token.split('.').nth(1).context("a token has three parts")?;
    Ok(serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part)?)?)
}

/// The token with other claims under its old signature.
fn tampered(token: &str, change: impl FnOnce(&mut Value)) -> Result<String> {
    let mut claims = claims(token)?;
    change(&mut claims);
    let parts: Vec<&str> = token.split('.').collect();
    Ok(format!("{}.{}.{}", parts[0], URL_SAFE_NO_PAD.encode(claims.to_string()), parts[2]))
}

async fn out(room: &mut Room) -> Result<String> {
    let over = async {
        while let Some(event) = room.next().await {
            if let Event::Over { reason } = event {
                return Ok(reason);
            }
        }
        bail!("it was over already")
    };
    timeout(SOON, over).await.context("it is still in")?
}

#[test]
fn a_token_opens_what_its_role_may_and_nothing_else() -> Result<()> {
    against_scrim(false, |setup| async move {
        // Who may ask for what.
        for (key, role, status) in [
            (&setup.keys.viewer, "viewer", 201),
            (&setup.keys.viewer, "broadcaster", 403),
            (&setup.keys.viewer, "moderator", 403),
            (&setup.keys.publisher, "broadcaster", 201),
            (&setup.keys.publisher, "moderator", 403),
            (&setup.keys.operator, "moderator", 201),
        ] {
            setup.ask_token(key, "Ann", role)?.expect(status).with_context(|| format!("{role} {status}"))?;
        }
        ensure!(setup.ask_token("scrim_nobody", "Ann", "viewer")?.status == 401);
        let elsewhere =
            setup.ask(&setup.keys.admin, "POST", "/v1/rooms/nowhere/tokens", Some(&json!({ "name": "A", "role": "viewer" })))?;
        ensure!(elsewhere.status == 404);
        for (name, said) in [("", "name"), ("An\u{202e}n", "U+202E"), (" \u{a0} ", "1 to 64"), ("fucking asshole", "profanity")] {
            let problem = setup.ask_token(&setup.keys.viewer, name, "viewer")?.expect(422).with_context(|| format!("{name:?}"))?;
            let told = problem.to_string();
            ensure!(told.contains(said) && !told.contains("asshole") && !told.contains('\u{202e}'), "{told}");
        }

        let ann = setup.token("Ann", "broadcaster")?;
        let (bob, cid, mo) = (setup.token("Bob", "viewer")?, setup.token("Cid", "viewer")?, setup.token("Mo", "moderator")?);
        ensure!(ann.room == format!("{ROOM}~in~{}", ann.identity) && bob.room == ROOM && mo.room == ROOM, "{} {}", ann.room, bob.room);
        ensure!(bob.identity != cid.identity && bob.view_token.is_none() && mo.rooms == json!([]), "nobody broadcasts yet: {}", mo.rooms);

        // A viewer sees the room of the viewers, and says nothing there.
        let mut viewer = setup.join(&bob.token, EAGER).await?;
        let mut other = setup.join(&cid.token, EAGER).await?;
        ensure!(viewer.identity() == bob.identity);
        let said = viewer.send_text("lk.chat", "around the host", HashMap::new(), &[], None).await;
        println!("a viewer's text: {said:?}");
        while let Ok(Some(event)) = timeout(Duration::from_secs(1), other.next()).await {
            ensure!(!matches!(event, Event::Text { .. } | Event::Data { .. }), "a viewer spoke to another: {event:?}");
        }
        ensure!(VideoTrack::publish(&viewer, "camera", SIZE, TrackSource::SourceCamera, VP8).await.is_err(), "a viewer published");
        // A broadcaster publishes into its own room.
        let mut broadcaster = setup.join(&ann.token, EAGER).await?;
        let track = VideoTrack::publish(&broadcaster, "camera", SIZE, TrackSource::SourceCamera, VP8).await?;
        ensure!(!track.sid().is_empty());
        let watching = setup.join(&ann.view_token.context("a broadcaster watches")?, EAGER).await?;
        let moderator = setup.join(&mo.token, EAGER).await?;
        setup.audience_is(1, 1, 2).await?;

        // The server holds them to it: what each may do, as it says itself.
        let rights = |identity: &str, listed: &[livekit_protocol::ParticipantInfo]| {
            let found = listed.iter().find(|who| who.identity == identity).with_context(|| format!("{identity} is not listed"))?;
            let may = found.permission.clone().context("everybody has rights")?;
            Ok::<_, anyhow::Error>((may.can_subscribe, may.can_publish, may.can_publish_data, may.can_update_metadata, may.hidden))
        };
        let (outside, inside) = (setup.api.participants(ROOM).await?, setup.api.participants(&ann.room).await?);
        ensure!(rights(&bob.identity, &outside)? == (true, false, false, false, false));
        ensure!(rights(&ann.identity, &inside)? == (false, true, true, false, false));
        // Hidden ones are listed as well: the guard sees them.
        ensure!(rights(watching.identity(), &outside)? == (true, false, false, false, true));
        ensure!(rights(moderator.identity(), &outside)? == (true, false, false, false, true));
        ensure!(!inside.iter().any(|who| who.identity == bob.identity) && outside.iter().all(|who| who.identity != "eve"));

        // A moderator that comes now gets a token for the broadcaster's room too, and sees the raw track.
        let mo = setup.token("Mo", "moderator")?;
        ensure!(mo.rooms[0]["room"] == ann.room.as_str() && mo.rooms.as_array().is_some_and(|rooms| rooms.len() == 1), "{}", mo.rooms);
        let mut raw = setup.join(mo.rooms[0]["token"].as_str().context("a token")?, EAGER).await?;
        let subscribed = async {
            while let Some(event) = raw.next().await {
                if let Event::Subscribed { identity, .. } = event {
                    return identity == ann.identity;
                }
            }
            false
        };
        ensure!(timeout(SOON, subscribed).await?, "a moderator sees the raw track");

        // A name that reads like a broadcaster's is taken while it is there.
        for alike in ["Ann", "ANN", "\u{410}nn"] {
            ensure!(setup.ask_token(&setup.keys.viewer, alike, "viewer")?.status == 409, "{alike} is taken");
        }
        setup.ask_token(&setup.keys.viewer, "Anna", "viewer")?.expect(201)?;

        // No token goes further than it was made for.
        let ingest = ann.room.clone();
        setup
            .refuses(&tampered(&bob.token, |claims| claims["video"]["room"] = ingest.as_str().into())?, "a viewer in an ingest room")
            .await?;
        setup.refuses(&tampered(&ann.token, |claims| claims["video"]["room"] = ROOM.into())?, "a broadcaster among viewers").await?;
        setup.refuses(&tampered(&bob.token, |claims| claims["video"]["canPublish"] = true.into())?, "a viewer that publishes").await?;
        let mut expired = claims(&cid.token)?;
        (expired["nbf"], expired["exp"]) = ((now() - 7200).into(), (now() - 3600).into());
        setup.refuses(&sign(&expired)?, "an expired token").await?;
        let (theirs, mine) =
            (AccessToken::with_api_key(KEY, "another secret, which is long enough too"), AccessToken::with_api_key(KEY, SECRET));
        let grants = VideoGrants { room_join: true, room: ROOM.to_owned(), ..VideoGrants::default() };
        setup.refuses(&theirs.with_identity("eve").with_grants(grants).to_jwt()?, "a forged token").await?;
        setup.refuses(&mine.with_identity("eve").to_jwt()?, "a token for no room").await?;
        // The claims that were tampered with are good ones: signed, they let in.
        other.leave().await?;
        let mut good = claims(&cid.token)?;
        good["nbf"] = (now() - 10).into();
        setup.join(&sign(&good)?, QUIET).await?.leave().await?;

        let mirror = format!("mirror~{}", ann.identity);
        // Whatever a broadcaster asks for, it gets nobody's track; and viewers are told of nobody who is hidden.
        let publishes = VideoGrants { can_publish: Some(true), ..VideoGrants::default() };
        let mut stranger = setup.join(&foreign(&ann.room, "eve", publishes)?, QUIET).await?;
        let strangers = VideoTrack::publish(&stranger, "camera", SIZE, TrackSource::SourceCamera, VP8).await;
        out(&mut stranger).await?;
        sleep(Duration::from_millis(500)).await;
        let mut heard = 0;
        while let Ok(Some(event)) = timeout(Duration::from_millis(200), broadcaster.next()).await {
            ensure!(!matches!(event, Event::Subscribed { .. }), "a broadcaster subscribed to somebody");
            heard += usize::from(matches!(&event, Event::Published { identity, .. } if identity == "eve"));
        }
        ensure!(strangers.is_err() || heard == 1, "the stranger's track was told");
        while let Ok(Some(event)) = timeout(Duration::from_millis(200), viewer.next()).await {
            let Event::Joined { identity, .. } = event else { continue };
            ensure!([&cid.identity, &mirror].contains(&&identity), "a viewer was told of {identity}");
        }
        drop((raw, moderator, watching, track));
        broadcaster.leave().await?;
        viewer.leave().await?;
        setup.audience_is(0, 0, 0).await?;
        setup.ask_token(&setup.keys.viewer, "Ann", "viewer")?.expect(201)?;
        setup.scrim.terminate(Duration::from_secs(20))
    })
}

fn hash(body: &str) -> String {
    STANDARD.encode(Sha256::digest(body))
}

fn notice(id: &str, identity: &str, created_at: i64) -> String {
    json!({
        "event": "participant_joined", "room": { "name": ROOM }, "participant": { "identity": identity, "state": "JOINED" },
        "id": id, "createdAt": created_at.to_string()
    })
    .to_string()
}

#[test]
fn webhooks_count_once_and_only_the_servers() -> Result<()> {
    against_scrim(false, |setup| async move {
        let signed =
            |secret: &str, body: &str| Ok::<_, anyhow::Error>(AccessToken::with_api_key(KEY, secret).with_sha256(&hash(body)).to_jwt()?);
        let total = |setup: &Setup| Ok::<_, anyhow::Error>(setup.audience()?["total"].clone());
        let body = notice("EV_1", "viewer~1", now());
        let good = signed(SECRET, &body)?;
        let old = notice("EV_2", "viewer~2", now() - 601);
        let at = |nbf: i64| sign(&json!({ "iss": KEY, "nbf": nbf, "iat": nbf, "exp": nbf + 300, "sha256": hash(&body) }));
        let bearer = format!("Bearer {good}");
        for (what, body, token) in [
            ("no token", &body, None),
            ("another's signature", &body, Some(signed("another secret, which is long enough too", &body)?)),
            ("another body", &body.replace("viewer~1", "viewer~9"), Some(good.clone())),
            ("a signature that has expired", &body, Some(at(now() - 600)?)),
            ("a signature of the future", &body, Some(at(now() + 600)?)),
            ("a key for /v1", &body, Some(format!("Bearer {}", setup.keys.admin))),
            ("a bearer", &body, Some(bearer)),
            ("what is too old", &old, Some(signed(SECRET, &old)?)),
        ] {
            let answer = setup.webhook(body, token.as_deref())?;
            ensure!(answer.status == 401, "{what}: {} {}", answer.status, String::from_utf8_lossy(&answer.body));
        }
        ensure!(total(&setup)? == 0, "what was refused has no effect");
        ensure!(setup.webhook(&body, Some(&good))?.expect(200)? == json!({ "new": true }));
        ensure!(total(&setup)? == 1);
        // Nobody is there: the next round says so. Told again, it would count again.
        setup.audience_is(0, 0, 0).await?;
        for token in [good.clone(), signed(SECRET, &body)?] {
            ensure!(setup.webhook(&body, Some(&token))?.expect(200)? == json!({ "new": false }));
        }
        ensure!(total(&setup)? == 1, "what is told twice counts once");
        // Of a room that is none of ours.
        let other = notice("EV_3", "viewer~1", now()).replace(ROOM, "elsewhere");
        ensure!(setup.webhook(&other, Some(&signed(SECRET, &other)?))?.status == 200 && total(&setup)? == 1);
        let large = " ".repeat((256 << 10) + 1);
        let answer = setup.webhook(&large, Some(&signed(SECRET, &large)?))?;
        ensure!(answer.status == 413 && String::from_utf8_lossy(&answer.body).contains("256 KiB"), "{answer:?}");
        ensure!(setup.webhook("{}", Some(&signed(SECRET, "{}")?))?.status == 400);
        let plain = setup.scrim.send("POST", WEBHOOK, &[("content-type", "text/plain"), ("authorization", &good)], body.as_bytes())?;
        ensure!(plain.status == 415);
        let metrics = String::from_utf8(setup.scrim.get("/metrics")?.body)?;
        for line in [
            r#"scrim_livekit_webhooks_total{outcome="heard"} 2"#,
            r#"scrim_livekit_webhooks_total{outcome="again"} 2"#,
            r#"scrim_livekit_webhooks_total{outcome="refused"} 9"#,
        ] {
            ensure!(metrics.contains(line), "{line} is not in the metrics");
        }
        setup.scrim.terminate(Duration::from_secs(20))
    })
}

/// Somebody with a token that is none of Scrim's joins; how long it stays, as it sees it itself. None: it was out before it was in.
async fn intrude(setup: &Setup, room: &str, identity: &str, grants: VideoGrants) -> Result<Option<Duration>> {
    let Ok(mut room) = setup.join(&foreign(room, identity, grants)?, EAGER).await else { return Ok(None) };
    let since = Instant::now();
    let reason = out(&mut room).await.with_context(|| identity.to_owned())?;
    ensure!(reason.contains("removed"), "{identity}: {reason}");
    Ok(Some(since.elapsed()))
}

/// Whom the guard has put out: identity, place, why, and after how long.
fn put_out(setup: &Setup) -> Result<Vec<(String, String, String, Duration)>> {
    let page = setup.ask(&setup.keys.viewer, "GET", &format!("/v1/rooms/{ROOM}/events?limit=1000"), None)?.expect(200)?;
    let events = page["events"].as_array().context("a page has events")?.iter().filter(|event| event["kind"] == "guard");
    let told = events.map(|event| {
        let text = |key: &str| event["body"][key].as_str().map(str::to_owned).with_context(|| format!("{event} has no {key}"));
        let after = event["body"]["after_ms"].as_u64().with_context(|| format!("{event} has no after_ms"))?;
        Ok((text("identity")?, text("place")?, text("why")?, Duration::from_millis(after)))
    });
    told.collect()
}

#[test]
fn the_guard_puts_out_whom_scrim_let_in_nowhere() -> Result<()> {
    against_scrim(false, |setup| guarded(setup, false))
}

#[test]
fn with_webhooks_the_guard_comes_at_once() -> Result<()> {
    against_scrim(true, |setup| guarded(setup, true))
}

/// Gives somebody rights by the server's own API, as whoever has its secret can.
fn widen(identity: &str) -> Result<()> {
    let grants = VideoGrants { room_admin: true, room: ROOM.to_owned(), ..VideoGrants::default() };
    let token = AccessToken::with_api_key(KEY, SECRET).with_grants(grants).to_jwt()?;
    let body = json!({ "room": ROOM, "identity": identity, "permission": { "can_subscribe": true, "can_publish": true } });
    ureq::post(format!("{}/twirp/livekit.RoomService/UpdateParticipant", url()?.replacen("ws", "http", 1)))
        .header("authorization", format!("Bearer {token}"))
        .send_json(body)?;
    Ok(())
}

async fn guarded(setup: Setup, webhooks: bool) -> Result<()> {
    let (ann, bob) = (setup.token("Ann", "broadcaster")?, setup.token("Bob", "viewer")?);
    let broadcaster = setup.join(&ann.token, QUIET).await?;
    let track = VideoTrack::publish(&broadcaster, "camera", SIZE, TrackSource::SourceCamera, VP8).await?;
    let mut viewer = setup.join(&bob.token, EAGER).await?;
    setup.audience_is(1, 1, 1).await?;
    let all = VideoGrants::default();
    let none =
        VideoGrants { can_publish: Some(false), can_subscribe: Some(false), can_publish_data: Some(false), ..VideoGrants::default() };
    let sees = VideoGrants { can_subscribe: Some(true), ..none.clone() };
    let says = VideoGrants { can_publish_data: Some(true), ..none.clone() };
    let (hidden, writes) =
        (VideoGrants { hidden: true, ..all.clone() }, VideoGrants { can_update_own_metadata: Some(true), ..sees.clone() });
    let mut seen = Vec::new();
    for (room, identity, grants) in [
        (&ann.room, "all", all.clone()),
        (&ann.room, "hidden", hidden),
        (&ann.room, "sees", sees.clone()),
        (&ann.room, "says", says.clone()),
        (&ann.room, "none", none),
        (&ROOM.to_owned(), "all-outside", all),
        (&ROOM.to_owned(), "says-outside", says),
        (&ROOM.to_owned(), "writes-outside", writes),
    ] {
        seen.extend(intrude(&setup, room, identity, grants).await?);
    }
    // Who can do no more than a viewer may stay.
    let mut stranger = setup.join(&foreign(ROOM, "stranger", sees)?, QUIET).await?;
    ensure!(timeout(Duration::from_secs(3), out(&mut stranger)).await.is_err(), "a mere viewer was put out");
    // A viewer whose rights the server's API widens is no viewer any more.
    widen(&bob.identity)?;
    let since = Instant::now();
    ensure!(out(&mut viewer).await?.contains("removed"));
    let widened = since.elapsed();
    seen.push(widened);
    seen.sort();

    // The broadcaster was let be, and the events and metrics tell of each of the others.
    setup.audience_is(1, 1, 0).await?;
    let told = put_out(&setup)?;
    let mut who: Vec<(&str, &str, &str)> = told.iter().map(|(identity, place, why, _)| (&**identity, &**place, &**why)).collect();
    // The library may have tried again.
    who.dedup();
    let expected = [
        ("all", "ingest", "watches"),
        ("hidden", "ingest", "watches"),
        ("sees", "ingest", "watches"),
        ("says", "ingest", "listens"),
        ("none", "ingest", "listens"),
        ("all-outside", "viewers", "publishes"),
        ("says-outside", "viewers", "speaks"),
        ("writes-outside", "viewers", "shows"),
        (bob.identity.as_str(), "viewers", "widened"),
    ];
    ensure!(who == expected, "the events tell of {who:?}");
    // One whose rights are widened has been in for longer.
    let mut after: Vec<Duration> = told.iter().filter(|(.., why, _)| why != "widened").map(|(.., after)| *after).collect();
    after.sort();
    let most = after[after.len() - 1].max(seen[seen.len() - 1]);
    println!(
        "webhooks {webhooks}: out {:?} after joining at the median, {:?} at most; {} of 9 were ever in, for {:?} at most; widened rights lasted {widened:?}",
        after[after.len() / 2],
        after[after.len() - 1],
        seen.len(),
        seen[seen.len() - 1]
    );
    ensure!(most < GUARD_MAX, "an intruder stayed for {most:?}");
    let metrics = String::from_utf8(setup.scrim.get("/metrics")?.body)?;
    for why in ["watches", "listens", "publishes", "speaks", "shows", "widened"] {
        let line = format!("scrim_livekit_removed_total{{why=\"{why}\"}} {}", told.iter().filter(|(.., told, _)| told == why).count());
        ensure!(metrics.contains(&line), "{line} is not in the metrics");
    }
    if webhooks {
        let heard =
            metrics.lines().find_map(|line| line.strip_prefix(r#"scrim_livekit_webhooks_total{outcome="heard"} "#)?.parse::<u32>().ok());
        ensure!(heard.is_some_and(|heard| heard >= 20), "the server's webhooks came: {heard:?}");
        ensure!(!metrics.contains(r#"outcome="refused""#), "none of the server's webhooks was refused");
    }
    drop(track);
    broadcaster.leave().await?;
    stranger.leave().await?;
    setup.scrim.terminate(Duration::from_secs(20))
}

#[test]
fn a_server_that_goes_away_is_left_alone_and_found_again() -> Result<()> {
    against_scrim(false, |mut setup| async move {
        let health = |setup: &Setup| -> Result<(u16, Value)> {
            let answer = setup.scrim.get("/health")?;
            Ok((answer.status, answer.json()?["parts"]["livekit-api"].clone()))
        };
        let until = |setup: &Setup, ok: bool| {
            let since = Instant::now();
            loop {
                let (_, part) = health(setup)?;
                if part["ok"] == ok {
                    return Ok::<_, anyhow::Error>((since.elapsed(), part));
                }
                ensure!(since.elapsed() < SOON, "the server is {part}");
                std::thread::sleep(Duration::from_millis(100));
            }
        };
        until(&setup, true)?;
        setup.server = None;
        let (after, part) = until(&setup, false)?;
        ensure!(part["detail"].as_str().is_some_and(|detail| detail.contains("calls are")), "{part}");
        println!("a server that is gone is known to be after {after:?}");
        setup.token("Ann", "broadcaster").context("tokens are made without the server")?;
        setup.server = Some(Server::start(setup.folders[1].path())?);
        let (after, _) = until(&setup, true)?;
        println!("and found again after {after:?}");
        let took = intrude(&setup, ROOM, "eve", VideoGrants::default()).await?;
        ensure!(took.is_none_or(|took| took < GUARD_MAX), "{took:?}");
        let told = put_out(&setup)?;
        ensure!(told.iter().all(|(identity, ..)| identity == "eve") && !told.is_empty(), "the events tell of {told:?}");
        setup.scrim.terminate(Duration::from_secs(20))
    })
}
