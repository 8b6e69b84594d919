//! `cargo xtask demo`: a clip of real photographs and films with hard cuts, its faces covered while one cascade is swapped for the other.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use scrim_toolchain::assets;

use crate::run::{Stages, cargo, execute, root};
use crate::setup;

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

fn make_clip(out: &Path) -> Result<()> {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-y", "-hide_banner", "-loglevel", "error"]);
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
    execute(&mut ffmpeg).context("making the demo clip; ffmpeg with libx264 is needed")
}

pub fn run() -> Result<()> {
    let out = root().join("out");
    std::fs::create_dir_all(&out).with_context(|| format!("making {}", out.display()))?;
    let (clip, covered, report) = (out.join("demo.mp4"), out.join("demo-covered.mp4"), out.join("demo-report.html"));
    let mut plugins = Vec::new();
    let mut stages = Stages::new(5);
    stages.run("set-up", || setup::fetch().map(drop))?;
    stages.run("plugins", || setup::plugins().map(|files| plugins = files))?;
    stages.run("the scrim binary", || cargo(&["build", "--release", "-p", "scrim-host"]))?;
    stages.run("a clip to cover", || make_clip(&clip))?;
    stages.run("covering it", || {
        for plugin in &plugins {
            scrim(&["plugin".as_ref(), "add".as_ref(), plugin.as_path()])?;
        }
        let flags = ["--cover", "FACE_*", "--policy", "cascade=skin-cascade@1.0.0", "--swap", "50%:cascade=skin-cascade@2.0.0"];
        let mut args = vec![Path::new("censor"), &clip, Path::new("-o"), &covered];
        args.extend(flags.iter().map(Path::new));
        args.extend([Path::new("--report"), &report]);
        scrim(&args)
    })?;
    stages.summary();
    println!("raw clip      {}", clip.display());
    println!("covered clip  {}", covered.display());
    println!("report        {}  (open it in a browser)", report.display());
    Ok(())
}

fn scrim(args: &[&Path]) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    execute(Command::new(cargo).args(["run", "--quiet", "--release", "-p", "scrim-host", "--"]).args(args))
}
