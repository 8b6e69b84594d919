//! What an admin can set.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::lexicon::Category;

/// Settings of profanity-context.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "Profanity in context")]
pub struct Config {
    /// Findings below this severity are not reported. Mild swearing lies at 0.3, insults at 0.45 and above, threats at 0.8.
    #[schemars(title = "Least severity", range(min = 0.0, max = 1.0))]
    pub min_severity: f32,
    /// Findings below this confidence are not reported.
    #[schemars(title = "Least confidence", range(min = 0.0, max = 1.0))]
    pub min_confidence: f32,
    /// Words that are never reported here, however they are spelled: a name, a term of the trade.
    #[schemars(title = "Allowed words")]
    pub allow: BTreeSet<String>,
    /// Words or phrases that are always reported here, with severity 0.9.
    #[schemars(title = "Denied words")]
    pub deny: BTreeSet<String>,
    /// What is done about each category. Denied words are reported whatever it says.
    #[schemars(title = "Action by category")]
    pub actions: Actions,
}

/// What is done about a category.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Reported if context puts it at the least severity or above.
    #[default]
    Weigh,
    /// Reported wherever such a word is found: quoted, praising or weighed down by the scorer. Not in another sense (a name, a garden hoe).
    Always,
    /// Reported from severity 0.6 on.
    Severe,
    /// Not reported.
    Ignore,
}

/// One action for each category.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(title = "Action by category")]
pub struct Actions {
    /// Swear words.
    pub profanity: Action,
    /// Words against groups of people.
    pub slur: Action,
    /// Sexual words.
    pub sexual: Action,
    /// Threats, and calls for violence.
    pub threat: Action,
    /// Insults, and what drives people away.
    pub harassment: Action,
    /// Talk of hurting oneself.
    pub self_harm: Action,
}

impl Actions {
    pub fn of(&self, category: Category) -> Action {
        match category {
            Category::Profanity => self.profanity,
            Category::Slur => self.slur,
            Category::Sexual => self.sexual,
            Category::Threat => self.threat,
            Category::Harassment => self.harassment,
            Category::SelfHarm => self.self_harm,
        }
    }
}

/// Where [`Action::Severe`] begins.
pub const SEVERE: f32 = 0.6;

impl Default for Config {
    fn default() -> Self {
        Self { min_severity: 0.34, min_confidence: 0.3, allow: BTreeSet::new(), deny: BTreeSet::new(), actions: Actions::default() }
    }
}

/// Most entries of one list, and most characters of one entry: what bounds the time of a call.
pub const LIST_MAX: usize = 1000;
/// See [`LIST_MAX`].
pub const ENTRY_CHARS_MAX: usize = 64;

impl Config {
    /// Checks what the schema can't say by itself.
    ///
    /// # Errors
    /// Names every value out of its range, in one message.
    pub fn validate(&self) -> Result<(), String> {
        let mut faults = Vec::new();
        for (name, value) in [("min_severity", self.min_severity), ("min_confidence", self.min_confidence)] {
            if !(0.0..=1.0).contains(&value) {
                faults.push(format!("{name} is {value}, it must lie in 0..=1"));
            }
        }
        for (name, list) in [("allow", &self.allow), ("deny", &self.deny)] {
            if list.len() > LIST_MAX {
                faults.push(format!("{name} has {} entries, at most {LIST_MAX} fit", list.len()));
            }
            if let Some(entry) = list.iter().find(|entry| entry.trim().is_empty() || entry.chars().count() > ENTRY_CHARS_MAX) {
                faults.push(format!("{name} has an entry of {} characters, 1 to {ENTRY_CHARS_MAX} are possible", entry.chars().count()));
            }
        }
        if faults.is_empty() { Ok(()) } else { Err(faults.join("; ")) }
    }
}
