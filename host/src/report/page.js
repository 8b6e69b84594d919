"use strict";
// What the other parts share: the data, and how it is written. All parts are one script.
const data = JSON.parse(document.getElementById("data").textContent);
const { frames, names, previews, events, decisions, summary, clip } = data;
// Places in a frame's row, a look's and a finding's.
const AT = 0, CHANGE = 1, CUT = 2, SHARE = 3, REASON = 4, MASKS = 5, LOOKS = 6;
const DETECTOR = 0, KIND = 1, FOUND = 2;
const LABEL = 0, CONFIDENCE = 1, THRESHOLD = 2, COUNTS = 3, AREA = 4;
const frameTime = 1e6 / (clip.rate || 25);
const end = Math.max(frames.length ? frames.at(-1)[AT] + frameTime : 0, ...events.slice(-1).map((e) => e.at), 1);
const $ = (id) => document.getElementById(id);
const reduced = (text, max) => (text.length > max ? text.slice(0, max - 1) + "…" : text);

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}
const time = (us) => {
  const s = us / 1e6, m = Math.floor(s / 60);
  return `${m}:${(s - 60 * m).toFixed(2).padStart(5, "0")}`;
};
const percent = (share, digits = 1) => `${(100 * share).toFixed(digits)} %`;
const count = (n) => n.toLocaleString("en");
const some = (n, one) => `${count(n)} ${one}${n === 1 ? "" : "s"}`;
/** Index of the last row at or before a time. */
function before(rows, at, of) {
  let low = 0, high = rows.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (of(rows[middle]) <= at) low = middle + 1; else high = middle;
  }
  return low - 1;
}

