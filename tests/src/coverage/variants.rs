//! Harder clips made from a clip by ffmpeg filters, decoded straight to frames.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};
use scrim_host::media::frame::{Frame, FrameSeq, Matrix, Micros, Range, i420_len};

/// One way to show a clip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    Plain,
    /// The middle of the picture slides in from the left in 1.5 s, stays 3 s, leaves to the right in 1.5 s.
    Enter,
    /// A quarter of the picture, swinging across it once a second.
    Pan,
    DoubleSpeed,
    Grey,
    Dark,
    Hue,
}

impl Variant {
    pub const ALL: [Variant; 7] =
        [Variant::Plain, Variant::Enter, Variant::Pan, Variant::DoubleSpeed, Variant::Grey, Variant::Dark, Variant::Hue];

    pub fn name(self) -> &'static str {
        match self {
            Variant::Plain => "plain",
            Variant::Enter => "enter",
            Variant::Pan => "pan",
            Variant::DoubleSpeed => "2x",
            Variant::Grey => "grey",
            Variant::Dark => "dark",
            Variant::Hue => "hue",
        }
    }

    /// Size and filter for a clip of this size.
    fn filter(self, (w, h): (usize, usize)) -> ((usize, usize), String) {
        let even = |v: usize| v & !1;
        match self {
            Variant::Plain => ((w, h), "null".to_owned()),
            Variant::Enter => {
                let slide = "if(lt(t,1.5),-w+(main_w+w)/2*t/1.5,if(lt(t,4.5),(main_w-w)/2,(main_w-w)/2+(main_w+w)/2*(t-4.5)/1.5))";
                ((w, h), format!("split[a][b];[a]gblur=sigma=60[bg];[b]crop={}:ih[p];[bg][p]overlay=x='{slide}':y=0", even(w / 2)))
            }
            Variant::Pan => {
                let (cw, ch) = (even(w / 2), even(h / 2));
                ((cw, ch), format!("crop={cw}:{ch}:'(iw-ow)*(0.5-0.5*cos(2*PI*t))':'(ih-oh)*0.35'"))
            }
            Variant::DoubleSpeed => ((w, h), "setpts=PTS/2".to_owned()),
            Variant::Grey => ((w, h), "hue=s=0".to_owned()),
            Variant::Dark => ((w, h), "lutyuv=y=16+(val-16)*0.4".to_owned()),
            Variant::Hue => ((w, h), "hue=h=120".to_owned()),
        }
    }
}

/// The clips of a folder, in the order of their names.
pub fn clips(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let listing = std::fs::read_dir(folder).with_context(|| format!("{} can't be read", folder.display()))?;
    let mut clips: Vec<PathBuf> = listing.map(|e| e.map(|e| e.path())).collect::<Result<_, _>>()?;
    let video = ["mkv", "mp4", "mov", "webm", "avi", "y4m"];
    clips.retain(|p| p.extension().and_then(|e| e.to_str()).is_some_and(|e| video.contains(&e.to_lowercase().as_str())));
    clips.sort();
    ensure!(!clips.is_empty(), "{} holds no clips ({})", folder.display(), video.join(", "));
    Ok(clips)
}

/// At most `seconds` of a clip's variant, at 30 frames/s, BT.601 limited range. Pictures over 720 lines are halved.
pub fn frames(clip: &Path, variant: Variant, seconds: f32) -> anyhow::Result<Vec<Frame>> {
    let (size, filter) = variant.filter(scrim_size(clip)?);
    let mut input: Vec<String> = Vec::new();
    let mut seconds = seconds;
    if variant == Variant::Enter {
        input.extend(["-stream_loop", "-1"].map(str::to_owned));
        seconds = 6.0;
    }
    input.extend(["-i".to_owned(), clip.to_string_lossy().into_owned()]);
    decode(&input, &filter, size, seconds)
}

/// One montage of all clips, `piece_s` seconds of each in turn, from a different place each time round, scaled to the first one's size.
pub fn cuts(clips: &[PathBuf], piece_s: f32, pieces: usize) -> anyhow::Result<Vec<Frame>> {
    let Some(first) = clips.first() else { bail!("no clips to cut") };
    let (w, h) = scrim_size(first)?;
    let mut frames = Vec::new();
    let piece = (piece_s * 30.0).round() as usize;
    let mut decoded: Vec<Option<Vec<Frame>>> = vec![None; clips.len()];
    for i in 0..pieces {
        let which = i % clips.len();
        if decoded[which].is_none() {
            let input = ["-i".to_owned(), clips[which].to_string_lossy().into_owned()];
            decoded[which] = Some(decode(&input, &format!("scale={w}:{h}"), (w, h), 10.0)?);
        }
        let Some(clip) = decoded[which].as_ref().filter(|c| c.len() >= piece) else { continue };
        // A stride that shares no factor with usual lengths, so that places differ.
        let start = (i / clips.len() * 17 + which * 7) % (clip.len() - piece + 1);
        for frame in &clip[start..start + piece] {
            frames.push(renumbered(frame, frames.len()));
        }
    }
    Ok(frames)
}

fn renumbered(frame: &Frame, index: usize) -> Frame {
    let mut frame = frame.clone();
    (frame.seq, frame.at) = (FrameSeq(index as u64), at(index));
    frame
}

fn at(index: usize) -> Micros {
    Micros(index as u64 * 100_000 / 3)
}

fn scrim_size(clip: &Path) -> anyhow::Result<(usize, usize)> {
    let probe = scrim_host::media::file::probe(clip)?;
    let (mut w, mut h) = (probe.width, probe.height);
    while w.min(h) > 720 {
        (w, h) = (w / 2, h / 2);
    }
    Ok((w & !1, h & !1))
}

fn decode(input: &[String], filter: &str, (w, h): (usize, usize), seconds: f32) -> anyhow::Result<Vec<Frame>> {
    // The filter sees the size that the clip is measured at, whatever the file's own is.
    let (before, after) = match filter {
        f if f.starts_with("scale=") => (String::new(), f.to_owned()),
        f => ("scale=trunc(iw/2)*2:trunc(ih/2)*2,".to_owned(), f.to_owned()),
    };
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin"])
        .args(input)
        .args(["-an", "-filter_complex", &format!("[0:v]fps=30,{before}{after},scale={w}:{h}:out_range=tv:out_color_matrix=bt601[out]")])
        .args(["-map", "[out]", "-t", &seconds.to_string(), "-pix_fmt", "yuv420p", "-f", "rawvideo", "-"])
        .stderr(Stdio::inherit())
        .output()
        .context("ffmpeg cannot be started")?;
    ensure!(output.status.success(), "ffmpeg failed on {input:?} with {filter}");
    let size = i420_len(w, h);
    ensure!(output.stdout.len() % size == 0, "{input:?} with {filter} is not of {w}x{h}");
    let pictures = output.stdout.chunks_exact(size).enumerate();
    Ok(pictures.map(|(i, data)| Frame::new(FrameSeq(i as u64), at(i), w, h, Range::Limited, Matrix::Bt601, data.to_vec())).collect())
}
