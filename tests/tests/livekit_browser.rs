//! The pages of LiveKit's rooms in real browsers: what reaches a viewer of a camera with faces, frame by frame, also around a restart of the
//! server; and what the pages say where something is missing.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use scrim_host::api::auth::Role;
use scrim_host::vision::color::Rgb;
use scrim_tests::browser::{browse, root, script};
use scrim_tests::livekit::{Server, alone, token};
use scrim_tests::seen::{self, Clip};
use scrim_tests::served::Served;
use scrim_toolchain::{assets, clip};
use serde_json::{Value, json};

/// One at a time: browsers would take each other's frames/s, and servers each other's ports.
static ONE: Mutex<()> = Mutex::new(());
/// Far from any colour of the clip.
const COVER: Rgb = Rgb([0x20, 0xc0, 0x40]);
const SECONDS: u32 = 12;
/// Least share of the frames that a direct viewer gets.
const FRAMES_MIN: f32 = 0.9;
/// Most that is covered, over the faces.
const AREA_MAX: f32 = 2.5;

/// A host in front of the server, with the room `studio`.
fn host(data_dir: &Path, server: &Server) -> Result<Served> {
    let served = Served::start_livekit(data_dir, server, "")?;
    served.json("POST", "/v1/rooms", &json!({ "name": "studio", "cover": ["FACE_*"], "color": "#20c040" }))?.expect(201)?;
    Ok(served)
}

#[test]
fn what_a_viewers_browser_shows_has_every_face_covered() -> Result<()> {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    if alone()? {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name);
    clip::make(&path("demo.mp4"))?;
    let clip = Clip::of(&path("demo.mp4"), SECONDS)?;
    ensure!(clip.faces.iter().filter(|faces| !faces.is_empty()).count() > clip.frames.len() / 2, "a clip with faces");
    clip.write(&path("camera.y4m"))?;
    let server = Server::start(folder.path())?;
    std::fs::create_dir(path("data"))?;
    let served = host(&path("data"), &server)?;
    let settings = json!({
        "page": served.url(""),
        "server": server.url(),
        "room": "studio",
        "camera": path("camera.y4m"),
        "frames": path("frames"),
        "direct": { "publisher": token("direct", "publisher", true, false)?, "viewer": token("direct", "viewer", false, true)? },
        "seconds": SECONDS,
        "picture": path("pages.png"),
    });
    let mut browsers = script("livekit.mjs", &[&settings.to_string()])?.stdout(Stdio::piped()).spawn()?;
    let (mut server, mut last) = (server, String::new());
    for line in BufReader::new(browsers.stdout.take().context("its output is piped")?).lines() {
        last = line?;
        println!("{last}");
        if last == "restart the server" {
            server = server.restart()?;
        }
    }
    let status = browsers.wait()?;
    let log = std::fs::read_to_string(served.data_dir.join("serve.log"))?;
    ensure!(status.success(), "livekit.mjs ended with {status}\nthe server: {}\nthe host: {log}", server.log());
    let ways: Value = serde_json::from_str(&last).context("it tells how many frames came")?;
    let frames = |way: &str| ways[way].as_f64().with_context(|| format!("frames of the way {way}"));
    let share = (frames("moderated")? / frames("direct")?) as f32;

    let shown = seen::read(&path("frames"))?;
    let verdict = seen::judge(&shown, &clip, COVER)?;
    println!(
        "{} pictures shown, {} with a face and a number, {} covered whole, {} without a number; {} raw frames of {} seen; covered over faces \
         {:.2}; {share:.2} of what a direct viewer gets",
        verdict.shown,
        verdict.with_faces,
        verdict.whole,
        verdict.unreadable,
        verdict.times.len(),
        clip.frames.len(),
        verdict.area_ratio()
    );
    ensure!(verdict.with_faces > clip.frames.len() / 4, "too few frames to say anything of: {verdict:?}");
    ensure!(verdict.exposed.is_empty(), "faces could be seen: {:?}", verdict.exposed);
    ensure!(share >= FRAMES_MIN, "{share} of the frames that a direct viewer gets");
    ensure!(verdict.area_ratio() <= AREA_MAX, "covered is {} of the faces", verdict.area_ratio());
    served.terminate(Duration::from_secs(20))?;
    if std::env::var_os("SCRIM_BLESS").is_some() {
        std::fs::copy(path("pages.png"), root().join("docs/livekit.png"))?;
    }
    Ok(())
}

#[test]
fn where_there_is_no_server_the_pages_ask_for_the_key_and_say_what_is_missing() -> Result<()> {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir()?;
    let served = Served::start_with_key(folder.path(), "olga", Role::Admin)?;
    served.json("POST", "/v1/rooms", &json!({ "name": "studio" }))?.expect(201)?;
    browse("pages.mjs", &[&served.url("/"), served.key.as_deref().context("it has a key")?])
}

#[test]
fn without_livekits_client_the_page_names_what_brings_it() -> Result<()> {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir()?;
    let (data, fewer) = (folder.path().join("data"), folder.path().join("assets"));
    std::fs::create_dir(&data)?;
    std::fs::create_dir(&fewer)?;
    for asset in std::fs::read_dir(assets::folder()?)? {
        let asset = asset?;
        if asset.file_name() != assets::LIVEKIT_CLIENT {
            std::os::unix::fs::symlink(asset.path(), fewer.join(asset.file_name()))?;
        }
    }
    let fewer = fewer.to_str().context("a path in UTF-8")?;
    let served = Served::start_with_variables(&data, "", &[(assets::FOLDER_VARIABLE, fewer)])?;
    served.json("POST", "/v1/rooms", &json!({ "name": "studio" }))?.expect(201)?;
    let problem = served.get("/livekit-client.js")?.expect(503)?;
    ensure!(problem["detail"].as_str().is_some_and(|detail| detail.contains(assets::LIVEKIT_FETCH)), "{problem}");
    browse("nolibrary.mjs", &[&served.url("/")])
}
