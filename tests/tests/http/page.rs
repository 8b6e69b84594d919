//! docs/http.md, run: every line of its shell blocks against a real host, each with the status that the page says.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::shared::{face_jpeg, start, text};

const PAGE: &str = include_str!("../../../docs/http.md");
/// The address on the page.
const ADDRESS: &str = "http://127.0.0.1:7890";

/// In front of the real curl: its statuses go to a file. A time limit that the page asks for is no failure.
const WRAPPER: &str = r#"#!/bin/sh
"$REAL_CURL" --silent --show-error --write-out '%{stderr}%{http_code}\n' "$@" 2>"$STATUSES.now"
code=$?
tail -n 1 "$STATUSES.now" >>"$STATUSES"
case "$code $*" in "28 "*--max-time*) code=0 ;; esac
[ $code -eq 0 ] || { echo "curl $*: exit status $code" >&2; cat "$STATUSES.now" >&2; }
exit $code
"#;

/// The page's shell blocks.
fn blocks() -> Vec<&'static str> {
    PAGE.split("\n```sh\n").skip(1).filter_map(|rest| rest.split("\n```").next()).collect()
}

/// The status behind each line that asks the host.
fn expected(block: &str) -> Result<Vec<String>> {
    let asks = block.lines().filter(|line| line.contains("curl "));
    asks.map(|line| Ok(line.rsplit_once("# → ").with_context(|| format!("no status behind: {line}"))?.1.to_owned())).collect()
}

fn which(program: &str) -> Result<String> {
    let output = Command::new("sh").args(["-c", &format!("command -v {program}")]).output()?;
    ensure!(output.status.success(), "this test needs {program}");
    Ok(text(&output.stdout).trim().to_owned())
}

fn executable(path: &Path, script: &str) -> Result<()> {
    std::fs::write(path, script)?;
    let made = Command::new("chmod").arg("+x").arg(path).status()?;
    ensure!(made.success(), "chmod {}", path.display());
    Ok(())
}

#[test]
fn every_line_of_the_page_answers_what_the_page_says() -> Result<()> {
    let blocks = blocks();
    ensure!(blocks.len() >= 14, "{} blocks", blocks.len());
    let host = start("")?;
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("face.jpg"), face_jpeg()?)?;
    let bin = folder.path().join("bin");
    std::fs::create_dir(&bin)?;
    executable(&bin.join("curl"), WRAPPER)?;
    // One shell, so that variables last; a marker after each block tells whose statuses are whose.
    let mut script = String::from("set -e\n");
    for block in &blocks {
        script += &format!("{}\necho end >>\"$STATUSES\"\n", block.replace(ADDRESS, &host.url("")));
    }
    ensure!(!script.contains(":7890"), "an address that the test does not know");
    let statuses = folder.path().join("statuses");
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
    let output = Command::new("sh")
        .args(["-c", &script])
        .current_dir(folder.path())
        .env("PATH", path)
        .env("REAL_CURL", which("curl")?)
        .env("STATUSES", &statuses)
        .env("SCRIM_KEY", "scrim_any")
        .output()?;
    let said = text(&output.stderr);
    let told = std::fs::read_to_string(&statuses).unwrap_or_default();
    ensure!(output.status.success(), "{}: {said}\nstatuses: {told}", output.status);
    let mut told = told.split("end\n");
    for block in &blocks {
        let now: Vec<&str> = told.next().context("a block's statuses")?.lines().collect();
        ensure!(now == expected(block)?, "{now:?} from:\n{block}\n{said}\n{}", text(&output.stdout));
    }
    // What the page says of the files that its lines leave.
    let headers = std::fs::read_to_string(folder.path().join("headers.txt"))?;
    ensure!(headers.to_ascii_lowercase().contains("x-scrim-verdict: {"), "{headers}");
    ensure!(std::fs::read(folder.path().join("covered.jpg"))?.starts_with(&[0xff, 0xd8, 0xff]), "a covered picture");
    let answers = text(&output.stdout);
    ensure!(answers.contains("\"masked\":\"no a********, please\"") || answers.contains("\"masked\":\"no a********,"), "{answers}");
    ensure!(answers.matches("event: ").count() > 0 && answers.contains("\"counted\":true"), "{answers}");
    Ok(())
}
