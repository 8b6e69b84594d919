//! ONNX Runtime itself: found, loaded once per process, its log passed on.

use std::env;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use ort::environment::Environment;
use ort::logging::LogLevel;
use ort::session::Session;

use super::InferError;

/// Names the library file; wins over the cache.
pub const RUNTIME_VARIABLE: &str = "ORT_DYLIB_PATH";

/// ONNX Runtime, loaded. There is one per process.
pub struct Runtime {
    environment: Environment,
    path: PathBuf,
}

impl Runtime {
    /// The library at `explicit` (from the configuration), else where [`RUNTIME_VARIABLE`] says, else the first of `candidates` that exists.
    ///
    /// # Errors
    /// [`InferError::RuntimeMissing`] names every place looked at.
    pub fn locate(explicit: Option<&Path>, candidates: &[PathBuf]) -> Result<PathBuf, InferError> {
        let variable = env::var_os(RUNTIME_VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
        locate_among(explicit.map(Path::to_path_buf).or(variable), candidates)
    }

    /// Loads the library, or returns the one that is loaded.
    ///
    /// # Errors
    /// When it can't be loaded, is too old, or another one already is loaded.
    pub fn load(path: &Path) -> Result<&'static Runtime, InferError> {
        static LOADED: OnceLock<Runtime> = OnceLock::new();
        static LOADING: Mutex<()> = Mutex::new(());
        let _one_at_a_time = LOADING.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = |reason: String| InferError::Runtime { path: path.to_path_buf(), reason };
        // A bare name would be searched along the loader's path; only what was found is loaded.
        let path = path.canonicalize().map_err(|_| InferError::RuntimeMissing { looked_at: vec![path.to_path_buf()] })?;
        if let Some(loaded) = LOADED.get() {
            return match loaded.path == path {
                true => Ok(loaded),
                false => Err(failed(format!("{} is loaded already, and a process can hold only one", loaded.path.display()))),
            };
        }
        let environment = ort::init_from(&path)
            .map_err(|error| failed(error.to_string()))?
            .with_name("scrim")
            .with_telemetry(false)
            .with_logger(Arc::new(log))
            .build()
            .map_err(|error| failed(error.to_string()))?;
        // The logger is called for every level otherwise.
        environment.set_log_level(LogLevel::Warning);
        Ok(LOADED.get_or_init(|| Runtime { environment, path }))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A session on the CPU. Its threads sleep between runs: a core that spins is one that a frame waits for.
    ///
    /// # Errors
    /// What ONNX Runtime says of the file.
    pub(super) fn session(&self, file: &Path, threads: usize) -> Result<Session, String> {
        let builder = Session::builder(&self.environment).map_err(|error| error.to_string())?;
        let builder = builder.with_intra_threads(threads).map_err(|error| error.to_string())?;
        let mut builder = builder.with_intra_op_spinning(false).map_err(|error| error.to_string())?;
        builder.commit_from_file(file).map_err(|error| error.to_string())
    }

    pub(super) fn environment(&self) -> &Environment {
        &self.environment
    }
}

fn locate_among(named: Option<PathBuf>, candidates: &[PathBuf]) -> Result<PathBuf, InferError> {
    // A file that was named is not silently replaced by another.
    let looked_at = named.map_or_else(|| candidates.to_vec(), |path| vec![path]);
    looked_at.iter().find(|path| path.is_file()).cloned().ok_or(InferError::RuntimeMissing { looked_at })
}

fn log(level: LogLevel, category: &str, id: &str, _code_location: &str, message: &str) {
    match level {
        // Its warnings are advice on graphs, of no use to an operator.
        LogLevel::Verbose | LogLevel::Info | LogLevel::Warning => tracing::debug!(category, id, "onnx runtime: {message}"),
        LogLevel::Error | LogLevel::Fatal => tracing::warn!(category, id, "onnx runtime: {message}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_library_is_not_replaced_by_another() {
        let here =
            PathBuf::from(file!()).file_name().map(|name| Path::new(env!("CARGO_MANIFEST_DIR")).join("src/infer").join(name)).unwrap();
        assert_eq!(locate_among(None, &["/nowhere.so".into(), here.clone()]).unwrap(), here);
        let error = locate_among(Some("/named.so".into()), &[here]).unwrap_err().to_string();
        assert!(error.contains("/named.so") && error.contains("cargo xtask fetch"), "{error}");
    }

    #[test]
    fn what_is_no_library_is_refused_without_a_panic() {
        let text = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        assert!(matches!(Runtime::load(&text), Err(InferError::Runtime { .. })));
        assert!(matches!(Runtime::load(Path::new("/no/such.so")), Err(InferError::RuntimeMissing { .. })));
    }
}
