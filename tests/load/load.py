"""Closed-loop load: python load.py URL DIR_OF_JPEGS CONNECTIONS SECONDS [FIELD]

Posts the pictures one after the other on each connection and prints frames/s and latency. With FIELD the picture goes as that field of a
multipart form (and the connection's number as `session_id`), otherwise it is the body. Needs httpx."""
import asyncio
import glob
import sys
import time

import httpx

url, folder, connections, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
field = sys.argv[5] if len(sys.argv) > 5 else None
pictures = [open(path, "rb").read() for path in sorted(glob.glob(folder + "/*.jpg"))]
took = []


async def one(client, number, end):
    next_picture = number
    while time.perf_counter() < end:
        picture = pictures[next_picture % len(pictures)]
        next_picture += connections
        began = time.perf_counter()
        if field:
            answer = await client.post(url, params={"session_id": f"s{number}"}, files={field: ("f.jpg", picture, "image/jpeg")})
        else:
            answer = await client.post(url, content=picture, headers={"content-type": "image/jpeg"})
        answer.raise_for_status()
        took.append(time.perf_counter() - began)


async def main():
    async with httpx.AsyncClient(timeout=30, limits=httpx.Limits(max_connections=connections)) as client:
        for warm_up in (True, False):
            took.clear()
            began = time.perf_counter()
            span = 2 if warm_up else seconds
            await asyncio.gather(*[one(client, i, began + span) for i in range(connections)])
            whole = time.perf_counter() - began
    ordered = sorted(took)
    at = lambda share: ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1e3
    print(f"{len(ordered) / whole:.2f} {at(0.5):.2f} {at(0.95):.2f} {at(0.99):.2f}")


asyncio.run(main())
