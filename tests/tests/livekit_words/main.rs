//! Words, end to end: what is said into a real browser's microphone and shown to its camera, through a LiveKit server and a host that listens and
//! reads, held against what another browser heard and saw, by the true times and areas of the clip's words.
//!
//! What the host can find at all is told by a pass over the whole clip, as `scrim censor --read --listen` makes it.

mod clip;
mod heard;
mod shown;
mod strain;

use std::path::Path;

use anyhow::{Context, Result, ensure};
use scrim_host::censor::{self, Job, areas};
use scrim_host::config::Config;
use scrim_host::geometry::Rect;
use scrim_host::host::Host;
use scrim_host::media::frame::Micros;
use scrim_host::media::picture;
use scrim_host::vision::color::Rgb;
use scrim_host::vision::cover::Style;
use scrim_tests::browser::{root, script};
use scrim_tests::built;
use scrim_tests::livekit::{Server, alone};
use scrim_tests::seen;
use scrim_tests::served::Served;
use scrim_tests::sound::RATE;
use serde_json::json;

use self::clip::Clip;
use self::heard::{Heard, Laid};
use self::shown::Shown;
use self::strain::Strain;

/// Far from any colour of the page.
const COVER: Rgb = Rgb([0x20, 0xc0, 0x40]);
/// More than the default, as two browsers, a server, a reader and a recogniser share what this runs on.
const DELAY_MS: u32 = 4000;
/// How long it is listened and looked to after the clip and the delay.
const AFTER_S: usize = 2;
/// Least share of each word that the whole pass finds, and of the rest.
const HIDDEN_MIN: f64 = 0.95;
const INTACT_MIN: f64 = 0.95;
/// Share of a word's time from which the whole pass has found it: its own edges are off by more or less.
const FOUND: f64 = 0.5;

/// What the pass over the whole clip covers of each frame, and mutes.
struct Whole {
    covers: Vec<Vec<Rect>>,
    mutes: Vec<(Micros, Micros)>,
}

fn whole(home: &Path, clip: &Path) -> Result<Whole> {
    let text = format!(
        "data_dir = {home:?}\n[text]\nread = true\n[speech]\nlisten = true\n[policy.text]\nplugin = \"profanity-context@2.0.0\"\n[detectors]\n"
    );
    let host = Host::open(Config::parse(&text).map_err(|faults| anyhow::anyhow!("{faults:?}"))?)?;
    host.catalog.add(&built::plugin("profanity-context", "2.0.0")?, None)?;
    let output = home.join("whole.y4m");
    let job =
        Job { input: clip, output: &output, style: Style::default(), realtime: false, swaps: Vec::new(), listened: &|_| {}, record: None };
    let mut covers = Vec::new();
    let outcome = censor::run(&host, job, censor::silent(), |progress| covers.push(areas(&progress.published.cover).to_vec()))?;
    Ok(Whole { covers, mutes: outcome.mutes.context("the clip has sound, and it is listened to")? })
}

#[test]
fn bad_words_reach_no_viewer_and_the_rest_does() -> Result<()> {
    if alone()? {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name);
    for name in ["whole", "data"] {
        std::fs::create_dir(path(name))?;
    }
    let clip = Clip::make()?;
    clip.write(&path("camera.y4m"), &path("microphone.wav"), &path("both.mkv"))?;
    let whole = whole(&path("whole"), &path("both.mkv"))?;
    ensure!(whole.covers.len() == clip.frames.len(), "{} of {} frames came out", whole.covers.len(), clip.frames.len());

    let server = Server::start(folder.path())?;
    let served = Served::start_livekit(&path("data"), &server, "")?;
    let room = json!({
        "name": "studio", "detectors": [], "read": true, "listen": true, "speech_delay_ms": DELAY_MS, "style": "solid", "color": "#20c040",
    });
    served.json("POST", "/v1/rooms", &room)?.expect(201)?;
    let bless = std::env::var_os("SCRIM_BLESS").is_some();
    let settings = json!({
        "page": served.url(""),
        "room": "studio",
        "camera": path("camera.y4m"),
        "microphone": path("microphone.wav"),
        "frames": path("frames"),
        "sound": path("sound"),
        "seconds": clip.sound.len() / RATE + DELAY_MS as usize / 1000 + AFTER_S,
        "picture": bless.then(|| path("pages.png")),
    });
    let status = script("words.mjs", &[&settings.to_string()])?.status().context("`node` could not be run")?;
    let log = || std::fs::read_to_string(served.data_dir.join("serve.log")).unwrap_or_default();
    ensure!(status.success(), "words.mjs ended with {status}\nthe server: {}\nthe host: {}", server.log(), log());
    let strain = Strain::of(&served)?;

    let sound = heard::read(&path("sound"))?;
    let laid = Laid::over(&heard::marks(&clip.sound), &heard::marks(&sound))?;
    println!("{} marks are heard, stretched by {:.0} ms at most", laid.marks(), laid.stretched());
    let heard = heard::judge(&clip.sound, &clip.said, &whole.mutes, &sound, &laid);
    let shown = shown::judge(&seen::read(&path("frames"))?, &clip, &whole.covers, COVER)?;
    if let Some(keep) = std::env::var_os("SCRIM_KEEP") {
        keep_all(Path::new(&keep), folder.path())?;
    }
    let outcome = tell_sound(&heard, &strain).and(tell_pictures(&shown, &strain));
    ensure!(outcome.is_ok(), "{:#}\nthe host: {}", outcome.err().context("a fault")?, log());
    served.terminate(std::time::Duration::from_secs(20))?;
    if bless {
        std::fs::copy(path("pages.png"), root().join("docs/words-live.png"))?;
    }
    Ok(())
}

fn tell_sound(heard: &Heard, strain: &Strain) -> Result<()> {
    let is_found = |word: &&heard::Word| word.found >= FOUND;
    for word in &heard.words {
        println!(
            "said: {:9} {:3.0} % of it muted in the whole clip, {:3.0} % not heard by the viewer ({} of {} pieces of 10 ms)",
            word.word,
            100.0 * word.found,
            100.0 * word.share(),
            word.silent,
            word.pieces
        );
    }
    let rest = heard.intact as f64 / heard.rest.max(1) as f64;
    let found = heard.words.iter().filter(is_found).count();
    println!(
        "said: {found} of {} bad words are found in the whole clip; of the rest {:.1} % is intact ({} of {} pieces)",
        heard.words.len(),
        100.0 * rest,
        heard.intact,
        heard.rest
    );
    ensure!(found >= 3, "of {} bad words only {found} are found in the whole clip", heard.words.len());
    for word in heard.words.iter().filter(is_found) {
        ensure!(word.share() >= HIDDEN_MIN, "{} can be heard: {word:?}", word.word);
    }
    let least = INTACT_MIN - strain.sound();
    ensure!(rest >= least, "{rest:.3} of the other sound is as it was, {least:.3} were to be");
    Ok(())
}

fn tell_pictures(shown: &Shown, strain: &Strain) -> Result<()> {
    println!(
        "shown: {} pictures, {} without a number before the first that has one, {} after it",
        shown.pictures, shown.before, shown.unreadable
    );
    for (text, word) in &shown.words {
        println!(
            "shown: {text:9} covered in {} of the {} pictures in which the whole clip's pass covers it; in {} of {} others",
            word.covered, word.found, word.missed_covered, word.missed
        );
    }
    let rest = shown.intact as f64 / shown.rest.max(1) as f64;
    println!(
        "shown: of the rest {:.1} % is intact ({} of {} squares); of other words {:.1} % ({} of {})",
        100.0 * rest,
        shown.intact,
        shown.rest,
        100.0 * shown.readable as f64 / shown.others.max(1) as f64,
        shown.readable,
        shown.others
    );
    let found: Vec<_> = shown.words.iter().filter(|(_, word)| word.found > 0).collect();
    ensure!(found.len() >= 3, "of {} bad words only {} are found in the whole clip and shown", shown.words.len(), found.len());
    for (text, word) in found {
        ensure!(
            word.covered as f64 >= HIDDEN_MIN * word.found as f64,
            "{text:?} can be seen (place, frame, word, share covered): {:?}",
            shown.exposed
        );
    }
    let least = INTACT_MIN - strain.pictures();
    ensure!(rest >= least, "{rest:.3} of the other picture is as it was, {least:.3} were to be");
    Ok(())
}

/// For whoever wants to see and hear it: the pictures as files, the sound, and what was played.
fn keep_all(to: &Path, from: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for name in ["sound", "microphone.wav", "both.mkv"] {
        std::fs::copy(from.join(name), to.join(name))?;
    }
    for (place, frame) in seen::read(&from.join("frames"))?.iter().enumerate() {
        std::fs::write(to.join(format!("{place:04}.jpg")), picture::encode_jpeg(frame, 92)?)?;
    }
    Ok(())
}
