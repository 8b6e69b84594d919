//! A look that no other one runs beside has the machine for itself: a second session of the same model on all cores answers it sooner. As
//! soon as two run, each has one core, which answers the most looks a second.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ort::session::Session;

use super::runtime::Runtime;

/// What the detectors of one batcher share.
#[derive(Clone, Debug)]
pub struct Together {
    /// Of a look that is alone.
    pub threads: usize,
    running: Arc<AtomicUsize>,
}

impl Together {
    pub fn new(threads: usize) -> Self {
        Self { threads, running: Arc::default() }
    }

    /// A look begins, for as long as the ticket lives; says whether it is alone.
    fn begin(&self) -> (Running, bool) {
        let others = self.running.fetch_add(1, Ordering::Relaxed);
        (Running(self.running.clone()), others == 0)
    }
}

struct Running(Arc<AtomicUsize>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The session for looks that are alone.
pub(super) struct Alone {
    session: Session,
    together: Together,
}

impl Alone {
    pub fn open(runtime: &Runtime, file: &Path, together: &Together) -> Result<Self, String> {
        Ok(Self { session: runtime.session(file, together.threads)?, together: together.clone() })
    }

    /// Runs with this session if nothing else runs, otherwise with `narrow`.
    pub fn run<R>(&mut self, narrow: &mut Session, run: impl FnOnce(&mut Session) -> R) -> R {
        let (_running, alone) = self.together.begin();
        run(if alone { &mut self.session } else { narrow })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_alone_until_it_ends() {
        let together = Together::new(2);
        let (first, alone) = together.begin();
        assert!(alone);
        let (second, alone) = together.begin();
        assert!(!alone);
        drop(first);
        assert!(!together.begin().1, "the second runs still");
        drop(second);
        assert!(together.begin().1);
    }
}
