//! Bodies held against the schemas that the document publishes: what is refused is what the document says, and all that is wrong is told at
//! once.

use std::any::TypeId;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

use jsonschema::Validator;
use jsonschema::error::ValidationErrorKind;
use jsonschema::paths::{Location, LocationSegment};
use serde_json::{Map, Number, Value, json};
use utoipa::ToSchema;

use super::problem::FaultView;

/// The whole numbers that a double holds exactly.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;
/// Faults told of at most.
const FAULTS_MAX: usize = 32;

/// What is wrong with a body that is to be a `T`. Nothing of the body itself is repeated.
pub fn faults<T: ToSchema + 'static>(body: &Value) -> Vec<FaultView> {
    let known = known::<T>();
    let fault = |error: jsonschema::ValidationError<'_>| FaultView {
        path: key_of(error.instance_path()),
        message: error.masked_with("this").to_string() + &meant(&known.schema, &error),
    };
    known.validator.iter_errors(body).take(FAULTS_MAX).map(fault).collect()
}

/// What the document says of a text that has to look in some way, where it says anything: a pattern alone is hard to read.
fn meant(schema: &Value, error: &jsonschema::ValidationError<'_>) -> String {
    if !matches!(error.kind(), ValidationErrorKind::Pattern { .. }) {
        return String::new();
    }
    let of = error.schema_path().as_str().rsplit_once('/').and_then(|(parent, _)| schema.pointer(parent));
    let description = of.and_then(|of| of["description"].as_str()).map(|text| format!("; {text}"));
    let example = of.and_then(|of| of["example"].as_str().or(of["examples"][0].as_str())).map(|text| format!("; for example {text:?}"));
    description.unwrap_or_default() + &example.unwrap_or_default()
}

struct Known {
    schema: Value,
    validator: Validator,
}

fn known<T: ToSchema + 'static>() -> Arc<Known> {
    static KNOWN: LazyLock<RwLock<HashMap<TypeId, Arc<Known>>>> = LazyLock::new(RwLock::default);
    let type_id = TypeId::of::<T>();
    if let Some(known) = KNOWN.read().unwrap_or_else(PoisonError::into_inner).get(&type_id) {
        return known.clone();
    }
    let schema = self_contained::<T>();
    let validator = jsonschema::validator_for(&schema).expect("the schema is derived from our own types");
    let built = Arc::new(Known { schema, validator });
    KNOWN.write().unwrap_or_else(PoisonError::into_inner).insert(type_id, built.clone());
    built
}

/// The type's schema with those that it refers to, where the document has them.
fn self_contained<T: ToSchema>() -> Value {
    let mut referred = Vec::new();
    T::schemas(&mut referred);
    let schemas: Map<String, Value> = referred.into_iter().map(|(name, schema)| (name, json!(schema))).collect();
    let mut schema = json!(T::schema());
    schema["components"] = json!({ "schemas": schemas });
    schema
}

/// A body's key as the configuration writes keys: `cover[0]`.
fn key_of(location: &Location) -> String {
    let mut key = String::new();
    for segment in location.segments() {
        match segment {
            LocationSegment::Index(index) => key.push_str(&format!("[{index}]")),
            LocationSegment::Property(name) if key.is_empty() => key.push_str(&name),
            LocationSegment::Property(name) => key.push_str(&format!(".{name}")),
        }
    }
    if key.is_empty() { "(the whole body)".to_owned() } else { key }
}

/// The same with whole numbers as integers: to JSON Schema 400.0 is one, to serde it is not.
pub fn whole(value: Value) -> Value {
    match value {
        Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
            Some(double) if double.fract() == 0.0 && double.abs() < WHOLE_MAX => Value::Number(Number::from(double as i64)),
            _ => Value::Number(number),
        },
        Value::Array(items) => items.into_iter().map(whole).collect(),
        Value::Object(members) => Value::Object(members.into_iter().map(|(key, value)| (key, whole(value))).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::view::{NewMessage, NewPolicy, NewRoom};

    fn keys<T: ToSchema + 'static>(body: Value) -> Vec<String> {
        faults::<T>(&body).into_iter().map(|fault| fault.path).collect()
    }

    #[test]
    fn every_fault_is_told_by_its_key() {
        let good = json!({ "name": "studio", "cover": ["FACE_*"], "delay_ms": 400.0, "color": null });
        assert_eq!(keys::<NewRoom>(good), Vec::<String>::new());
        let bad = json!({ "name": "a b", "cover": ["FACE_*", "x y"], "delay_ms": 3 });
        let mut found = keys::<NewRoom>(bad);
        found.sort();
        assert_eq!(found, ["cover[1]", "delay_ms", "name"]);
        assert_eq!(keys::<NewRoom>(json!({ "name": "a", "colour": "#000000" })), ["(the whole body)"]);
        assert_eq!(keys::<NewPolicy>(json!({ "config": {} })), ["(the whole body)"]);
        assert_eq!(keys::<NewMessage>(json!([])), ["(the whole body)"]);
    }

    #[test]
    fn what_a_pattern_means_is_told() {
        let told = |found: Vec<FaultView>| found.into_iter().map(|fault| fault.message).collect::<String>();
        let plugin = told(faults::<NewPolicy>(&json!({ "plugin": "skin-cascade" })));
        assert!(plugin.contains("NAME@VERSION") && plugin.ends_with("for example \"skin-cascade@2.0.0\""), "{plugin}");
        let name = told(faults::<NewRoom>(&json!({ "name": "a b" })));
        assert!(name.contains("a letter or digit first"), "{name}");
    }

    #[test]
    fn nothing_of_a_text_is_repeated() {
        let body = json!({ "text": "secret".repeat(2000), "author": "ann" });
        let told = faults::<NewMessage>(&body);
        assert!(told.len() == 1 && told[0].path == "text" && !told[0].message.contains("secret"), "{told:?}");
    }

    #[test]
    fn whole_doubles_are_integers() {
        assert_eq!(whole(json!({ "a": [1.0, 1.5, -0.0, 1e300] })), json!({ "a": [1, 1.5, 0, 1e300] }));
    }
}
