//! Pictures and clips, decoded to I420 by ffmpeg as the reference scripts do.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use scrim_host::media::frame::{Frame, FrameSeq, Matrix, Micros, Range, i420_len};

/// Every frame of a file, as BT.601 limited range whatever it says of itself: both sides of a comparison read the same samples.
pub fn decode(file: &Path, width: usize, height: usize) -> anyhow::Result<Vec<Frame>> {
    decoded(file, (width, height), &[])
}

/// At most `frames_max` frames of a file, each filling the size, what reaches past it cut off.
pub fn scaled(file: &Path, width: usize, height: usize, frames_max: usize) -> anyhow::Result<Vec<Frame>> {
    let filter = format!("scale={width}:{height}:force_original_aspect_ratio=increase,crop={width}:{height}");
    decoded(file, (width, height), &["-vf", &filter, "-frames:v", &frames_max.to_string()])
}

/// At most `frames_max` frames of a file behind a filter that gives them the size.
///
/// # Errors
/// When ffmpeg can't be run, or fails.
pub fn filtered(file: &Path, size: (usize, usize), filter: &str, frames_max: usize) -> anyhow::Result<Vec<Frame>> {
    decoded(file, size, &["-vf", filter, "-frames:v", &frames_max.to_string()])
}

fn decoded(file: &Path, (width, height): (usize, usize), how: &[&str]) -> anyhow::Result<Vec<Frame>> {
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-i"])
        .arg(file)
        .args(["-map", "0:v:0", "-fps_mode", "passthrough"])
        .args(how)
        .args(["-pix_fmt", "yuv420p", "-f", "rawvideo", "-"])
        .stderr(Stdio::inherit())
        .output()
        .context("ffmpeg cannot be started")?;
    ensure!(output.status.success(), "ffmpeg failed on {}", file.display());
    let size = i420_len(width, height);
    ensure!(!output.stdout.is_empty() && output.stdout.len() % size == 0, "{} is not of {width}x{height}", file.display());
    let pictures = output.stdout.chunks_exact(size).enumerate();
    let frame = |(i, data): (usize, &[u8])| {
        // 30 frames a second; the clips' own clock does not matter here.
        let at = Micros(i as u64 * 33_333);
        Frame::new(FrameSeq(i as u64), at, width, height, Range::Limited, Matrix::Bt601, data.to_vec())
    };
    Ok(pictures.map(frame).collect())
}
