"""Latency through a LiveKit room: a broadcaster's frames carry their number in blocks at the top left, the viewer reads it back.

usage: lk_latency.py URL BROADCASTER_TOKEN VIEWER_TOKEN FRAMES WIDTH HEIGHT RATE SECONDS [PID...]

FRAMES is a file of raw I420 pictures. After a warm-up of 5 s everything counts, the processor time of the processes PID too. Prints one line of
JSON: frames sent, seen and unreadable, latency in ms at its 50th, 95th and 99th percentile and its most, cores of each PID.
"""
import asyncio
import json
import os
import sys
import time

import numpy as np
from livekit import rtc

URL, BROADCASTER, VIEWER, FRAMES = sys.argv[1:5]
WIDTH, HEIGHT, RATE, SECONDS = int(sys.argv[5]), int(sys.argv[6]), float(sys.argv[7]), float(sys.argv[8])
PIDS = sys.argv[9:]
WARM_UP_S = 5.0
# Frames that are under way when the last is sent.
DRAIN_S = 1.5
BLOCK, BITS, CHECK_BITS = HEIGHT * 32 // 720, 16, 4
TICK = os.sysconf("SC_CLK_TCK")


def checked(number):
    """Twelve bits of the number and four of a check that neither black nor white passes."""
    number &= 0xFFF
    return number | ((number ^ number >> 4 ^ number >> 8 ^ 0xA) & 0xF) << (BITS - CHECK_BITS)


def burn(picture, number):
    for bit in range(BITS):
        picture[:BLOCK, bit * BLOCK:(bit + 1) * BLOCK] = 235 if checked(number) >> bit & 1 else 16


def read(luma):
    side = BLOCK * luma.shape[1] / WIDTH
    row = luma[int(side / 2)]
    found = sum(int(row[int((bit + 0.5) * side)] > 128) << bit for bit in range(BITS))
    number = found & 0xFFF
    return number if checked(number) == found else None


def cpu_s(pid):
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


async def main():
    raw = np.memmap(FRAMES, np.uint8, "r").reshape(-1, HEIGHT * 3 // 2, WIDTH)
    broadcaster, viewer = rtc.Room(), rtc.Room()
    # By number: when it was sent, and how long it took.
    sent, seen, unreadable, tasks = {}, {}, 0, set()
    first = int(WARM_UP_S * RATE)

    async def view(track):
        nonlocal unreadable
        async for event in rtc.VideoStream(track, format=rtc.VideoBufferType.I420):
            now, frame = time.perf_counter(), event.frame
            luma = np.frombuffer(frame.data, np.uint8)[: frame.width * frame.height].reshape(frame.height, frame.width)
            number = read(luma)
            if number is None or number not in sent:
                unreadable += len(sent) > first
            elif number >= first:
                seen.setdefault(number, now - sent[number])

    @viewer.on("track_subscribed")
    def _(track, publication, participant):
        if track.kind == rtc.TrackKind.KIND_VIDEO:
            task = asyncio.create_task(view(track))
            tasks.add(task)

    await viewer.connect(URL, VIEWER)
    await broadcaster.connect(URL, BROADCASTER)
    source = rtc.VideoSource(WIDTH, HEIGHT)
    track = rtc.LocalVideoTrack.create_video_track("camera", source)
    encoding = rtc.VideoEncoding(max_framerate=RATE, max_bitrate=3_000_000)
    camera = rtc.TrackSource.SOURCE_CAMERA
    options = rtc.TrackPublishOptions(source=camera, simulcast=False, video_encoding=encoding)
    await broadcaster.local_participant.publish_track(track, options)
    begin, number, counted = time.perf_counter(), 0, None
    while time.perf_counter() - begin < WARM_UP_S + SECONDS and number < 4096:
        picture = raw[number % len(raw)].copy()
        burn(picture, number)
        if counted is None and number >= first:
            counted = (time.perf_counter(), [cpu_s(pid) for pid in PIDS])
        sent[number] = time.perf_counter()
        source.capture_frame(rtc.VideoFrame(WIDTH, HEIGHT, rtc.VideoBufferType.I420, picture.tobytes()))
        number += 1
        await asyncio.sleep(max(0, begin + number / RATE - time.perf_counter()))
    span = time.perf_counter() - counted[0]
    cores = [(cpu_s(pid) - before) / span for pid, before in zip(PIDS, counted[1])]
    await asyncio.sleep(DRAIN_S)
    took = sorted(1e3 * seconds for seconds in seen.values())
    at = lambda share: took[min(int(len(took) * share), len(took) - 1)] if took else float("nan")
    figures = {"sent": number - first, "seen": len(seen), "unreadable": unreadable, "p50": at(0.5), "p95": at(0.95), "p99": at(0.99), "most": at(1.0), "cores": cores}
    print(json.dumps(figures), flush=True)
    for room in (broadcaster, viewer):
        await room.disconnect()


asyncio.run(asyncio.wait_for(main(), WARM_UP_S + SECONDS + 30))
