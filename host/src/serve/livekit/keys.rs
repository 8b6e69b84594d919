//! Shared keys of rooms that are encrypted end to end, from a file of the operator's. Who has a room's key sees and hears its tracks; with it the
//! host judges them, and encrypts what it publishes. A key is never printed.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;

#[derive(Debug, thiserror::Error)]
pub enum SharedKeysError {
    #[error("livekit.shared_keys_file: {path}: {source}")]
    File { path: String, source: std::io::Error },
    #[error(
        "livekit.shared_keys_file: {path}, line {line}: {reason}; give `ROOM KEY`, the room's name and all of its key as clients have it"
    )]
    Line { path: String, line: usize, reason: &'static str },
}

/// Keys by room. See the module.
#[derive(Clone, Default)]
pub struct SharedKeys(HashMap<String, String>);

impl SharedKeys {
    /// # Errors
    /// When the file can't be read, or the first line that is none.
    pub fn read(path: &Path) -> Result<Self, SharedKeysError> {
        let shown = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|source| SharedKeysError::File { path: shown.clone(), source })?;
        Self::parse(&text).map_err(|(line, reason)| SharedKeysError::Line { path: shown, line, reason })
    }

    fn parse(text: &str) -> Result<Self, (usize, &'static str)> {
        let mut keys = HashMap::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            // A key may have a `#` in it.
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let fault = |reason| (index + 1, reason);
            let (room, key) = line.split_once(char::is_whitespace).ok_or(fault("there is no key"))?;
            if keys.insert(room.to_owned(), key.trim_start().to_owned()).is_some() {
                return Err(fault("the room has a key already"));
            }
        }
        Ok(Self(keys))
    }

    /// A room's, as the library takes it; none for a room that is not encrypted.
    pub fn of(&self, room: &str) -> Option<Vec<u8>> {
        self.0.get(room).map(|key| key.clone().into_bytes())
    }
}

impl fmt::Debug for SharedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_a_room_and_the_whole_of_its_key() {
        let keys = SharedKeys::parse("# ours\n\nstudio  a key # with spaces \nattic\tk2\n").expect("good lines");
        assert_eq!(keys.of("studio").as_deref(), Some(&b"a key # with spaces"[..]));
        assert_eq!(keys.of("attic").as_deref(), Some(&b"k2"[..]));
        assert_eq!(keys.of("other"), None);
        let shown = format!("{keys:?}");
        assert!(shown.contains("studio") && !shown.contains("k2") && !shown.contains("spaces"), "{shown}");
    }

    #[test]
    fn a_bad_line_is_told_by_its_number_and_without_the_key() {
        assert_eq!(SharedKeys::parse("studio key\nattic\n").err(), Some((2, "there is no key")));
        assert_eq!(SharedKeys::parse("studio one\n#\nstudio two").err(), Some((3, "the room has a key already")));
        let missing = SharedKeys::read(Path::new("/nowhere/keys")).expect_err("there is no file").to_string();
        assert!(missing.starts_with("livekit.shared_keys_file: /nowhere/keys: "), "{missing}");
    }
}
