//! What the process takes of the machine.

use anyhow::{Context, Result};

/// Resident memory of this process, from `/proc/self/status`.
pub fn resident_bytes() -> Result<usize> {
    let status = std::fs::read_to_string("/proc/self/status").context("no /proc: this measurement is made on Linux")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS in /proc/self/status")?;
    let kib: usize = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib << 10)
}
