"""Speaks what standard input asks for, and says when each word was said.

A line in is {"text", "engine", "voice", "speed", "wav"}; a line out is [[from, to] or null, ...] in seconds, one a word of the text. The times are
the synthesiser's own: espeak-ng's events for words and phonemes, festival's `Word` relation; flite tells only its phones, so a word has
those that it has when it is spoken alone, if their numbers add up.
"""

import ctypes
import json
import struct
import subprocess
import sys
import wave


class Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("id", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user", ctypes.c_void_p),
        ("name", ctypes.c_char * 8),
    ]


WORD, PHONEME, RATE_PARAMETER = 1, 7, 1


class Espeak:
    def __init__(self):
        self.library = ctypes.CDLL("libespeak-ng.so.1")
        # Retrieval, with phoneme events.
        self.rate = self.library.espeak_Initialize(2, 0, None, 1)
        callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(Event))
        self.samples, self.events = [], []

        def hear(samples, count, events):
            if samples and count > 0:
                self.samples.extend(samples[:count])
            at = 0
            while events[at].type != 0:
                event = events[at]
                self.events.append((event.type, event.text_position, event.sample, bytes(event.name)))
                at += 1
            return 0

        self.callback = callback(hear)
        self.library.espeak_SetSynthCallback(self.callback)

    def speak(self, text, voice, speed, wav):
        self.samples.clear()
        self.events.clear()
        self.library.espeak_SetVoiceByName(voice.encode())
        self.library.espeak_SetParameter(RATE_PARAMETER, int(175 * speed), 0)
        bytes_ = text.encode()
        # Characters are UTF-8, and the text is spoken to its end.
        self.library.espeak_Synth(bytes_, len(bytes_) + 1, 0, 1, 0, 1, None, None)
        self.library.espeak_Synchronize()
        save(wav, self.rate, self.samples)
        begins = {position - 1: number for number, (kind, position, _, _) in enumerate(self.events) if kind == WORD}
        times, at = [], 0
        for word in text.split():
            number = begins.get(text.index(word, at))
            at = text.index(word, at) + len(word)
            times.append(None if number is None else self.span(number))
        return times

    def span(self, number):
        """From the word's event to the next, or to the first pause between them."""
        begin, end = self.events[number][2], len(self.samples)
        for kind, _, sample, name in self.events[number + 1 :]:
            phoneme = name.split(b"\0")[0]
            pause = kind == PHONEME and (phoneme.startswith(b"_") or phoneme == b"")
            if sample > begin and (pause or kind == WORD):
                end = sample
                break
        return [begin / self.rate, end / self.rate]


class Festival:
    """One process for all: it takes a second to start."""

    def __init__(self):
        self.process = subprocess.Popen(["festival", "--pipe"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def speak(self, text, voice, speed, wav):
        self.process.stdin.write(f"""(voice_{voice})
(Parameter.set 'Duration_Stretch {1 / speed})
(set! u (Utterance Text {json.dumps(text)}))
(utt.synth u)
(mapcar (lambda (w) (format t "%f %f\\n" (parse-number (item.feat w 'word_start)) (parse-number (item.feat w 'word_end))))
 (utt.relation.items u 'Word))
(utt.save.wave u {json.dumps(wav)} 'riff)
(format t "over\\n")
(fflush nil)
""")
        self.process.stdin.flush()
        times = []
        while (line := self.process.stdout.readline()) != "over\n":
            if not line:
                raise RuntimeError("festival has ended")
            if line.strip():
                times.append([float(number) for number in line.split()])
        return times if len(times) == len(text.split()) else [None] * len(text.split())


def phones(text, voice, speed, wav, kind):
    command = ["flite", "-voice", voice, "--setf", f"duration_stretch={1 / speed}", kind, "-t", text, wav]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


ALONE = {}


def flite(text, voice, speed, wav):
    parts = [part.rsplit(":", 1) for part in phones(text, voice, speed, wav, "-psdur")]
    times, begin = [], 0.0
    for name, end in parts:
        if name != "pau":
            times.append((begin, float(end)))
        begin = float(end)
    counts = []
    for word in text.split():
        if (word, voice) not in ALONE:
            ALONE[word, voice] = sum(phone != "pau" for phone in phones(word, voice, 1.0, "none", "-ps"))
        counts.append(ALONE[word, voice])
    if sum(counts) != len(times):
        return [None] * len(counts)
    spans, at = [], 0
    for count in counts:
        spans.append([times[at][0], times[at + count - 1][1]])
        at += count
    return spans


def save(path, rate, samples):
    with wave.open(path, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes(struct.pack(f"<{len(samples)}h", *samples))


def main():
    espeak = Espeak()
    engines = {"espeak": espeak.speak, "festival": Festival().speak, "flite": flite}
    for line in sys.stdin:
        asked = json.loads(line)
        times = engines[asked["engine"]](asked["text"], asked["voice"], asked["speed"], asked["wav"])
        print(json.dumps(times), flush=True)


main()
