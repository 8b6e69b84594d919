//! A publisher of a room's stream, or a watcher of it, as somebody else's program would be: docs/stream.md over a socket of its own. What it
//! sent and what it heard is kept, to be held against the clip.
//!
//! ```text
//! orders ─► thread (one socket) ─► the host ─► the same thread ─► Heard
//! ```
//! Always: the picture of sequence number n is picture n of the clip, counted round, so that what comes back tells what it shows.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use futures_util::{SinkExt, StreamExt};
use scrim_host::geometry::Rect;
use scrim_host::media::frame::{Frame, FrameSeq, Micros};
use scrim_host::media::picture::{self, Limits};
use scrim_host::media::wire::{self, Control, Format, Head, Inbound, Kind, Verdict};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::coverage::reference;
use crate::served::Served;

/// Of the JPEG pictures that are published.
const JPEG_QUALITY: u8 = 90;
/// How long a connection may take.
const CONNECT_MAX: Duration = Duration::from_secs(20);

/// Pictures to be published, and what is in them.
pub struct Clip {
    /// As the host gets them: of JPEG pictures, decoded again.
    pub frames: Vec<Frame>,
    /// The faces that are to be covered, by the reference; empty lists where none was asked for.
    pub faces: Vec<Vec<Rect>>,
    format: Format,
    pictures: Vec<Vec<u8>>,
}

impl Clip {
    /// Without a reference.
    ///
    /// # Errors
    /// When a picture can't be encoded.
    pub fn new(frames: Vec<Frame>, format: Format) -> Result<Self> {
        ensure!(!frames.is_empty(), "a clip has pictures");
        let (mut seen, mut pictures) = (Vec::new(), Vec::new());
        for frame in frames {
            match format {
                Format::I420 => {
                    pictures.push(frame.data().to_vec());
                    seen.push(frame);
                }
                Format::Jpeg => {
                    let jpeg = picture::encode_jpeg(&frame, JPEG_QUALITY)?;
                    seen.push(picture::decode(&jpeg, Limits::default(), frame.seq, frame.at)?);
                    pictures.push(jpeg);
                }
            }
        }
        let faces = vec![Vec::new(); seen.len()];
        Ok(Self { frames: seen, faces, format, pictures })
    }

    /// With the reference's faces, looked for on every picture.
    ///
    /// # Errors
    /// As [`Clip::new`], and when the reference's model can't be had.
    pub fn with_faces(frames: Vec<Frame>, format: Format) -> Result<Self> {
        let clip = Self::new(frames, format)?;
        Ok(Self { faces: reference::faces_on(&clip.frames)?, ..clip })
    }

    fn at(&self, sequence: u64) -> usize {
        (sequence % self.frames.len() as u64) as usize
    }

    /// The picture that a number stands for.
    pub fn frame(&self, sequence: u64) -> &Frame {
        &self.frames[self.at(sequence)]
    }

    /// The faces in it.
    pub fn faces(&self, sequence: u64) -> &[Rect] {
        &self.faces[self.at(sequence)]
    }

    /// The binary message.
    pub fn message(&self, sequence: u64, capture_us: u64) -> Vec<u8> {
        let frame = self.frame(sequence);
        let kind = match self.format {
            Format::Jpeg => Kind::Jpeg,
            Format::I420 => Kind::I420 { range: frame.range, matrix: frame.matrix },
        };
        let (width, height) = (frame.width as u32, frame.height as u32);
        let head = Head { kind, sequence, capture: Micros(capture_us), width, height };
        wire::write_inbound(&Inbound { head, picture: &self.pictures[self.at(sequence)] })
    }
}

/// A covered picture as it came.
#[derive(Clone)]
pub struct Shown {
    pub sequence: u64,
    pub capture_us: u64,
    pub kind: Kind,
    pub width: usize,
    pub height: usize,
    pub verdict: Verdict,
    pub picture: Vec<u8>,
    pub at: Instant,
}

impl Shown {
    fn read(message: &[u8]) -> Result<Self> {
        let covered = wire::parse_covered(message, Limits::default())?;
        let Head { kind, sequence, capture, width, height } = covered.head;
        Ok(Self {
            sequence,
            capture_us: capture.0,
            kind,
            width: width as usize,
            height: height as usize,
            verdict: covered.verdict,
            picture: covered.picture.to_vec(),
            at: Instant::now(),
        })
    }

    /// The picture itself.
    ///
    /// # Errors
    /// When it can't be decoded.
    pub fn frame(&self) -> Result<Frame> {
        let seq = FrameSeq(self.sequence);
        match self.kind {
            Kind::Jpeg => Ok(picture::decode(&self.picture, Limits::default(), seq, Micros::ZERO)?),
            Kind::I420 { range, matrix } => Ok(Frame::new(seq, Micros::ZERO, self.width, self.height, range, matrix, self.picture.clone())),
        }
    }
}

/// What came over one connection.
#[derive(Default)]
pub struct Heard {
    /// When the connection was open: capture times count from here.
    pub started: Option<Instant>,
    pub shown: VecDeque<Shown>,
    pub controls: Vec<Control>,
    /// Messages that are not as described.
    pub unreadable: Vec<String>,
    /// The last number that was sent.
    pub last_sent: Option<u64>,
    pub sent: u64,
    /// By how much the machine was late for a picture, at most.
    pub late_max: Duration,
    /// Nothing comes any more.
    pub over: bool,
}

impl Heard {
    /// Frames that the host said it left out.
    pub fn dropped(&self) -> u64 {
        self.dropped_for(|_| true)
    }

    /// The same, for some reasons.
    pub fn dropped_for(&self, why: impl Fn(&str) -> bool) -> u64 {
        let count = |control: &Control| match control {
            Control::Dropped { count, reason, .. } if why(reason) => *count,
            _ => 0,
        };
        self.controls.iter().map(count).sum()
    }
}

enum Order {
    /// So many frames a second, from now on.
    Play(Arc<Clip>, f64),
    Pause,
    /// So many frames of the clip at once.
    Burst(Arc<Clip>, u64),
    Send(Message),
    /// Says good-bye, and listens until the host does.
    Close,
    Cut,
}

/// One connection. Dropped, it is cut.
pub struct Publisher {
    orders: mpsc::UnboundedSender<Order>,
    heard: Arc<Mutex<Heard>>,
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

impl Publisher {
    /// Connects to a room's stream; `query` is what follows the `?`. Numbers begin with `first`.
    ///
    /// # Errors
    /// When the host does not take the connection.
    pub fn connect(served: &Served, room: &str, query: &str, first: u64) -> Result<Self> {
        let (address, key) = (format!("ws://{}/v1/rooms/{room}/stream?{query}", served.address), served.key.clone());
        let (orders, taken) = mpsc::unbounded_channel();
        let heard = Arc::new(Mutex::new(Heard::default()));
        let (tell, told) = std::sync::mpsc::channel();
        let into = heard.clone();
        std::thread::Builder::new().name("publisher".to_owned()).spawn(move || {
            let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                // Nobody waits for more than the error.
                Err(error) => {
                    let _ = tell.send(Err(error.into()));
                    return;
                }
            };
            runtime.block_on(async {
                match open(&address, key).await {
                    Ok(socket) => {
                        let _ = tell.send(Ok(()));
                        Connection { heard: into.clone(), next: first, playing: None }.run(socket, taken).await;
                    }
                    Err(error) => {
                        let _ = tell.send(Err(error));
                    }
                }
            });
            lock(&into).over = true;
        })?;
        told.recv_timeout(CONNECT_MAX).context("the host does not answer")??;
        Ok(Self { orders, heard })
    }

    /// The status that a connection is refused with.
    ///
    /// # Errors
    /// When it is not.
    pub fn refusal(served: &Served, room: &str, query: &str) -> Result<u16> {
        match Self::connect(served, room, query, 0) {
            Ok(_) => bail!("the connection was taken"),
            Err(error) => match error.downcast_ref::<Error>() {
                Some(Error::Http(answer)) => Ok(answer.status().as_u16()),
                _ => Err(error),
            },
        }
    }

    fn order(&self, order: Order) {
        // A connection that is over is told by what it heard.
        let _ = self.orders.send(order);
    }

    pub fn play(&self, clip: &Arc<Clip>, frames_per_second: f64) {
        self.order(Order::Play(clip.clone(), frames_per_second));
    }

    pub fn pause(&self) {
        self.order(Order::Pause);
    }

    pub fn burst(&self, clip: &Arc<Clip>, frames: u64) {
        self.order(Order::Burst(clip.clone(), frames));
    }

    pub fn send(&self, message: Message) {
        self.order(Order::Send(message));
    }

    pub fn close(&self) {
        self.order(Order::Close);
    }

    /// Lets the connection go without a word, as a lost network does.
    pub fn cut(&self) {
        self.order(Order::Cut);
    }

    pub fn heard(&self) -> MutexGuard<'_, Heard> {
        lock(&self.heard)
    }

    /// The frames that came since this was last asked.
    pub fn take_shown(&self) -> Vec<Shown> {
        self.heard().shown.drain(..).collect()
    }

    /// Waits until something holds of what was heard.
    ///
    /// # Errors
    /// When it does not come to hold in time.
    pub fn wait(&self, within: Duration, what: &str, holds: impl Fn(&Heard) -> bool) -> Result<()> {
        let since = Instant::now();
        while since.elapsed() < within {
            if holds(&self.heard()) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let heard = self.heard();
        bail!("{what}: not within {within:?}; sent {}, {} shown wait, told {:?}", heard.sent, heard.shown.len(), heard.controls)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn open(address: &str, key: Option<String>) -> Result<Socket> {
    let mut request = address.into_client_request()?;
    if let Some(key) = key {
        request.headers_mut().insert("authorization", format!("Bearer {key}").parse()?);
    }
    Ok(tokio_tungstenite::connect_async(request).await?.0)
}

struct Connection {
    heard: Arc<Mutex<Heard>>,
    next: u64,
    playing: Option<(Arc<Clip>, Duration, tokio::time::Instant)>,
}

impl Connection {
    async fn run(mut self, socket: Socket, mut orders: mpsc::UnboundedReceiver<Order>) {
        let start = tokio::time::Instant::now();
        lock(&self.heard).started = Some(start.into_std());
        let (mut out, mut incoming) = socket.split();
        loop {
            let due = self.playing.as_ref().map(|(_, _, due)| *due);
            tokio::select! {
                order = orders.recv() => {
                    let sent = match order {
                        Some(Order::Play(clip, rate)) => {
                            self.playing = Some((clip, Duration::from_secs_f64(1.0 / rate), tokio::time::Instant::now()));
                            Ok(())
                        }
                        Some(Order::Pause) => {
                            self.playing = None;
                            Ok(())
                        }
                        Some(Order::Burst(clip, frames)) => {
                            let mut sent = Ok(());
                            for _ in 0..frames {
                                sent = sent.and(out.send(self.numbered(&clip, start)).await);
                            }
                            sent
                        }
                        Some(Order::Send(message)) => out.send(message).await,
                        Some(Order::Close) => {
                            self.playing = None;
                            out.close().await
                        }
                        Some(Order::Cut) | None => return,
                    };
                    if sent.is_err() {
                        return;
                    }
                }
                () = tokio::time::sleep_until(due.unwrap_or(start)), if due.is_some() => {
                    if let Some(message) = self.tick(start)
                        && out.send(message).await.is_err()
                    {
                        return;
                    }
                }
                message = incoming.next() => match message {
                    Some(Ok(message)) => self.heard(message),
                    Some(Err(_)) | None => return,
                },
            }
        }
    }

    /// The picture whose time has come. After a stall the pace goes on from now, as a camera's does.
    fn tick(&mut self, start: tokio::time::Instant) -> Option<Message> {
        let (clip, every, due) = self.playing.as_mut()?;
        let (clip, now) = (clip.clone(), tokio::time::Instant::now());
        let late = now.saturating_duration_since(*due);
        *due = if late > *every * 2 { now + *every } else { *due + *every };
        let mut heard = lock(&self.heard);
        heard.late_max = heard.late_max.max(late);
        drop(heard);
        Some(self.numbered(&clip, start))
    }

    fn numbered(&mut self, clip: &Clip, start: tokio::time::Instant) -> Message {
        let message = clip.message(self.next, start.elapsed().as_micros() as u64);
        let mut heard = lock(&self.heard);
        (heard.last_sent, heard.sent) = (Some(self.next), heard.sent + 1);
        self.next += 1;
        Message::Binary(message.into())
    }

    fn heard(&self, message: Message) {
        let mut heard = lock(&self.heard);
        match message {
            Message::Binary(bytes) => match Shown::read(&bytes) {
                Ok(shown) => heard.shown.push_back(shown),
                Err(error) => heard.unreadable.push(error.to_string()),
            },
            Message::Text(text) => match serde_json::from_str(&text) {
                Ok(control) => heard.controls.push(control),
                Err(error) => heard.unreadable.push(format!("{error}: {text}")),
            },
            _ => {}
        }
    }
}
