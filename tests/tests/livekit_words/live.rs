//! The clip through everything: a LiveKit server, a host whose room listens and reads, and two browsers.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use scrim_host::media::frame::Frame;
use scrim_host::media::picture;
use scrim_tests::browser::script;
use scrim_tests::livekit::Server;
use scrim_tests::seen;
use scrim_tests::served::Served;
use scrim_tests::sound::RATE;
use serde_json::json;

use super::clip::Clip;
use super::heard;
use super::strain::Strain;

/// More than the default, as two browsers, a server, a reader and a recogniser share what this runs on.
const DELAY_MS: u32 = 4000;
/// How long it is listened and looked to after the clip and the delay.
const AFTER_S: usize = 2;

/// What reached the viewer.
pub struct Ran {
    pub sound: Vec<i16>,
    pub pictures: Vec<Frame>,
    pub strain: Strain,
    /// What the host had to say, but for what is well.
    pub log: String,
}

/// Runs it once; `files` holds what camera and microphone play.
///
/// # Errors
/// When something does not start, or a page does not do what it is to do.
pub fn run(clip: &Clip, files: &Path) -> Result<Ran> {
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name);
    std::fs::create_dir(path("data"))?;
    let server = Server::start(folder.path())?;
    let served = Served::start_livekit(&path("data"), &server, "")?;
    let room = json!({
        "name": "studio", "detectors": [], "read": true, "listen": true, "speech_delay_ms": DELAY_MS, "style": "solid", "color": "#20c040",
    });
    served.json("POST", "/v1/rooms", &room)?.expect(201)?;
    let settings = json!({
        "page": served.url(""),
        "room": "studio",
        "camera": files.join("camera.y4m"),
        "microphone": files.join("microphone.wav"),
        "frames": path("frames"),
        "sound": path("sound"),
        "seconds": clip.sound.len() / RATE + DELAY_MS as usize / 1000 + AFTER_S,
    });
    let output = script("words.mjs", &[&settings.to_string()])?.stderr(Stdio::inherit()).output().context("`node` could not be run")?;
    let log = || -> String {
        let all = std::fs::read_to_string(path("data").join("serve.log")).unwrap_or_default();
        all.lines().filter(|line| !line.contains("\"INFO\"")).map(|line| format!("{line}\n")).collect()
    };
    ensure!(output.status.success(), "words.mjs ended with {}\nthe server: {}\nthe host: {}", output.status, server.log(), log());
    let strain = Strain::of(&served, &serde_json::from_slice(&output.stdout).context("it tells what came of the sound")?)?;
    served.terminate(Duration::from_secs(20))?;
    let ran = Ran { sound: heard::read(&path("sound"))?, pictures: seen::read(&path("frames"))?, strain, log: log() };
    if let Some(keep) = std::env::var_os("SCRIM_KEEP") {
        keep_all(&ran, Path::new(&keep), folder.path(), files)?;
    }
    Ok(ran)
}

/// For whoever wants to see and hear it: the pictures as files, the sound, and what was played.
fn keep_all(ran: &Ran, to: &Path, from: &Path, files: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    std::fs::copy(from.join("sound"), to.join("sound"))?;
    for name in ["microphone.wav", "both.mkv"] {
        std::fs::copy(files.join(name), to.join(name))?;
    }
    for (place, frame) in ran.pictures.iter().enumerate() {
        std::fs::write(to.join(format!("{place:04}.jpg")), picture::encode_jpeg(frame, 92)?)?;
    }
    Ok(())
}
