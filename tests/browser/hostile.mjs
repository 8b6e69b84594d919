// node hostile.mjs SETTINGS: somebody who tries every way to what is not meant for it, with livekit-client in a browser. A line of JSON for each
// attempt; SETTINGS is that of tests/livekit/hostile.py.

import { main, visit, withBrowser } from "./browser.mjs";

const MEDIA = ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream", "--disable-features=WebRtcHideLocalIpsWithMdns"];

/** In the page: all attempts, each told to `tell`. */
async function attack(settings) {
  const WAIT_MS = 15_000, LISTEN_MS = 4000;
  const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
  const late = () => sleep(WAIT_MS).then(() => { throw new Error("no answer"); });
  // Whether the library takes it: that the server does is for those to say who would see it.
  const outcome = (what) => Promise.race([what, late()]).then(() => "taken", (error) => `refused: ${error}`.slice(0, 200));
  const open = async (token) => {
    const room = new LivekitClient.Room(), heard = [], tracks = [];
    room.on("trackSubscribed", (track, publication, who) => tracks.push(who.identity));
    room.on("dataReceived", (bytes) => heard.push(new TextDecoder().decode(bytes)));
    room.registerTextStreamHandler("lk.chat", async (reader) => heard.push(await reader.readAll()));
    await Promise.race([room.connect(settings.url, settings.tokens[token]), late()]);
    const seen = () => ({ who: Object.fromEntries([...room.remoteParticipants.values()].map((p) => [p.identity, p.name])), tracks, heard });
    return { room, seen, me: room.localParticipant };
  };

  const ask = async (path, headers, body) => {
    const answer = await fetch(path, { method: "POST", headers, body });
    return answer.ok ? { status: answer.status, body: await answer.json() } : { status: answer.status };
  };
  for (const name of settings.names) {
    const body = JSON.stringify({ name, role: "viewer" });
    await tell(`name ${name}`, await ask(`/v1/rooms/${settings.room}/tokens`, { "content-type": "application/json" }, body));
  }
  for (const [attempt, token] of [["forged", "forged"], ["first", "good"], ["replayed", "good"]]) {
    const headers = { "content-type": "application/webhook+json", authorization: settings.webhook[token] };
    await tell(`webhook ${attempt}`, await ask("/livekit/webhook", headers, settings.webhook.body));
  }

  for (const token of ["into_ingest", "into_viewers", "publishes", "expired", "other_here", "forged"]) {
    const joined = await open(token).catch(() => null);
    await tell(`join ${token}`, joined ? "joined" : "refused");
    await joined?.room.disconnect();
  }

  const viewer = await open("viewer");
  // The library asks itself first; it is not asked here.
  viewer.me.hasPermissionsToPublish = () => true;
  const [track] = (await navigator.mediaDevices.getUserMedia({ video: true })).getVideoTracks();
  await tell("viewer publishes", await outcome(viewer.me.publishTrack(track)));
  const bytes = new TextEncoder().encode("from eve");
  await tell("viewer sends data", await outcome(viewer.me.publishData(bytes, { reliable: true, topic: "lk.chat" })));
  await tell("viewer sends lossy data", await outcome(viewer.me.publishData(bytes, { reliable: false })));
  await tell("viewer sends a text", await outcome(viewer.me.sendText("from eve", { topic: "lk.chat" })));
  await tell("viewer takes a name", await outcome(viewer.me.setName("Ann")));
  await tell("viewer takes metadata", await outcome(viewer.me.setMetadata("from eve")));
  await tell("viewer takes attributes", await outcome(viewer.me.setAttributes({ from: "eve" })));
  await sleep(LISTEN_MS);
  await tell("viewer looks round", viewer.seen());
  await viewer.room.disconnect();

  const broadcaster = await open("broadcaster");
  await tell("broadcaster takes a name", await outcome(broadcaster.me.setName("Ann")));
  await sleep(LISTEN_MS);
  await tell("broadcaster looks round", broadcaster.seen());
  await broadcaster.room.disconnect();

  const elsewhere = await open("other");
  await sleep(LISTEN_MS);
  await tell("other room looks round", elsewhere.seen());
  await elsewhere.room.disconnect();
}

await main(async (given) => {
  const settings = JSON.parse(given);
  await withBrowser(MEDIA, (browser) => visit(browser, `${settings.page}/watch?room=${settings.room}`, async (page, faults) => {
    // Each refusal is told to the console.
    faults.allow(/./);
    await page.exposeFunction("tell", (attempt, outcome) => console.log(JSON.stringify({ attempt, outcome })));
    await page.addScriptTag({ url: "/livekit-client.js" });
    await page.evaluate(attack, settings);
  }));
});
