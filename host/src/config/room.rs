//! A room's own settings, and how they lie over the host's.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::faults::Fault;

/// A label, or a pattern of labels.
#[derive(ToSchema)]
#[schema(value_type = String, pattern = "^[!-+.-~-]{1,64}$")]
#[expect(dead_code, reason = "for the document alone")]
struct Label(String);

/// A detector's name.
#[derive(ToSchema)]
#[schema(value_type = String, pattern = "^[a-z][a-z0-9_-]{0,31}$")]
#[expect(dead_code, reason = "for the document alone")]
struct Detector(String);

/// What one room sets for itself; what is absent (or null) is as in `scrim.toml`. Checked by [`super::Config::for_room`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RoomSettings {
    /// Labels to cover, of all of the room's detectors, such as `FACE_*`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable, min_items = 1, max_items = 64, value_type = Option<Vec<Label>>, example = json!(["FACE_*"]))]
    pub cover: Option<Vec<String>>,
    /// Which of the host's detectors look at this room's frames; none if the list is empty, and then everything passes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable, max_items = 16, value_type = Option<Vec<Detector>>, example = json!(["nudity"]))]
    pub detectors: Option<Vec<String>>,
    /// `closed` covers a frame that could not be judged, `open` lets it pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable, pattern = "^(closed|open)$", example = "closed")]
    pub fail_mode: Option<String>,
    /// How far viewers are behind the camera, ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable, minimum = 67, maximum = 10000, example = 400)]
    pub delay_ms: Option<u32>,
    /// How long a mask stays after what it covers was last seen, ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable, maximum = 60000, example = 800)]
    pub hold_ms: Option<u32>,
    /// The longest time between two looks that judge the frames between them, ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable, minimum = 33, maximum = 10000, example = 307)]
    pub look_max_ms: Option<u32>,
    /// For how long a cascade's skip counts as a look, ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable, maximum = 10000, example = 0)]
    pub skip_max_ms: Option<u32>,
    /// `adaptive`, `prototype` or `fixed:N`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable, pattern = "^(adaptive|prototype|fixed:[1-9][0-9]{0,3})$", example = "adaptive")]
    pub sampler: Option<String>,
    /// `true`: text in the picture is read, and what the text policy finds in it is covered.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable, example = false)]
    pub read: Option<bool>,
    /// How far viewers are behind where text is read, ms. Less leaves more new text covered until it is read.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable, minimum = 67, maximum = 10000, example = 1200)]
    pub text_delay_ms: Option<u32>,
    /// What is covered where text is found: the `word`, its `line`, or the `block` of lines that it is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable, pattern = "^(word|line|block)$", example = "word")]
    pub text_mask: Option<String>,
    /// `true`: speech is listened to, and what the text policy finds in it is muted; viewers are as far behind as that needs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable, example = false)]
    pub listen: Option<bool>,
    /// How far viewers are behind where speech is listened to, ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable, minimum = 67, maximum = 10000, example = 3000)]
    pub speech_delay_ms: Option<u32>,
    /// What becomes of a chat message in which something is found: `mask` or `refuse`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable, pattern = "^(mask|refuse)$", example = "mask")]
    pub chat: Option<String>,
    /// `judged`: sound leaves only as far as a judge has heard it. `pass`: it passes unless it is muted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable, pattern = "^(pass|judged)$", example = "pass")]
    pub sound: Option<String>,
    /// What is heard where sound is muted: `silence` or `tone`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable, pattern = "^(silence|tone)$", example = "silence")]
    pub mute_with: Option<String>,
    /// For how long events keep what was said, typed or shown and found bad, hours; 0: not at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable, maximum = 720, example = 0)]
    pub keep_text_h: Option<u32>,
    /// `solid`, `pixelate` or `blur`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable, pattern = "^(solid|pixelate|blur)$", example = "solid")]
    pub style: Option<String>,
    /// `true`: nothing is published in the room, and nobody is attended, until it is started again.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable, example = false)]
    pub stopped: Option<bool>,
    /// The fill of `solid`, `#rrggbb`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable, pattern = "^#[0-9a-fA-F]{6}$", example = "#000000")]
    pub color: Option<String>,
}

impl RoomSettings {
    /// These with a JSON merge patch over them: what is null goes back to the host's, what is absent stays.
    ///
    /// # Errors
    /// Unknown keys, and values of another type than the key's.
    pub fn patched(&self, changes: &Map<String, Value>) -> Result<Self, Vec<Fault>> {
        let mut settings = match serde_json::to_value(self) {
            Ok(Value::Object(settings)) => settings,
            _ => Map::new(),
        };
        settings.extend(changes.clone());
        let fault = |error: serde_json::Error| vec![Fault::at(Vec::new(), error.to_string(), "correct the value")];
        serde_json::from_value(Value::Object(settings)).map_err(fault)
    }
}

/// Where a room's key lies in the whole configuration.
const PLACES: [(&str, &str, &str); 17] = [
    ("fail_mode", "room", "fail_mode"),
    ("delay_ms", "room", "delay_ms"),
    ("hold_ms", "room", "hold_ms"),
    ("look_max_ms", "room", "look_max_ms"),
    ("skip_max_ms", "room", "skip_max_ms"),
    ("sampler", "room", "sampler"),
    ("read", "text", "read"),
    ("text_delay_ms", "text", "delay_ms"),
    ("text_mask", "text", "mask"),
    ("listen", "speech", "listen"),
    ("speech_delay_ms", "speech", "delay_ms"),
    ("chat", "room", "chat"),
    ("sound", "room", "sound"),
    ("mute_with", "room", "mute_with"),
    ("keep_text_h", "room", "keep_text_h"),
    ("style", "cover", "style"),
    ("color", "cover", "color"),
];

/// Puts a room's settings over a whole configuration, both as JSON.
pub(super) fn overlay(mut config: Value, room: &Value, faults: &mut Vec<Fault>) -> Value {
    for (key, table, name) in PLACES {
        if !room[key].is_null() {
            config[table][name] = room[key].clone();
        }
    }
    let Some(detectors) = config["detectors"].as_object_mut() else { return config };
    if let Some(chosen) = room["detectors"].as_array() {
        for (index, name) in chosen.iter().enumerate() {
            if !detectors.contains_key(name.as_str().unwrap_or_default()) {
                let known: Vec<&str> = detectors.keys().map(String::as_str).collect();
                let known = format!("known here: {}", known.join(", "));
                faults.push(Fault::relating(
                    &["detectors", &format!("[{index}]")],
                    format!("this host has no detector {name}"),
                    known,
                    &[],
                ));
            }
        }
        detectors.retain(|name, _| chosen.iter().any(|chosen| chosen.as_str() == Some(name)));
    }
    if !room["cover"].is_null() {
        detectors.values_mut().for_each(|detector| detector["cover"] = room["cover"].clone());
    }
    config
}

/// A key of the whole configuration as the room calls it.
pub(super) fn key_in_room(key: &str) -> String {
    if let Some((name, _, _)) = PLACES.iter().find(|(_, table, name)| key == format!("{table}.{name}")) {
        return (*name).to_owned();
    }
    // `detectors.NAME.cover[0]` is the room's `cover[0]`.
    match key.rsplit_once(".cover") {
        Some((detector, index)) if detector.starts_with("detectors.") => format!("cover{index}"),
        _ => key.to_owned(),
    }
}
