"""What schemathesis cannot make up: real pictures, real plugins, and the things that an operation needs before it can succeed.

A request that is to be good is pointed at a room, a plugin, an event or a recording that is there (three times in four; the fourth time what
was made up stays, and 404 is the honest answer). A request that is to be bad is left as it is; a bad body of bytes is garbage, or a real file
cut off or overwritten. In stateful runs nothing is made behind schemathesis' back.
"""

import json
import os
import pathlib
import zlib

import requests
import schemathesis
from hypothesis import strategies as st
from schemathesis.generation.meta import TestPhase

FILES = pathlib.Path(os.environ["SCRIM_SPEC_FILES"])
KEY = os.environ.get("SCRIM_SPEC_KEY")
ROOM = "studio"
PLUGINS = {"cascade": ["skin-cascade@2.0.0", "skin-cascade@1.0.0"], "text": ["profanity-context@2.0.0"], "threshold": ["adaptive-threshold@1.0.0"]}
# The one that neither the configuration nor the room uses.
SPARE = "skin-cascade@1.0.0"


def files(pattern):
    found = [path.read_bytes() for path in sorted(FILES.glob(pattern))]
    assert found, f"no {pattern} in {FILES}"
    return found


BODIES = {"image/jpeg": files("*.jpg"), "image/png": files("*.png"), "application/wasm": files("*.wasm")}
for media_type, known in BODIES.items():
    schemathesis.openapi.media_type(media_type, st.sampled_from(known))


def garbage(media_type, seed):
    """Bytes that are no such file, though the larger part of them may be."""
    real = BODIES[media_type][seed % len(BODIES[media_type])]
    return [b"", b"garbage", real[:7], real[: len(real) // 2], b"\0" * 64 + real[64:], real[1:], bytes(range(256)) * 8][seed // 7 % 7]


class Host:
    """The host under test, for what has to be there before a request."""

    def __init__(self):
        self.session = requests.Session()
        if KEY:
            self.session.headers["authorization"] = f"Bearer {KEY}"

    def send(self, method, path, **kwargs):
        answer = self.session.request(method, os.environ["SCRIM_SPEC_URL"] + path, timeout=60, **kwargs)
        return answer.json() if answer.ok and "json" in answer.headers.get("content-type", "") else None

    def room(self):
        self.send("POST", "/v1/rooms", json={"name": ROOM})
        self.send("PATCH", f"/v1/rooms/{ROOM}", json={"detectors": None, "cover": None, "look_max_ms": None, "delay_ms": 1000})

    def choose(self, slot):
        self.send("PUT", f"/v1/rooms/{ROOM}/policy/{slot}", json={"plugin": PLUGINS[slot][-1]})

    def shadow(self, slot):
        self.send("POST", f"/v1/rooms/{ROOM}/policy/{slot}/shadow", json={"plugin": PLUGINS[slot][0]})

    def event(self):
        picture = FILES / "face.jpg"
        judged = self.send("POST", f"/v1/rooms/{ROOM}/frames", data=picture.read_bytes(), headers={"content-type": "image/jpeg"}) or {}
        return next((found["event_id"] for found in judged.get("detections", []) if found["event_id"]), None)

    def recording(self):
        self.send("POST", f"/v1/rooms/{ROOM}/recordings")
        return (self.send("POST", f"/v1/rooms/{ROOM}/recordings/stop") or {}).get("id")

    def plugin(self):
        for wasm in BODIES["application/wasm"]:
            self.send("POST", "/v1/plugins", data=wasm, headers={"content-type": "application/wasm"})


HOST = Host()


def provide(operation, path, body):
    """Points a request at what is there, having made it."""
    slot = path.get("slot")
    if "room" in path:
        HOST.room()
        path["room"] = ROOM
    if operation in ("clear_policy", "roll_back_policy"):
        HOST.choose(slot)
    elif operation in ("promote_shadow", "discard_shadow"):
        HOST.choose(slot)
        HOST.shadow(slot)
    elif operation == "clear_global_policy":
        HOST.send("PUT", f"/v1/policy/{slot}", json={"plugin": PLUGINS[slot][0]})
    elif operation == "report_detection":
        body["event_id"] = HOST.event() or body["event_id"]
    elif operation == "start_recording":
        HOST.send("POST", f"/v1/rooms/{ROOM}/recordings/stop")
    elif operation == "stop_recording":
        HOST.send("POST", f"/v1/rooms/{ROOM}/recordings")
    elif operation == "get_recording":
        path["id"] = HOST.recording() or path["id"]
    elif operation in ("get_plugin", "delete_plugin"):
        HOST.plugin()
        path["plugin"] = SPARE
    elif operation in ("create_room", "change_room"):
        if operation == "create_room":
            HOST.send("DELETE", f"/v1/rooms/{body['name']}")
        # What does not go together is refused; alone, each value is fine.
        for key in ("detectors", "cover", "look_max_ms", "delay_ms"):
            body.pop(key, None)


@schemathesis.hook
def before_call(context, case, kwargs):
    if case.meta is None:
        return
    operation = case.operation.definition.raw["operationId"]
    seed = zlib.crc32(repr((case.body, case.path_parameters, case.query)).encode())
    if case.meta.generation.mode.is_negative:
        component = next((info for place, info in case.meta.components.items() if place.name == "BODY"), None)
        if case.media_type in BODIES and component is not None and component.mode.is_negative:
            case.body = garbage(case.media_type, seed)
        return
    if case.media_type in BODIES and not isinstance(case.body, bytes):
        case.body = BODIES[case.media_type][seed % len(BODIES[case.media_type])]
    made_up = seed % 4 == 0
    if operation in ("set_global_policy", "set_policy", "start_shadow") and isinstance(case.body, dict):
        slot = case.path_parameters["slot"]
        # A plugin that is there has to fit the slot, and its settings its schema.
        if not made_up or case.body["plugin"] in json.dumps(PLUGINS):
            case.body["plugin"] = PLUGINS[slot][seed // 4 % len(PLUGINS[slot])]
            case.body["config"] = {}
    if not made_up and case.meta.phase.name != TestPhase.STATEFUL:
        provide(operation, case.path_parameters, case.body)
