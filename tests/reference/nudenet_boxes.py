#!/usr/bin/env python3
"""Boxes of the NudeNet package itself, against which `tests/tests/inference.rs` holds ours.

    python3 -m venv venv && venv/bin/pip install nudenet==3.4.2
    venv/bin/python tests/reference/nudenet_boxes.py OUT.json STEP FILE...

Each file is a picture or clip that ffmpeg reads; every STEP-th frame of it is looked at. A frame is decoded to I420 and turned to BGR
as BT.601 limited range, so that the package sees the very samples that the test feeds to us. Boxes are pixels of the frame, as the
package gives them: [x, y, width, height].
"""
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy
from nudenet import NudeDetector


def frames(file):
    probe = ["ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries", "stream=width,height", "-of", "csv=p=0", file]
    width, height = map(int, subprocess.check_output(probe, text=True).strip().split(","))
    raw = subprocess.run(
        ["ffmpeg", "-v", "error", "-i", file, "-map", "0:v:0", "-fps_mode", "passthrough", "-pix_fmt", "yuv420p", "-f", "rawvideo", "-"],
        check=True, stdout=subprocess.PIPE).stdout
    size = width * height * 3 // 2
    for at in range(len(raw) // size):
        planes = numpy.frombuffer(raw, numpy.uint8, size, at * size).reshape(height * 3 // 2, width)
        yield at, width, height, cv2.cvtColor(planes, cv2.COLOR_YUV2BGR_I420)


def main(out, step, files):
    detector = NudeDetector()
    pictures = []
    for file in files:
        for at, width, height, picture in frames(file):
            if at % int(step) == 0:
                boxes = [{"label": box["class"], "score": round(box["score"], 4), "box": box["box"]} for box in detector.detect(picture)]
                pictures.append({"file": Path(file).name, "frame": at, "width": width, "height": height, "boxes": boxes})
    text = ",\n".join(json.dumps(picture) for picture in pictures)
    Path(out).write_text(f"[\n{text}\n]\n")


main(sys.argv[1], sys.argv[2], sys.argv[3:])
