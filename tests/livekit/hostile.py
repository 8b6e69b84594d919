"""hostile.py SETTINGS: somebody who tries every way to what is not meant for it, with LiveKit's Python SDK. A line of JSON for each attempt.

SETTINGS is JSON: `page` (Scrim's address), `url` (LiveKit's), `tokens` by what is wrong with them, `webhook` (`body`, and two tokens for it: `good`
and `forged`), `names` (to be told apart from a broadcaster's), `room`.
"""

import asyncio
import json
import sys
import urllib.error
import urllib.request

from livekit import rtc

WAIT_S = 15
LISTEN_S = 4


def tell(attempt, outcome):
    print(json.dumps({"attempt": attempt, "outcome": outcome}), flush=True)


class Inside:
    """In a room, with what is seen and heard there."""

    def __init__(self):
        self.room = rtc.Room()
        self.heard, self.tracks = [], []
        self.room.on("track_subscribed", lambda track, publication, who: self.tracks.append(who.identity))
        self.room.on("data_received", lambda packet: self.heard.append(packet.data.decode(errors="replace")))
        self.room.register_text_stream_handler("lk.chat", lambda reader, who: asyncio.ensure_future(self.read(reader)))

    async def read(self, reader):
        self.heard.append(await reader.read_all())

    async def join(self, settings, token):
        await asyncio.wait_for(self.room.connect(settings["url"], settings["tokens"][token], rtc.RoomOptions(auto_subscribe=True)), 2 * WAIT_S)

    def seen(self):
        who = {p.identity: p.name for p in self.room.remote_participants.values()}
        return {"who": who, "tracks": self.tracks, "heard": self.heard}


async def outcome(what):
    """Whether the library takes it: that the server does is for those to say who would see it."""
    try:
        await asyncio.wait_for(what, WAIT_S)
        return "taken"
    except Exception as error:  # Whatever it is, it is the outcome.
        return f"refused: {type(error).__name__}: {error}"[:200]


async def joins(settings):
    for token in ["into_ingest", "into_viewers", "publishes", "expired", "other_here", "forged"]:
        inside = Inside()
        try:
            await inside.join(settings, token)
            tell(f"join {token}", "joined")
            await inside.room.disconnect()
        except (rtc.ConnectError, TimeoutError, asyncio.TimeoutError):
            tell(f"join {token}", "refused")


async def viewer(settings):
    inside = Inside()
    await inside.join(settings, "viewer")
    me = inside.room.local_participant
    source = rtc.VideoSource(320, 180)
    track = rtc.LocalVideoTrack.create_video_track("camera", source)
    options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_CAMERA)
    tell("viewer publishes", await outcome(me.publish_track(track, options)))
    tell("viewer sends data", await outcome(me.publish_data(b"from eve", reliable=True, topic="lk.chat")))
    tell("viewer sends lossy data", await outcome(me.publish_data(b"from eve", reliable=False)))
    tell("viewer sends a text", await outcome(me.send_text("from eve", topic="lk.chat")))
    tell("viewer takes a name", await outcome(me.set_name("Ann")))
    tell("viewer takes metadata", await outcome(me.set_metadata("from eve")))
    tell("viewer takes attributes", await outcome(me.set_attributes({"from": "eve"})))
    await asyncio.sleep(LISTEN_S)
    tell("viewer looks round", inside.seen())
    await inside.room.disconnect()


async def broadcaster(settings):
    inside = Inside()
    await inside.join(settings, "broadcaster")
    me = inside.room.local_participant
    tell("broadcaster takes a name", await outcome(me.set_name("Ann")))
    await asyncio.sleep(LISTEN_S)
    tell("broadcaster looks round", inside.seen())
    await inside.room.disconnect()


async def elsewhere(settings):
    inside = Inside()
    await inside.join(settings, "other")
    await asyncio.sleep(LISTEN_S)
    tell("other room looks round", inside.seen())
    await inside.room.disconnect()


def ask(settings, path, headers, body):
    request = urllib.request.Request(settings["page"] + path, body.encode(), headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=WAIT_S) as answer:
            return {"status": answer.status, "body": json.loads(answer.read())}
    except urllib.error.HTTPError as error:
        return {"status": error.code}


def over_http(settings):
    for name in settings["names"]:
        path, body = f"/v1/rooms/{settings['room']}/tokens", json.dumps({"name": name, "role": "viewer"})
        tell(f"name {name}", ask(settings, path, {"content-type": "application/json"}, body))
    hook = settings["webhook"]
    for attempt, token in [("forged", "forged"), ("first", "good"), ("replayed", "good")]:
        headers = {"content-type": "application/webhook+json", "authorization": hook[token]}
        tell(f"webhook {attempt}", ask(settings, "/livekit/webhook", headers, hook["body"]))


async def main():
    settings = json.loads(sys.argv[1])
    over_http(settings)
    await joins(settings)
    await viewer(settings)
    await broadcaster(settings)
    await elsewhere(settings)


asyncio.run(main())
