//! From text to a configuration, or to everything that is wrong with it.
//!
//! The text is held against the schema first, which finds every fault of a single value. What is faulty is then set aside, so that
//! the relations between the values that remain are checked in the same pass.

use std::fmt;
use std::path::PathBuf;
use std::sync::LazyLock;

use jsonschema::error::ValidationErrorKind;
use jsonschema::paths::{Location, LocationSegment};
use serde_json::{Map, Value};

use super::values::FORMATS;
use super::{Config, RoomSettings, room};

/// A configuration file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{} cannot be read: {source}", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{} has {}:{}", path.display(), count(.faults), lines(.faults))]
    Faults { path: PathBuf, faults: Vec<Fault> },
}

fn count(faults: &[Fault]) -> String {
    if faults.len() == 1 { "1 fault".to_owned() } else { format!("{} faults", faults.len()) }
}

fn lines(faults: &[Fault]) -> String {
    faults.iter().map(|fault| format!("\n  {fault}")).collect()
}

/// One thing wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The key's path, such as `room.delay_ms`; the place in the text where that is not TOML.
    pub key: String,
    pub wrong: String,
    /// What to do about it.
    pub fix: String,
    path: Vec<String>,
    /// Other keys that the fault follows from.
    because_of: Vec<Vec<String>>,
    relation: bool,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.key, self.wrong, self.fix)
    }
}

impl Fault {
    pub(super) fn at(path: Vec<String>, wrong: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { key: dotted(&path), wrong: wrong.into(), fix: fix.into(), path, because_of: Vec::new(), relation: false }
    }

    /// A fault between settings: it stands at `path` and follows from `others` too.
    pub(super) fn relating(path: &[&str], wrong: String, fix: String, others: &[&[&str]]) -> Self {
        let owned = |path: &[&str]| path.iter().map(|&part| part.to_owned()).collect::<Vec<_>>();
        Self { because_of: others.iter().map(|path| owned(path)).collect(), relation: true, ..Self::at(owned(path), wrong, fix) }
    }

    /// Whether each value is fine and only does not go with others, or with what this host has.
    pub fn is_relation(&self) -> bool {
        self.relation
    }

    /// The same fault under another key.
    fn renamed(self, name: impl FnOnce(&str) -> String) -> Self {
        Self { key: name(&self.key), ..self }
    }

    /// Whether it says anything of what was set aside at `path`.
    fn rests_on(&self, path: &[String]) -> bool {
        std::iter::once(&self.path).chain(&self.because_of).any(|mine| mine.starts_with(path))
    }
}

/// Key path as TOML writes it; an array's index in brackets.
fn dotted(path: &[String]) -> String {
    let mut text = String::new();
    for part in path {
        let bare = part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') && !part.is_empty();
        if part.starts_with('[') && part.ends_with(']') {
            text.push_str(part);
            continue;
        }
        if !text.is_empty() {
            text.push('.');
        }
        if bare { text.push_str(part) } else { text.push_str(&format!("{part:?}")) }
    }
    if text.is_empty() { "(the whole file)".to_owned() } else { text }
}

/// JSON Schema (draft 2020-12) of `scrim.toml`, without references.
pub fn schema() -> &'static Value {
    static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
        let settings = schemars::generate::SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
        settings.into_generator().into_root_schema_for::<Config>().to_value()
    });
    &SCHEMA
}

pub(super) fn parse(text: &str) -> Result<Config, Vec<Fault>> {
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| vec![syntax(text, &error)])?;
    let mut faults = Vec::new();
    let json = object(table, &mut Vec::new(), &mut faults);
    checked(json, faults)
}

/// `config` with a room's settings in their places.
pub(super) fn overlaid(config: &Config, room: &RoomSettings) -> Result<Config, Vec<Fault>> {
    let mut faults = Vec::new();
    let mut json = match (serde_json::to_value(config), serde_json::to_value(room)) {
        (Ok(json), Ok(room)) => room::overlay(json, &room, &mut faults),
        (Err(error), _) | (_, Err(error)) => return Err(vec![Fault::at(Vec::new(), error.to_string(), "correct the value")]),
    };
    drop_nulls(&mut json);
    checked(json, faults).map_err(|faults| faults.into_iter().map(|fault| fault.renamed(room::key_in_room)).collect())
}

/// What is not set is absent, as in a file.
fn drop_nulls(json: &mut Value) {
    if let Value::Object(map) = json {
        map.retain(|_, value| !value.is_null());
        map.values_mut().for_each(drop_nulls);
    }
}

/// The configuration, unless the schema or a relation between its settings says otherwise.
fn checked(mut json: Value, mut faults: Vec<Fault>) -> Result<Config, Vec<Fault>> {
    static VALIDATOR: LazyLock<jsonschema::Validator> = LazyLock::new(|| {
        let options = jsonschema::options().should_validate_formats(true);
        let options = FORMATS.iter().fold(options, |options, (name, takes)| options.with_format(*name, *takes));
        options.build(schema()).expect("the schema is derived from our own types")
    });
    for error in VALIDATOR.iter_errors(&json) {
        explain(&error, &mut faults);
    }
    let aside: Vec<Vec<String>> = faults.iter().map(|fault| set_aside(&mut json, &fault.path)).collect();
    match serde_json::from_value::<Config>(json) {
        Ok(config) => {
            faults.extend(config.relations().into_iter().filter(|fault| !aside.iter().any(|path| fault.rests_on(path))));
            if faults.is_empty() {
                return Ok(config);
            }
        }
        // The schema lets through only what the types take, so this names a gap between the two rather than hide it.
        Err(error) if faults.is_empty() => faults.push(Fault::at(Vec::new(), error.to_string(), "correct the value")),
        Err(_) => {}
    }
    faults.sort_by(|a, b| a.key.cmp(&b.key));
    // What was no number is no number of the right size either; the first says why.
    faults.dedup_by(|a, b| a.key == b.key);
    Err(faults)
}

fn syntax(text: &str, error: &toml::de::Error) -> Fault {
    let start = error.span().map_or(0, |span| span.start).min(text.len());
    let before = text.get(..start).unwrap_or("");
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|&c| c != '\n').count() + 1;
    let mut fault = Fault::at(
        Vec::new(),
        format!("not TOML: {}", error.message().replace('\n', ", ")),
        "correct the line; what follows it was not checked",
    );
    fault.key = format!("line {line}, column {column}");
    fault
}

/// TOML to JSON. A whole float becomes an integer, as JSON Schema sees it; one that is no number is a fault.
fn object(table: toml::Table, path: &mut Vec<String>, faults: &mut Vec<Fault>) -> Value {
    let mut map = Map::new();
    for (key, value) in table {
        path.push(key.clone());
        map.insert(key, json(value, path, faults));
        path.pop();
    }
    Value::Object(map)
}

fn json(value: toml::Value, path: &mut Vec<String>, faults: &mut Vec<Fault>) -> Value {
    // The whole numbers that a double holds exactly.
    const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;
    match value {
        toml::Value::String(text) => text.into(),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) if number.fract() == 0.0 && number.abs() < WHOLE_MAX => (number as i64).into(),
        toml::Value::Float(number) => serde_json::Number::from_f64(number).map(Value::Number).unwrap_or_else(|| {
            faults.push(Fault::at(path.clone(), format!("{number} is not a number to work with"), "give a finite one"));
            Value::from(0)
        }),
        toml::Value::Boolean(yes) => yes.into(),
        toml::Value::Datetime(at) => at.to_string().into(),
        toml::Value::Array(items) => {
            let item = |(index, item)| {
                path.push(format!("[{index}]"));
                let value = json(item, path, faults);
                path.pop();
                value
            };
            Value::Array(items.into_iter().enumerate().map(item).collect())
        }
        toml::Value::Table(table) => object(table, path, faults),
    }
}

fn path_of(location: &Location) -> Vec<String> {
    let part = |segment: LocationSegment<'_>| match segment {
        LocationSegment::Property(name) => name.into_owned(),
        LocationSegment::Index(index) => format!("[{index}]"),
    };
    location.segments().map(part).collect()
}

/// The schema of the key at `path`.
fn schema_at(path: &[String]) -> Option<&'static Value> {
    path.iter().try_fold(schema(), |node, part| {
        if part.starts_with('[') {
            return node.get("items");
        }
        // A map of our own (detectors) has one pattern for all its names.
        node.get("properties").and_then(|known| known.get(part)).or_else(|| node.get("patternProperties")?.as_object()?.values().next())
    })
}

/// What the schema says of a key, its default included, to tell people what to give.
fn advice(path: &[String]) -> String {
    let Some(node) = schema_at(path) else { return "correct it".to_owned() };
    let expected = node.get("x-expected").and_then(Value::as_str).map(|expected| format!("give {expected}"));
    let about = || {
        node.get("description")
            .and_then(Value::as_str)
            .map(|text| format!("it means: {}", text.split_inclusive(". ").next().unwrap_or(text).trim_end().trim_end_matches('.')))
    };
    let mut advice = expected.or_else(about).unwrap_or_else(|| "correct it".to_owned());
    if let Some(default) = node.get("default").filter(|default| !default.is_null() && !default.is_object()) {
        advice.push_str(&format!(" (default {default})"));
    }
    advice
}

fn explain(error: &jsonschema::ValidationError<'_>, faults: &mut Vec<Fault>) {
    let path = path_of(error.instance_path());
    let child = |name: &str| path.iter().cloned().chain([name.to_owned()]).collect::<Vec<_>>();
    let found = error.instance().as_ref();
    let fault = |wrong: String| {
        let fix = advice(&path);
        Fault::at(path.clone(), wrong, fix)
    };
    let one_of = |options: &mut dyn Iterator<Item = &Value>| {
        let options = options.map(Value::to_string).collect::<Vec<_>>().join(", ");
        fault(format!("is {}, must be one of {options}", shown(found)))
    };
    match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            faults.extend(unexpected.iter().map(|name| unknown(&path, name)));
        }
        ValidationErrorKind::Required { property } => {
            let at = child(property.as_str().unwrap_or_default());
            let fix = advice(&at);
            faults.push(Fault::at(at, "is missing", fix));
        }
        ValidationErrorKind::Type { .. } => {
            // An enum whose variants are described has no type of its own: its variants are text.
            let wanted = schema_at(&path).and_then(|node| node.get("type")).map_or_else(|| "text in quotes".to_owned(), type_name);
            faults.push(fault(format!("is {}, must be {wanted}", shown(found))));
        }
        ValidationErrorKind::Minimum { limit } => faults.push(fault(format!("is {found}, must be at least {limit}"))),
        ValidationErrorKind::Maximum { limit } => faults.push(fault(format!("is {found}, must be at most {limit}"))),
        ValidationErrorKind::Enum { options } => {
            faults.push(one_of(&mut options.as_array().into_iter().flatten()));
        }
        ValidationErrorKind::MaxItems { limit } => {
            let items = found.as_array().map_or(0, Vec::len);
            faults.push(fault(format!("has {items} items, of which {limit} at most can be used")));
        }
        // How an enum looks whose variants are described one by one.
        ValidationErrorKind::OneOfNotValid { .. } if found.is_string() => {
            let options = schema_at(&path).and_then(|node| node.get("oneOf")?.as_array());
            faults.push(one_of(&mut options.into_iter().flatten().filter_map(|option| option.get("const"))));
        }
        ValidationErrorKind::Pattern { .. } | ValidationErrorKind::Format { .. } => faults.push(fault(format!("is {}", shown(found)))),
        ValidationErrorKind::MinItems { .. } | ValidationErrorKind::MinLength { .. } => faults.push(fault("is empty".to_owned())),
        _ => faults.push(fault(error.to_string())),
    }
}

fn unknown(path: &[String], name: &str) -> Fault {
    let at: Vec<String> = path.iter().cloned().chain([name.to_owned()]).collect();
    let node = schema_at(path);
    if let Some(names) = node.and_then(|node| node.get("patternProperties")).filter(|names| names.is_object()) {
        debug_assert_eq!(names.as_object().map(Map::len), Some(1), "one kind of name a table");
        return Fault::at(at, "is not a usable name", format!("give {}", super::DetectorName::EXPECTED));
    }
    let known: Vec<&str> = node
        .and_then(|node| node.get("properties")?.as_object())
        .map(|known| known.keys().map(String::as_str).collect())
        .unwrap_or_default();
    // Nearer than every third letter wrong is most likely a slip.
    let near =
        known.iter().map(|key| (strsim::damerau_levenshtein(key, name), key)).min().filter(|(distance, key)| distance * 3 <= key.len());
    let fix = match near {
        Some((_, key)) => format!("did you mean `{key}`?"),
        None => format!("known here: {}", known.join(", ")),
    };
    Fault::at(at, "unknown key", fix)
}

fn shown(value: &Value) -> String {
    match value {
        Value::Object(_) => "a table".to_owned(),
        Value::Array(_) => "an array".to_owned(),
        other => other.to_string(),
    }
}

/// A schema's `type` as people say it.
fn type_name(kind: &Value) -> String {
    let one = |kind: &Value| match kind.as_str() {
        Some("integer") => "a whole number",
        Some("number") => "a number",
        Some("string") => "text in quotes",
        Some("boolean") => "true or false",
        Some("array") => "an array",
        Some("object") => "a table",
        _ => "a value of another kind",
    };
    match kind.as_array() {
        Some(kinds) => kinds.iter().filter(|kind| kind.as_str() != Some("null")).map(one).collect::<Vec<_>>().join(" or "),
        None => one(kind).to_owned(),
    }
}

/// What stands for a required text that is faulty, while the rest is checked. It fits every grammar of a required key.
const STAND_IN: &str = "stand-in@0.0.0";

/// Takes the value at `path` out of `json`, or puts [`STAND_IN`] there if the table around it cannot do without. Returns what was taken:
/// an array whole, since its other items would move.
fn set_aside(json: &mut Value, path: &[String]) -> Vec<String> {
    let cut = path.iter().position(|part| part.starts_with('[')).unwrap_or(path.len());
    let taken = path[..cut].to_vec();
    let Some((last, parents)) = taken.split_last() else {
        *json = Value::Object(Map::new());
        return taken;
    };
    let required = schema_at(parents).and_then(|node| node.get("required")?.as_array());
    let required = required.is_some_and(|keys| keys.iter().any(|key| key.as_str() == Some(last)));
    let parent = parents.iter().try_fold(&mut *json, |node, part| node.get_mut(part));
    if let Some(map) = parent.and_then(Value::as_object_mut) {
        match required {
            true => map.insert(last.clone(), STAND_IN.into()),
            false => map.remove(last),
        };
    }
    taken
}
