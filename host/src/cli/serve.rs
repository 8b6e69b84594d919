//! `scrim serve` and `scrim key`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, ensure};

use super::{ConfigArg, Context, Failure, Outcome, say};
use crate::api::auth::{Gate, Keys, Role, new_key};
use crate::api::{Metrics, router};
use crate::config::{BindAddress, Config};
use crate::host::{Host, HostError};
use crate::serve::livekit::LiveKit;
use crate::serve::{Service, demo};
use crate::store::Store;

/// How often the metrics' histograms are let go of what they hold back.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// Bytes of a clip that is offered to browsers, at most.
const CLIP_MAX: u64 = 256 << 20;

/// Serve rooms over HTTP and WebSocket
///
/// Listens on 127.0.0.1:7890 unless told otherwise; any address but a loopback one needs keys (`scrim key`). SIGTERM or Ctrl-C drains: no new
/// stream, what was captured is published, state is kept. `/docs` on the host lists what it answers.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where to listen, instead of the configured address
    #[arg(long, value_name = "ADDR")]
    bind: Option<BindAddress>,
    /// Folder of what is kept, instead of the configured one
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Make a room `demo` that shows this clip in a loop, raw and moderated side by side at `/`
    #[arg(long, value_name = "CLIP")]
    demo: Option<PathBuf>,
    /// Make a room `demo`, and offer this clip at `/broadcast` to those who have no camera; everybody who reaches the host can fetch it
    #[arg(long, value_name = "CLIP")]
    broadcast_clip: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigArg,
}

/// Make a bearer key
///
/// Prints the key, to be given to its user, and the line with its hash, to be put into the file of `serve.keys_file` or into SCRIM_KEYS. The key
/// itself is kept nowhere.
#[derive(Debug, clap::Args)]
pub struct KeyArgs {
    /// Whose it is
    name: String,
    /// viewer, publisher, operator or admin
    role: Role,
}

pub fn key(args: &KeyArgs) -> Outcome {
    if args.name.is_empty() || args.name.contains(|c: char| c.is_whitespace() || c == '#' || c == ';') {
        return Err(Failure::Usage(anyhow!("NAME: give one word without `#` and `;`")));
    }
    let (key, line) = new_key(&args.name, args.role).map_err(|error| anyhow!("no randomness for a key: {error}"))?;
    say(format!("key   {key}"))?;
    Ok(say(format!("line  {line}"))?)
}

pub fn run(args: Args, context: &Context) -> Outcome {
    let mut config = args.config.load()?;
    config.serve.bind = args.bind.unwrap_or(config.serve.bind);
    config.data_dir = args.data_dir.or(config.data_dir);
    let environment = std::env::var("SCRIM_KEYS").ok();
    let keys = Keys::read(config.serve.keys_file.as_deref(), environment.as_deref()).map_err(|error| Failure::Usage(error.into()))?;
    keys.suffice_for(config.serve.bind.0).map_err(|error| Failure::Usage(error.into()))?;
    if let Some(clip) = &args.demo {
        crate::media::file::probe(clip).map_err(|error| Failure::Usage(error.into()))?;
    }
    if let Some(clip) = &args.broadcast_clip {
        check_clip(clip).map_err(Failure::Usage)?;
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("serve").build().context("the runtime does not start")?;
    runtime.block_on(serve(config, keys, Clips { demo: args.demo, broadcast: args.broadcast_clip }, context))
}

/// What is shown and offered.
struct Clips {
    demo: Option<PathBuf>,
    broadcast: Option<PathBuf>,
}

/// A browser holds the whole clip in its memory.
fn check_clip(clip: &Path) -> anyhow::Result<()> {
    let about = std::fs::metadata(clip).with_context(|| format!("--broadcast-clip: {}", clip.display()))?;
    ensure!(about.is_file(), "--broadcast-clip: {} is not a file", clip.display());
    ensure!(about.len() <= CLIP_MAX, "--broadcast-clip: {} has more than {} MiB", clip.display(), CLIP_MAX >> 20);
    Ok(())
}

async fn serve(config: Config, keys: Keys, clips: Clips, context: &Context) -> Outcome {
    let data_dir = config.data_dir().ok_or(Failure::Usage(HostError::NoDataDir.into()))?;
    let livekit = LiveKit::from_environment(&config.livekit).map_err(|error| Failure::Usage(error.into()))?;
    // Taken first: a second host on the same address must not get as far as the store.
    let listener =
        tokio::net::TcpListener::bind(config.serve.bind.0).await.with_context(|| format!("cannot listen on {}", config.serve.bind))?;
    let address = listener.local_addr().context("the listener has no address")?;
    let metrics = Metrics::install().context("metrics cannot be counted")?;
    let spinner = context.spinner("loading models and warming up");
    let store = Store::open(&data_dir.join("scrim.db")).await?;
    let opened = tokio::task::spawn_blocking(move || Host::open(config)).await.context("opening the host failed")?;
    let host = opened.map_err(super::host_failure)?;
    let serve = host.config.serve.clone();
    let service = Service::start(host, store, data_dir).await?;
    spinner.finish_and_clear();
    if let Some(livekit) = livekit {
        service.moderate(Arc::new(livekit));
    }
    if let Some(clip) = clips.demo {
        demo::start(&service, clip).await?;
    }
    if let Some(clip) = clips.broadcast {
        demo::offer(&service, clip).await?;
    }
    let gate = Gate::new(keys, address, &serve.allowed_hosts, &serve.allowed_origins);
    let open = gate.keys.is_empty();
    say(format!("scrim serves on http://{address}  (page /, API /docs, health /health, metrics /metrics)"))?;
    say(match open {
        true => "no keys: whoever can reach this address from this machine may do everything",
        false => "a key is needed for /v1",
    })?;
    let upkeep = metrics.clone();
    tokio::spawn(async move {
        let mut tick = tokio::time::interval(UPKEEP_EVERY);
        loop {
            tick.tick().await;
            upkeep.upkeep();
        }
    });
    let app = router(service.clone(), gate, metrics);
    let timeout = Duration::from_secs(u64::from(serve.drain_timeout_s.get()));
    let draining = service.clone();
    let (drained, mut finished) = tokio::sync::oneshot::channel();
    let stopping = async move {
        stop_signal().await;
        tracing::info!("draining");
        tokio::spawn(async move {
            draining.drain(timeout).await;
            // Whoever waits for it may have failed.
            let _ = drained.send(());
        });
    };
    let served = axum::serve(listener, app).with_graceful_shutdown(stopping);
    tokio::select! {
        ended = served => {
            ended.context("serving ended")?;
            // The last connection may be gone before the last frame is out and the state is kept.
            let _ = finished.await;
        }
        // Connections that do not end by themselves do not hold the process up.
        _ = &mut finished => tokio::time::sleep(Duration::from_millis(200)).await,
    }
    Ok(say("drained")?)
}

async fn stop_signal() {
    let interrupt = tokio::signal::ctrl_c();
    #[cfg(unix)]
    {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut terminate) => tokio::select! {
                _ = interrupt => {}
                _ = terminate.recv() => {}
            },
            Err(error) => {
                tracing::warn!(%error, "SIGTERM is not heard, Ctrl-C is");
                let _ = interrupt.await;
            }
        }
    }
    #[cfg(not(unix))]
    {
        let _ = interrupt.await;
    }
}
