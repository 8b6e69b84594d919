//! Every JSON body of the API, made from the schemas of the document and then changed, sent to a real host. A 5xx other than 503, or no answer
//! at all, is a failure; so is a host that grows.

use std::sync::Arc;

use anyhow::{Context, Result};
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use super::mutate::mutated;
use super::{Counts, Fuzz};
use crate::served::Served;

/// Resident memory of a host that has been sent everything.
const HOST_BYTES_MAX: usize = 1500 << 20;
const DEPTH_MAX: u32 = 6;

/// One operation that takes JSON.
struct Operation {
    method: String,
    path: String,
    schema: Value,
}

/// A request to one of them.
#[derive(Clone)]
pub struct Sent {
    operation: Index,
    body: Vec<u8>,
}

impl std::fmt::Debug for Sent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", String::from_utf8_lossy(&self.body))
    }
}

pub fn bodies() -> Result<Fuzz<BoxedStrategy<Sent>>> {
    let data = TempDir::new()?;
    let host = Served::start(data.path(), "")?;
    host.json("POST", "/v1/rooms", &json!({ "name": "fuzz" }))?.expect(201)?;
    let document = host.get("/openapi.json")?.expect(200)?;
    let operations = Arc::new(operations(&document)?);
    let strategies: Vec<BoxedStrategy<Value>> = operations.iter().map(|one| value(&one.schema, &document, DEPTH_MAX)).collect();
    let made = any::<Index>().prop_flat_map(move |index| (Just(index), changed(index.get(&strategies).clone())));
    let cases = made.prop_map(|(operation, body)| Sent { operation, body }).boxed();
    let run = move |case: Sent, counts: &Counts| {
        let Operation { method, path, .. } = case.operation.get(&operations);
        let sent = host.send(method, path, &[("content-type", "application/json")], &case.body);
        let answer = sent.map_err(|error| format!("{method} {path}: no answer: {error:#}"))?;
        if answer.status >= 500 && answer.status != 503 {
            return Err(format!("{method} {path}: {} {}", answer.status, String::from_utf8_lossy(&answer.body)));
        }
        if answer.status < 300 {
            counts.took();
        }
        let resident = resident(host.pid()).map_err(|error| format!("{error:#}"))?;
        if resident > HOST_BYTES_MAX { Err(format!("the host takes {} MiB", resident >> 20)) } else { Ok(()) }
    };
    // The folder lives as long as the host that uses it.
    let run = move |case: Sent, counts: &Counts| {
        let _folder = &data;
        run(case, counts)
    };
    Ok(Fuzz { name: "json", cases, run: Box::new(run) })
}

fn resident(pid: u32) -> Result<usize> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).context("the host is gone")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("the host has ended")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse::<usize>()? << 10)
}

fn operations(document: &Value) -> Result<Vec<Operation>> {
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().context("the document has paths")? {
        for (method, operation) in item.as_object().context("a path has methods")? {
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            if schema.is_null() {
                continue;
            }
            for slot in ["cascade", "text", "threshold"] {
                let real = path.replace("{room}", "fuzz").replace("{slot}", slot);
                found.push(Operation { method: method.to_uppercase(), path: real, schema: schema.clone() });
                if !path.contains("{slot}") {
                    break;
                }
            }
        }
    }
    anyhow::ensure!(found.len() > 5, "only {} operations take JSON", found.len());
    Ok(found)
}

/// What a schema describes.
fn value(schema: &Value, document: &Value, depth: u32) -> BoxedStrategy<Value> {
    if let Some(to) = schema["$ref"].as_str() {
        let target = document.pointer(to.trim_start_matches('#')).cloned().unwrap_or_default();
        return value(&target, document, depth);
    }
    let known = schema["examples"].as_array().cloned().unwrap_or_default().into_iter().chain(schema.get("example").cloned());
    let mut options: Vec<(u32, BoxedStrategy<Value>)> = known.map(|example| (2, Just(example).boxed())).collect();
    if let Some(words) = schema["enum"].as_array().filter(|words| !words.is_empty()) {
        options.push((2, prop::sample::select(words.clone()).boxed()));
    }
    let kinds: Vec<&str> = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        kind => kind.as_str().into_iter().collect(),
    };
    for kind in kinds {
        options.push((if kind == "null" { 1 } else { 3 }, of_kind(kind, schema, document, depth)));
    }
    if options.is_empty() {
        return anything(depth);
    }
    prop::strategy::Union::new_weighted(options).boxed()
}

fn of_kind(kind: &str, schema: &Value, document: &Value, depth: u32) -> BoxedStrategy<Value> {
    match kind {
        "null" => Just(Value::Null).boxed(),
        "boolean" => any::<bool>().prop_map(Value::from).boxed(),
        "integer" => {
            let (least, most) = (schema["minimum"].as_i64().unwrap_or(0), schema["maximum"].as_i64().unwrap_or(i64::from(i32::MAX)));
            (least..=most).prop_map(Value::from).boxed()
        }
        "number" => any::<f64>().prop_map(Value::from).boxed(),
        "string" => {
            if schema["format"] == "uuid" {
                return any::<u128>().prop_map(|bits| uuid::Uuid::from_u128(bits).to_string().into()).boxed();
            }
            let pattern = schema["pattern"].as_str().map(|pattern| pattern.trim_start_matches('^').trim_end_matches('$').to_owned());
            match pattern.as_deref().and_then(|pattern| prop::string::string_regex(pattern).ok()) {
                Some(text) => text.prop_map(Value::from).boxed(),
                None => any::<String>().prop_map(Value::from).boxed(),
            }
        }
        "array" if depth > 0 => prop::collection::vec(value(&schema["items"], document, depth - 1), 0..4).prop_map(Value::from).boxed(),
        "object" if depth > 0 => object(schema, document, depth),
        _ => anything(0),
    }
}

fn object(schema: &Value, document: &Value, depth: u32) -> BoxedStrategy<Value> {
    let Some(properties) = schema["properties"].as_object() else {
        return prop::collection::btree_map("[a-z_]{1,12}", anything(depth - 1), 0..4).prop_map(|map| json!(map)).boxed();
    };
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let members: Vec<BoxedStrategy<Option<(String, Value)>>> = properties
        .iter()
        .map(|(name, schema)| {
            let (name, share) = (name.clone(), if required.contains(&name.as_str()) { 0.97 } else { 0.3 });
            prop::option::weighted(share, value(schema, document, depth - 1).prop_map(move |value| (name.clone(), value))).boxed()
        })
        .collect();
    members.prop_map(|members| Value::Object(members.into_iter().flatten().collect::<Map<_, _>>())).boxed()
}

/// Whatever JSON can say.
fn anything(depth: u32) -> BoxedStrategy<Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        (1_usize..20_000).prop_map(|length| "x\u{0}é\u{1f600}".repeat(length / 8 + 1).into()),
    ];
    leaf.prop_recursive(depth, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..4).prop_map(|map| json!(map)),
        ]
    })
    .boxed()
}

/// As it is, with one of its values another, with a member more, or with its text changed.
fn changed(body: BoxedStrategy<Value>) -> BoxedStrategy<Vec<u8>> {
    let text = |value: &Value| value.to_string().into_bytes();
    prop_oneof![
        3 => body.clone().prop_map(move |body| text(&body)),
        4 => (body.clone(), any::<Index>(), anything(3)).prop_map(move |(mut body, at, other)| {
            replace(&mut body, at, other);
            text(&body)
        }),
        1 => (body.clone(), any::<String>(), anything(3)).prop_map(move |(mut body, name, more)| {
            if let Some(members) = body.as_object_mut() {
                members.insert(name, more);
            }
            text(&body)
        }),
        1 => (1_usize..5000).prop_map(|depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth)).into_bytes()),
        3 => body.prop_flat_map(move |body| mutated(vec![text(&body)], 3)).prop_map(|mutated| mutated.bytes),
    ]
    .boxed()
}

/// Puts `other` in the place of one of the values.
fn replace(body: &mut Value, at: Index, other: Value) {
    fn places(value: &Value, path: &str, found: &mut Vec<String>) {
        found.push(path.to_owned());
        match value {
            Value::Array(items) => items.iter().enumerate().for_each(|(index, item)| places(item, &format!("{path}/{index}"), found)),
            Value::Object(members) => members.iter().for_each(|(name, member)| {
                places(member, &format!("{path}/{}", name.replace('~', "~0").replace('/', "~1")), found);
            }),
            _ => {}
        }
    }
    let mut found = Vec::new();
    places(body, "", &mut found);
    if let Some(place) = body.pointer_mut(&found[at.index(found.len())]) {
        *place = other;
    }
}
