// What the tests of LiveKit's pages share: browsers with a camera and a microphone out of files, and what reaches a viewer, written down.

import { closeSync, openSync, writeSync } from "node:fs";
import { text, until } from "./browser.mjs";

export const MEDIA = ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream", "--disable-features=WebRtcHideLocalIpsWithMdns"];
export const SIZE = { width: 900, height: 590 };
/** 640×480, as it is written down. */
export const PICTURE = { width: 640, height: 480, quality: 0.92 };

/** A file of pieces, each behind its length; `write` takes one in base64. */
export function writer(path) {
  const file = openSync(path, "w");
  const to = {
    written: 0,
    write(base64) {
      to.written += 1;
      const bytes = Buffer.from(base64, "base64"), length = Buffer.alloc(4);
      length.writeUInt32LE(bytes.length);
      writeSync(file, Buffer.concat([length, bytes]));
    },
    close: () => closeSync(file),
  };
  return to;
}

/**
 * In the page, before anything of it runs: each picture of each video that is put into `#tiles` or made by the test, as it arrives. The first
 * may be read a few milliseconds after the track's; none is shown before.
 */
export function watchVideos({ width, height, quality }) {
  const seen = new WeakSet();
  globalThis.pictures = 0;
  globalThis.watchTrack = async (track, tell) => {
    const { readable } = new MediaStreamTrackProcessor({ track, maxBufferSize: 60 });
    const canvas = new OffscreenCanvas(width, height), context = canvas.getContext("2d");
    const reader = readable.getReader();
    for (;;) {
      const { value: frame, done } = await reader.read();
      if (done) return;
      globalThis.pictures += 1;
      if (tell) context.drawImage(frame, 0, 0, width, height);
      frame.close();
      if (!tell) continue;
      const bytes = new Uint8Array(await (await canvas.convertToBlob({ type: "image/jpeg", quality })).arrayBuffer());
      let text = "";
      for (let at = 0; at < bytes.length; at += 0x8000) text += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
      await tell(btoa(text));
    }
  };
  const look = () => {
    for (const video of document.querySelectorAll("#tiles video")) {
      const [track] = video.srcObject?.getVideoTracks() ?? [];
      if (!track || seen.has(track)) continue;
      seen.add(track);
      watchTrack(track, globalThis.shown);
    }
  };
  addEventListener("DOMContentLoaded", () => new MutationObserver(look).observe(document.body, { subtree: true, childList: true, attributes: true }));
}

/**
 * In the page, before anything of it runs: the samples of each sound that is put into `#tiles`, as they are played. Each piece is its rate and its
 * time (doubles; the time in microseconds), then samples of 16 bits.
 */
export function watchSounds() {
  const seen = new WeakSet();
  const record = async (track) => {
    let pieces = [];
    const reader = new MediaStreamTrackProcessor({ track, maxBufferSize: 1000 }).readable.getReader();
    for (;;) {
      const { value: data, done } = await reader.read();
      if (done) return;
      const { numberOfFrames: count, sampleRate, timestamp } = data, samples = new Float32Array(count);
      data.copyTo(samples, { planeIndex: 0, format: "f32-planar" });
      data.close();
      const piece = new DataView(new ArrayBuffer(16 + 2 * count));
      piece.setFloat64(0, sampleRate, true);
      piece.setFloat64(8, timestamp, true);
      samples.forEach((sample, at) => piece.setInt16(16 + 2 * at, Math.max(-1, Math.min(1, sample)) * 32767, true));
      pieces.push(btoa(String.fromCharCode(...new Uint8Array(piece.buffer))));
      if (pieces.length < 20) continue;
      globalThis.heard(pieces);
      pieces = [];
    }
  };
  const look = () => {
    for (const sound of document.querySelectorAll("#tiles audio")) {
      const [track] = sound.srcObject?.getAudioTracks() ?? [];
      if (!track || seen.has(track)) continue;
      seen.add(track);
      record(track);
    }
  };
  addEventListener("DOMContentLoaded", () => new MutationObserver(look).observe(document.body, { subtree: true, childList: true, attributes: true }));
}

/** In the page, before anything of it runs: keeps its connections, for [`concealed`]. */
export function keepConnections() {
  const Connection = globalThis.RTCPeerConnection;
  globalThis.connections = [];
  globalThis.RTCPeerConnection = class extends Connection {
    constructor(...given) {
      super(...given);
      globalThis.connections.push(this);
    }
  };
}

/** Of the sound that came to a page: its samples, and those that the browser made up because nothing came in time, put in or left out. */
export const concealed = (page) => page.evaluate(async () => {
  const sums = { samples: 0, concealed: 0, stretched: 0 };
  for (const connection of globalThis.connections) {
    for (const report of (await connection.getStats()).values()) {
      if (report.type !== "inbound-rtp" || report.kind !== "audio") continue;
      sums.samples += report.totalSamplesReceived ?? 0;
      sums.concealed += (report.concealedSamples ?? 0) - (report.silentConcealedSamples ?? 0);
      sums.stretched += (report.insertedSamplesForDeceleration ?? 0) + (report.removedSamplesForAcceleration ?? 0);
    }
  }
  return sums;
});

/** In the page, before anything of it runs: a microphone gives what it has, and nothing makes it better. */
export function plainMicrophone() {
  const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  const plain = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
  navigator.mediaDevices.getUserMedia = ({ audio, ...more }) => ask(audio ? { audio: plain, ...more } : more);
}

/** Joins the page's room by its form. */
export async function join(page, name) {
  await page.waitForSelector("#join-form", { state: "visible" });
  await page.fill("#name", name);
  await page.press("#name", "Enter");
  await until(`${name} has joined`, async () => (await page.getAttribute("#status", "data-state")) === "live");
}

/** Both pages in one picture, smaller than they are. */
export async function sideBySide(browser, pages, path) {
  const width = 694, height = Math.round((SIZE.height * width) / SIZE.width);
  const shots = await Promise.all(pages.map(async (page) => `data:image/png;base64,${(await page.screenshot()).toString("base64")}`));
  const page = await browser.newPage({ viewport: { width: 2 * width + 12, height } });
  const images = shots.map((shot) => `<img src="${shot}" width="${width}">`).join("");
  await page.setContent(`<body style="margin:0;display:flex;gap:12px;background:#888">${images}`);
  await page.screenshot({ path });
  await page.close();
}
