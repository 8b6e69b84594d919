//! `scrim-bench cascade-quality DIR [--only NAME]`: what the two versions of `skin-cascade` ask for, on every clip of a folder and its grey,
//! dark and hue-shifted variants, with the host's forced looks off. A face frame is one where NudeNet, looking at every raw frame, finds FACE with
//! a score of 0.4 in two of three consecutive frames. `blind`: the host follows nothing; `host`: trails are the boxes of the frame
//! last asked for, arriving 100 ms later.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, ensure};
use scrim_host::infer::Detector;
use scrim_host::media::ffmpeg;
use scrim_host::media::file::FileSource;
use scrim_host::media::frame::Frame;
use scrim_host::vision::change::{Change, Signature};
use scrim_host::vision::detection::Detection;
use scrim_host::vision::thumbnail;
use scrim_sdk::testing::Harness;
use scrim_sdk::{Hints, Rect, Screening, Source, SourceKind, Thumbnail};
use skin_cascade::classic::Classic;
use skin_cascade::v2::Regions;

use crate::bench::model::open;

/// Name, and ffmpeg's filter.
pub const VARIANTS: [(&str, &str); 8] = [
    ("original", "null"),
    ("grey", "hue=s=0"),
    ("darker", "eq=brightness=-0.25"),
    ("gamma 0.5", "eq=gamma=0.5"),
    ("luma x0.4", "lutyuv=y=val*0.4"),
    ("hue 60", "hue=h=60"),
    ("hue 120", "hue=h=120"),
    ("hue 180", "hue=h=180"),
];
const FACE_SCORE: f32 = 0.4;
/// From a look to its trails: what inference and the queue take in a live room.
const LOOK_US: u64 = 100_000;

/// One frame as the cascade and the reference see it.
pub struct Seen {
    at_us: u64,
    thumbnail: Thumbnail,
    cut: bool,
    signature: Signature,
    faces: Vec<Rect>,
}

/// What one policy did on a clip.
#[derive(Default)]
pub struct Tally {
    /// Frames that it asked a look for.
    pub asked: usize,
    /// Face frames that it did not.
    pub missed: usize,
}

/// # Errors
/// When a clip, ffmpeg or the model can't be used.
pub fn run(arguments: &[String]) -> anyhow::Result<()> {
    let (directory, only) = match arguments {
        [directory] => (directory, None),
        [directory, flag, name] if flag == "--only" => (directory, Some(name)),
        _ => anyhow::bail!("usage: scrim-bench cascade-quality DIR [--only NAME]"),
    };
    let mut clips: Vec<PathBuf> = std::fs::read_dir(directory)
        .with_context(|| format!("read {directory}"))?
        .map(|e| e.map(|e| e.path()))
        .collect::<Result<_, _>>()?;
    let film = |path: &Path| path.extension().and_then(|e| e.to_str()).is_some_and(|e| ["mp4", "mkv", "mov", "webm", "y4m"].contains(&e));
    let named = |path: &Path| only.is_none_or(|name| path.to_string_lossy().contains(name.as_str()));
    clips.retain(|path| film(path) && named(path));
    clips.sort();
    ensure!(!clips.is_empty(), "no clip in {directory}");
    let mut detector = open("nudenet-320n", 1, |_| ())?;
    println!("| clip | variant | frames | face frames | 1.0 missed | 1.0 skips | 2.0 blind missed | skips | 2.0 host missed | skips |");
    println!("|---|---|--:|--:|--:|--:|--:|--:|--:|--:|");
    for clip in &clips {
        for (variant, filter) in VARIANTS {
            let frames = seen(clip, filter, |frame| Ok(faces(&detector.detect(&[frame])?.pop().unwrap_or_default())))?;
            let name = clip.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
            row(&name, variant, &frames);
        }
    }
    Ok(())
}

fn faces(found: &[Detection]) -> Vec<Rect> {
    let faces = found.iter().filter(|d| d.label.starts_with("FACE") && d.confidence >= FACE_SCORE).filter_map(|d| d.area);
    faces.map(|a| Rect { x: a.x, y: a.y, width: a.width, height: a.height }).collect()
}

/// Every frame of a clip behind an ffmpeg filter, with the faces that `look` finds in it.
///
/// # Errors
/// When ffmpeg is missing or refuses the clip, and `look`'s.
pub fn seen(clip: &Path, filter: &str, mut look: impl FnMut(&Frame) -> anyhow::Result<Vec<Rect>>) -> anyhow::Result<Vec<Seen>> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let scratch = std::env::temp_dir().join(format!("cascade-quality-{}-{number}.y4m", std::process::id()));
    let made = Command::new(ffmpeg::find()?)
        .args(["-v", "error", "-y", "-i"])
        .arg(clip)
        .args(["-an", "-vf", filter, "-pix_fmt", "yuv420p", "-f", "yuv4mpegpipe"])
        .arg(&scratch)
        .status()
        .context("ffmpeg cannot be started")?;
    ensure!(made.success(), "ffmpeg failed on {}", clip.display());
    let frames = read(&scratch, &mut look);
    std::fs::remove_file(&scratch)?;
    frames
}

fn read(file: &Path, look: &mut impl FnMut(&Frame) -> anyhow::Result<Vec<Rect>>) -> anyhow::Result<Vec<Seen>> {
    let mut frames: Vec<Seen> = Vec::new();
    let mut change = Change::default();
    for frame in FileSource::open(file)? {
        let frame: Frame = frame?;
        let signature = Signature::of(&frame);
        let cut = frames.last().is_some_and(|before| {
            let next = signature.compare(&before.signature);
            let cut = next.is_cut(&change);
            change = next;
            cut
        });
        let small = thumbnail::Thumbnail::of(&frame);
        let [y, cb, cr] = small.planes().map(<[u8]>::to_vec);
        let thumbnail = Thumbnail { width: small.width(), height: small.height(), y, cb, cr };
        frames.push(Seen { at_us: frame.at.0, thumbnail, cut, signature, faces: look(&frame)? });
    }
    Ok(frames)
}

/// Faces in two of three consecutive frames.
fn face_frames(frames: &[Seen]) -> Vec<bool> {
    let two = |window: &[Seen]| window.iter().filter(|f| !f.faces.is_empty()).count() >= 2;
    let windows: Vec<bool> = frames.windows(3).map(two).collect();
    (0..frames.len()).map(|i| windows[i.saturating_sub(2).min(windows.len())..(i + 1).min(windows.len())].contains(&true)).collect()
}

fn tally(frames: &[Seen], faces: &[bool], trails: bool, mut screen: impl FnMut(&Seen, &Hints) -> Vec<Screening>) -> Tally {
    let mut tally = Tally::default();
    let mut looks: Vec<&Seen> = Vec::new();
    for (frame, face) in frames.iter().zip(faces) {
        let last = looks.last();
        let done = looks.iter().rev().find(|look| look.at_us + LOOK_US <= frame.at_us);
        let hints = Hints {
            scene_cut: frame.cut,
            change: last.map_or(1.0, |look| frame.signature.compare(&look.signature).changed),
            since_look_us: last.map(|look| frame.at_us - look.at_us),
            trails: done.filter(|_| trails).map_or_else(Vec::new, |look| look.faces.clone()),
        };
        if screen(frame, &hints).iter().all(|answer| answer.look) {
            tally.asked += 1;
            looks.push(frame);
        } else if *face {
            tally.missed += 1;
        }
    }
    tally
}

/// What 2.0.0 does; `trails`: whether the host follows what its looks find.
pub fn regions(frames: &[Seen], faces: &[bool], trails: bool) -> Tally {
    let mut policy = Harness::<Regions>::new("{}");
    let source = Source { id: "camera".into(), kind: SourceKind::Camera, owner: "someone".into() };
    tally(frames, faces, trails, |f, hints| policy.screen(f.at_us, &source, &f.thumbnail, &["nudity".to_owned()], hints))
}

fn row(name: &str, variant: &str, frames: &[Seen]) {
    let source = Source { id: name.into(), kind: SourceKind::Camera, owner: "someone".into() };
    let detectors = ["nudity".to_owned()];
    let faces = face_frames(frames);
    let mut classic = Harness::<Classic>::new("{}");
    let mut cells = Vec::new();
    let first = tally(frames, &faces, true, |f, hints| classic.screen(f.at_us, &source, &f.thumbnail, &detectors, hints));
    cells.push(first);
    for trails in [false, true] {
        cells.push(regions(frames, &faces, trails));
    }
    let skips = |t: &Tally| 100.0 - 100.0 * t.asked as f32 / frames.len().max(1) as f32;
    let cells: Vec<String> = cells.iter().map(|t| format!("{} | {:.1} %", t.missed, skips(t))).collect();
    println!("| {name} | {variant} | {} | {} | {} |", frames.len(), faces.iter().filter(|f| **f).count(), cells.join(" | "));
}
