"""What a user would run without Scrim: a LiveKit participant that covers what NudeNet finds with its last boxes, and publishes into another room.

usage: lk_agent.py URL INGEST_TOKEN MODERATED_TOKEN WIDTH HEIGHT EVERY      (EVERY: it looks at every so manieth frame; 0 passes all on)
"""
import asyncio
import sys

import numpy as np
from livekit import rtc

URL, INGEST, MODERATED = sys.argv[1:4]
WIDTH, HEIGHT, EVERY = (int(word) for word in sys.argv[4:7])
if EVERY:
    import cv2
    from nudenet import NudeDetector

    DETECTOR = NudeDetector()


def look(picture):
    detections = DETECTOR.detect(cv2.cvtColor(picture, cv2.COLOR_YUV2BGR_I420))
    return [found["box"] for found in detections if found["class"].startswith("FACE")]


async def main():
    ingest, moderated = rtc.Room(), rtc.Room()
    source = rtc.VideoSource(WIDTH, HEIGHT)
    track = rtc.LocalVideoTrack.create_video_track("camera", source)
    loop, tasks = asyncio.get_running_loop(), set()
    boxes, busy = [], False

    async def judge(picture):
        nonlocal boxes, busy
        boxes = await loop.run_in_executor(None, look, picture)
        busy = False

    async def pump(remote):
        nonlocal busy
        number = 0
        async for event in rtc.VideoStream(remote, format=rtc.VideoBufferType.I420):
            frame = event.frame
            number += 1
            data = np.frombuffer(frame.data, np.uint8).copy()
            if EVERY:
                picture = data.reshape(frame.height * 3 // 2, frame.width)
                if number % EVERY == 0 and not busy:
                    busy = True
                    tasks.add(asyncio.create_task(judge(picture.copy())))
                for left, top, width, height in boxes:
                    picture[max(top, 0):min(top + height, frame.height), max(left, 0):left + width] = 16
            covered = rtc.VideoFrame(frame.width, frame.height, rtc.VideoBufferType.I420, data.tobytes())
            source.capture_frame(covered, timestamp_us=event.timestamp_us)

    @ingest.on("track_subscribed")
    def _(remote, publication, participant):
        if remote.kind == rtc.TrackKind.KIND_VIDEO:
            tasks.add(asyncio.create_task(pump(remote)))

    await ingest.connect(URL, INGEST)
    await moderated.connect(URL, MODERATED)
    encoding = rtc.VideoEncoding(max_framerate=30, max_bitrate=3_000_000)
    camera = rtc.TrackSource.SOURCE_CAMERA
    options = rtc.TrackPublishOptions(source=camera, simulcast=False, video_encoding=encoding)
    await moderated.local_participant.publish_track(track, options)
    print("ready", flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
