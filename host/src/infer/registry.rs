//! The models a host knows: those that come with it, and the operator's own from a directory.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use super::InferError;
use super::model::{Fault, ModelSpec};

/// Declared in this repository, so that the binary needs no file beside it.
const BUILT_IN: [(&str, &str); 2] = [
    ("models/nudenet-320n.toml", include_str!("../../../models/nudenet-320n.toml")),
    ("models/opennsfw.toml", include_str!("../../../models/opennsfw.toml")),
];

/// The model of a room that names none.
pub const DEFAULT_MODEL: &str = "nudenet-320n";

/// Models by name.
#[derive(Clone, Debug)]
pub struct Registry {
    models: BTreeMap<Arc<str>, Arc<ModelSpec>>,
}

impl Registry {
    /// The built-in ones, and every `*.toml` of `directory`. A model of the user's may take a built-in one's name and then replaces it.
    ///
    /// # Errors
    /// [`InferError::Declarations`] with every fault of every file.
    pub fn load(directory: Option<&Path>) -> Result<Self, InferError> {
        let mut faults = Vec::new();
        let mut models = BTreeMap::new();
        for (file, text) in BUILT_IN {
            match ModelSpec::parse(Path::new(file), text) {
                Ok(spec) => _ = models.insert(spec.name.clone(), Arc::new(spec)),
                Err(found) => faults.extend(found),
            }
        }
        let mut own: BTreeMap<Arc<str>, String> = BTreeMap::new();
        for (file, text) in directory.map(|directory| read_directory(directory, &mut faults)).unwrap_or_default() {
            match ModelSpec::parse(Path::new(&file), &text) {
                Ok(spec) => {
                    if let Some(other) = own.insert(spec.name.clone(), file.clone()) {
                        faults.push(Fault { file, key: "name".to_owned(), what: format!("{} is declared in {other} already", spec.name) });
                    }
                    models.insert(spec.name.clone(), Arc::new(spec));
                }
                Err(found) => faults.extend(found),
            }
        }
        if faults.is_empty() { Ok(Self { models }) } else { Err(InferError::Declarations(faults)) }
    }

    /// # Errors
    /// [`InferError::UnknownModel`] lists the known ones.
    pub fn get(&self, name: &str) -> Result<Arc<ModelSpec>, InferError> {
        let unknown =
            || InferError::UnknownModel { name: name.to_owned(), known: self.models.keys().map(|name| name.to_string()).collect() };
        self.models.get(name).cloned().ok_or_else(unknown)
    }

    /// In the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<ModelSpec>> {
        self.models.values()
    }
}

/// Path and text of each declaration, by path, so that which of two is at fault does not depend on the file system.
fn read_directory(directory: &Path, faults: &mut Vec<Fault>) -> Vec<(String, String)> {
    let mut fault = |path: &Path, error: std::io::Error| {
        faults.push(Fault { file: path.display().to_string(), key: String::new(), what: error.to_string() })
    };
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) => {
            fault(directory, error);
            return Vec::new();
        }
    };
    let mut declarations = Vec::new();
    for entry in entries {
        let path = match entry {
            Ok(entry) => entry.path(),
            Err(error) => {
                fault(directory, error);
                continue;
            }
        };
        if path.extension().is_some_and(|extension| extension == "toml") {
            match fs::read_to_string(&path) {
                Ok(text) => declarations.push((path.display().to_string(), text)),
                Err(error) => fault(&path, error),
            }
        }
    }
    declarations.sort();
    declarations
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_models_parse_and_the_default_is_among_them() {
        let registry = Registry::load(None).unwrap();
        assert_eq!(registry.iter().map(|spec| &*spec.name).collect::<Vec<_>>(), ["nudenet-320n", "opennsfw"]);
        assert_eq!(&*registry.get(DEFAULT_MODEL).unwrap().licence, "AGPL-3.0");
        let error = registry.get("nudnet").unwrap_err().to_string();
        assert!(error.contains("nudnet") && error.contains("nudenet-320n, opennsfw"), "{error}");
    }

    #[test]
    fn a_users_model_is_added_or_replaces_a_built_in_one() {
        let directory = tempfile::tempdir().unwrap();
        let own = BUILT_IN[0].1.replace("asset = \"nudenet-320n\"", "path = \"mine.onnx\"");
        fs::write(directory.path().join("a.toml"), own.replace("name = \"nudenet-320n\"", "name = \"mine\"")).unwrap();
        fs::write(directory.path().join("b.toml"), own).unwrap();
        fs::write(directory.path().join("notes.txt"), "not a declaration").unwrap();
        let registry = Registry::load(Some(directory.path())).unwrap();
        assert_eq!(registry.iter().count(), 3);
        let replaced = registry.get("nudenet-320n").unwrap();
        assert_eq!(replaced.weights, crate::infer::model::Weights::Path(directory.path().join("mine.onnx")));
    }

    #[test]
    fn every_fault_of_every_file_is_reported_at_once() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("a.toml"), BUILT_IN[0].1.replace("stride = 32", "stride = 0")).unwrap();
        fs::write(directory.path().join("b.toml"), "name = 3").unwrap();
        let InferError::Declarations(faults) = Registry::load(Some(directory.path())).unwrap_err() else { panic!("faults expected") };
        assert!(faults.iter().any(|fault| fault.file.ends_with("a.toml") && fault.key == "input.stride"));
        assert!(faults.iter().filter(|fault| fault.file.ends_with("b.toml")).count() > 5);
        let missing = Registry::load(Some(&directory.path().join("none"))).unwrap_err().to_string();
        assert!(missing.contains("none"), "{missing}");
    }

    #[test]
    fn one_name_in_two_files_is_a_fault() {
        let directory = tempfile::tempdir().unwrap();
        for file in ["a.toml", "b.toml"] {
            fs::write(directory.path().join(file), BUILT_IN[1].1).unwrap();
        }
        let error = Registry::load(Some(directory.path())).unwrap_err().to_string();
        assert!(error.contains("b.toml: name: opennsfw is declared in") && error.contains("a.toml already"), "{error}");
    }
}
