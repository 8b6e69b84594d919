//! `scrim censor`: the command line to a job, and a job's end to a finished file.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::anyhow;
use indicatif::{ProgressBar, ProgressStyle};

use super::{ConfigArg, Context, Failure, Outcome, host_failure, page::Page, say, summary};
use crate::censor::{self, Job, Swap};
use crate::config::{Color, Config, CoverStyle, LabelGlob, PluginVersion, Policy, Sampler};
use crate::host::Host;
use crate::media::file::{FileError, Probe, probe};
use crate::media::frame::Micros;
use crate::plugin::record::RECORDING_BYTES_MAX;
use crate::plugin::types::Slot;
use crate::speech::SoundRule;

/// Cover a clip: every frame is judged, what is to be covered is covered, the sound is kept
///
/// Reads any file that ffmpeg reads; the extension of OUT chooses the container (.mp4 .m4v .mov .mkv .webm, or .y4m for raw I420). As many frames come
/// out as go in. OUT appears when it is complete; until then the frames go to a file beside it.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The clip
    #[arg(value_name = "IN")]
    input: PathBuf,
    /// Where the covered clip goes
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,
    /// Labels to cover instead of the configured ones, such as 'FACE_*,*_EXPOSED'; `scrim models` lists them
    #[arg(long, value_name = "LABELS", value_delimiter = ',')]
    cover: Vec<LabelGlob>,
    /// How a covered area looks
    #[arg(long)]
    style: Option<CoverStyle>,
    /// The fill of solid covers, '#rrggbb'
    #[arg(long)]
    color: Option<Color>,
    /// Read the text in the picture, and cover what the text policy finds in it (--policy text=…)
    #[arg(long)]
    read: bool,
    /// Listen to the sound, and mute what the text policy finds in what is said (--policy text=…)
    #[arg(long)]
    listen: bool,
    /// Run as live, at the clip's own pace and with the room's delay; without it the whole clip is look-ahead
    #[arg(long)]
    realtime: bool,
    /// Which frames are looked at beyond the required ones: adaptive, prototype, fixed:N
    #[arg(long, value_name = "RULE")]
    sampler: Option<Sampler>,
    /// A policy for a slot, such as cascade=skin-cascade@2.0.0; may be given several times
    #[arg(long, value_name = "SLOT=NAME@VERSION")]
    policy: Vec<InSlot>,
    /// Replace a policy in mid-clip, such as 50%:cascade=skin-cascade@2.0.0 or 1:02.5:…; may be given several times
    #[arg(long, value_name = "TIME|PERCENT%:SLOT=NAME@VERSION")]
    swap: Vec<SwapAt>,
    /// Record every input and decision of the policies, for `scrim plugin test --replay`
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Write a page that shows what was decided and why, what was read and heard (masked), and the sound before and after
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigArg,
}

/// `SLOT=NAME@VERSION`.
#[derive(Clone, Debug, PartialEq)]
struct InSlot {
    slot: Slot,
    plugin: PluginVersion,
}

impl FromStr for InSlot {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (slot, plugin) = text.split_once('=').ok_or("give SLOT=NAME@VERSION, such as cascade=skin-cascade@2.0.0")?;
        Ok(Self { slot: slot.parse()?, plugin: plugin.parse().map_err(|error| format!("{error}"))? })
    }
}

/// When in the clip.
#[derive(Clone, Copy, Debug, PartialEq)]
enum When {
    At(Micros),
    /// Share of the clip, 0..=1.
    Share(f64),
}

impl FromStr for When {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("{text:?} is no time of a clip; give seconds (12.5), minutes and seconds (1:02.5), or a share (50%)");
        let number = |text: &str| text.parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0 && !text.starts_with('+'));
        if let Some(percent) = text.strip_suffix('%') {
            return number(percent).filter(|percent| *percent <= 100.0).map(|percent| Self::Share(percent / 100.0)).ok_or_else(bad);
        }
        let parts: Vec<&str> = text.strip_suffix('s').unwrap_or(text).split(':').collect();
        if parts.len() > 3 {
            return Err(bad());
        }
        let seconds = parts.iter().try_fold(0.0, |sum, part| Some(sum * 60.0 + number(part)?)).ok_or_else(bad)?;
        // Far past the longest clip, far from the end of the clock.
        if seconds > 1e9 { Err(bad()) } else { Ok(Self::At(Micros((seconds * 1e6).round() as u64))) }
    }
}

/// `TIME:SLOT=NAME@VERSION`.
#[derive(Clone, Debug, PartialEq)]
struct SwapAt {
    when: When,
    policy: InSlot,
}

impl FromStr for SwapAt {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        // The time may hold colons; what follows it holds none.
        let (when, policy) = text.rsplit_once(':').ok_or("give TIME:SLOT=NAME@VERSION, such as 50%:cascade=skin-cascade@2.0.0")?;
        Ok(Self { when: when.parse()?, policy: policy.parse()? })
    }
}

impl SwapAt {
    fn time(&self, probe: &Probe) -> Result<Micros, Failure> {
        match self.when {
            When::At(at) => Ok(at),
            When::Share(share) => {
                let length = probe.frames.map(|frames| probe.rate.time_of(frames)).or(probe.duration);
                let length = length.ok_or_else(|| {
                    Failure::Usage(anyhow!("the clip does not tell its length, so a swap needs a time instead of a share"))
                })?;
                Ok(Micros((length.0 as f64 * share).round() as u64))
            }
        }
    }
}

pub fn run(args: Args, context: &Context) -> Outcome {
    let config = configured(&args)?;
    check_files(&args)?;
    let clip = probe(&args.input).map_err(|error| match error {
        FileError::NotFound { .. } => Failure::Usage(error.into()),
        _ => Failure::Run(error.into()),
    })?;
    let style = config.style();
    let (words, replacement) = (config.text.read || config.speech.listen, SoundRule::of(&config).replacement);
    let host = Host::open(config).map_err(host_failure)?;
    let swaps = args.swap.iter().map(|swap| planned(swap, &clip, &host)).collect::<Result<Vec<_>, _>>()?;
    let partial = Partial::beside(&args.output);
    let spinner = context.bars.add(ProgressBar::new_spinner());
    let job = Job {
        input: &args.input,
        output: &partial.path,
        style,
        realtime: args.realtime,
        swaps,
        listened: &|at| spinner.set_message(format!("listened to {:.0} s of sound", at.as_secs_f32())),
        record: args.record.clone().map(|path| (path, RECORDING_BYTES_MAX)),
        transcribe: args.report.is_some(),
    };
    let (witness, observer) = summary::Witness::new(args.report.is_some());
    let mut page = args.report.as_ref().map(|_| Page::new(&args.input, &clip, style, words));
    let bar = progress_bar(context, &clip);
    let ran = censor::run(&host, job, observer, |progress| {
        spinner.finish_and_clear();
        bar.inc(1);
        if let Some(page) = &mut page {
            page.frame(&progress);
        }
    });
    bar.finish_and_clear();
    let outcome = match ran {
        Ok(outcome) => outcome,
        Err(error) => return Err(partial.kept(anyhow::Error::new(error))),
    };
    partial.publish(&args.output)?;
    let notes = witness.notes();
    let facts = summary::facts(&host, &outcome, &notes);
    say(summary::text(&args.output, &facts).trim_end())?;
    if let (Some(path), Some(page)) = (&args.report, page) {
        page.write(path, &outcome, replacement, &facts, &notes)?;
    }
    for (what, path) in [("recording", &args.record), ("report", &args.report)] {
        if let Some(path) = path {
            say(format!("{what:<12} {}", path.display()))?;
        }
    }
    if outcome.frames_out != outcome.counts.captured {
        return Err(Failure::Run(anyhow!("{} frames went in and {} came out", outcome.counts.captured, outcome.frames_out)));
    }
    Ok(())
}

/// The configuration with what the command line says instead.
fn configured(args: &Args) -> Result<Config, Failure> {
    let mut config = args.config.load()?;
    if !args.cover.is_empty() {
        config.detectors.values_mut().for_each(|detector| detector.cover = args.cover.clone());
    }
    config.cover.style = args.style.unwrap_or(config.cover.style);
    config.cover.color = args.color.unwrap_or(config.cover.color);
    config.text.read |= args.read;
    config.speech.listen |= args.listen;
    config.room.sampler = args.sampler.unwrap_or(config.room.sampler);
    for InSlot { slot, plugin } in &args.policy {
        let place = match slot {
            Slot::Cascade => &mut config.policy.cascade,
            Slot::Threshold => &mut config.policy.threshold,
            Slot::Text => &mut config.policy.text,
        };
        *place = Some(with_settings(plugin, place.as_ref()));
    }
    if (config.text.read || config.speech.listen) && config.policy.text.is_none() {
        return Err(Failure::Usage(anyhow!(
            "words are to be read or heard, but nothing judges it: name a policy with --policy text=NAME@VERSION or under policy.text in the configuration"
        )));
    }
    Ok(config)
}

/// A plugin with the settings that the configuration has for another version of it.
fn with_settings(plugin: &PluginVersion, configured: Option<&Policy>) -> Policy {
    let config = configured.filter(|policy| policy.plugin.name == plugin.name).map(|policy| policy.config.clone()).unwrap_or_default();
    Policy { plugin: plugin.clone(), config }
}

fn planned(swap: &SwapAt, clip: &Probe, host: &Host) -> Result<Swap, Failure> {
    let InSlot { slot, plugin } = &swap.policy;
    let configured = match slot {
        Slot::Cascade => &host.config.policy.cascade,
        Slot::Threshold => &host.config.policy.threshold,
        Slot::Text => &host.config.policy.text,
    };
    let (candidate, config) = host.candidate(&with_settings(plugin, configured.as_ref()))?;
    Ok(Swap { at: swap.time(clip)?, slot: *slot, candidate, config })
}

/// Every fault of the named files, before anything is begun.
fn check_files(args: &Args) -> Outcome {
    let mut faults = Vec::new();
    if !args.input.is_file() {
        faults.push(format!("IN: {} is not a file", args.input.display()));
    }
    if let Err(error) = crate::media::file::check_extension(&args.output) {
        faults.push(format!("OUT: {error}"));
    }
    let outputs = [("OUT", Some(&args.output)), ("--record", args.record.as_ref()), ("--report", args.report.as_ref())];
    let outputs: Vec<(&str, &PathBuf)> = outputs.into_iter().filter_map(|(name, path)| Some((name, path?))).collect();
    for (index, (name, path)) in outputs.iter().enumerate() {
        let folder = folder_of(path);
        if path.is_dir() {
            faults.push(format!("{name}: {} is a folder; give a file", path.display()));
        } else if !folder.is_dir() {
            faults.push(format!("{name}: there is no folder {}; make it first", folder.display()));
        } else if same_file(path, &args.input) {
            faults.push(format!("{name}: {} is the input too; choose another file", path.display()));
        } else if let Some((other, _)) = outputs[..index].iter().find(|(_, other)| same_file(path, other)) {
            faults.push(format!("{name}: {} is {other} too; choose another file", path.display()));
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(Failure::Usage(anyhow!("{}", faults.join("\n  ")))) }
}

/// The folder that a path lies in.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Whether two paths mean one file, be it there already or not.
fn same_file(a: &Path, b: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().ok().or_else(|| Some(folder_of(path).canonicalize().ok()?.join(path.file_name()?)));
    a == b || real(a).is_some_and(|a| real(b) == Some(a))
}

/// The file that is written until it is whole.
struct Partial {
    path: PathBuf,
}

impl Partial {
    /// `clip.partial.mp4` beside `clip.mp4`: the extension still chooses the container.
    fn beside(output: &Path) -> Self {
        let extension = output.extension().unwrap_or_default().to_string_lossy();
        Self { path: output.with_extension(format!("partial.{extension}")) }
    }

    fn publish(self, output: &Path) -> Outcome {
        std::fs::rename(&self.path, output).map_err(|error| {
            Failure::Run(anyhow!(
                "{} cannot be renamed to {}: {error}; the covered clip is in the former",
                self.path.display(),
                output.display()
            ))
        })
    }

    /// The error, with what is left of the output. Frames in it are covered like any.
    fn kept(self, error: anyhow::Error) -> Failure {
        match std::fs::metadata(&self.path) {
            Ok(file) if file.len() > 0 => {
                Failure::Run(error.context(format!("OUT was not made; what was covered until the failure is in {}", self.path.display())))
            }
            _ => {
                // Nothing in it: nothing to keep, and nothing lost if it cannot be removed.
                let _ = std::fs::remove_file(&self.path);
                Failure::Run(error)
            }
        }
    }
}

fn progress_bar(context: &Context, clip: &Probe) -> ProgressBar {
    let (bar, template) = match clip.frames {
        Some(frames) => (ProgressBar::new(frames), "{bar:40} {pos}/{len} frames  {per_sec}  {eta} left"),
        None => (ProgressBar::no_length(), "{spinner} {pos} frames  {per_sec}  {elapsed}"),
    };
    let style = ProgressStyle::with_template(template).map(|style| style.with_key("per_sec", per_second));
    context.bars.add(bar).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn per_second(state: &indicatif::ProgressState, to: &mut dyn std::fmt::Write) {
    // A progress bar that cannot be written is no reason to stop.
    let _ = write!(to, "{:.1} frames/s", state.per_sec());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swaps_are_read() {
        let at = |text: &str| text.parse::<SwapAt>().map(|swap| swap.when);
        assert_eq!(at("50%:cascade=a@1.0.0"), Ok(When::Share(0.5)));
        assert_eq!(at("12.5:cascade=a@1.0.0"), Ok(When::At(Micros(12_500_000))));
        assert_eq!(at("3s:threshold=a@1.0.0"), Ok(When::At(Micros(3_000_000))));
        assert_eq!(at("1:02.5:cascade=a@1.0.0"), Ok(When::At(Micros(62_500_000))));
        assert_eq!(at("1:00:00:cascade=a@1.0.0"), Ok(When::At(Micros(3_600_000_000))));
        for bad in [
            "cascade=a@1.0.0",
            "101%:cascade=a@1.0.0",
            "-1:cascade=a@1.0.0",
            "x:cascade=a@1.0.0",
            "inf:cascade=a@1.0.0",
            "1:2:3:4:cascade=a@1.0.0",
        ] {
            assert!(at(bad).is_err(), "{bad}");
        }
        let policy = |text: &str| text.parse::<InSlot>().unwrap_err();
        assert!(policy("cascade").contains("SLOT=NAME@VERSION"));
        assert!(policy("nose=a@1.0.0").contains("cascade, text or threshold"));
        assert!(policy("cascade=a").contains("NAME@VERSION"));
    }

    #[test]
    fn settings_stay_with_their_plugin() {
        let version = |text: &str| text.parse::<PluginVersion>().expect("a version");
        let config = serde_json::json!({ "a": 1 }).as_object().cloned().expect("an object");
        let configured = Policy { plugin: version("cat@1.0.0"), config: config.clone() };
        assert_eq!(with_settings(&version("cat@2.0.0"), Some(&configured)).config, config);
        assert!(with_settings(&version("dog@2.0.0"), Some(&configured)).config.is_empty());
    }

    #[test]
    fn one_file_by_two_names_is_noticed() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.mp4");
        assert!(same_file(&path, &folder.path().join(".").join("a.mp4")));
        assert!(!same_file(&path, &folder.path().join("b.mp4")));
    }

    #[test]
    fn the_partial_file_keeps_the_container() {
        assert_eq!(Partial::beside(Path::new("x/clip.mp4")).path, Path::new("x/clip.partial.mp4"));
    }
}
