//! The pages of LiveKit's rooms in real browsers: what reaches a viewer of a camera with faces, frame by frame, also while policies are swapped and
//! misbehave, while no detector answers, and around a restart of the server; and what the pages say where something is missing.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use scrim_host::api::auth::Role;
use scrim_host::media::frame::Frame;
use scrim_host::vision::color::Rgb;
use scrim_tests::blesses;
use scrim_tests::browser::{browse, root, script};
use scrim_tests::built;
use scrim_tests::livekit::{Server, alone, token};
use scrim_tests::seen::{self, Clip, Verdict};
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

/// Share of the pictures that may be covered whole after the first look where the machine is too busy to look in time.
const WHOLE_LATER_MAX: f32 = 0.05;
/// How often the cascade is replaced, and the pause between: more than a third of the delay, so that no more generations are in use than the
/// host keeps.
const SWAPS: usize = 50;
const SWAP_EVERY: Duration = Duration::from_millis(320);
/// How long no detector answers: longer than it takes until a run is given up and another thread takes its place.
const DEAD_FOR: Duration = Duration::from_secs(6);
const SOON: Duration = Duration::from_secs(20);

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
    let trapping = built::guest("cascade")?;
    served.send("POST", "/v1/plugins", &[("content-type", "application/wasm")], &trapping)?.expect(201)?;
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
    let mut browsers = script("livekit.mjs", &[&settings.to_string()])?.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let (mut server, mut last) = (server, String::new());
    let mut strained = None;
    let mut answers = browsers.stdin.take().context("its input is piped")?;
    for line in BufReader::new(browsers.stdout.take().context("its output is piped")?).lines() {
        last = line?;
        println!("{last}");
        match last.as_str() {
            "make trouble" => {
                strained = Some(strain(&served)?);
                trouble(&served)?;
                writeln!(answers, "it is over")?;
            }
            "restart the server" => server = server.restart()?,
            _ => {}
        }
    }
    let status = browsers.wait()?;
    let log = std::fs::read_to_string(served.data_dir.join("serve.log"))?;
    ensure!(status.success(), "livekit.mjs ended with {status}\nthe server: {}\nthe host: {log}", server.log());
    let ways: Value = serde_json::from_str(&last).context("it tells how many frames came")?;
    let count = |what: &str| ways[what].as_u64().map(|count| count as usize).with_context(|| format!("{what} in {ways}"));
    let share = count("moderated")? as f32 / count("direct")? as f32;

    let shown = seen::read(&path("frames"))?;
    let (calm, troubled) = (count("calm")?, count("troubled")?);
    ensure!(calm < troubled && troubled < shown.len(), "{} pictures, {calm} of them before the trouble: {ways}", shown.len());
    let told = |when: &str, shown: &[Frame]| -> Result<Verdict> {
        let verdict = seen::judge(shown, &clip, COVER)?;
        println!(
            "{when}: {} pictures shown, {} with a face and a number, {} covered whole, {} without a number; {} raw frames of {} seen; {} covered \
             whole after the first look; covered over faces {:.2}",
            verdict.shown,
            verdict.with_faces,
            verdict.whole,
            verdict.unreadable,
            verdict.times.len(),
            clip.frames.len(),
            verdict.whole_later,
            verdict.area_ratio()
        );
        ensure!(verdict.exposed.is_empty(), "{when}, faces could be seen: {:?}", verdict.exposed);
        Ok(verdict)
    };
    let before = told("without faults", &shown[..calm])?;
    let meanwhile = told("swaps, a trap, a dead detector", &shown[calm..troubled])?;
    told("the server's restart", &shown[troubled..])?;
    println!("{share:.2} of what a direct viewer gets");
    ensure!(before.with_faces > clip.frames.len() / 4, "too few frames to say anything of: {before:?}");
    ensure!(meanwhile.with_faces > clip.frames.len() / 4, "too few frames to say anything of: {meanwhile:?}");
    ensure!(meanwhile.whole > 0, "with no detector nothing was covered whole");
    ensure!(share >= FRAMES_MIN, "{share} of the frames that a direct viewer gets");
    ensure!(before.area_ratio() <= AREA_MAX, "covered is {} of the faces", before.area_ratio());
    // What a busy machine makes late is covered whole, and counted; nothing else is.
    let (busy, full) = strained.context("it made trouble")?;
    println!("looks were late until then: {busy}; covered whole: {full}");
    let later = before.whole_later;
    ensure!(later == 0 || busy, "{later} pictures were covered whole after the first look, and nothing was late: {full}");
    ensure!(later as f32 <= WHOLE_LATER_MAX * before.shown as f32, "{later} of {} pictures were covered whole: {full}", before.shown);
    served.terminate(Duration::from_secs(20))?;
    if blesses() {
        std::fs::copy(path("pages.png"), root().join("docs/livekit.png"))?;
    }
    Ok(())
}

/// Whether looks were late, lost or asked for again, or frames late; and what was covered whole, by why.
fn strain(served: &Served) -> Result<(bool, Value)> {
    let live = served.get("/v1/rooms/studio")?.expect(200)?["live"][0].clone();
    let metrics = String::from_utf8(served.get("/metrics")?.body)?;
    let late = |line: &str| {
        let counts = line.starts_with("scrim_infer_looks_dropped_total{") || line.starts_with("scrim_infer_looks_failed_total{");
        (counts || line.starts_with("scrim_stream_looks_total{") && line.contains(r#"why="again""#)) && !line.ends_with(" 0")
    };
    let told: Vec<&str> = metrics.lines().filter(|line| late(line)).collect();
    println!("late: {told:?}; {} frames", live["late"]);
    Ok((!told.is_empty() || live["late"] != 0, live["full_covers"].clone()))
}

/// The cascade is replaced again and again, by one that traps at the end; then no detector answers for a while.
fn trouble(served: &Served) -> Result<()> {
    const CASCADE: &str = "/v1/rooms/studio/policy/cascade";
    let put = |plugin: &str, config: Value| served.json("PUT", CASCADE, &json!({ "plugin": plugin, "config": config }));
    let in_force = || -> Result<Value> { Ok(served.get(CASCADE)?.expect(200)?["in_force"]["plugin"].clone()) };
    let (since, mut refused) = (Instant::now(), 0);
    let mut swapped = 0;
    while swapped < SWAPS {
        let plugin = ["skin-cascade@1.0.0", "skin-cascade@2.0.0"][swapped % 2];
        let answer = put(plugin, json!({}))?;
        match answer.status {
            200 => swapped += 1,
            // On a busy machine too many generations may be in use.
            503 if refused < SWAPS => refused += 1,
            other => bail!("a swap was answered {other}: {}", String::from_utf8_lossy(&answer.body)),
        }
        std::thread::sleep(SWAP_EVERY);
    }
    println!("{swapped} swaps in {:?}, {refused} refused", since.elapsed());

    let before = in_force()?;
    put("steady@1.0.0", json!({ "how": "trap", "after": 1 }))?.expect(200)?;
    let since = Instant::now();
    while in_force()? != before {
        ensure!(since.elapsed() < SOON, "a cascade that traps is still in force");
        std::thread::sleep(Duration::from_millis(100));
    }
    println!("a cascade that traps was replaced after {:?}", since.elapsed());

    // Its threads stop, as in a driver that never comes back, and those that take their place.
    let mut freeze = Command::new("python3")
        .arg(root().join("tests/livekit/freeze.py"))
        .args([&served.pid().to_string(), "look"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("`python3` could not be run")?;
    std::thread::sleep(DEAD_FOR);
    drop(freeze.stdin.take());
    let output = freeze.wait_with_output()?;
    let stopped = String::from_utf8_lossy(&output.stdout).lines().count();
    println!("{stopped} threads of the detector were stopped for {DEAD_FOR:?}");
    ensure!(output.status.success() && stopped > 0, "no thread of the detector could be stopped: {}", output.status);
    std::thread::sleep(Duration::from_secs(3));
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
