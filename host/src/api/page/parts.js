// What the live page's parts share: elements, and how values are put into words.

export const $ = (id) => document.getElementById(id);
export const number = (value) => value.toLocaleString("en-GB");
export const words = (name) => name.replaceAll(/[_-]/g, " ");

/** Writes only what is new: a text that is written again would be read out again. */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function made(tag, props = {}, ...inside) {
  const element = Object.assign(document.createElement(tag), props);
  element.append(...inside);
  return element;
}

/** A detection in short. */
export const seen = (body) => `${body.label} ${body.confidence.toFixed(2)}`;

/** An event of a room in one line. */
export function describe({ kind, body }) {
  switch (kind) {
    // One of words has no frame.
    case "detection": return `${seen(body)}, counts from ${body.threshold.toFixed(2)}${body.frame === null ? "" : `, frame ${number(body.frame)}`}`;
    case "exposed": return `${seen(body)} was not covered, frame ${number(body.frame)}`;
    case "feedback": return `${body.label} reported as ${body.correct ? "right" : "wrong"}${body.pending ? `, pending: ${body.pending}` : ""}`;
    case "policy": return describePolicy(body);
    default: return Object.entries(body ?? {}).map(([name, value]) => `${words(name)} ${typeof value === "object" ? JSON.stringify(value) : value}`).join(" · ");
  }
}

function describePolicy({ event, slot, plugin, generation, ...more }) {
  const who = [slot, plugin].filter(Boolean).join(": ");
  switch (event) {
    case "committed": return `${who} in force, generation ${generation}, calls held ${(more.held_us / 1000).toFixed(1)} ms`;
    case "rolled_back": return `${who} is back, generation ${generation}${more.automatic ? ", by itself after faults" : ""}`;
    case "refused": return `${who} refused (${more.stage}): ${more.reason}`;
    case "faulted": return `${who} lost its instance: ${typeof more.fault === "object" ? Object.values(more.fault)[0] : words(more.fault)}`;
    case "shadow_ended": return `${who} left the shadow (${more.why}): ${number(more.agreed)} agreed, ${number(more.differed)} differed`;
    default: return `${who} ${words(event)}${generation === undefined ? "" : `, generation ${generation}`}${more.reason ? `: ${more.reason}` : ""}`;
  }
}
