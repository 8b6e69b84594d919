//! A Python environment of pinned packages, for tools that tests call. Made once; made again when what it is to hold changes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

#[derive(Debug, thiserror::Error)]
pub enum PythonError {
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: std::io::Error },
    #[error(
        "`{command}` cannot be started ({source}): install Python 3.10 or newer with its venv module (Debian: apt-get install python3-venv)"
    )]
    Start { command: String, source: std::io::Error },
    #[error("`{command}` failed: {}", output.trim().lines().rev().take(5).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n"))]
    Failed { command: String, output: String },
}

/// The environment at `folder` with what `requirements` pins by hash, made where it is not there yet. Answers with its folder of programs.
///
/// # Errors
/// When Python is missing, or a package can't be had.
pub fn environment(folder: &Path, requirements: &Path, say: &dyn Fn(&str)) -> Result<PathBuf, PythonError> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |source| PythonError::File { path, source }
    };
    let wanted = fs::read(requirements).map_err(at(requirements))?;
    let wanted: String = Sha256::digest(&wanted).iter().map(|byte| format!("{byte:02x}")).collect();
    let programs = folder.join(if cfg!(windows) { "Scripts" } else { "bin" });
    // Written last, so an environment that was not finished is made anew.
    let mark = folder.join("requirements.sha256");
    if fs::read_to_string(&mark).is_ok_and(|made| made == wanted) {
        return Ok(programs);
    }
    say(&format!("making a Python environment in {}", folder.display()));
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(at(folder))?;
    }
    run(Command::new("python3").args(["-m", "venv"]).arg(folder))?;
    let pip = programs.join("pip");
    run(Command::new(pip).args(["install", "--quiet", "--disable-pip-version-check", "--require-hashes", "-r"]).arg(requirements))?;
    fs::write(&mark, wanted).map_err(at(&mark))?;
    Ok(programs)
}

fn run(command: &mut Command) -> Result<(), PythonError> {
    let shown = format!("{command:?}");
    let output = command.output().map_err(|source| PythonError::Start { command: shown.clone(), source })?;
    if output.status.success() {
        return Ok(());
    }
    let output = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Err(PythonError::Failed { command: shown, output })
}
