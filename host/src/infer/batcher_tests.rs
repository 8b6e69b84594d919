//! The batcher with detectors that a test steps by hand. Nothing here waits for a length of time that it then relies on.

use std::sync::mpsc;

use super::*;
use crate::media::frame::{FrameSeq, Matrix, Micros, Range};

const FAR: Duration = Duration::from_secs(600);

/// Does with each batch what it is told; a frame's number is what it finds.
struct Puppet {
    name: Arc<str>,
    started: mpsc::Sender<Vec<u64>>,
    orders: Arc<Mutex<mpsc::Receiver<Order>>>,
}

#[derive(Clone, Copy)]
enum Order {
    Find,
    Fail,
    Panic,
    TooFew,
}

impl Detector for Puppet {
    fn name(&self) -> &Arc<str> {
        &self.name
    }

    fn labels(&self) -> &[Arc<str>] {
        &[]
    }

    fn look_budget(&self) -> Duration {
        Duration::from_millis(60)
    }

    fn detect(&mut self, frames: &[&Frame]) -> Result<Vec<Vec<Detection>>, InferError> {
        let numbers: Vec<u64> = frames.iter().map(|frame| frame.seq.0).collect();
        _ = self.started.send(numbers.clone());
        let order = self.orders.lock().unwrap().recv();
        let found = |number: u64| Detection {
            detector: self.name.clone(),
            label: number.to_string().into(),
            confidence: 1.0,
            area: None,
            trail: None,
        };
        match order {
            Ok(Order::Find) => Ok(numbers.into_iter().map(|number| vec![found(number)]).collect()),
            Ok(Order::TooFew) => Ok(Vec::new()),
            Ok(Order::Panic) => panic!("told to"),
            Ok(Order::Fail) | Err(_) => {
                Err(InferError::Run { model: "puppet".to_owned(), frames: frames.len(), reason: "told to".to_owned() })
            }
        }
    }
}

struct Stage {
    batcher: Batcher,
    started: mpsc::Receiver<Vec<u64>>,
    orders: mpsc::Sender<Order>,
    answers: mpsc::Receiver<(u64, LookResult)>,
    answer: mpsc::Sender<(u64, LookResult)>,
}

fn stage(config: BatcherConfig) -> Stage {
    let (start, started) = mpsc::channel();
    let (orders, order) = mpsc::channel();
    let (answer, answers) = mpsc::channel();
    let order = Arc::new(Mutex::new(order));
    let factory: Factory =
        Arc::new(
            move || Ok(Box::new(Puppet { name: "puppet".into(), started: start.clone(), orders: order.clone() }) as Box<dyn Detector>),
        );
    Stage { batcher: Batcher::start(config, factory).unwrap(), started, orders, answers, answer }
}

impl Stage {
    fn submit(&self, number: u64, required: bool, within: Duration) {
        let frame = Frame::new(FrameSeq(number), Micros(number), 2, 2, Range::Full, Matrix::Bt601, vec![0; 6]);
        let request = LookRequest { source: 1, weight: NonZeroU32::MIN, frame, required, deadline: Instant::now() + within };
        let answer = self.answer.clone();
        self.batcher.submit(request, Box::new(move |result| _ = answer.send((number, result))));
    }

    fn next(&self) -> (u64, LookResult) {
        self.answers.recv_timeout(FAR).unwrap()
    }
}

fn labels(result: &LookResult) -> Vec<&str> {
    result.found.as_ref().unwrap().iter().map(|found| &*found.label).collect()
}

#[test]
fn a_look_is_answered_with_what_its_frame_shows() {
    let stage = stage(BatcherConfig::cpu(1));
    stage.submit(7, true, FAR);
    stage.orders.send(Order::Find).unwrap();
    let (number, result) = stage.next();
    assert_eq!((number, labels(&result), result.batch), (7, vec!["7"], 1));
    assert_eq!(&**stage.batcher.name(), "puppet");
}

#[test]
fn looks_that_came_while_it_was_busy_share_a_batch() {
    let config = BatcherConfig { limits: Limits { wait_max: Duration::ZERO, ..Limits::gpu() }, ..BatcherConfig::gpu() };
    let stage = stage(config);
    stage.submit(0, true, FAR);
    assert_eq!(stage.started.recv().unwrap(), [0]);
    for number in 1..=10 {
        stage.submit(number, true, FAR + Duration::from_secs(number));
    }
    for _ in 0..3 {
        stage.orders.send(Order::Find).unwrap();
    }
    assert_eq!(stage.started.recv().unwrap(), (1..=8).collect::<Vec<_>>());
    assert_eq!(stage.started.recv().unwrap(), [9, 10]);
    for _ in 0..=10 {
        let (number, result) = stage.next();
        assert_eq!(labels(&result), [number.to_string()]);
        assert_eq!(
            result.batch,
            match number {
                0 => 1,
                1..=8 => 8,
                _ => 2,
            }
        );
    }
}

#[test]
fn an_error_a_panic_and_a_short_answer_cost_only_their_looks() {
    let stage = stage(BatcherConfig::cpu(1));
    for (number, order) in [(1, Order::Fail), (2, Order::Panic), (3, Order::TooFew), (4, Order::Find)] {
        stage.submit(number, true, FAR);
        stage.orders.send(order).unwrap();
        let (answered, result) = stage.next();
        assert_eq!(answered, number);
        match number {
            1 => assert!(matches!(&result.found, Err(LookFault::Failed(reason)) if reason.contains("told to"))),
            2 => assert_eq!(result.found, Err(LookFault::Panicked("told to".to_owned()))),
            3 => assert!(matches!(&result.found, Err(LookFault::Failed(reason)) if reason.contains("0 answers"))),
            _ => assert_eq!(labels(&result), ["4"]),
        }
    }
    let health = stage.batcher.health();
    assert_eq!((health.workers, health.hung, health.restarts), (1, 0, 1));
}

#[test]
fn a_newer_optional_look_answers_the_older_one_at_once() {
    let stage = stage(BatcherConfig::cpu(1));
    stage.submit(0, true, FAR);
    stage.started.recv().unwrap();
    stage.submit(1, false, FAR);
    stage.submit(2, true, FAR);
    stage.submit(3, false, FAR);
    let (number, result) = stage.next();
    assert_eq!((number, result.found), (1, Err(LookFault::Dropped(DropReason::Superseded))));
    for _ in 0..3 {
        stage.orders.send(Order::Find).unwrap();
    }
    let mut answered: Vec<u64> = (0..3).map(|_| stage.next().0).collect();
    answered.sort_unstable();
    assert_eq!(answered, [0, 2, 3]);
}

#[test]
fn a_look_expires_though_its_only_worker_is_busy() {
    let stage = stage(BatcherConfig { hang_after: FAR, ..BatcherConfig::cpu(1) });
    stage.submit(0, true, FAR);
    stage.started.recv().unwrap();
    stage.submit(1, true, Duration::from_millis(5));
    let (number, result) = stage.next();
    assert_eq!((number, result.found), (1, Err(LookFault::Dropped(DropReason::Expired))));
    stage.orders.send(Order::Find).unwrap();
    assert_eq!(labels(&stage.next().1), ["0"]);
}

#[test]
fn a_worker_that_hangs_is_noticed_and_replaced_and_its_late_answer_thrown_away() {
    let hang_after = Duration::from_millis(20);
    let stage = stage(BatcherConfig { hang_after, ..BatcherConfig::cpu(1) });
    stage.submit(1, true, FAR);
    let (number, result) = stage.next();
    assert_eq!((number, result.found), (1, Err(LookFault::Hung(hang_after))));
    let health = stage.batcher.health();
    assert_eq!((health.hung, health.restarts), (1, 1));
    assert!(!health.is_well(1));
    // The lost worker reads this order; its answer must reach nobody.
    stage.orders.send(Order::Find).unwrap();
    stage.orders.send(Order::Find).unwrap();
    stage.submit(2, true, FAR);
    let (number, _) = stage.next();
    assert_eq!(number, 2);
    while stage.batcher.health().hung > 0 {
        thread::yield_now();
    }
    assert!(stage.answers.try_recv().is_err());
}

#[test]
fn a_detector_that_always_hangs_is_not_replaced_for_ever() {
    let stage = stage(BatcherConfig { hang_after: Duration::from_millis(2), ..BatcherConfig::cpu(1) });
    for number in 0..=REPLACEMENTS_MAX as u64 {
        stage.submit(number, true, FAR);
        assert!(matches!(stage.next().1.found, Err(LookFault::Hung(_))));
    }
    let health = stage.batcher.health();
    assert_eq!((health.workers, health.hung, health.restarts), (0, REPLACEMENTS_MAX + 1, REPLACEMENTS_MAX));
    // Nobody is left to run it, but it is still answered.
    stage.submit(99, true, Duration::from_millis(1));
    assert_eq!(stage.next().1.found, Err(LookFault::Dropped(DropReason::Expired)));
}

#[test]
fn closing_answers_what_waits() {
    let stage = stage(BatcherConfig::cpu(1));
    stage.submit(0, true, FAR);
    stage.started.recv().unwrap();
    stage.submit(1, true, FAR);
    let Stage { batcher, orders, answers, .. } = stage;
    orders.send(Order::Find).unwrap();
    // One order only: the second look, should it still start, fails.
    drop(orders);
    drop(batcher);
    let mut ends: Vec<(u64, bool)> = answers.try_iter().map(|(number, result)| (number, result.found.is_ok())).collect();
    ends.sort_unstable();
    assert_eq!(ends, [(0, true), (1, false)]);
}

#[test]
fn a_reply_that_panics_does_not_take_its_worker_along() {
    let stage = stage(BatcherConfig::cpu(1));
    let frame = Frame::new(FrameSeq(1), Micros(1), 2, 2, Range::Full, Matrix::Bt601, vec![0; 6]);
    let request = LookRequest { source: 1, weight: NonZeroU32::MIN, frame, required: true, deadline: Instant::now() + FAR };
    stage.batcher.submit(request, Box::new(|_| panic!("a reply's own fault")));
    stage.submit(2, true, FAR);
    stage.orders.send(Order::Find).unwrap();
    stage.orders.send(Order::Find).unwrap();
    assert_eq!(labels(&stage.next().1), ["2"]);
}

#[test]
fn a_detector_that_cannot_be_made_is_an_error_at_the_start() {
    let factory: Factory = Arc::new(|| Err(InferError::Model { model: "none".to_owned(), reason: "told to".to_owned() }));
    assert!(Batcher::start(BatcherConfig::cpu(2), factory).is_err());
}

#[tokio::test]
async fn a_task_can_wait_for_its_look() {
    let stage = stage(BatcherConfig::cpu(2));
    stage.orders.send(Order::Find).unwrap();
    let frame = Frame::new(FrameSeq(5), Micros(5), 2, 2, Range::Full, Matrix::Bt601, vec![0; 6]);
    let request = LookRequest { source: 1, weight: NonZeroU32::MIN, frame, required: false, deadline: Instant::now() + FAR };
    assert_eq!(labels(&stage.batcher.look(request).await), ["5"]);
}
