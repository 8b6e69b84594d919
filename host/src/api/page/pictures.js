// Pictures of the live page: messages taken apart, raw pictures kept until their covered ones come, both drawn in one step.
//
// What always holds: a covered picture and the raw one beside it have the same number; where the raw one was lost on its way, the last one
// stays for half a second, with its own number. What is kept has a bound. Whoever draws slower than pictures come shows the newest.

import { $, number, words, write } from "/parts.js";

/** Raw pictures that wait for their covered one: ten seconds of the longest delay. */
const RAW_FRAMES_MAX = 400;
const RAW_BYTES_MAX = 64 << 20;
/** A raw picture stays in place of one that was lost for so long. */
const RAW_STALE_MS = 500;
const RATE_OVER_MS = 2000;
/** Of the messages: docs/stream.md. */
const MAGIC = 0x5343524d, VERSION = 1, VERDICT_AT = 36;

export function parse(buffer) {
  const view = new DataView(buffer);
  if (buffer.byteLength < VERDICT_AT || view.getUint32(0) !== MAGIC || view.getUint8(4) !== VERSION) {
    throw new Error("a message that docs/stream.md does not describe");
  }
  const start = VERDICT_AT + view.getUint32(32, true);
  const verdict = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, VERDICT_AT, start - VERDICT_AT)));
  const picture = new Blob([new Uint8Array(buffer, start)], { type: "image/jpeg" });
  return { sequence: Number(view.getBigUint64(8, true)), verdict, picture, came: performance.now() };
}

/** In the order in which they came; a publisher that begins anew may number from 0 again. */
const raws = new Map();
let rawBytes = 0;

export function keepRaw(frame) {
  dropRaw(frame.sequence);
  raws.set(frame.sequence, frame);
  rawBytes += frame.picture.size;
  while (raws.size > RAW_FRAMES_MAX || rawBytes > RAW_BYTES_MAX) dropRaw(raws.keys().next().value);
}

function dropRaw(sequence) {
  rawBytes -= raws.get(sequence)?.picture.size ?? 0;
  raws.delete(sequence);
}

/** The raw picture of this number; those before it are not asked for any more. */
function takeRaw(sequence) {
  const found = raws.get(sequence);
  for (const earlier of found ? [...raws.keys()] : []) {
    dropRaw(earlier);
    if (earlier === sequence) break;
  }
  return found;
}

let next = null, isDrawing = false, rawShown = 0;
const arrivals = [], delays = [];

export function showFrame(frame) {
  arrivals.push(frame.came);
  // Whoever draws slower than pictures come shows the newest.
  next = frame;
  if (!isDrawing) draw();
}

async function draw() {
  isDrawing = true;
  while (next) {
    const frame = next;
    next = null;
    const raw = takeRaw(frame.sequence);
    try {
      const [covered, beside] = await Promise.all([createImageBitmap(frame.picture), raw ? createImageBitmap(raw.picture) : null]);
      paint($("moderated"), covered, frame);
      if (beside) paintRaw(beside, frame, raw);
      else if (rawShown && performance.now() - rawShown > RAW_STALE_MS) blankRaw();
      showVerdict(frame.verdict);
    } catch (error) {
      console.error("a picture cannot be decoded", error);
    }
  }
  isDrawing = false;
}

function paint(canvas, picture, { sequence, verdict }) {
  if (canvas.width !== picture.width || canvas.height !== picture.height) [canvas.width, canvas.height] = [picture.width, picture.height];
  canvas.getContext("2d").drawImage(picture, 0, 0);
  picture.close();
  Object.assign(canvas.dataset, { sequence, cover: verdict.cover, masks: JSON.stringify(verdict.masks) });
}

/** The raw picture, and over it, on a canvas of its own, the edges of what is covered. */
function paintRaw(picture, frame, raw) {
  const { width, height } = picture;
  paint($("raw"), picture, frame);
  rawShown = performance.now();
  delays.push(frame.came - raw.came);
  const over = $("outline");
  if (over.width !== width || over.height !== height) [over.width, over.height] = [width, height];
  const pen = over.getContext("2d");
  pen.clearRect(0, 0, width, height);
  [pen.strokeStyle, pen.lineWidth] = ["#ffb020", Math.max(2, width / 320)];
  const masks = frame.verdict.cover === "full" ? [{ x: 0, y: 0, width: 1, height: 1 }] : frame.verdict.masks;
  for (const mask of masks) pen.strokeRect(mask.x * width, mask.y * height, mask.width * width, mask.height * height);
  write($("raw-frame"), `frame ${number(frame.sequence)}`);
}

function blankRaw() {
  for (const canvas of [$("raw"), $("outline")]) canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height);
  delete $("raw").dataset.sequence;
  write($("raw-frame"), "no raw picture");
}

function showVerdict({ cover, masks, reason, judged }) {
  $("cover").dataset.cover = cover;
  const parts = masks.length === 1 ? "1 mask" : `${masks.length} masks`;
  const text = { clear: "clear", masked: parts, full: `covered whole: ${words(reason ?? "")}` }[cover] ?? cover;
  write($("cover"), judged || cover === "full" ? text : `${text}, unjudged`);
}

export function showRate() {
  const now = performance.now();
  while (arrivals.length && now - arrivals[0] > RATE_OVER_MS) arrivals.shift();
  write($("rate"), ((arrivals.length * 1000) / RATE_OVER_MS).toFixed(1));
  if (delays.length) {
    const sorted = delays.splice(0).sort((a, b) => a - b);
    write($("latency"), `${Math.round(sorted[sorted.length >> 1])} ms`);
  }
}
