//! The binary as a user meets it: what it says, where, and with which exit code.

use std::path::Path;
use std::process::{Command, Output};

type Fallible = Result<(), Box<dyn std::error::Error>>;

/// The binary with nothing of this machine's user in its environment: home and assets lie in `home`.
fn scrim(home: &Path, arguments: &[&str]) -> std::io::Result<Output> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    Command::new(env!("CARGO_BIN_EXE_scrim")).args(arguments).env_clear().env("PATH", path).env("HOME", home).current_dir(home).output()
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn every_fault_of_a_configuration_is_told_at_once_with_code_64() -> Fallible {
    let home = tempfile::tempdir()?;
    std::fs::write(
        home.path().join("scrim.toml"),
        "[room]\ndealy_ms = 300\nfail_mode = \"ajar\"\nlook_max_ms = 350\n[cover]\ncolor = \"red\"\n[detectors.nudity]\nthreshold = 2\n",
    )?;
    for command in ["doctor", "models"] {
        let output = scrim(home.path(), &[command, "--config", "scrim.toml"])?;
        assert_eq!(output.status.code(), Some(64));
        assert_eq!(out(&output), "", "nothing was begun");
        let lines: Vec<String> = err(&output).lines().map(str::to_owned).collect();
        assert_eq!(lines[0], "scrim: scrim.toml has 6 faults:");
        let keys: Vec<&str> = lines[1..].iter().filter_map(|line| line.trim().split(':').next()).collect();
        assert_eq!(
            keys,
            ["cover.color", "detectors.nudity.model", "detectors.nudity.threshold", "room.dealy_ms", "room.fail_mode", "room.look_max_ms"]
        );
    }
    Ok(())
}

#[test]
fn a_bad_command_line_is_code_64_and_help_is_none() -> Fallible {
    let home = tempfile::tempdir()?;
    for arguments in
        [&["nonsense"][..], &["doctor", "--nonsense"], &[], &["--log", "a=b=c", "doctor"], &["doctor", "--config", "absent.toml"]]
    {
        let output = scrim(home.path(), arguments)?;
        assert_eq!(output.status.code(), Some(64), "{arguments:?}: {}", err(&output));
        assert!(!err(&output).is_empty());
    }
    for arguments in [&["--help"][..], &["--version"], &["doctor", "--help"], &["help", "models"]] {
        let output = scrim(home.path(), arguments)?;
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(!out(&output).is_empty() && err(&output).is_empty());
    }
    Ok(())
}

#[test]
fn help_names_every_command_and_the_exit_codes() -> Fallible {
    let home = tempfile::tempdir()?;
    let help = out(&scrim(home.path(), &["--help"])?);
    let commands: Vec<&str> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(commands.contains(&"doctor") && commands.contains(&"models"), "{help}");
    assert!(help.contains("64 bad command line or configuration"));
    for command in commands.into_iter().filter(|command| *command != "help") {
        let page = out(&scrim(home.path(), &[command, "--help"])?);
        assert!(page.contains("Usage: scrim"), "{command}");
    }
    Ok(())
}

#[test]
fn doctor_says_what_is_missing_and_what_would_mend_it() -> Fallible {
    let home = tempfile::tempdir()?;
    let output = scrim(home.path(), &["doctor", "--json"])?;
    assert_eq!(output.status.code(), Some(1));
    let checks: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout)?;
    let of = |name: &str| checks.iter().find(|check| check["name"] == name).ok_or_else(|| format!("no check of {name} in {checks:?}"));
    let runtime = of("onnx runtime")?;
    assert_eq!((&runtime["state"], &runtime["fix"]), (&"missing".into(), &"cargo xtask fetch".into()));
    assert!(runtime["found"].as_str().is_some_and(|found| found.contains(".cache/scrim/assets/libonnxruntime.so")), "{runtime}");
    assert_eq!(of("model")?["state"], "missing");
    assert_eq!(of("data directory")?["state"], "ok");

    let table = scrim(home.path(), &["doctor"])?;
    assert_eq!(table.status.code(), Some(1));
    assert!(out(&table).contains("MISSING  onnx runtime") && out(&table).contains("→ cargo xtask fetch"), "{}", out(&table));
    Ok(())
}

#[test]
fn doctor_notices_a_data_directory_that_cannot_be_made() -> Fallible {
    let home = tempfile::tempdir()?;
    std::fs::write(home.path().join("file"), "in the way")?;
    std::fs::write(home.path().join("scrim.toml"), "data_dir = \"file/below\"")?;
    let output = scrim(home.path(), &["doctor", "--json", "--config", "scrim.toml"])?;
    let checks: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout)?;
    let check = checks.iter().find(|check| check["name"] == "data directory").ok_or("a check of the data directory")?;
    assert_eq!(check["state"], "missing");
    Ok(())
}

#[test]
fn models_names_licence_and_state_of_each_and_reads_further_ones() -> Fallible {
    let home = tempfile::tempdir()?;
    let declared = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../models/opennsfw.toml"))?;
    let own = declared.replace("name = \"opennsfw\"", "name = \"mine\"").replace("asset = \"opennsfw\"", "path = \"mine.onnx\"");
    std::fs::create_dir_all(home.path().join(".local/share/scrim/models"))?;
    std::fs::write(home.path().join(".local/share/scrim/models/mine.toml"), own)?;
    std::fs::write(home.path().join(".local/share/scrim/models/mine.onnx"), "no model")?;
    let output = scrim(home.path(), &["models", "--json"])?;
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let models: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout)?;
    let told: Vec<_> = models.iter().map(|model| (model["name"].as_str(), model["licence"].as_str(), model["state"].as_str())).collect();
    assert_eq!(
        told,
        [
            (Some("mine"), Some("BSD-2-Clause"), Some("changed")),
            (Some("nudenet-320n"), Some("AGPL-3.0"), Some("missing")),
            (Some("opennsfw"), Some("BSD-2-Clause"), Some("missing"))
        ]
    );
    Ok(())
}

#[test]
fn logs_are_json_lines_where_nobody_reads_along() -> Fallible {
    let home = tempfile::tempdir()?;
    let output = scrim(home.path(), &["--log", "info", "models"])?;
    let lines: Vec<serde_json::Value> = err(&output).lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    assert!(lines.iter().any(|line| line["level"] == "INFO" && line["model"] == "nudenet-320n"), "{lines:?}");
    Ok(())
}
