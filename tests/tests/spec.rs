//! The service is what its document says: schemathesis holds a real host against `/openapi.json` with all its checks, and the document lists
//! what the router has.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use scrim_host::media::frame::{FrameSeq, Micros};
use scrim_host::media::picture::{self, Limits};
use scrim_tests::built;
use scrim_tests::served::{Served, binary};
use serde_json::Value;
use tempfile::TempDir;

/// Examples of each operation; `SCRIM_SPEC_EXAMPLES` asks for more.
const EXAMPLES: &str = "8";

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Where `cargo xtask` makes the environment too: beside the build.
fn programs() -> Result<PathBuf> {
    let scrim = binary()?;
    let target = scrim.parent().and_then(Path::parent).context("the binary lies in a build folder")?;
    Ok(scrim_toolchain::python::environment(&target.join("spec"), &here("spec/requirements.txt"), &|line| eprintln!("{line}"))?)
}

/// Real pictures and plugins for the hooks.
fn files(folder: &Path) -> Result<()> {
    let png = std::fs::read(scrim_toolchain::assets::path("astronaut.png")?)?;
    let face = picture::decode(&png, Limits::default(), FrameSeq(0), Micros::ZERO)?;
    std::fs::write(folder.join("face.jpg"), picture::encode_jpeg(&face, 90)?)?;
    std::fs::write(folder.join("small.jpg"), picture::encode_preview(&face, 64, 70)?)?;
    let small = picture::decode(&std::fs::read(folder.join("small.jpg"))?, Limits::default(), FrameSeq(0), Micros::ZERO)?;
    std::fs::write(folder.join("small.png"), picture::encode_png(&small)?)?;
    for version in ["1.0.0", "2.0.0"] {
        std::fs::write(folder.join(format!("skin-cascade-{version}.wasm")), built::plugin("skin-cascade", version)?)?;
    }
    Ok(())
}

fn schemathesis(host: &Served, files: &Path) -> Result<()> {
    let examples = std::env::var("SCRIM_SPEC_EXAMPLES").unwrap_or_else(|_| EXAMPLES.to_owned());
    let seed = std::env::var("SCRIM_SPEC_SEED").unwrap_or_else(|_| "7".to_owned());
    let mut command = Command::new(programs()?.join("st"));
    command.arg("--config-file").arg(here("spec/schemathesis.toml")).arg("run").arg(host.url("/openapi.json"));
    command.args(["--checks", "all", "--continue-on-failure", "--max-examples", &examples, "--seed", &seed]);
    if let Some(key) = &host.key {
        command.arg("--header").arg(format!("Authorization: Bearer {key}")).env("SCRIM_SPEC_KEY", key);
    }
    command.env("SCHEMATHESIS_HOOKS", "hooks").env("PYTHONPATH", here("spec")).env("PYTHONDONTWRITEBYTECODE", "1");
    command.env("SCRIM_SPEC_URL", host.url("")).env("SCRIM_SPEC_FILES", files).current_dir(files);
    let output = command.output().context("schemathesis cannot be started")?;
    let said = String::from_utf8_lossy(&output.stdout);
    println!("{said}");
    ensure!(
        output.status.success(),
        "the service is not what its document says (seed {seed}): {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

#[test]
fn without_keys_every_check_passes() -> Result<()> {
    let (data, shared) = (TempDir::new()?, TempDir::new()?);
    files(shared.path())?;
    let host = Served::start(data.path(), "")?;
    schemathesis(&host, shared.path())?;
    host.terminate(Duration::from_secs(20))
}

#[test]
fn with_keys_every_check_passes() -> Result<()> {
    let (data, shared) = (TempDir::new()?, TempDir::new()?);
    files(shared.path())?;
    let made = Command::new(binary()?).args(["key", "spec", "admin"]).output()?;
    let said = String::from_utf8(made.stdout)?;
    let field =
        |name: &str| said.lines().find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned())).context("`scrim key` prints it");
    let keys = data.path().join("keys");
    std::fs::write(&keys, field("line")?)?;
    let mut host = Served::start(data.path(), &format!("[serve]\nkeys_file = {keys:?}"))?;
    host.key = Some(field("key")?);
    schemathesis(&host, shared.path())?;
    host.terminate(Duration::from_secs(20))
}

/// The document, the page that shows it, and the router know the same operations.
#[test]
fn the_docs_load_and_list_what_the_router_has() -> Result<()> {
    let data = TempDir::new()?;
    let host = Served::start(data.path(), "")?;
    let page = host.get("/docs/")?;
    ensure!(page.status == 200 && String::from_utf8_lossy(&page.body).contains("swagger-ui"), "/docs/ is no Swagger UI: {}", page.status);
    let start = String::from_utf8(host.get("/docs/swagger-initializer.js")?.body)?;
    ensure!(start.contains("/openapi.json"), "the docs do not show /openapi.json");
    let document = host.get("/openapi.json")?.expect(200)?;
    let paths = document["paths"].as_object().context("the document has paths")?;
    let mut ids = Vec::new();
    for (path, item) in paths {
        // Names that nothing has: what answers is the router, or the handler that misses them.
        let real = path.replace("{room}", "nobody").replace("{slot}", "text").replace("{plugin}", "nothing@1.0.0");
        let real = real.replace("{id}", "00000000-0000-7000-8000-000000000000");
        let methods: Vec<String> = item.as_object().context("a path has methods")?.keys().map(|method| method.to_uppercase()).collect();
        for method in &methods {
            let answer = host.send(method, &real, &[], &[])?;
            let detail = answer.json().map(|problem| problem["detail"].to_string()).unwrap_or_default();
            ensure!(
                !detail.contains("/docs lists what there is"),
                "{method} {path} is documented, but the router has no such route: {detail}"
            );
            ids.push(item[method.to_lowercase()]["operationId"].as_str().context("an operation has an id")?.to_owned());
        }
        // And no method more: the router says itself which it has.
        let refused = host.send("TRACE", &real, &[], &[])?;
        ensure!(refused.status == 405, "TRACE {real}: {}", refused.status);
        let allowed = refused.header("allow").context("405 says what is allowed")?.to_owned();
        for method in allowed.split(',').map(str::trim).filter(|method| *method != "HEAD") {
            ensure!(methods.iter().any(|known| known == method), "{method} {path} is answered but not documented");
        }
    }
    let count = ids.len();
    ids.sort();
    ids.dedup();
    ensure!(ids.len() == count && count >= 35, "operation ids are not unique, or operations are missing: {ids:?}");
    references(&document, &document)?;
    Ok(())
}

/// Whatever the document refers to is in it.
fn references(node: &Value, document: &Value) -> Result<()> {
    match node {
        Value::Object(members) => {
            if let Some(Value::String(to)) = members.get("$ref") {
                ensure!(document.pointer(to.trim_start_matches('#')).is_some(), "nothing is at {to}");
            }
            members.values().try_for_each(|member| references(member, document))
        }
        Value::Array(items) => items.iter().try_for_each(|item| references(item, document)),
        _ => Ok(()),
    }
}
