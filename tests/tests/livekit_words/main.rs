//! Words, end to end: what is said into a real browser's microphone and shown to its camera, through a LiveKit server and a host that listens and
//! reads, held against what another browser heard and saw, by the true times and areas of the clip's words.
//!
//! What the host can find at all is told by a pass over the whole clip, as `scrim censor --read --listen` makes it.

mod clip;
mod heard;
mod live;
mod shown;
mod strain;

use std::path::Path;

use anyhow::{Context, Result, ensure};
use scrim_host::censor::{self, Job, areas};
use scrim_host::config::Config;
use scrim_host::geometry::Rect;
use scrim_host::host::Host;
use scrim_host::media::frame::{Frame, Matrix, Micros, Range};
use scrim_host::media::picture;
use scrim_host::vision::color::{Rgb, frame_from_rgb, rgb_from_frame};
use scrim_host::vision::cover::Style;
use scrim_tests::blesses;
use scrim_tests::browser::root;
use scrim_tests::built;
use scrim_tests::livekit::alone;
use scrim_tests::ribbon;
use scrim_tests::seen;

use self::clip::Clip;
use self::heard::{Heard, Laid};
use self::shown::Shown;
use self::strain::Strain;

/// Far from any colour of the page.
const COVER: Rgb = Rgb([0x20, 0xc0, 0x40]);
/// How often it is run where the machine loses so much sound that nothing can be said of it.
const TRIES: usize = 3;
/// Least share of each word that the whole pass finds, and of the rest.
const HIDDEN_MIN: f64 = 0.95;
const INTACT_MIN: f64 = 0.95;
/// Share of a word's time from which the whole pass has found it: its own edges are off by more or less.
const FOUND: f64 = 0.5;

/// The frame that the docs show.
const PICTURED: u16 = 60;

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
    let job = Job {
        input: clip,
        output: &output,
        style: Style::default(),
        realtime: false,
        swaps: Vec::new(),
        listened: &|_| {},
        record: None,
        transcribe: false,
    };
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
    std::fs::create_dir(path("whole"))?;
    let clip = Clip::make()?;
    clip.write(&path("camera.y4m"), &path("microphone.wav"), &path("both.mkv"))?;
    let whole = whole(&path("whole"), &path("both.mkv"))?;
    ensure!(whole.covers.len() == clip.frames.len(), "{} of {} frames came out", whole.covers.len(), clip.frames.len());
    for left in (0..TRIES).rev() {
        let ran = live::run(&clip, folder.path())?;
        let shown = shown::judge(&ran.pictures, &clip, &whole.covers, COVER)?;
        tell_pictures(&shown, &ran.strain).with_context(|| format!("the host: {}", ran.log))?;
        // What was heard of half of it can't be laid over the whole; nobody is asked again because of a word that was heard.
        if ran.strain.is_spoilt() {
            ensure!(left > 0, "this machine is too busy for sound: {:?}", ran.strain);
            println!("this machine was too busy for sound, by the host's and the browser's own count; once more");
            continue;
        }
        let laid = Laid::over(&heard::marks(&clip.sound), &heard::marks(&ran.sound))?;
        println!("{} marks are heard, stretched by {:.0} ms at most", laid.marks(), laid.stretched());
        let heard = heard::judge(&clip.sound, &clip.said, &whole.mutes, &ran.sound, &laid);
        tell_sound(&heard, &ran.strain).with_context(|| format!("the host: {}", ran.log))?;
        if blesses() {
            std::fs::write(root().join("docs/words-live.png"), side_by_side(&clip, &ran.pictures)?)?;
        }
        break;
    }
    Ok(())
}

fn tell_sound(heard: &Heard, strain: &Strain) -> Result<()> {
    let is_found = |word: &&heard::Word| word.found >= FOUND;
    for word in &heard.words {
        println!(
            "said: {:9} {:3.0} % of it muted in the whole clip, {:3.0} % not heard by the viewer ({} of {} pieces of 10 ms){}",
            word.word,
            100.0 * word.found,
            100.0 * word.share(),
            word.silent,
            word.pieces,
            if word.torn { ", in which sound got lost or was put in" } else { "" }
        );
    }
    let rest = heard.intact as f64 / heard.rest.max(1) as f64;
    let found = heard.words.iter().filter(is_found).count();
    let whole = heard.words.iter().filter(is_found).filter(|word| !word.torn).count();
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
    ensure!(whole == found || strain.loses(), "{whole} of {found} words came as a whole, and nobody lost any sound");
    let least = INTACT_MIN - strain.sound(heard.rest);
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
        "shown: of the rest {:.1} % is intact ({} of {} squares; the whole clip's pass leaves {:.1} % alone); of other words {:.1} % ({} of {})",
        100.0 * rest,
        shown.intact,
        shown.rest,
        100.0 * shown.left as f64 / shown.rest.max(1) as f64,
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

/// One frame of the page as the camera showed it, beside what the viewer saw of it.
fn side_by_side(clip: &Clip, pictures: &[Frame]) -> Result<Vec<u8>> {
    let shows = |picture: &&Frame| ribbon::read(picture.planes()[0], picture.width, picture.height) == Some(PICTURED);
    let picture = pictures.iter().find(shows).context("the frame was not shown")?;
    let (raw, (width, height)) = (&clip.frames[usize::from(PICTURED)], seen::SIZE);
    let [left, right] = [raw, picture].map(rgb_from_frame);
    let rows = left.chunks_exact(3 * width).zip(right.chunks_exact(3 * width)).flat_map(|(left, right)| [left, right]);
    let both = rows.flatten().copied().collect::<Vec<u8>>();
    Ok(picture::encode_png(&frame_from_rgb(raw.seq, raw.at, 2 * width, height, &both, Range::Full, Matrix::Bt601))?)
}
