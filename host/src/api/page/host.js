// How the pages talk to the host: the key it asks for, requests, and what it refused.

import { $, write } from "/parts.js";

const KEY = "scrim-key";

export const key = sessionStorage.getItem(KEY) ?? "";
/** Whether the host asks for a key that this page has not. */
export let locked = false;
let told = () => {};

/** Has `hear` called when the host asks for a key. */
export function whenLocked(hear) {
  told = hear;
}

/** What the host refused, or, with status 0, that it did not answer. */
export class Refused extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

/** `bearer` stands for the key. */
export async function ask(method, path, { body, accept, bearer = key } = {}) {
  const headers = bearer ? { authorization: `Bearer ${bearer}` } : {};
  if (accept) Object.assign(headers, accept);
  if (body !== undefined) headers["content-type"] = "application/json";
  const sent = { method, headers, cache: "no-store", body: body === undefined ? undefined : JSON.stringify(body) };
  const response = await fetch(path, sent).catch(() => { throw new Refused(0, "the host does not answer"); });
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({}));
  if (response.status === 401 && bearer === key) askForKey(problem.detail);
  throw new Refused(response.status, problem.detail ?? problem.title ?? `the host answered ${response.status}`);
}

export const call = async (method, path, body, bearer) => (await ask(method, path, { body, bearer })).json();
export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

function askForKey(why) {
  locked = true;
  $("key-form").hidden = false;
  write($("key-fault"), key ? `${why ?? "the key was refused"}` : "");
  told();
}

$("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const given = $("key").value.trim();
  if (!/^[\w.~+-]+$/.test(given)) return write($("key-fault"), "that is no key: a key is one word, as `scrim key` prints it");
  sessionStorage.setItem(KEY, given);
  location.reload();
});
