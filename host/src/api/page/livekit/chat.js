// The chat of both LiveKit pages: what is said in the viewers' room, and a line to say something, which the room's text policy judges first.

import { $, write } from "/parts.js";

/** LiveKit's own topic. */
export const TOPIC = "lk.chat";
/** Messages that stay to be read. */
const KEPT = 100;
/** The log and the line of the page's empty section. */
const PARTS = `
  <ol id="said" role="log" aria-label="What is said"></ol>
  <form id="say">
    <input id="text" maxlength="1000" autocomplete="off" placeholder="Say something" aria-label="Message" aria-describedby="say-fault">
    <button type="submit">Send</button>
    <p class="fault" id="say-fault" role="status"></p>
  </form>`;
const OUTCOMES = { masked: "said with words masked", refused: "not said: the room's policy refused it" };

$("chat").innerHTML = PARTS;

/** Shows what is said in a room that is about to be joined. */
export function hearChat(room) {
  room.registerTextStreamHandler(TOPIC, async (reader, { identity }) => {
    const author = reader.info.attributes?.["scrim.author"] ?? room.remoteParticipants.get(identity)?.name ?? "somebody";
    // What breaks off is not shown.
    const text = await reader.readAll().catch(() => null);
    if (text !== null) show(author, text);
  });
}

function show(author, text) {
  const [line, who, what] = ["li", "b", "span"].map((tag) => document.createElement(tag));
  who.textContent = author;
  what.textContent = text;
  line.append(who, " ", what);
  const log = $("said"), atEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 8;
  log.append(line);
  while (log.childElementCount > KEPT) log.firstElementChild.remove();
  if (atEnd) log.scrollTop = log.scrollHeight;
}

/** What became of what one said oneself. */
export const sayOutcome = ({ outcome, reason, fault }) => write($("say-fault"), reason ?? fault ?? OUTCOMES[outcome] ?? "");

/** `send(text)` says it, and answers with what became of it, or with nothing if that is told otherwise. */
export function offerChat(send) {
  const form = $("say"), field = $("text"), button = form.querySelector("button");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const text = field.value.trim();
    if (!text || button.disabled) return;
    button.disabled = true;
    write($("say-fault"), "");
    try {
      const became = await send(text);
      field.value = "";
      if (became) sayOutcome(became);
    } catch (error) {
      write($("say-fault"), error.message);
    }
    button.disabled = false;
    field.focus();
  });
}
