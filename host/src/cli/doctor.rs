//! `scrim doctor`: what is present, what is missing, and the command that would mend it.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use scrim_toolchain::assets::{self, LIVEKIT_CLIENT, LIVEKIT_FETCH};
use scrim_toolchain::guest::Toolchain;
use serde::Serialize;

use super::{ConfigArg, Context, Failure, Outcome, say};
use crate::config::{Config, Detector, DetectorName, LabelGlob, ServerUrl};
use crate::host;
use crate::infer::Detector as _;
use crate::infer::model::ModelSpec;
use crate::infer::onnx::{OnnxDetector, SessionOptions, check_file};
use crate::infer::provider::{self, GpuOptions};
use crate::infer::registry::Registry;
use crate::infer::runtime::Runtime;
use crate::room::settings::LabelSet;

/// Say what is present and what is missing, and how to mend it
///
/// Checks the machine, the programs and files that Scrim needs, and the configuration if one is given. Exits with 1 if something
/// is missing that `scrim censor` cannot do without.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    config: ConfigArg,
    /// Print a JSON array of checks instead of a table
    #[arg(long)]
    json: bool,
}

/// Brings what set-up fetches.
const FETCH: &str = "cargo xtask fetch";

/// How one check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    /// Works without, less well or not everything.
    Note,
    /// Nothing works without.
    Missing,
}

#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    state: State,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
}

impl Check {
    fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, state: State::Ok, found: found.into(), fix: None }
    }

    fn note(name: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { name, state: State::Note, found: found.into(), fix: Some(fix.into()) }
    }

    fn missing(name: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { name, state: State::Missing, found: found.into(), fix: Some(fix.into()) }
    }
}

pub fn run(args: Args, _: &Context) -> Outcome {
    let config = args.config.load()?;
    let mut checks = vec![machine(), data_dir(&config), ffmpeg()];
    checks.extend(inference(&config));
    checks.push(plugins(&config));
    checks.push(guest_toolchain());
    checks.extend(livekit(&config));
    if args.json {
        say(serde_json::to_string_pretty(&checks)?)?;
    } else {
        print(&checks)?;
    }
    if checks.iter().any(|check| check.state == State::Missing) { Err(Failure::No) } else { Ok(()) }
}

fn print(checks: &[Check]) -> std::io::Result<()> {
    let width = checks.iter().map(|check| check.name.len()).max().unwrap_or(0);
    for check in checks {
        let mark = match check.state {
            State::Ok => "ok     ",
            State::Note => "note   ",
            State::Missing => "MISSING",
        };
        say(format!("{mark}  {:width$}  {}", check.name, check.found))?;
        if let Some(fix) = &check.fix {
            say(format!("         {:width$}  → {fix}", ""))?;
        }
    }
    Ok(())
}

fn machine() -> Check {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    // Linux only; elsewhere the amount is left out.
    let total_kib = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        line.trim().trim_end_matches(" kB").parse::<u64>().ok()
    });
    let memory = total_kib.map_or(String::new(), |kib| format!(", {:.1} GiB memory", kib as f64 / (1 << 20) as f64));
    Check::ok("machine", format!("{cores} cores{memory}, {} {}", std::env::consts::OS, std::env::consts::ARCH))
}

fn data_dir(config: &Config) -> Check {
    const NAME: &str = "data directory";
    let Some(path) = config.data_dir() else {
        return Check::missing(NAME, "the user has no home directory", "set data_dir in scrim.toml, or XDG_DATA_HOME");
    };
    match writable(&path) {
        Ok(()) => Check::ok(NAME, format!("{} is writable", path.display())),
        Err(error) => Check::missing(
            NAME,
            format!("{} cannot be written: {error}", path.display()),
            "set data_dir in scrim.toml to a folder that can",
        ),
    }
}

/// Whether a file can be made in `folder`, which is made first if need be.
fn writable(folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    tempfile::tempfile_in(folder).map(drop)
}

fn ffmpeg() -> Check {
    const NAME: &str = "ffmpeg";
    let found = match crate::media::ffmpeg::find() {
        Ok(program) => program,
        Err(error) => return Check::missing(NAME, error.to_string(), "apt-get install ffmpeg"),
    };
    match first_line(Command::new(&found).arg("-version")) {
        Some(line) => Check::ok(NAME, format!("{}, {line}", found.display())),
        None => Check::missing(NAME, format!("{} does not run", found.display()), "apt-get install ffmpeg"),
    }
}

/// The runtime, what it would run on, and each configured detector's model.
fn inference(config: &Config) -> Vec<Check> {
    const RUNTIME: &str = "onnx runtime";
    let mut checks = Vec::new();
    let runtime = match host::runtime() {
        Ok(runtime) => {
            checks.push(Check::ok(RUNTIME, runtime.path().display().to_string()));
            checks.push(provider(runtime, config));
            Some(runtime)
        }
        Err(error) => {
            checks.push(Check::missing(RUNTIME, error.to_string(), FETCH));
            None
        }
    };
    match host::registry(config) {
        Ok(registry) => checks.extend(config.detectors.iter().map(|(name, detector)| model(name, detector, &registry, runtime))),
        Err(error) => checks.push(Check::missing("models", error.to_string(), "correct the declarations")),
    }
    checks
}

fn provider(runtime: &Runtime, config: &Config) -> Check {
    const NAME: &str = "execution provider";
    let gpu = GpuOptions { device: 0, cache: host::engine_cache(config) };
    match provider::probe(runtime, config.provider.choice.0, &gpu) {
        Ok(report) if report.tried.is_empty() => Check::ok(NAME, report.chosen.to_string()),
        Ok(report) => {
            let why = report.tried.iter().map(|tried| format!("not {}: {}", tried.provider, tried.why_not)).collect::<Vec<_>>().join("; ");
            Check::ok(NAME, format!("{}, {why}", report.chosen))
        }
        Err(error) => Check::missing(NAME, error.to_string(), "set provider.choice = \"auto\" in scrim.toml"),
    }
}

fn model(name: &DetectorName, detector: &Detector, registry: &Registry, runtime: Option<&Runtime>) -> Check {
    const NAME: &str = "model";
    let spec = match registry.get(&detector.model) {
        Ok(spec) => spec,
        Err(error) => return Check::missing(NAME, format!("detectors.{name}.model: {error}"), "scrim models"),
    };
    let file = match host::weights(&spec.weights) {
        Ok(file) => file,
        Err(error) => return Check::missing(NAME, error.to_string(), FETCH),
    };
    let Some(runtime) = runtime else {
        return match check_file(&spec, &file) {
            Ok(()) => Check::ok(NAME, about(&spec, name)),
            Err(error) => Check::missing(NAME, error.to_string(), FETCH),
        };
    };
    match OnnxDetector::open(runtime, spec.clone(), &file, &SessionOptions::cpu()) {
        Ok((opened, _)) => {
            let labels = opened.labels();
            let idle = |glob: &&LabelGlob| !labels.iter().any(|label| LabelSet::new([glob.0.as_str()]).contains(label));
            match detector.cover.iter().find(idle) {
                Some(glob) => Check::missing(
                    NAME,
                    format!("detectors.{name}.cover: {glob} matches no label of {}", spec.name),
                    format!("its labels are {}", labels.join(", ")),
                ),
                None => Check::ok(NAME, about(&spec, name)),
            }
        }
        Err(error) => Check::missing(NAME, error.to_string(), FETCH),
    }
}

fn about(spec: &ModelSpec, detector: &DetectorName) -> String {
    format!("{} for detectors.{detector}, licence {}", spec.name, spec.licence)
}

/// The engines start and their ticker, without which no plugin could be stopped, ticks; and what the catalog holds.
fn plugins(config: &Config) -> Check {
    const NAME: &str = "plugin engine";
    let catalog = match host::open_catalog(config) {
        Ok(catalog) => catalog,
        Err(error) => return Check::missing(NAME, error.to_string(), "set data_dir in scrim.toml to a folder that can be written"),
    };
    let health = catalog.engines().health();
    if !health.running {
        return Check::missing(NAME, format!("its ticker stands still since {:?}", health.last_tick_ago), "start scrim again");
    }
    match catalog.list() {
        Ok(names) if names.is_empty() => Check::note(NAME, "its ticker runs; the catalog is empty", "scrim plugin add FILE.wasm|DIR"),
        Ok(names) => Check::ok(NAME, format!("its ticker runs; {} plugins in the catalog", names.len())),
        Err(error) => Check::missing(NAME, error.to_string(), "move the file out of the way"),
    }
}

fn guest_toolchain() -> Check {
    const NAME: &str = "guest toolchain";
    match Toolchain::present() {
        Some(toolchain) => Check::ok(NAME, toolchain.way().to_string()),
        None => Check::note(NAME, "none, so no plugin can be built here", "rustup target add wasm32-unknown-unknown"),
    }
}

/// What rooms of LiveKit need. Nothing else does: all of it is a note.
fn livekit(config: &Config) -> [Check; 4] {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let url = set("LIVEKIT_URL").map(|url| url.parse::<ServerUrl>().map_err(|error| format!("LIVEKIT_URL: {error}")));
    let url = url.or_else(|| config.livekit.url.clone().map(Ok));
    let missing: Vec<_> = ["LIVEKIT_API_KEY", "LIVEKIT_API_SECRET"].into_iter().filter(|name| set(name).is_none()).collect();
    [asset("livekit library", "liblivekit_ffi.so", FETCH), asset("livekit-client", LIVEKIT_CLIENT, LIVEKIT_FETCH), server(url), {
        const NAME: &str = "livekit key";
        match missing[..] {
            [] => Check::ok(NAME, "LIVEKIT_API_KEY and LIVEKIT_API_SECRET are set"),
            _ => Check::note(
                NAME,
                format!("{} not set", missing.join(" and ")),
                "set both, as `keys` of the LiveKit server's configuration has them",
            ),
        }
    }]
}

/// A file that set-up fetches, with the version that was noted beside it.
fn asset(name: &'static str, file: &str, fetch: &str) -> Check {
    let path = match assets::folder() {
        Ok(folder) => folder.join(file),
        Err(error) => return Check::note(name, error.to_string(), fetch),
    };
    if !path.is_file() {
        return Check::note(name, format!("{} is not there", path.display()), fetch);
    }
    let version = std::fs::read_to_string(path.with_extension("version")).unwrap_or_default();
    let version = version.split_whitespace().next().unwrap_or_default();
    Check::ok(name, format!("{} {version}", path.display()).trim_end())
}

/// Whether the LiveKit server answers.
fn server(url: Option<Result<ServerUrl, String>>) -> Check {
    const NAME: &str = "livekit server";
    const WAIT: Duration = Duration::from_secs(3);
    let url = match url {
        None => {
            return Check::note(
                NAME,
                "none is named, so no room is moderated over LiveKit",
                "set livekit.url in scrim.toml, or LIVEKIT_URL",
            );
        }
        Some(Err(error)) => return Check::note(NAME, error, "correct it"),
        Some(Ok(url)) => url,
    };
    let agent = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(WAIT)).build().new_agent();
    match agent.get(url.http()).call() {
        // It answers "OK" to whoever asks.
        Ok(answer) if answer.status().is_success() => Check::ok(NAME, format!("{url} answers")),
        Ok(answer) => Check::note(NAME, format!("{url} answers {}", answer.status()), "see whether a LiveKit server is there"),
        Err(error) => Check::note(NAME, format!("{url} does not answer: {error}"), "start it, or correct livekit.url or LIVEKIT_URL"),
    }
}

/// The first line that a program prints; `None` if it cannot be run or fails.
fn first_line(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    String::from_utf8_lossy(&output.stdout).lines().next().map(str::to_owned)
}
