"""Sends a camera or a clip to a room and takes the covered pictures back.

    pip install websockets opencv-python-headless
    python examples/stream.py ROOM 0                        # the first camera; counts are shown
    python examples/stream.py ROOM clip.mp4 covered.mjpeg   # a clip at its own pace; ffplay shows covered.mjpeg

SCRIM_KEY holds the key where the host asks for one. The format is described in docs/stream.md. After a cut this connects again by
itself; the numbers go on, and `resume` says so.
"""

import asyncio, collections, contextlib, cv2, itertools, json, os, struct, sys, time, websockets

HEAD = struct.Struct("<4sBB2xQQ8x")  # magic, version, kind (1 is JPEG), sequence, capture_us; the rest is 0 for a JPEG


async def send(socket, camera, numbers):
    pace, due = 1 / (camera.get(cv2.CAP_PROP_FPS) or 30), time.monotonic()
    while (picture := (await asyncio.to_thread(camera.read))[1]) is not None:
        jpeg = cv2.imencode(".jpg", picture)[1].tobytes()
        await socket.send(HEAD.pack(b"SCRM", 1, 1, next(numbers), time.monotonic_ns() // 1000) + jpeg)
        await asyncio.sleep((due := max(due + pace, time.monotonic())) - time.monotonic())
    camera.release()
    await asyncio.sleep(2)  # until the delay line is empty
    await socket.close()


async def main(room, source, out=os.devnull):
    camera, counts = cv2.VideoCapture(int(source) if source.isdigit() else source), collections.Counter()
    numbers, hello = itertools.count(1), {"type": "hello", "version": 1, "format": "jpeg", "want": "jpeg"}
    auth = {"Authorization": "Bearer " + os.environ["SCRIM_KEY"]} if os.environ.get("SCRIM_KEY") else {}
    async for socket in websockets.connect(f"ws://127.0.0.1:7890/v1/rooms/{room}/stream", additional_headers=auth, max_size=None):
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
        sending.cancel()
        if not camera.isOpened():
            return print(dict(counts))


asyncio.run(main(*sys.argv[1:]))
