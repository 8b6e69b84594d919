// node words.mjs SETTINGS: two browsers in a LiveKit room that reads and listens. One shows a page to its camera and plays speech to its microphone,
// on /broadcast; every picture and every sample that reach the other one's /watch are written to files.
//
// SETTINGS is JSON: `page` (the host's address), `room`, `camera` (a .y4m, shown over and over), `microphone` (a .wav, played once), `frames` and
// `sound` (where pictures and pieces of sound go, each behind its length) and `seconds` (from the microphone's beginning to the end). What came of the
// sound on its way to the viewer is printed.

import { check, main, text, until, visit, withBrowser } from "./browser.mjs";
import { MEDIA, PICTURE, SIZE, concealed, join, keepConnections, plainMicrophone, watchSounds, watchVideos, writer } from "./media.mjs";

await main(async (given) => {
  const settings = JSON.parse(given);
  const frames = writer(settings.frames), sound = writer(settings.sound);
  const devices = [...MEDIA, `--use-file-for-fake-video-capture=${settings.camera}`, `--use-file-for-fake-audio-capture=${settings.microphone}%noloop`];
  const at = (path) => `${settings.page}${path}?room=${settings.room}`;
  const hers = async (page) => {
    await page.exposeFunction("shown", frames.write);
    await page.exposeFunction("heard", (pieces) => pieces.forEach(sound.write));
    await page.addInitScript(watchVideos, PICTURE);
    await page.addInitScript(watchSounds);
    await page.addInitScript(keepConnections);
  };
  let way = null;
  const his = (page) => page.addInitScript(plainMicrophone);
  await withBrowser([...MEDIA, "--autoplay-policy=no-user-gesture-required"], (theirs) => withBrowser(devices, (ours) =>
    visit(theirs, at("/watch"), (viewer) => visit(ours, at("/broadcast"), async (broadcaster) => {
      await join(viewer, "Vera");
      await join(broadcaster, "Ann");
      await broadcaster.click("#camera");
      await until("a picture reaches the viewer", () => frames.written > 0, 60_000);
      await broadcaster.click("#microphone");
      await until("sound reaches the viewer", () => sound.written > 0, 60_000);
      await new Promise((done) => setTimeout(done, settings.seconds * 1000));
      check((await text(viewer, "#heard")) === "Sound of Ann", await text(viewer, "#heard"));
      way = await concealed(viewer);
    }, { viewport: SIZE, before: his }), { viewport: SIZE, before: hers })));
  frames.close();
  sound.close();
  console.log(JSON.stringify(way));
});
