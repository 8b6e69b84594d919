//! `scrim plugin record`: a recording of a running host's room, for replays.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Deserialize;

use super::size;
use crate::cli::client::{Client, HostArgs};
use crate::cli::{Context, Failure, Outcome, say};

/// Record what a room's policies are asked and decide, on a running host
///
/// Ends after --seconds, or with Ctrl-C, and writes the recording for `scrim plugin test --replay`. It holds thumbnails and texts of the room: handle it
/// as you would the stream. A room has one recording at a time.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The room's name, as `scrim rooms` lists it
    room: String,
    /// How long; without it until Ctrl-C
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: Option<u64>,
    /// Where the recording goes
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    host: HostArgs,
}

/// How often the line moves.
const TICK: Duration = Duration::from_millis(200);
/// Longer than anybody waits.
const SECONDS_FOREVER: Duration = Duration::from_secs(u32::MAX as u64);

#[derive(Deserialize)]
struct Recording {
    id: String,
    dropped: u64,
}

pub fn run(args: Args, context: &Context) -> Outcome {
    let client = Client::new(&args.host)?;
    let output = &args.output;
    // Whether the file can be written shows before anything is recorded; it appears when it is complete.
    let folder = output.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| ".".as_ref());
    let mut file = tempfile::NamedTempFile::new_in(folder)
        .map_err(|error| Failure::Usage(anyhow::anyhow!("{} cannot be written: {error}", output.display())))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("the runtime does not start")?;
    let recordings = ["rooms", &args.room, "recordings"];
    let started = runtime.block_on(async {
        // Heard from before the beginning: what was begun is ended too.
        let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
        let mut heard = tokio::time::timeout(Duration::ZERO, &mut interrupted).await.is_ok();
        let started: Recording = client.post(&recordings)?;
        let bar = context.bars.add(progress(args.seconds)?);
        let over = tokio::time::Instant::now() + args.seconds.map_or(SECONDS_FOREVER, Duration::from_secs);
        while !heard && tokio::time::Instant::now() < over {
            bar.set_position(bar.elapsed().as_secs());
            bar.tick();
            let next = over.min(tokio::time::Instant::now() + TICK);
            heard = tokio::time::timeout_at(next, &mut interrupted).await.is_ok();
        }
        bar.finish_and_clear();
        anyhow::Ok(started)
    })?;
    let stopped: Recording = client.post(&["rooms", &args.room, "recordings", "stop"])?;
    let bytes = client.download(&["rooms", &args.room, "recordings", &started.id], file.as_file_mut())?;
    file.persist(output).with_context(|| format!("writing {}", output.display()))?;
    say(format!("{}: {}", output.display(), size(usize::try_from(bytes).unwrap_or(usize::MAX))))?;
    if stopped.dropped > 0 {
        say(format!("{} entries found no place: a replay ends before them", stopped.dropped))?;
    }
    Ok(())
}

/// A line that shows how long it has been.
fn progress(seconds: Option<u64>) -> anyhow::Result<ProgressBar> {
    let (bar, template) = match seconds {
        Some(seconds) => (ProgressBar::new(seconds), "recording {wide_bar} {pos} of {len} s, Ctrl-C ends it"),
        None => (ProgressBar::no_length(), "{spinner} recording for {elapsed}, Ctrl-C ends it"),
    };
    Ok(bar.with_style(ProgressStyle::with_template(template)?))
}
