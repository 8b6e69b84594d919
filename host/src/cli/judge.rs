//! `scrim judge`: what the text policy says of a text, or of each row of a CSV file.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use serde::Serialize;

use super::{ConfigArg, Context, Failure, Outcome};
use crate::config::Config;
use crate::host::open_catalog;
use crate::media::frame::Micros;
use crate::plugin::catalog::{Catalog, Loaded, PluginName};
use crate::plugin::instance::{Budgets, PolicyInstance};
use crate::plugin::types::{Finding, Place, Reply, Request, Slot, Utterance, Word};
use crate::words::{self, Span};

/// The policy that judges where the configuration names none.
const POLICY_DEFAULT: &str = "profanity-context";
/// Nobody waits live for an answer here, so a long text may take its time.
const TEXT_BUDGET: Duration = Duration::from_secs(2);

/// Say what the text policy finds in a text, or in each row of a CSV file
///
/// The policy is the configuration's `policy.text`, otherwise the newest profanity-context of the catalog.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("input").required(true).args(["text", "file"])))]
pub struct Args {
    /// The text to judge
    text: Option<String>,
    /// A CSV file with a head line; every row is judged by itself
    #[arg(long, value_name = "FILE.csv")]
    file: Option<PathBuf>,
    /// The column of the file that holds the text
    #[arg(long, value_name = "NAME", default_value = "text", requires = "file")]
    column: String,
    /// Print a JSON object a text and line, in the order of the input
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArg,
}

/// One line of `--json`.
#[derive(Debug, Serialize)]
struct Line<'a> {
    /// Whether there is any finding.
    flagged: bool,
    /// Of the severest finding, 0..=1; 0 without any.
    severity: f32,
    findings: Vec<LineFinding<'a>>,
}

#[derive(Debug, Serialize)]
struct LineFinding<'a> {
    /// The words as they stand in the text.
    text: &'a str,
    /// Where they are: characters of the text, the end exclusive.
    start: usize,
    end: usize,
    /// Which words they are, counted from 0.
    first: u32,
    count: u32,
    category: &'a str,
    severity: f32,
    confidence: f32,
    reason: &'a str,
}

pub fn run(args: Args, _: &Context) -> Outcome {
    let config = args.config.load()?;
    let mut policy = Policy::start(&config)?;
    let mut out = BufWriter::new(io::stdout().lock());
    let paint = !args.json && io::stdout().is_terminal();
    let mut print = |text: &str, at: Option<usize>, policy: &mut Policy| -> anyhow::Result<()> {
        let spans = words::split(text);
        let findings = policy.judge(&spans)?;
        if args.json {
            serde_json::to_writer(&mut out, &line(text, &spans, &findings))?;
            writeln!(out)?;
        } else {
            show(&mut out, text, &spans, &findings, at, paint)?;
        }
        Ok(())
    };
    let printed = match (&args.text, &args.file) {
        (Some(text), _) => print(text, None, &mut policy).map_err(Failure::Run),
        (None, Some(path)) => each_row(path, &args.column, |text, row| {
            print(text, Some(row), &mut policy).with_context(|| format!("{}: row {row}, column \"{}\"", path.display(), args.column))
        }),
        (None, None) => unreachable!("clap asks for one of them"),
    };
    // A reader that has seen enough (`| head`) is no failure.
    match printed.and_then(|()| out.flush().map_err(Failure::from)) {
        Err(Failure::Run(error)) if closed_pipe(&error) => Ok(()),
        outcome => outcome,
    }
}

fn closed_pipe(error: &anyhow::Error) -> bool {
    let of_io = |cause: &(dyn std::error::Error + 'static)| match cause.downcast_ref::<io::Error>() {
        Some(error) => error.kind() == io::ErrorKind::BrokenPipe,
        None => cause.downcast_ref::<serde_json::Error>().and_then(serde_json::Error::io_error_kind) == Some(io::ErrorKind::BrokenPipe),
    };
    error.chain().any(of_io)
}

/// Calls `judge` with the text of each row and the row's number, counted from 1 below the head line.
fn each_row(path: &Path, column: &str, mut judge: impl FnMut(&str, usize) -> anyhow::Result<()>) -> Outcome {
    let file = File::open(path).map_err(|error| Failure::Usage(anyhow!("{} cannot be opened: {error}", path.display())))?;
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(file);
    let head = reader.byte_headers().map_err(|error| Failure::Usage(anyhow!("{} has no head line: {error}", path.display())))?.clone();
    // Spreadsheets put a byte-order mark before the first name.
    let name = |cell: &[u8]| String::from_utf8_lossy(cell.strip_prefix(b"\xef\xbb\xbf").unwrap_or(cell)).trim().to_owned();
    let Some(place) = head.iter().position(|cell| name(cell) == column) else {
        let there: Vec<String> = head.iter().map(name).collect();
        return Err(Failure::Usage(anyhow!("{} has no column \"{column}\"; there are {}", path.display(), there.join(", "))));
    };
    let mut record = csv::ByteRecord::new();
    for row in 1.. {
        let more = reader.read_byte_record(&mut record).with_context(|| format!("{}: row {row} cannot be read", path.display()))?;
        if !more {
            break;
        }
        let cell =
            record.get(place).ok_or_else(|| anyhow!("{}: row {row} has {} columns, none is \"{column}\"", path.display(), record.len()))?;
        judge(&String::from_utf8_lossy(cell), row)?;
    }
    Ok(())
}

/// The text policy, warm.
struct Policy {
    loaded: Arc<Loaded>,
    config: String,
    budgets: Budgets,
    instance: PolicyInstance,
}

impl Policy {
    fn start(config: &Config) -> Result<Self, Failure> {
        let catalog = open_catalog(config)?;
        let budgets = Budgets { text: TEXT_BUDGET, ..Budgets::default() };
        let (name, settings) = match &config.policy.text {
            Some(policy) => {
                (policy.plugin.to_string().parse::<PluginName>().map_err(|error| Failure::Usage(error.into()))?, &policy.config)
            }
            None => (newest(&catalog)?, &serde_json::Map::new()),
        };
        let loaded = catalog.load(&name)?;
        if loaded.slot != Slot::Text {
            return Err(Failure::Usage(anyhow!("{name} is no text policy, but one for the {} slot", loaded.slot)));
        }
        let config = serde_json::to_string(settings)?;
        loaded.check_config(&config).map_err(|faults| Failure::Usage(anyhow!("{name} does not take its settings: {faults}")))?;
        let instance = instance(&loaded, &config, &budgets)?;
        Ok(Self { loaded, config, budgets, instance })
    }

    fn judge(&mut self, spans: &[Span<'_>]) -> anyhow::Result<Vec<Finding>> {
        if self.instance.is_poisoned() {
            self.instance = instance(&self.loaded, &self.config, &self.budgets)?;
        }
        let words = spans.iter().map(|span| Word { text: span.text.to_owned(), confidence: 1.0, place: Place::Nowhere }).collect();
        let utterance = Arc::new(Utterance { words, ..Utterance::typed("text", "") });
        match self.instance.call(Micros::ZERO, &Request::Judge { utterance }) {
            Ok(Reply::Findings(findings)) => Ok(findings),
            Ok(other) => Err(anyhow!("{} answered something else: {other:?}", self.loaded.name)),
            Err(fault) => Err(anyhow!("{} gave no answer: {fault}", self.loaded.name)),
        }
    }
}

fn instance(loaded: &Arc<Loaded>, config: &str, budgets: &Budgets) -> anyhow::Result<PolicyInstance> {
    let mut instance = PolicyInstance::start(loaded, Micros::ZERO, budgets)?;
    instance.configure(Micros::ZERO, config)?.map_err(|refusal| anyhow!("{} refuses its settings: {refusal}", loaded.name))?;
    Ok(instance)
}

fn newest(catalog: &Catalog) -> Result<PluginName, Failure> {
    let names = catalog.list()?.into_iter().map(|(name, _)| name).filter(|name| name.name() == POLICY_DEFAULT);
    names.max_by(|a, b| a.version().cmp(b.version())).ok_or_else(|| {
        let root = catalog.root().display();
        Failure::Usage(anyhow!(
            "{root} holds no {POLICY_DEFAULT}: build it with `cargo xtask plugin build` and add it with `scrim plugin add FILE.wasm`"
        ))
    })
}

fn severest(findings: &[Finding]) -> f32 {
    findings.iter().map(|finding| finding.severity).fold(0.0, f32::max)
}

fn line<'a>(text: &'a str, spans: &[Span<'_>], findings: &'a [Finding]) -> Line<'a> {
    let characters = |bytes: usize| text[..bytes].chars().count();
    let found = |finding: &'a Finding| {
        let place = words::place(spans, finding.first, finding.count).unwrap_or(0..0);
        LineFinding {
            text: &text[place.clone()],
            start: characters(place.start),
            end: characters(place.end),
            first: finding.first,
            count: finding.count,
            category: finding.category.as_str(),
            severity: finding.severity,
            confidence: finding.confidence,
            reason: &finding.reason,
        }
    };
    Line { flagged: !findings.is_empty(), severity: severest(findings), findings: findings.iter().map(found).collect() }
}

/// The text with what was found marked, and a line a finding: in red on a terminal, otherwise between `»` and `«`.
fn show(out: &mut impl Write, text: &str, spans: &[Span<'_>], findings: &[Finding], row: Option<usize>, paint: bool) -> io::Result<()> {
    let (open, close) = if paint { ("\x1b[1;31m", "\x1b[0m") } else { ("»", "«") };
    // What is shown must not steer the terminal.
    let tame = |part: &str| part.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>();
    if let Some(row) = row {
        write!(out, "{row:>6}  ")?;
    }
    let mut shown = 0;
    for finding in findings {
        let Some(place) = words::place(spans, finding.first, finding.count).filter(|place| place.start >= shown) else { continue };
        write!(out, "{}{open}{}{close}", tame(&text[shown..place.start]), tame(&text[place.clone()]))?;
        shown = place.end;
    }
    writeln!(out, "{}", tame(&text[shown..]))?;
    if findings.is_empty() && row.is_none() {
        writeln!(out, "        nothing found")?;
    }
    for finding in findings {
        let Finding { severity, confidence, reason, .. } = finding;
        writeln!(out, "        {} · severity {severity:.2} · confidence {confidence:.2} · {}", finding.category.as_str(), tame(reason))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::types::Category;

    fn finding(first: u32, count: u32) -> Finding {
        Finding { first, count, category: Category::Profanity, severity: 0.5, confidence: 0.75, reason: "why".into() }
    }

    #[test]
    fn a_line_tells_where_in_characters() {
        let text = "où f u c k là";
        let found = [finding(1, 4)];
        let json = serde_json::to_value(line(text, &words::split(text), &found)).unwrap();
        assert_eq!((json["flagged"].as_bool(), json["severity"].as_f64()), (Some(true), Some(0.5)));
        let first = &json["findings"][0];
        assert_eq!((first["text"].as_str(), first["start"].as_u64(), first["end"].as_u64()), (Some("f u c k"), Some(3), Some(10)));
        assert_eq!(line("a", &words::split("a"), &[]).severity, 0.0);
    }

    #[test]
    fn people_see_the_words_marked() {
        let text = "well \x1bshit there";
        let mut out = Vec::new();
        show(&mut out, text, &words::split(text), &[finding(1, 1)], Some(7), false).unwrap();
        let out = String::from_utf8(out).unwrap();
        assert_eq!(out, "     7  well » shit« there\n        profanity · severity 0.50 · confidence 0.75 · why\n");
    }

    #[test]
    fn rows_come_in_order_and_faults_name_row_and_column() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        std::fs::write(&path, b"\xef\xbb\xbfid,text\n1,\"a, b\"\n2,\xff\n").unwrap();
        let mut seen = Vec::new();
        let each = |column, judge: &mut dyn FnMut(&str, usize) -> anyhow::Result<()>| each_row(&path, column, judge);
        assert!(
            each("text", &mut |text, row| {
                seen.push((row, text.to_owned()));
                Ok(())
            })
            .is_ok()
        );
        assert_eq!(seen, [(1, "a, b".to_owned()), (2, "\u{fffd}".to_owned())]);
        let Err(Failure::Usage(error)) = each("words", &mut |_, _| Ok(())) else { panic!("the column is not there") };
        assert!(error.to_string().contains("no column \"words\"; there are id, text"), "{error}");
        std::fs::write(&path, "id,text\n1,a\n2\n").unwrap();
        let Err(Failure::Run(error)) = each("text", &mut |_, _| Ok(())) else { panic!("row 2 is short") };
        assert!(error.to_string().contains("row 2 has 1 columns, none is \"text\""), "{error}");
    }
}
