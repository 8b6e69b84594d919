//! `/v1/plugins`: the catalog over HTTP.

use anyhow::{Context, Result, ensure};
use scrim_host::plugin::types::Slot;
use scrim_tests::built;
use scrim_tests::guest::{Guest, Hook, deed};
use scrim_tests::served::Served;
use serde_json::{Value, json};

use super::shared::{Shared, add, problem, put, raw, room};

static HOST: Shared = Shared::new();

fn names(host: &Served) -> Result<Vec<String>> {
    let list = host.get("/v1/plugins")?.expect(200)?;
    Ok(list.as_array().context("a list")?.iter().filter_map(|plugin| plugin["plugin"].as_str().map(str::to_owned)).collect())
}

fn named(name: &str, mark: f32) -> Guest {
    Guest::new(Slot::Cascade, "1.2.3", mark).named(name)
}

#[test]
fn the_shipped_plugins_are_listed_with_their_schemas() -> Result<()> {
    let host = HOST.host()?;
    let names = names(&host)?;
    for plugin in ["adaptive-threshold@1.0.0", "profanity-context@2.0.0", "skin-cascade@1.0.0", "skin-cascade@2.0.0"] {
        ensure!(names.contains(&plugin.to_owned()), "{plugin} in {names:?}");
    }
    ensure!(names.is_sorted(), "{names:?}");
    let text = host.get("/v1/plugins/profanity-context@2.0.0")?.expect(200)?;
    ensure!(text["slot"] == "text" && text["class"] == "sandbox" && text["size"].as_u64() > Some(10_000), "{text}");
    ensure!(text["digest"].as_str().map(str::len) == Some(64) && text["config_schema"]["properties"]["deny"].is_object(), "{text}");
    Ok(())
}

#[test]
fn a_component_and_a_core_module_are_taken_and_given_back() -> Result<()> {
    let host = HOST.host()?;
    let forms = [("whole", named("whole", 0.5).component()?), ("bare", named("bare", 0.5).module()?)];
    for (name, bytes) in forms {
        let path = format!("/v1/plugins/{name}@1.2.3");
        problem(host.get(&path)?, 404)?;
        let added = add(&host, &bytes)?.expect(201)?;
        ensure!(added["plugin"] == format!("{name}@1.2.3") && added["slot"] == "cascade", "{added}");
        ensure!(host.get(&path)?.expect(200)? == added && names(&host)?.contains(&format!("{name}@1.2.3")), "{added}");
        // The same bytes once more change nothing.
        ensure!(add(&host, &bytes)?.expect(201)? == added, "{added}");
        // Other bytes are another plugin, which needs another name.
        let detail = problem(add(&host, &named(name, 0.25).doing(Hook::Judge, deed::LOG_LONG).component()?)?, 409)?;
        ensure!(detail.contains("raise the version"), "{detail}");
        host.send("DELETE", &path, &[], &[])?.expect(204)?;
        problem(host.get(&path)?, 404)?;
        problem(host.send("DELETE", &path, &[], &[])?, 404)?;
    }
    // A plugin that gives itself out for a shipped one has other bytes.
    problem(add(&host, &built::guest("impostor")?)?, 409)?;
    Ok(())
}

#[test]
fn a_plugin_in_use_stays() -> Result<()> {
    let host = HOST.host()?;
    room(&host, "user", json!({}))?;
    for (name, mark) in [("kept", 0.5), ("later", 0.25), ("watcher", 0.75)] {
        add(&host, &named(name, mark).doing(Hook::Snapshot, &format!("(drop (i32.const {}))", name.len())).component()?)?.expect(201)?;
    }
    let in_use = |plugin: &str| problem(host.send("DELETE", &format!("/v1/plugins/{plugin}"), &[], &[])?, 409);
    ensure!(in_use("skin-cascade@2.0.0")?.contains("global cascade policy"), "the file's choice");
    put(&host, "user", "cascade", "kept@1.2.3", json!({}))?.expect(200)?;
    ensure!(in_use("kept@1.2.3")?.contains("room \"user\""), "the room's choice");
    put(&host, "user", "cascade", "later@1.2.3", json!({}))?.expect(200)?;
    in_use("kept@1.2.3").context("where a rollback returns to")?;
    host.json("POST", "/v1/rooms/user/policy/cascade/shadow", &json!({ "plugin": "watcher@1.2.3" }))?.expect(200)?;
    in_use("watcher@1.2.3").context("a shadow")?;
    // Nobody's any more.
    host.send("POST", "/v1/rooms/user/policy/cascade/discard", &[], &[])?.expect(200)?;
    host.send("DELETE", "/v1/plugins/watcher@1.2.3", &[], &[])?.expect(204)?;
    host.send("DELETE", "/v1/rooms/user", &[], &[])?.expect(204)?;
    for plugin in ["kept@1.2.3", "later@1.2.3"] {
        host.send("DELETE", &format!("/v1/plugins/{plugin}"), &[], &[])?.expect(204)?;
    }
    Ok(())
}

#[test]
fn what_is_no_plugin_is_refused_with_the_reason() -> Result<()> {
    let host = HOST.host()?;
    let before = names(&host)?.len();
    let shipped = built::plugin("skin-cascade", "1.0.0")?;
    let cases: [(&str, Vec<u8>, &str); 9] = [
        ("nothing", Vec::new(), "no WebAssembly"),
        ("garbage", b"hello, world of plugins".to_vec(), "no WebAssembly"),
        ("half a component", shipped[..shipped.len() / 2].to_vec(), ""),
        ("an empty module", b"\0asm\x01\0\0\0".to_vec(), ""),
        ("another contract", named("future", 0.5).contract("0.9.0").component()?, "0.9.0"),
        ("a thief", named("thief", 0.5).importing("vault").component()?, "vault"),
        ("a thief with the SDK", built::guest("forbidden")?, "bank:vault"),
        ("no name", named("Not A Name", 0.5).component()?, "no plugin name"),
        ("lost before it says who it is", named("mute", 0.5).doing(Hook::Describe, deed::TRAP).component()?, "asked who it is"),
    ];
    for (what, bytes, said) in cases {
        let detail = problem(add(&host, &bytes)?, 422).with_context(|| what.to_owned())?;
        ensure!(detail.contains(said), "{what}: {detail}");
    }
    ensure!(
        names(&host)?.len() >= before && !names(&host)?.iter().any(|name| name.starts_with("mute") || name.starts_with("future")),
        "none is kept"
    );
    problem(host.get("/v1/plugins/nonsense")?, 404)?;
    problem(host.get("/v1/plugins/..%2Fkey@1.0.0")?, 404)?;
    Ok(())
}

#[test]
fn an_upload_of_more_than_48_mebibytes_is_answered_413() -> Result<()> {
    let host = HOST.host()?;
    let mut body = vec![0; (48 << 20) + 1];
    body[..8].copy_from_slice(b"\0asm\x01\0\0\0");
    problem(add(&host, &body)?, 413)?;
    let head =
        format!("POST /v1/plugins HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", host.address, body.len());
    problem(raw(&host, &head, &body)?, 413)?;
    // As much as is taken is looked at, and is no plugin.
    problem(add(&host, &body[..48 << 20])?, 422)?;
    let list: Value = host.get("/v1/plugins")?.expect(200)?;
    ensure!(list.as_array().is_some_and(|list| list.len() >= 4), "the host goes on");
    Ok(())
}
