//! The binary as a user meets it: what it says, where, and with which exit code.

use std::path::Path;
use std::process::{Command, Output};

type Fallible = Result<(), Box<dyn std::error::Error>>;

/// The binary with nothing of this machine's user in its environment: home and assets lie in `home`.
fn command(home: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_scrim"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    command.args(arguments).env_clear().env("PATH", path).env("HOME", home).current_dir(home);
    command
}

fn scrim(home: &Path, arguments: &[&str]) -> std::io::Result<Output> {
    command(home, arguments).output()
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
        // What a line further in begins with is the rest of a long description.
        .filter_map(|line| line.strip_prefix("  ").filter(|line| !line.starts_with(' '))?.split_whitespace().next())
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
fn doctor_tells_of_livekit_and_misses_nothing_where_it_is_not_used() -> Fallible {
    let home = tempfile::tempdir()?;
    let assets = home.path().join(".cache/scrim/assets");
    std::fs::create_dir_all(&assets)?;
    // Nobody listens there.
    let unused = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let doctor = |config: &str| -> Result<Vec<serde_json::Value>, Box<dyn std::error::Error>> {
        std::fs::write(home.path().join("scrim.toml"), config)?;
        Ok(serde_json::from_slice(&scrim(home.path(), &["doctor", "--json", "--config", "scrim.toml"])?.stdout)?)
    };
    let told = |checks: &[serde_json::Value]| -> Vec<String> {
        let of_livekit = checks.iter().filter(|check| check["name"].as_str().is_some_and(|name| name.starts_with("livekit")));
        of_livekit
            .map(|check| format!("{} {}: {} → {}", check["name"], check["state"], check["found"], check["fix"]).replace('"', ""))
            .collect()
    };
    let [library, client, server, key] = &told(&doctor("")?)[..] else { return Err("four checks".into()) };
    assert!(library.starts_with("livekit library note") && library.ends_with("→ cargo xtask fetch"), "{library}");
    assert!(client.starts_with("livekit-client note") && client.ends_with("→ cargo xtask fetch --livekit"), "{client}");
    assert!(server.starts_with("livekit server note: none is named"), "{server}");
    assert!(key.starts_with("livekit key note: LIVEKIT_API_KEY and LIVEKIT_API_SECRET not set"), "{key}");

    std::fs::write(assets.join("livekit-client.js"), "")?;
    std::fs::write(assets.join("livekit-client.version"), "1.2.3 sha512-x\n")?;
    let [_, client, server, _] = &told(&doctor(&format!("[livekit]\nurl = \"ws://{unused}\""))?)[..] else {
        return Err("four checks".into());
    };
    assert!(client.starts_with("livekit-client ok") && client.contains("livekit-client.js 1.2.3"), "{client}");
    assert!(server.starts_with(&format!("livekit server note: ws://{unused} does not answer")), "{server}");
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
fn a_reader_that_has_gone_changes_nothing() -> Fallible {
    let home = tempfile::tempdir()?;
    let sdk = concat!(env!("CARGO_MANIFEST_DIR"), "/../sdk");
    let commands: [(&[&str], i32); 7] = [
        (&["doctor"], 1),
        (&["doctor", "--json"], 1),
        (&["models"], 0),
        (&["plugin", "list"], 0),
        (&["plugin", "list", "--json"], 0),
        (&["key", "ann", "viewer"], 0),
        (&["plugin", "new", "calm-cascade", "--slot", "cascade", "--sdk", sdk], 0),
    ];
    for (arguments, code) in commands {
        // Gone before the first line: after it, what is short would all be in the pipe.
        let (reader, writer) = std::io::pipe()?;
        drop(reader);
        let output = command(home.path(), arguments).stdout(writer).output()?;
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", err(&output));
        assert!(!err(&output).contains("panicked"), "{arguments:?}: {}", err(&output));
    }
    assert!(home.path().join("calm-cascade/src/lib.rs").is_file());
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

#[test]
fn censor_tells_every_fault_of_its_files_before_it_begins() -> Fallible {
    let home = tempfile::tempdir()?;
    let given = |name: &str| home.path().join(name);
    std::fs::write(given("in.mp4"), "kept")?;
    let refused = |arguments: &[&str]| -> Result<String, Box<dyn std::error::Error>> {
        let output = scrim(home.path(), &[&["censor"], arguments].concat())?;
        assert_eq!(output.status.code(), Some(64), "{arguments:?}: {}", err(&output));
        Ok(err(&output))
    };
    let told = refused(&["absent.mp4", "-o", "out", "--record", "nowhere/run.rec"])?;
    assert!(told.contains("IN: absent.mp4 is not a file"), "{told}");
    assert!(told.contains("OUT: out: the extension chooses the format; use one of .mp4"), "{told}");
    assert!(told.contains("--record: there is no folder nowhere"), "{told}");
    assert!(refused(&["in.mp4", "-o", "./in.mp4"])?.contains("OUT: ./in.mp4 is the input too"));
    assert!(refused(&["in.mp4", "-o", "out.mp4", "--record", "out.mp4"])?.contains("--record: out.mp4 is OUT too"));
    assert!(refused(&["in.mp4", "-o", "out.mp4", "--color", "red"])?.contains("#rrggbb"));
    assert!(refused(&["in.mp4", "-o", "out.mp4", "--swap", "50%:nose=a@1.0.0"])?.contains("cascade, text or threshold"));
    assert!(refused(&["in.mp4", "-o", "out.mp4", "--sampler", "fixed:0"])?.contains("fixed:N"));
    assert_eq!(std::fs::read_to_string(given("in.mp4"))?, "kept");
    assert!(!given("out.mp4").exists() && !given("run.rec").exists());
    Ok(())
}

#[test]
fn a_new_plugin_is_made_once() -> Fallible {
    let home = tempfile::tempdir()?;
    let sdk = concat!(env!("CARGO_MANIFEST_DIR"), "/../sdk");
    let new = |name: &str, slot: &str| scrim(home.path(), &["plugin", "new", name, "--slot", slot, "--sdk", sdk]);
    let made = new("calm-cascade", "cascade")?;
    assert_eq!(made.status.code(), Some(0), "{}", err(&made));
    assert!(out(&made).contains("scrim plugin add calm-cascade"));
    assert!(home.path().join("calm-cascade/src/lib.rs").is_file());
    for (name, slot) in [("calm-cascade", "cascade"), ("Calm", "text"), ("calm", "nose")] {
        assert_eq!(new(name, slot)?.status.code(), Some(64), "{name} {slot}");
    }
    Ok(())
}

#[test]
fn the_catalog_starts_empty_and_takes_no_rubbish() -> Fallible {
    let home = tempfile::tempdir()?;
    let list = scrim(home.path(), &["plugin", "list"])?;
    assert_eq!(list.status.code(), Some(0), "{}", err(&list));
    assert!(out(&list).contains("is empty; `scrim plugin add FILE.wasm|DIR` fills it"), "{}", out(&list));
    std::fs::write(home.path().join("rubbish.wasm"), "no component")?;
    let add = scrim(home.path(), &["plugin", "add", "rubbish.wasm"])?;
    assert_eq!(add.status.code(), Some(1));
    assert!(err(&add).contains("the file is no WebAssembly"), "{}", err(&add));
    assert_eq!(scrim(home.path(), &["plugin", "add", "absent.wasm"])?.status.code(), Some(64));
    for command in ["inspect", "test", "bench"] {
        let unknown = scrim(home.path(), &["plugin", command, "nobody@1.0.0"])?;
        assert_eq!(unknown.status.code(), Some(1), "{command}");
        assert!(err(&unknown).contains("no plugin `nobody@1.0.0` in the catalog"), "{}", err(&unknown));
        assert_eq!(scrim(home.path(), &["plugin", command, "neither"])?.status.code(), Some(64), "{command}");
    }
    assert_eq!(out(&scrim(home.path(), &["plugin", "list", "--json"])?).trim(), "[]");
    Ok(())
}
