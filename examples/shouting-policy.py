"""A text policy in Python: flags what is shouted. docs/plugins.md says how it becomes a plugin."""
import json

from wit_world import exports
from wit_world.imports import types


class Lifecycle(exports.Lifecycle):
    def describe(self):
        return types.Manifest("python-shouting", "0.1.0", json.dumps({"type": "object"}))

    def configure(self, at_us, config):
        pass

    def snapshot(self):
        return b""

    def restore(self, at_us, from_version, state):
        pass

    def source_ended(self, at_us, source_id):
        pass


class Text(exports.Text):
    def judge(self, at_us, utterance):
        said = " ".join(word.text for word in utterance.words)
        if len(utterance.words) > 2 and said == said.upper() and said != said.lower():
            words = types.WordRange(0, len(utterance.words))
            return [types.Finding(words, types.Category_Harassment(), 0.2, 1.0, "all capitals")]
        return []
