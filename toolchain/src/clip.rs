//! The demo's clip: real photographs and films with hard cuts between them, made by ffmpeg out of fetched files.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::process::{Command, ExitStatus};

use crate::assets::{self, AssetError};

#[derive(Debug, thiserror::Error)]
pub enum ClipError {
    #[error(transparent)]
    Asset(#[from] AssetError),
    #[error("ffmpeg could not be run ({0}); install ffmpeg, or run `cargo xtask fetch`")]
    Run(#[source] io::Error),
    #[error("ffmpeg ended with {0} while it made the demo's clip; one with libx264 is needed")]
    Made(ExitStatus),
    #[error("the program path cannot be extended by the folder of fetched files: {0}")]
    Path(#[from] std::env::JoinPathsError),
}

/// One shot: the file, how ffmpeg is to read it, its filter to [`SIZE`], its length in seconds.
struct Shot {
    file: &'static str,
    input: &'static [&'static str],
    filter: &'static str,
    seconds: u32,
}

const SIZE: (u32, u32) = (640, 360);
const RATE: u32 = 30;

/// The upper part of the photograph, where the face is; moved and zoomed as a camera would.
const ZOOM: &str = "scale=1280:1280,crop=1280:720:0:0,zoompan=z='1+0.004*on':x='iw/2-iw/zoom/2':y='0':d=1:s=640x360:fps=30";
const PAN: &str = "scale=1600:1600,crop=1600:900:0:0,zoompan=z='1.6':x='(iw-iw/zoom)*(0.5+0.45*sin(on/18))':y='0':d=1:s=640x360:fps=30";
const FIT: &str = "fps=30,scale=640:360:force_original_aspect_ratio=decrease,pad=640:360:(ow-iw)/2:(oh-ih)/2";

const SHOTS: [Shot; 6] = [
    Shot { file: "astronaut.png", input: &["-loop", "1", "-framerate", "30"], filter: ZOOM, seconds: 4 },
    Shot { file: "carphone.mp4", input: &[], filter: FIT, seconds: 4 },
    Shot { file: "bikes.mp4", input: &[], filter: FIT, seconds: 3 },
    Shot { file: "astronaut.png", input: &["-loop", "1", "-framerate", "30"], filter: PAN, seconds: 3 },
    Shot { file: "bigbuckbunny.mp4", input: &[], filter: FIT, seconds: 3 },
    Shot { file: "carphone.mp4", input: &["-stream_loop", "-1"], filter: FIT, seconds: 3 },
];

/// The program path, then the folder of fetched files: an installed ffmpeg wins over the fetched one.
///
/// # Errors
/// When there is no such folder, or its name can't be in a path.
pub fn program_path() -> Result<OsString, ClipError> {
    let own = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&own).chain([assets::folder()?]);
    Ok(std::env::join_paths(folders)?)
}

/// Makes the clip: H.264 of 640×360 at 30 frames/s with a tone, 20 s long.
///
/// # Errors
/// When a file is not fetched, or ffmpeg is not there or fails.
pub fn make(out: &Path) -> Result<(), ClipError> {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.env("PATH", program_path()?).args(["-y", "-nostdin", "-hide_banner", "-loglevel", "error"]);
    let mut graph = String::new();
    let mut joined = String::new();
    for (number, shot) in SHOTS.iter().enumerate() {
        ffmpeg.args(shot.input).arg("-i").arg(assets::path(shot.file)?);
        // A shot shorter than planned shows its last picture until its end.
        graph += &format!(
            "[{number}:v]{},setsar=1,format=yuv420p,tpad=stop_mode=clone:stop_duration={seconds},trim=duration={seconds},setpts=PTS-STARTPTS[v{number}];",
            shot.filter,
            seconds = shot.seconds
        );
        joined += &format!("[v{number}]");
    }
    graph += &format!("{joined}concat=n={}:v=1:a=0,fps={RATE},scale={}:{}[v]", SHOTS.len(), SIZE.0, SIZE.1);
    let seconds: u32 = SHOTS.iter().map(|shot| shot.seconds).sum();
    ffmpeg.args(["-f", "lavfi", "-i", &format!("sine=frequency=330:sample_rate=48000:duration={seconds}")]);
    ffmpeg.args(["-filter_complex", &graph, "-map", "[v]", "-map", &format!("{}:a", SHOTS.len())]);
    ffmpeg.args(["-c:v", "libx264", "-preset", "veryfast", "-crf", "18", "-c:a", "aac", "-shortest"]).arg(out);
    let status = ffmpeg.status().map_err(ClipError::Run)?;
    if status.success() { Ok(()) } else { Err(ClipError::Made(status)) }
}
