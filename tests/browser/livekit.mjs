// node livekit.mjs SETTINGS: two browsers in a moderated LiveKit room. One shows a clip to its camera on /broadcast; every picture that reaches
// the other one's /watch is written to a file, from the first on. Where it prints "make trouble" or "restart the server", whoever started it
// does that; of trouble it is told on standard input when it is over.
//
// SETTINGS is JSON: `page` (the host's address), `server`, `room`, `camera` (a .y4m), `frames` (where the pictures go: JPEGs, each behind
// its length), `direct` (two tokens of a room that nobody moderates, to compare with), `seconds`, `picture` (where both pages go, side by side).

import { createInterface } from "node:readline";
import { check, main, text, until, visit, withBrowser } from "./browser.mjs";
import { MEDIA, PICTURE, SIZE, join, sideBySide, watchVideos, writer } from "./media.mjs";

/** How many pictures come the direct way in so many seconds. */
async function direct(broadcaster, viewer, { server, direct: tokens, seconds }) {
  await Promise.all([broadcaster, viewer].map((page) => page.addScriptTag({ url: "/livekit-client.js" })));
  await viewer.evaluate(async ({ server, token }) => {
    globalThis.direct = new LivekitClient.Room();
    direct.on("trackSubscribed", (track) => watchTrack(track.mediaStreamTrack));
    await direct.connect(server, token);
  }, { server, token: tokens.viewer });
  await broadcaster.evaluate(async ({ server, token }) => {
    globalThis.direct = new LivekitClient.Room();
    await direct.connect(server, token);
    const [track] = (await navigator.mediaDevices.getUserMedia({ video: true })).getVideoTracks();
    await direct.localParticipant.publishTrack(track, { simulcast: false, videoCodec: "vp8", videoEncoding: { maxBitrate: 1_000_000, maxFramerate: 15 } });
  }, { server, token: tokens.publisher });
  const count = () => viewer.evaluate(() => globalThis.pictures);
  await until("a picture the direct way", count);
  const before = await count();
  await new Promise((done) => setTimeout(done, seconds * 1000));
  const after = await count();
  await Promise.all([broadcaster, viewer].map((page) => page.evaluate(() => direct.disconnect())));
  return after - before;
}

/** The server goes, and comes: both pages say so, and pictures come again. */
async function comesBack(broadcaster, viewer) {
  const states = (page) => page.getAttribute("#status", "data-state");
  await until("both pages say that the connection is lost", async () => (await states(broadcaster)) !== "live" && (await states(viewer)) !== "live");
  console.log(`the broadcaster reads "${await text(broadcaster, "#status")}", the viewer "${await text(viewer, "#status")}"`);
  await until("both pages are back", async () => (await states(broadcaster)) === "live" && (await states(viewer)) === "live", 90_000);
  await viewer.waitForSelector("#tiles .tile video", { timeout: 60_000 });
  const shown = () => viewer.evaluate(() => document.querySelector("#tiles .tile video")?.getVideoPlaybackQuality().totalVideoFrames ?? 0);
  const before = await shown();
  // A card that says that nothing comes is repeated twice a second; the camera is faster.
  await until("pictures come again", async () => (await shown()) > before + 30, 60_000);
}

await main(async (given) => {
  const settings = JSON.parse(given);
  const frames = writer(settings.frames);
  const camera = [...MEDIA, `--use-file-for-fake-video-capture=${settings.camera}`];
  const at = (path) => `${settings.page}${path}?room=${settings.room}`;
  await withBrowser([...MEDIA, "--autoplay-policy=no-user-gesture-required"], (theirs) => withBrowser(camera, (ours) => {
    const before = async (page) => {
      await page.exposeFunction("shown", frames.write);
      await page.addInitScript(watchVideos, PICTURE);
    };
    return visit(theirs, at("/watch"), (viewer, hers) => visit(ours, at("/broadcast"), async (broadcaster, his) => {
      const ways = { direct: await direct(broadcaster, viewer, settings) };
      await join(viewer, "Vera");
      await until("nobody is live", async () => (await text(viewer, "#nobody")) === "nobody is live");
      await join(broadcaster, "Ann");
      check((await text(broadcaster, "#unseen")) === "viewers see nothing now", "something is seen of nobody");

      await broadcaster.click("#camera");
      await until("the camera is on", async () => (await broadcaster.getAttribute("#camera", "aria-pressed")) === "true");
      await viewer.evaluate(() => { globalThis.pictures = 0; });
      await viewer.waitForSelector("#tiles .tile video", { timeout: 60_000 });
      await until("a picture reaches the viewer", () => viewer.evaluate(() => globalThis.pictures > 0));
      const first = await viewer.evaluate(() => globalThis.pictures);
      await new Promise((done) => setTimeout(done, settings.seconds * 1000));
      ways.moderated = (await viewer.evaluate(() => globalThis.pictures)) - first;
      check((await text(viewer, "#tiles figcaption b")) === "Ann", await text(viewer, "#tiles figcaption b"));
      await broadcaster.waitForSelector("#seen .tile video");
      check((await text(broadcaster, "#view")) === "as viewers see it", await text(broadcaster, "#view"));
      await until("qualities", async () => (await text(viewer, "#quality")) && (await text(broadcaster, "#quality")), 20_000);
      await sideBySide(theirs, [broadcaster, viewer], settings.picture);
      ways.calm = frames.written;

      const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
      console.log("make trouble");
      check(!(await answers.next()).done, "nobody says that the trouble is over");
      process.stdin.destroy();
      ways.troubled = frames.written;

      await broadcaster.click("#microphone");
      await until("the sound is told", async () => (await text(viewer, "#heard")) === "Sound of Ann");
      // The library tells the console of each try.
      for (const faults of [hers, his]) faults.allow(/livekit-client\.js|\/rtc\b/);
      console.log("restart the server");
      await comesBack(broadcaster, viewer);
      await new Promise((done) => setTimeout(done, 4000));

      await broadcaster.click("#camera");
      await until("the picture goes", async () => (await viewer.locator("#tiles .tile").count()) === 0);
      await broadcaster.click("#leave");
      await until("nobody is live again", async () => (await text(viewer, "#nobody")) === "nobody is live");
      await until("the broadcaster can join again", () => broadcaster.isVisible("#join-form"));
      ways.written = frames.written;
      console.log(JSON.stringify(ways));
    }, { viewport: SIZE }), { viewport: SIZE, before });
  }));
  frames.close();
});
