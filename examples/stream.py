"""Sends a camera or a clip to a room and takes the covered pictures back.

    pip install websockets opencv-python-headless
    python examples/stream.py ROOM 0                        # the first camera; counts are shown
    python examples/stream.py ROOM clip.mp4 covered.mjpeg   # a clip at its own pace; ffplay shows covered.mjpeg

SCRIM_URL names another host than ws://127.0.0.1:7890, SCRIM_KEY holds the key where the host asks for one. The format is described
in docs/stream.md. After a cut it connects again by itself; the numbers go on, and `resume` says so.
"""

import asyncio, collections, contextlib, itertools, json, os, struct, sys, time
import cv2, websockets

HEAD = struct.Struct("<4sBBBBQQII")  # magic, version, kind, flags, reserved, sequence, capture_us, width, height
URL = os.environ.get("SCRIM_URL", "ws://127.0.0.1:7890") + "/v1/rooms/{}/stream"
AUTH = {"Authorization": "Bearer " + os.environ["SCRIM_KEY"]} if os.environ.get("SCRIM_KEY") else {}


async def send(socket, camera, numbers):
    pace, due = 1 / (camera.get(cv2.CAP_PROP_FPS) or 30), time.monotonic()
    while (picture := (await asyncio.to_thread(camera.read))[1]) is not None:
        head = HEAD.pack(b"SCRM", 1, 1, 0, 0, next(numbers), time.monotonic_ns() // 1000, 0, 0)  # kind 1 is JPEG
        await socket.send(head + cv2.imencode(".jpg", picture)[1].tobytes())
        due = max(due + pace, time.monotonic())
        await asyncio.sleep(due - time.monotonic())
    camera.release()
    await asyncio.sleep(2)  # until the delay line is empty
    await socket.close()


async def main(room, source, out=os.devnull):
    camera, numbers = cv2.VideoCapture(int(source) if source.isdigit() else source), itertools.count(1)
    counts, hello = collections.Counter(), {"type": "hello", "version": 1, "format": "jpeg", "want": "jpeg"}
    async for socket in websockets.connect(URL.format(room), additional_headers=AUTH, max_size=None):
        with contextlib.suppress(websockets.ConnectionClosed), open(out, "ab") as file:
            await socket.send(json.dumps(hello))
            sending, hello["resume"] = asyncio.create_task(send(socket, camera, numbers)), True
            async for message in socket:
                if isinstance(message, str):
                    print(message)  # hello, dropped, slow_down, error, bye
                else:
                    begin = HEAD.size + 4 + int.from_bytes(message[HEAD.size : HEAD.size + 4], "little")
                    counts[json.loads(message[HEAD.size + 4 : begin])["cover"]] += 1  # the verdict, then the picture
                    file.write(message[begin:])
        if not camera.isOpened():
            return print(dict(counts))
        sending.cancel()


asyncio.run(main(*sys.argv[1:]))
