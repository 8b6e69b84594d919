//! Calls to what is not ours: each bounded in time, tried again with growing pauses, and left alone for a while by a circuit breaker when
//! nothing answers.
//!
//! ```text
//! closed ── FAILURES_MAX in a row ──► open ── its time is over ──► half open ── one probe: answered ──► closed
//!                                      ▲ twice the time, up to OPEN_MAX ──────── failed ───┘
//! ```
//! Tries are `backon`'s. The breaker is our own: `failsafe`, the crate for it, lets every caller through at once when half open, and reads a
//! clock that a paused test can't hold. What always holds: an answer, even a refusal, closes the breaker; a call that is given up while it
//! probes leaves no probe behind; while it is open, a call costs nothing and says when to come back.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use tokio::time::Instant;

/// Counter: calls that failed, tries included. Label `what`.
pub const FAILURES: &str = "scrim_outside_failures_total";
/// Gauge: 0 while calls go through (closed), 1 while one is tried (half open), 2 while none is (open). Label `what`.
pub const STATE: &str = "scrim_outside_state";

/// Failures in a row that open the breaker.
const FAILURES_MAX: u32 = 5;
/// How long it stays open at first, and at most.
const OPEN_MIN: Duration = Duration::from_secs(1);
const OPEN_MAX: Duration = Duration::from_secs(8);
/// The pauses between tries: the first, the longest, and how many. Each is stretched by chance up to twice, so that many hosts do not call
/// in step.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);
const RETRIES: usize = 2;

/// Whether calls go through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Closed,
    HalfOpen,
    Open,
}

impl State {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half open",
            Self::Open => "open",
        }
    }
}

/// What an answer that is an error means for the next try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nobody answered, or whoever did can't now: it may go well the next time.
    Passing,
    /// A proper answer that no next try will change.
    Final,
}

#[derive(Debug, thiserror::Error)]
pub enum OutsideError<E> {
    #[error("{what} does not answer; it is asked again in {} ms", .again_in.as_millis())]
    Open { what: &'static str, again_in: Duration },
    #[error("{what} did not answer within {} ms", .after.as_millis())]
    Late { what: &'static str, after: Duration },
    #[error("{what}: {error}")]
    Failed { what: &'static str, error: E },
}

/// Something outside, and how it has been lately.
pub struct Outside {
    what: &'static str,
    timeout: Duration,
    breaker: Mutex<Breaker>,
}

#[derive(Debug)]
struct Breaker {
    failures: u32,
    open_for: Duration,
    /// None: closed.
    open_until: Option<Instant>,
    probing: bool,
}

/// Leave for one call. Dropped without a verdict, it was given up.
struct Leave<'a> {
    of: &'a Outside,
    probe: bool,
    told: bool,
}

impl Outside {
    /// `what` is its name among the metrics and in messages; a try may take `timeout`.
    pub fn new(what: &'static str, timeout: Duration) -> Self {
        let breaker = Breaker { failures: 0, open_for: OPEN_MIN, open_until: None, probing: false };
        Self { what, timeout, breaker: Mutex::new(breaker) }
    }

    pub fn state(&self) -> State {
        let breaker = self.breaker();
        match breaker.open_until {
            None => State::Closed,
            Some(_) if breaker.probing => State::HalfOpen,
            Some(_) => State::Open,
        }
    }

    /// Calls, and calls again where the fault may pass. `fault` says what an error means.
    ///
    /// # Errors
    /// The last try's, or that none was made because nothing has answered lately.
    pub async fn call<T, E, F>(&self, fault: impl Fn(&E) -> Fault, mut attempt: impl FnMut() -> F) -> Result<T, OutsideError<E>>
    where
        F: Future<Output = Result<T, E>>,
    {
        let pauses = ExponentialBuilder::new().with_min_delay(PAUSE_MIN).with_max_delay(PAUSE_MAX).with_max_times(RETRIES).with_jitter();
        let fault = &fault;
        let once = || {
            let asked = attempt();
            async move {
                let leave = self.leave()?;
                match tokio::time::timeout(self.timeout, asked).await {
                    Ok(Ok(answer)) => {
                        leave.tell(true);
                        Ok(answer)
                    }
                    Ok(Err(error)) => {
                        leave.tell(fault(&error) == Fault::Final);
                        Err(OutsideError::Failed { what: self.what, error })
                    }
                    Err(_) => {
                        leave.tell(false);
                        Err(OutsideError::Late { what: self.what, after: self.timeout })
                    }
                }
            }
        };
        let again = |error: &OutsideError<E>| match error {
            OutsideError::Failed { error, .. } => fault(error) == Fault::Passing,
            OutsideError::Late { .. } => true,
            OutsideError::Open { .. } => false,
        };
        once.retry(pauses).when(again).await
    }

    fn breaker(&self) -> std::sync::MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leave<E>(&self) -> Result<Leave<'_>, OutsideError<E>> {
        let mut breaker = self.breaker();
        let Some(until) = breaker.open_until else { return Ok(Leave { of: self, probe: false, told: false }) };
        let again_in = until.saturating_duration_since(Instant::now());
        if breaker.probing || !again_in.is_zero() {
            return Err(OutsideError::Open { what: self.what, again_in });
        }
        breaker.probing = true;
        metrics::gauge!(STATE, "what" => self.what).set(1.0);
        Ok(Leave { of: self, probe: true, told: false })
    }
}

impl Leave<'_> {
    fn tell(mut self, answered: bool) {
        self.told = true;
        let what = self.of.what;
        let mut breaker = self.of.breaker();
        if self.probe {
            breaker.probing = false;
        }
        if answered {
            if breaker.open_until.take().is_some() {
                tracing::info!(what, "answers again");
            }
            (breaker.failures, breaker.open_for) = (0, OPEN_MIN);
            metrics::gauge!(STATE, "what" => what).set(0.0);
            return;
        }
        metrics::counter!(FAILURES, "what" => what).increment(1);
        breaker.failures = breaker.failures.saturating_add(1);
        // Calls that were under way when it opened do not open it longer.
        let opens = self.probe || (breaker.open_until.is_none() && breaker.failures >= FAILURES_MAX);
        if opens {
            if breaker.open_until.is_none() {
                tracing::warn!(what, failures = breaker.failures, "does not answer, it is left alone for a while");
            }
            breaker.open_until = Some(Instant::now() + breaker.open_for);
            breaker.open_for = (breaker.open_for * 2).min(OPEN_MAX);
            metrics::gauge!(STATE, "what" => what).set(2.0);
        }
    }
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        if self.probe && !self.told {
            self.of.breaker().probing = false;
            metrics::gauge!(STATE, "what" => self.of.what).set(2.0);
        }
    }
}

/// Tells the recorder what the figures mean; called once, after one is installed.
pub fn describe() {
    metrics::describe_counter!(FAILURES, metrics::Unit::Count, "calls to what is outside that failed, tries included");
    metrics::describe_gauge!(STATE, metrics::Unit::Count, "0 while calls go through, 1 while one is tried, 2 while none is");
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::Poll;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(5);

    fn passing(_: &&str) -> Fault {
        Fault::Passing
    }

    /// Whether it still waits, after it was asked once.
    async fn is_pending(mut future: Pin<&mut impl Future>) -> bool {
        std::future::poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_pending())).await
    }

    async fn fail(outside: &Outside, times: u32) {
        for _ in 0..times {
            let failed = outside.call(passing, || async { Err::<(), _>("no") }).await;
            assert!(failed.is_err());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_passing_fault_is_tried_again_with_growing_pauses() {
        let (outside, calls) = (Outside::new("test", TIMEOUT), AtomicU32::new(0));
        let since = Instant::now();
        let answer = outside.call(passing, || async { if calls.fetch_add(1, Ordering::Relaxed) < 2 { Err("no") } else { Ok(7) } }).await;
        assert!(matches!(answer, Ok(7)) && calls.load(Ordering::Relaxed) == 3);
        // 100 and 200 ms, each stretched by less than its own length.
        let took = since.elapsed();
        assert!((Duration::from_millis(300)..=Duration::from_millis(620)).contains(&took), "{took:?}");
        assert_eq!(outside.state(), State::Closed);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_an_answer() {
        let (outside, calls) = (Outside::new("test", TIMEOUT), AtomicU32::new(0));
        for _ in 0..20 {
            let refused = outside
                .call(
                    |_| Fault::Final,
                    || {
                        calls.fetch_add(1, Ordering::Relaxed);
                        async { Err::<(), _>("not found") }
                    },
                )
                .await;
            assert!(matches!(refused, Err(OutsideError::Failed { error: "not found", .. })));
        }
        assert_eq!((calls.load(Ordering::Relaxed), outside.state()), (20, State::Closed));
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_answer_is_given_up_and_then_left_alone() {
        let outside = Outside::new("test", TIMEOUT);
        let since = Instant::now();
        let late = outside.call(passing, std::future::pending::<Result<(), &str>>).await;
        assert!(matches!(late, Err(OutsideError::Late { after: TIMEOUT, .. })), "{late:?}");
        assert!(since.elapsed() >= 3 * TIMEOUT, "three tries");
        fail(&outside, 1).await;
        assert_eq!(outside.state(), State::Open);
        let (since, calls) = (Instant::now(), AtomicU32::new(0));
        let open = outside
            .call(passing, || {
                calls.fetch_add(1, Ordering::Relaxed);
                std::future::ready(Ok(()))
            })
            .await;
        let Err(OutsideError::Open { what: "test", again_in }) = open else { panic!("{open:?}") };
        assert!(again_in <= OPEN_MIN && since.elapsed().is_zero());
    }

    #[tokio::test(start_paused = true)]
    async fn one_probe_at_a_time_decides() {
        let outside = Outside::new("test", TIMEOUT);
        fail(&outside, 2).await;
        assert_eq!(outside.state(), State::Open);
        tokio::time::advance(OPEN_MIN).await;
        let (release, wait) = tokio::sync::oneshot::channel::<()>();
        let mut wait = Some(wait);
        let probe = outside.call(passing, || {
            let wait = wait.take();
            async move {
                if let Some(wait) = wait {
                    wait.await.map_err(|_| "dropped")?;
                }
                Ok(1)
            }
        });
        tokio::pin!(probe);
        assert!(is_pending(probe.as_mut()).await);
        assert_eq!(outside.state(), State::HalfOpen);
        let second = outside.call(passing, || async { Ok::<_, &str>(2) }).await;
        assert!(matches!(second, Err(OutsideError::Open { .. })), "{second:?}");
        release.send(()).expect("the probe waits");
        assert!(matches!(probe.await, Ok(1)));
        assert_eq!(outside.state(), State::Closed);
        // And it takes as many failures as ever to open it again.
        fail(&outside, 1).await;
        assert_eq!(outside.state(), State::Closed);
    }

    #[tokio::test(start_paused = true)]
    async fn each_failed_probe_leaves_it_open_longer() {
        let outside = Outside::new("test", TIMEOUT);
        fail(&outside, 2).await;
        let mut lasted = Vec::new();
        for _ in 0..5 {
            let until = outside.breaker().open_until.expect("open");
            tokio::time::advance(until.saturating_duration_since(Instant::now())).await;
            // The probe fails at once.
            let probed = Instant::now();
            fail(&outside, 1).await;
            assert_eq!(outside.state(), State::Open);
            lasted.push((outside.breaker().open_until.expect("open") - probed).as_secs());
        }
        assert_eq!(lasted, [2, 4, 8, 8, 8]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_is_given_up_leaves_none_behind() {
        let outside = Outside::new("test", TIMEOUT);
        fail(&outside, 2).await;
        tokio::time::advance(OPEN_MIN).await;
        {
            let probe = outside.call(passing, std::future::pending::<Result<(), &str>>);
            tokio::pin!(probe);
            assert!(is_pending(probe.as_mut()).await);
            assert_eq!(outside.state(), State::HalfOpen);
        }
        assert_eq!(outside.state(), State::Open);
        assert!(outside.call(passing, || async { Ok::<_, &str>(()) }).await.is_ok());
        assert_eq!(outside.state(), State::Closed);
    }
}
