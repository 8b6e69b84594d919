//! The files of a new plugin, for `scrim plugin new`: a crate that builds, passes its own test, and is short enough to change at once.

use std::io;
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    #[error("{0:?} cannot be a plugin's name; use lower-case letters, digits and single hyphens, beginning with a letter")]
    Name(String),
    #[error("there is no slot {0:?}; there are cascade, text and threshold")]
    Slot(String),
    #[error("{} exists already", .0.display())]
    Exists(PathBuf),
    #[error("{} is not the folder of scrim-sdk (it has no Cargo.toml)", .0.display())]
    Sdk(PathBuf),
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
}

const MANIFEST: &str = include_str!("../template/Cargo.toml.in");
const SLOTS: [(&str, &str); 3] = [
    ("cascade", include_str!("../template/cascade.rs.in")),
    ("text", include_str!("../template/text.rs.in")),
    ("threshold", include_str!("../template/threshold.rs.in")),
];

/// The SDK of the checkout that this program was built from, if it is still there.
pub fn own_sdk() -> Option<PathBuf> {
    let sdk = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?.join("sdk");
    sdk.join("Cargo.toml").is_file().then_some(sdk)
}

/// Makes the crate `name` for `slot` in the new folder `folder`, using the SDK in the folder `sdk`. Answers with the files made.
///
/// # Errors
/// A name that cargo or the catalog would refuse, an unknown slot, a folder that exists, an SDK that does not. Nothing is made then.
pub fn create(folder: &Path, name: &str, slot: &str, sdk: &Path) -> Result<Vec<PathBuf>, TemplateError> {
    let type_name = type_name(name).ok_or_else(|| TemplateError::Name(name.into()))?;
    let (_, source) = SLOTS.iter().find(|(known, _)| *known == slot).ok_or_else(|| TemplateError::Slot(slot.into()))?;
    let sdk = sdk.canonicalize().ok().filter(|path| path.join("Cargo.toml").is_file()).ok_or_else(|| TemplateError::Sdk(sdk.into()))?;
    // In TOML's basic strings only these two need care in a path.
    let sdk = sdk.display().to_string().replace('\\', "\\\\").replace('"', "\\\"");
    let fill = |text: &str| text.replace("{{name}}", name).replace("{{type}}", &type_name).replace("{{sdk}}", &sdk);
    if folder.exists() {
        return Err(TemplateError::Exists(folder.into()));
    }
    let mut made = Vec::new();
    for (path, text) in [("Cargo.toml", fill(MANIFEST)), ("src/lib.rs", fill(source)), (".gitignore", "/target\n".into())] {
        let path = folder.join(path);
        let failed = |source| TemplateError::File { path: path.clone(), source };
        std::fs::create_dir_all(path.parent().unwrap_or(folder)).map_err(failed)?;
        std::fs::write(&path, text).map_err(failed)?;
        made.push(path);
    }
    Ok(made)
}

/// `my-policy` to `MyPolicy`; none for what is no name.
fn type_name(name: &str) -> Option<String> {
    let word = |word: &str| {
        let mut chars = word.chars();
        let first = chars.next()?.to_ascii_uppercase();
        let good = word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        good.then(|| std::iter::once(first).chain(chars).collect::<String>())
    };
    let words: Option<String> = name.split('-').map(word).collect();
    // The type stands beside the trait of its slot and the SDK's types.
    let taken = ["Cascade", "Text", "Threshold", "Config", "State", "Hints", "Source", "Finding", "Detection", "Verdict"];
    let suffix = |name: String| if taken.contains(&name.as_str()) { format!("{name}Policy") } else { name };
    words.filter(|_| name.starts_with(|c: char| c.is_ascii_lowercase())).map(suffix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(type_name("my-policy2").as_deref(), Some("MyPolicy2"));
        assert_eq!(type_name("text").as_deref(), Some("TextPolicy"));
        for bad in ["", "-a", "a-", "a--b", "2fast", "Ann", "a_b", "a/b", "ä"] {
            assert_eq!(type_name(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn what_cannot_be_made_leaves_nothing() {
        let parent = tempfile::TempDir::new().unwrap();
        let folder = parent.path().join("new");
        let sdk = own_sdk().unwrap();
        assert!(matches!(create(&folder, "Bad", "text", &sdk), Err(TemplateError::Name(_))));
        assert!(matches!(create(&folder, "good", "speech", &sdk), Err(TemplateError::Slot(_))));
        assert!(matches!(create(&folder, "good", "text", parent.path()), Err(TemplateError::Sdk(_))));
        assert!(!folder.exists());
        assert_eq!(create(&folder, "good", "text", &sdk).unwrap().len(), 3);
        assert!(matches!(create(&folder, "good", "text", &sdk), Err(TemplateError::Exists(_))));
    }
}
