//! `cargo xtask demo`: a clip of real photographs and films with hard cuts, served live, raw and moderated side by side; or, with `--file`,
//! covered into a file while one cascade is swapped for the other; or, with `--livekit`, a LiveKit room with a page to broadcast and one to
//! watch.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Args;
use scrim_toolchain::clip;

use crate::run::{Stages, built, cargo, execute, root};
use crate::{livekit, setup};

/// What the demo takes.
#[derive(Args)]
pub struct Demo {
    /// Cover the clip into a file and write a report, instead of serving it live
    #[arg(long)]
    file: bool,
    /// Where the live demo listens, on 127.0.0.1
    #[arg(long, default_value_t = 7890, conflicts_with = "file")]
    port: u16,
    /// Moderate a LiveKit room instead: one page broadcasts a camera, another one shows what is passed on
    #[arg(long, conflicts_with = "file")]
    livekit: bool,
    /// What can be broadcast where there is no camera, instead of the demo's clip; a file that browsers play
    #[arg(long, value_name = "FILE", requires = "livekit")]
    clip: Option<PathBuf>,
    /// This machine's address that media goes over, if it is not to be found out
    #[arg(long, requires = "livekit")]
    address: Option<Ipv4Addr>,
}

pub fn run(demo: &Demo) -> Result<()> {
    let out = root().join("out");
    std::fs::create_dir_all(&out).with_context(|| format!("making {}", out.display()))?;
    if demo.file { cover(&out) } else { serve(&out, demo) }
}

/// Everything that both demos need: the clip's file, and the plugins' ones.
fn prepare(stages: &mut Stages, out: &Path) -> Result<(PathBuf, Vec<PathBuf>)> {
    let clip = out.join("demo.mp4");
    let mut plugins = Vec::new();
    stages.run("set-up", || setup::fetch().map(drop))?;
    stages.run("plugins", || setup::plugins().map(|files| plugins = files))?;
    stages.run("the scrim binary", || cargo(&["build", "--release", "--workspace", "--bin", "scrim"]))?;
    stages.run("a clip to cover", || Ok(clip::make(&clip)?))?;
    Ok((clip, plugins))
}

fn cover(out: &Path) -> Result<()> {
    let mut stages = Stages::new(5);
    let (clip, plugins) = prepare(&mut stages, out)?;
    let (covered, report) = (out.join("demo-covered.mp4"), out.join("demo-report.html"));
    stages.run("covering it", || {
        for plugin in &plugins {
            execute(built("scrim").args(["plugin", "add"]).arg(plugin))?;
        }
        let flags = ["--cover", "FACE_*", "--policy", "cascade=skin-cascade@1.0.0", "--swap", "50%:cascade=skin-cascade@2.0.0"];
        execute(built("scrim").arg("censor").arg(&clip).arg("-o").arg(&covered).args(flags).arg("--report").arg(&report))
    })?;
    stages.summary();
    println!("raw clip      {}", clip.display());
    println!("covered clip  {}", covered.display());
    println!("report        {}  (open it in a browser)", report.display());
    Ok(())
}

/// Serves until Ctrl-C, which the host takes as the word to drain.
fn serve(out: &Path, demo: &Demo) -> Result<()> {
    let port = demo.port;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    // Found out before minutes of set-up; the host takes the address itself later.
    TcpListener::bind(address).map(drop).with_context(|| {
        format!("{address} cannot be listened on; end what listens there, or give another one: `cargo xtask demo --port PORT`")
    })?;
    if let Some(clip) = &demo.clip {
        ensure!(clip.is_file(), "--clip: {} is not a file", clip.display());
    }
    let server = demo.livekit.then(|| livekit::Server::choose(demo.address)).transpose()?;
    let mut stages = Stages::new(5 + usize::from(server.is_some()));
    let (clip, plugins) = prepare(&mut stages, out)?;
    if server.is_some() {
        stages.run("LiveKit's server and browser client", setup::livekit)?;
    }
    let data = out.join("demo-data").join(port.to_string());
    let config = data.join("scrim.toml");
    stages.run("a data folder of its own", || {
        // Begun anew each time: what one demo learned from reports is not the next one's.
        if data.exists() {
            std::fs::remove_dir_all(&data).with_context(|| format!("emptying {}", data.display()))?;
        }
        std::fs::create_dir_all(&data).with_context(|| format!("making {}", data.display()))?;
        let more = server.as_ref().map(livekit::Server::settings).unwrap_or_default();
        let text = format!("{}{more}", configuration(&data, address));
        std::fs::write(&config, text).with_context(|| format!("writing {}", config.display()))?;
        plugins.iter().try_for_each(|plugin| execute(built("scrim").args(["plugin", "add"]).arg(plugin).arg("--config").arg(&config)))
    })?;
    stages.summary();
    if let Some(server) = server {
        // Its folder is that of whoever asks, the host's is the repository's.
        let clip = demo.clip.as_ref().map_or(Ok(clip), std::path::absolute).context("--clip")?;
        return livekit::serve(&server, &data, &config, &clip, address);
    }
    println!("page      http://{address}/");
    println!("API       http://{address}/docs");
    println!("settings  {}", config.display());
    println!("Ctrl-C drains and ends it.");
    become_it(built("scrim").arg("serve").arg("--demo").arg(&clip).arg("--config").arg(&config))
}

fn configuration(data: &Path, address: SocketAddr) -> String {
    format!(
        "data_dir = {data:?}\n\
         [serve]\nbind = \"{address}\"\n\
         [detectors.nudity]\nmodel = \"nudenet-320n\"\ncover = [\"FACE_*\"]\n\
         [policy.cascade]\nplugin = \"skin-cascade@2.0.0\"\n\
         [policy.text]\nplugin = \"profanity-context@2.0.0\"\n\
         [policy.threshold]\nplugin = \"adaptive-threshold@1.0.0\"\n"
    )
}

/// Gives this process over to the command, so that Ctrl-C is the command's alone.
#[cfg(unix)]
fn become_it(command: &mut Command) -> Result<()> {
    use std::os::unix::process::CommandExt;
    let error = command.current_dir(root()).env("PATH", clip::program_path()?).exec();
    Err(error).with_context(|| format!("{} could not be run", command.get_program().display()))
}

#[cfg(not(unix))]
fn become_it(command: &mut Command) -> Result<()> {
    execute(command)
}
