//! The page of `scrim censor --report`: a clip in which bad words are said and shown goes through the real binary, and its page, opened in a
//! real browser, tells everything but those words. And the report of a room: what of the last hour is judged otherwise for what people reported.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use scrim_host::config::Config;
use scrim_host::host::Host;
use scrim_host::media::frame::Micros;
use scrim_host::media::sound::SoundSource;
use scrim_host::plugin::hindsight::{self, Policy};
use scrim_host::plugin::inputs::Inputs;
use scrim_host::plugin::instance::Budgets;
use scrim_host::plugin::slot::Kept;
use scrim_host::plugin::types::{Place, Request, Source, SourceKind, Utterance};
use scrim_host::report::{Cover, Report, ReportFrame, Words};
use scrim_host::room::note::{Judging, Medium, Note, Observer};
use scrim_host::room::transcript::Transcript;
use scrim_host::room::words::Asker;
use scrim_host::vision::color::Rgb;
use scrim_host::vision::detection::Detection;
use scrim_tests::bench::model::asset;
use scrim_tests::bench::speech::corpus::{Kind, Sentence};
use scrim_tests::bench::speech::voices;
use scrim_tests::blesses;
use scrim_tests::browser::{browse, root};
use scrim_tests::clip;
use scrim_tests::served::{add_plugins, binary};
use scrim_tests::typeset::{Style, Typeface};
use serde_json::{Value, json};

const SENTENCE: &str = "Good evening everybody. You are a fucking idiot and I told you so.";
const BAD: usize = 6;
const FRAMES_PER_SECOND: usize = 10;
const SIZE: (usize, usize) = (640, 360);
/// Of sound, as a page holds it.
const RATE: usize = 16_000;

/// What is drawn, from which second on.
const SHOWN: [(f32, (f32, f32), &str); 2] = [(0.5, (30.0, 45.0), "fresh garden tomatoes"), (2.0, (30.0, 85.0), "you are an idiot")];

struct Clip {
    path: PathBuf,
    seconds: f64,
    /// When the bad word is said.
    bad: (f64, f64),
}

/// A picture with a caption, and a voice.
fn make_clip(folder: &Path) -> Result<Clip> {
    let (text, kind, bad) = (SENTENCE.to_owned(), Kind::Bad, Some(BAD));
    let sentence = Sentence { text, kind, bad, engine: "espeak", voice: "en-us", speed: 0.9 };
    let spoken = voices::speak(&[sentence], &folder.join("spoken"))?.pop().context("a sentence")?;
    let bad = spoken.times.get(BAD).copied().flatten().context("when the bad word is said")?;
    let count = (spoken.samples.len() * FRAMES_PER_SECOND).div_ceil(RATE);
    let (pictures, sound, path) = (folder.join("pictures.y4m"), folder.join("sound.raw"), folder.join("clip.mkv"));

    let (width, height) = SIZE;
    let mut plain = clip::scaled(&asset("astronaut.png"), width, height, 1)?.swap_remove(0);
    // A caption's band, so that every letter stands out.
    plain.planes_mut()[0][width * 35..width * 130].iter_mut().for_each(|value| *value = *value / 4 + 16);
    let face = Typeface::open("DejaVuSans.ttf")?;
    let mut file = std::io::BufWriter::new(std::fs::File::create(&pictures)?);
    writeln!(file, "YUV4MPEG2 W{width} H{height} F{FRAMES_PER_SECOND}:1 Ip A1:1 C420jpeg XCOLORRANGE=LIMITED")?;
    for number in 0..count {
        let mut frame = plain.clone();
        for (_, at, text) in SHOWN.iter().filter(|(from, ..)| *from <= number as f32 / FRAMES_PER_SECOND as f32) {
            face.draw(&mut frame, *at, text, &Style::new(26.0, Rgb([255, 255, 255])));
        }
        file.write_all(b"FRAME\n")?;
        frame.planes().iter().try_for_each(|plane| file.write_all(plane))?;
    }
    file.flush()?;
    drop(file);
    let samples = spoken.samples.iter().flat_map(|sample| ((sample * 2.5 * 32_767.0) as i16).to_le_bytes());
    std::fs::write(&sound, samples.collect::<Vec<u8>>())?;
    let made = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-i"])
        .arg(&pictures)
        .args(["-f", "s16le", "-ar", "16000", "-ac", "1", "-i"])
        .arg(&sound)
        .args(["-c:v", "libx264", "-crf", "8", "-preset", "veryfast", "-c:a", "pcm_s16le"])
        .arg(&path)
        .status()?;
    ensure!(made.success(), "ffmpeg ended with {made}");
    Ok(Clip { path, seconds: spoken.samples.len() as f64 / RATE as f64, bad })
}

/// The page's data.
fn data(page: &str) -> Result<Value> {
    let (_, data) = page.split_once("id=\"data\">").context("no data")?;
    Ok(serde_json::from_str(data.split_once("</script>").context("data without an end")?.0)?)
}

/// A sound of the page, as ffmpeg decodes it: one channel, 16 kHz.
fn decoded(address: &Value, folder: &Path) -> Result<Vec<i16>> {
    let address = address.as_str().context("no sound to be played")?;
    let (kind, bytes) = address.strip_prefix("data:audio/").and_then(|rest| rest.split_once(";base64,")).context("no sound's address")?;
    let file = folder.join(format!("played.{kind}"));
    std::fs::write(&file, base64::engine::general_purpose::STANDARD.decode(bytes)?)?;
    let command = ["-v", "error", "-nostdin", "-i"];
    let output = Command::new("ffmpeg").args(command).arg(&file).args(["-f", "s16le", "-ac", "1", "-ar", "16000", "-"]).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(output.stdout.chunks_exact(2).map(|two| i16::from_le_bytes([two[0], two[1]])).collect())
}

fn loudness(samples: &[i16]) -> f64 {
    (samples.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>() / samples.len().max(1) as f64).sqrt()
}

/// Whole seconds and parts of the mutes in the page.
fn mutes(data: &Value) -> Result<Vec<(f64, f64)>> {
    let seconds = |value: &Value| Some(value.as_f64()? / 1e6);
    let mutes = data["mutes"].as_array().context("no mutes")?;
    mutes.iter().map(|mute| Some((seconds(&mute["from"])?, seconds(&mute["to"])?))).collect::<Option<_>>().context("a mute without times")
}

/// The sound of the file that was written is silent where the page says so, and as it came elsewhere.
fn assert_muted(input: &Path, output: &Path, mutes: &[(f64, f64)]) -> Result<()> {
    let samples = |path: &Path| -> Result<Vec<i16>> { Ok(SoundSource::open(path)?.collect::<Result<Vec<_>, _>>()?.concat()) };
    let (raw, out) = (samples(input)?, samples(output)?);
    ensure!(raw.len().abs_diff(out.len()) < 4800, "{} samples came, {} left", raw.len(), out.len());
    let (mut silent, mut kept) = (0, 0);
    for (number, (raw, out)) in raw.iter().zip(&out).enumerate() {
        let at = (number / 2) as f64 / 48_000.0;
        if mutes.iter().any(|(from, to)| from + 0.002 < at && at < to - 0.002) {
            ensure!(*out == 0, "{at:.3} s is heard: {out}");
            silent += 1;
        } else if mutes.iter().all(|(from, to)| at < from - 0.008 || to + 0.008 < at) {
            ensure!(raw == out, "{at:.3} s is {out}, not {raw}");
            kept += 1;
        }
    }
    println!("{silent} samples are silent, {kept} as they came");
    ensure!(silent > 20_000 && kept > 100_000, "{silent} samples are silent, {kept} as they came");
    Ok(())
}

/// The page's sounds are as long as the clip, and alike but for the mutes.
fn assert_played(data: &Value, mutes: &[(f64, f64)], seconds: f64, folder: &Path) -> Result<()> {
    let (raw, covered) = (decoded(&data["sound"]["raw"], folder)?, decoded(&data["sound"]["covered"], folder)?);
    for sound in [&raw, &covered] {
        let length = sound.len() as f64 / RATE as f64;
        ensure!((length - seconds).abs() < 0.1, "{length} s of sound, {seconds} s of clip");
    }
    const WINDOW: usize = RATE / 20;
    let (mut silent, mut alike) = (0, 0);
    for (number, (raw, covered)) in raw.chunks_exact(WINDOW).zip(covered.chunks_exact(WINDOW)).enumerate() {
        let (from, to) = ((number * WINDOW) as f64 / RATE as f64, ((number + 1) * WINDOW) as f64 / RATE as f64);
        let (was, is) = (loudness(raw), loudness(covered));
        if mutes.iter().any(|mute| mute.0 + 0.03 < from && to < mute.1 - 0.03) {
            ensure!(is < 60.0 && is < 0.1 * was.max(600.0), "{from:.2} s is heard: {is:.0}, it was {was:.0}");
            silent += usize::from(was > 600.0);
        } else if was > 600.0 && mutes.iter().all(|mute| to < mute.0 - 0.05 || mute.1 + 0.1 < from) {
            ensure!((is - was).abs() < 0.2 * was, "{from:.2} s is {is:.0}, it was {was:.0}");
            alike += 1;
        }
    }
    println!("{silent} loud windows are silent, {alike} are alike");
    ensure!(silent >= 3 && alike >= 20, "{silent} loud windows are silent, {alike} are alike");
    Ok(())
}

/// The words of a kind, and how they were judged.
fn said<'a>(data: &'a Value, medium: &str) -> Vec<(&'a str, u64)> {
    let of = data["said"].as_array().into_iter().flatten().filter(|said| said[0] == medium);
    let words = of.flat_map(|said| said[3].as_array().into_iter().flatten());
    words.filter_map(|word| Some((word[0].as_str()?, word[1].as_u64()?))).collect()
}

#[test]
fn the_page_of_a_clip_with_words_tells_all_but_the_bad_ones() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let clip = make_clip(folder.path())?;
    add_plugins(folder.path())?;
    let file = |name: &str| folder.path().join(name);
    let (config, output, page) = (file("scrim.toml"), file("covered.mkv"), file("report.html"));
    std::fs::write(&config, format!("data_dir = {:?}\ndetectors = {{}}\n", folder.path()))?;
    let ran = Command::new(binary()?)
        .arg("censor")
        .arg(&clip.path)
        .arg("-o")
        .arg(&output)
        .args(["--read", "--listen", "--policy", "text=profanity-context@2.0.0", "--policy", "threshold=adaptive-threshold@1.0.0"])
        .arg("--report")
        .arg(&page)
        .arg("--config")
        .arg(&config)
        .output()?;
    println!("{}", String::from_utf8_lossy(&ran.stdout));
    ensure!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));

    let html = std::fs::read_to_string(&page)?;
    let data = data(&html)?;
    let (heard, read) = (said(&data, "speech"), said(&data, "screen"));
    for (words, good, bad) in [(&heard, ["everybody", "told"], "fucking"), (&read, ["garden", "you"], "idiot")] {
        let clean = |good: &str| words.iter().any(|(word, state)| *state == 0 && word.trim_matches('.') == good);
        ensure!(good.into_iter().all(clean), "{good:?} are not in {words:?}");
        ensure!(words.contains(&("*".repeat(bad.len()).as_str(), 1)), "nothing as long as {bad} is masked in {words:?}");
    }

    let mutes = mutes(&data)?;
    let near = |(from, to): &(f64, f64)| *from < clip.bad.0 + 0.1 && clip.bad.1 - 0.1 < *to;
    ensure!(mutes.iter().any(near), "{mutes:?} mute nothing at {:?}", clip.bad);
    ensure!(mutes.iter().map(|(from, to)| to - from).sum::<f64>() < 2.5, "{mutes:?} mute too much");
    for mute in data["mutes"].as_array().into_iter().flatten() {
        let why = &mute["why"][0];
        ensure!(why["policy"] == "profanity-context@2.0.0" && why["severity"].as_f64() > Some(0.2), "{mute}");
        ensure!(why["text"].as_str().is_some_and(|text| text.contains("rules: “*")), "{mute}");
    }
    assert_muted(&clip.path, &output, &mutes)?;
    assert_played(&data, &mutes, clip.seconds, folder.path())?;

    // No bad word anywhere, but for letters that stand so in a picture's or a sound's code.
    let mut texts = data.clone();
    for preview in texts["previews"].as_array_mut().into_iter().flatten() {
        *preview = Value::Null;
    }
    texts["sound"] = Value::Null;
    let (before, after) =
        (html.split_once("id=\"data\">").context("no data")?.0, html.rsplit_once("</script>\n<script>").context("no script")?.1);
    for (place, text) in [("data", texts.to_string()), ("page", before.to_owned()), ("script", after.to_owned())] {
        let text = text.to_lowercase();
        ensure!(!text.contains("fuck") && !text.contains("idiot"), "a bad word is in the page's {place}");
    }

    let (expected, picture) = (file("expected.json"), file("report-words.png"));
    let rows = data["said"].as_array().map_or(0, Vec::len);
    let wanted = json!({ "said": rows, "mutes": mutes.len(), "seconds": clip.seconds, "words": ["everybody", "told", "garden"] });
    std::fs::write(&expected, wanted.to_string())?;
    let text = |path: &Path| path.to_str().map(str::to_owned).context("a path in UTF-8");
    browse("report.mjs", &[&text(&page)?, &text(&expected)?, &text(&picture)?])?;
    if blesses() {
        // In few colours, so that it is small.
        let few = ["-lavfi", "split[a][b];[a]palettegen[p];[b][p]paletteuse=dither=none", "-frames:v", "1"];
        let mut smaller = Command::new("ffmpeg");
        smaller.args(["-v", "error", "-y", "-i"]).arg(&picture).args(few).arg(root().join("docs/report-words.png"));
        ensure!(smaller.status()?.success(), "the picture can't be made small");
    }
    Ok(())
}

fn open(report: &Report, expected: &Value) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let [page, wanted] = ["report.html", "expected.json"].map(|name| folder.path().join(name));
    std::fs::write(&page, report.to_html()?)?;
    std::fs::write(&wanted, expected.to_string())?;
    browse("report.mjs", &[page.to_str().context("UTF-8")?, wanted.to_str().context("UTF-8")?])
}

/// Ten frames in the clear.
fn frames() -> Vec<ReportFrame> {
    let frame =
        |number| ReportFrame { at: Micros(number * 40_000), change: 0.1, cut: false, looks: vec![], masks: vec![], cover: Cover::Clear };
    (0..10_u64).map(frame).collect()
}

#[test]
fn what_was_read_is_text_and_never_markup() -> Result<()> {
    let hostile = "</script><script>window.hacked=1</script><img src='x' onerror='window.hacked=1'> \u{202e}&lt;b&gt;";
    let mut words = Words::default();
    for (medium, at) in [(Medium::Screen, 0), (Medium::Speech, 200_000)] {
        let mut utterance = Utterance::typed(hostile, hostile);
        for word in &mut utterance.words {
            word.place = Place::Time { start: Micros(at), end: Micros(at + 100_000) };
        }
        let transcript = Some(Transcript::of(&utterance, Some(hostile.to_owned()), Some(&[])));
        let utterance = Arc::new(utterance);
        words.judged(&Judging { medium, at: Micros(at), utterance, findings: vec![], fault: None, transcript });
    }
    let report = Report { title: hostile.to_owned(), frames: frames(), words: Some(words), ..Report::default() };
    open(&report, &json!({ "hostile": hostile }))
}

#[test]
fn a_page_without_words_or_sound_has_no_lanes_for_them() -> Result<()> {
    open(&Report { frames: frames(), ..Report::default() }, &json!({}))
}

#[test]
fn pictures_text_and_speech_are_all_asked_again() -> Result<()> {
    let home = tempfile::tempdir()?;
    add_plugins(home.path())?;
    let text = format!(
        "data_dir = {:?}\ndetectors = {{}}\n[policy.text]\nplugin = \"profanity-context@2.0.0\"\n[policy.threshold]\nplugin = \"adaptive-threshold@1.0.0\"\n",
        home.path()
    );
    let host = Host::open(Config::parse(&text).map_err(|faults| anyhow::anyhow!("{faults:?}"))?)?;
    let heard: Arc<Mutex<Vec<Detection>>> = Arc::default();
    let notes = heard.clone();
    let observer: Observer = Arc::new(move |note| {
        if let Note::Judged(judging) = note {
            let found = judging.findings.into_iter().map(|found| found.detection);
            notes.lock().unwrap_or_else(PoisonError::into_inner).extend(found);
        }
    });
    let policies = host.configured_policies(None, observer.clone())?;
    let inputs = Arc::new(Inputs::default());
    policies.keep_inputs(inputs.clone());
    let source = Arc::new(Source { id: "studio".into(), kind: SourceKind::Camera, owner: "ann".into() });
    let asker = Asker { source: source.clone(), policies: policies.clone(), observer, transcribes: false };
    let (tell, told) = mpsc::channel();
    for (number, medium) in (1..).zip([Medium::Screen, Medium::Speech]) {
        let tell = tell.clone();
        let utterance = Utterance::typed(format!("{number}"), "you are a fucking asshole");
        asker.judge(medium, Micros(number), utterance, None, move |flagged| _ = tell.send(flagged.is_some()));
    }
    let face = Detection { detector: "nudity".into(), label: "FACE_FEMALE".into(), confidence: 0.6, area: None, trail: Some(1) };
    let looked = Request::Weigh { source, found: vec![face.clone()] };
    policies.ask(Micros(3), looked, None, move |answered| _ = tell.send(answered.result.is_ok()));
    ensure!(told.iter().all(|well| well), "not everything was judged");

    let mut found = heard.lock().unwrap_or_else(PoisonError::into_inner).clone();
    found.push(face);
    // Each counts by a hair, until somebody says that it was wrong.
    let bases: BTreeMap<String, f32> = found.iter().map(|of| (format!("{}/{}", of.detector, of.label), of.confidence - 0.01)).collect();
    let policy = |reports: Vec<(Micros, Request)>| -> Result<Policy> {
        let plugin = host.catalog.load(&"adaptive-threshold@1.0.0".parse()?)?;
        let config = json!({ "bases": bases }).to_string().into();
        Ok(Policy { plugin, config, kept: Some(Kept { snapshot: None, reported: None, reports }), budgets: Budgets::default() })
    };
    let now = Micros(10);
    let look_back =
        |policy: &Policy| hindsight::look_back(policy, &inputs.take(now), [], now, Duration::from_secs(60)).map_err(anyhow::Error::msg);
    let untaught = look_back(&policy(Vec::new())?)?;
    let wrong = |(number, found): (usize, &Detection)| {
        let reporter = format!("reporter {number}");
        (Micros(5), Request::Feedback { event_id: format!("{number}"), reporter, found: found.clone(), correct: false })
    };
    let taught = look_back(&policy(found.iter().enumerate().map(wrong).collect())?)?;
    println!("{taught:?}");
    let detectors: BTreeSet<&str> = taught.labels.keys().map(|(detector, _)| &**detector).collect();
    ensure!(detectors == BTreeSet::from(["nudity", "speech", "text"]), "{detectors:?}");
    ensure!((taught.inputs, taught.since, taught.cut) == (3, Some(Micros(1)), false), "{taught:?}");
    for (name, label) in &taught.labels {
        let before = &untaught.labels[name];
        ensure!(before.counted == before.detections && (before.no_longer, before.newly) == (0, 0), "{name:?}: {before:?}");
        ensure!(label.counted == 0 && label.no_longer == label.detections && label.detections > 0, "{name:?}: {label:?}");
        ensure!(label.threshold > label.untaught + 0.01 && label.untaught == before.threshold, "{name:?}: {label:?}");
    }
    Ok(())
}
