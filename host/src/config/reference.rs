//! `docs/configuration.md`, written from the schema, so that it cannot say anything else than the code.

use std::fmt::Write as _;

use serde_json::Value;

use super::schema;

const HEAD: &str = "# Configuration

`scrim.toml` is read by `--config FILE`. Every key is optional, an unknown one is refused, and all faults are reported at once, each with
its key and what to do about it (exit code 64). `scrim doctor --config FILE` checks a file and does nothing else with it.

This page is made from the schema in `host/src/config.rs`; a test fails when the two differ (`SCRIM_BLESS=1 cargo test -p scrim-host --release --lib config` rewrites it).

```toml
[room]
fail_mode = \"closed\"
delay_ms = 400

[cover]
style = \"pixelate\"

[detectors.nudity]
model = \"nudenet-320n\"
threshold = 0.25
cover = [\"*_EXPOSED\", \"FACE_*\"]

[policy.cascade]
plugin = \"skin-cascade@2.0.0\"
config = {}
```

The relation between the times: `look_max_ms` ≤ `delay_ms` − the largest `look_budget_ms` − one frame of the source. With the defaults at
30 frames/s that is 400 − 60 − 33 = 307 ms. A setting that cannot work is refused with the least delay that would.
";

/// The page.
pub fn markdown() -> String {
    let mut page = HEAD.to_owned();
    section(&mut page, "", schema());
    page
}

fn section(page: &mut String, name: &str, node: &Value) {
    let mut tables = Vec::new();
    let mut rows = String::new();
    let required: Vec<&str> = node["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (key, child) in node["properties"].as_object().into_iter().flatten() {
        let at = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
        if let Some(inner) = child["patternProperties"].as_object().and_then(|names| names.values().next()) {
            tables.push((format!("{at}.NAME"), child, inner));
        } else if child["properties"].is_object() {
            tables.push((at, child, child));
        } else {
            let default = match &child["default"] {
                _ if required.contains(&key.as_str()) => "required".to_owned(),
                Value::Null => "absent".to_owned(),
                value => format!("`{value}`"),
            };
            // A bar would end the cell.
            let about = child["description"].as_str().unwrap_or_default().replace('|', "\\|");
            let _ = writeln!(rows, "| `{key}` | {} | {default} | {about} |", allowed(child));
        }
    }
    if !rows.is_empty() {
        let title = if name.is_empty() { "At the top of the file".to_owned() } else { format!("`[{name}]`") };
        let about = if name.is_empty() { "" } else { node["description"].as_str().unwrap_or_default() };
        let _ = write!(page, "\n## {title}\n");
        if !about.is_empty() {
            let _ = write!(page, "\n{about}\n");
        }
        let _ = write!(page, "\n| key | allowed | default | meaning |\n|---|---|---|---|\n{rows}");
    }
    for (at, outer, inner) in tables {
        // What the key means to its parent says more than what its type is.
        let mut inner = inner.clone();
        if let Some(about) = outer.get("description") {
            inner["description"] = about.clone();
        }
        section(page, &at, &inner);
    }
}

fn allowed(node: &Value) -> String {
    if let Some(expected) = node["x-expected"].as_str() {
        return expected.to_owned();
    }
    if let Some(options) = node["enum"].as_array() {
        return options.iter().map(|option| format!("`{option}`")).collect::<Vec<_>>().join(", ");
    }
    if let Some(options) = node["oneOf"].as_array() {
        return options.iter().map(|option| format!("`{}`", option["const"])).collect::<Vec<_>>().join(", ");
    }
    let kinds: Vec<&str> = match &node["type"] {
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        kind => kind.as_str().into_iter().collect(),
    };
    let name = match kinds.first() {
        Some(&"integer") => "whole number",
        Some(&"number") => "number",
        Some(&"array") => return format!("array of: {}", allowed(&node["items"])),
        Some(&"object") => "table",
        Some(&"boolean") => "`true` or `false`",
        _ => "text",
    };
    match (node.get("minimum"), node.get("maximum")) {
        (Some(least), Some(most)) => format!("{name}, {least} to {most}"),
        (Some(least), None) => format!("{name}, from {least}"),
        (None, Some(most)) => format!("{name}, to {most}"),
        (None, None) => name.to_owned(),
    }
}
