"""Says of each text (a JSON string a line) whether better-profanity finds something in it: 1 or 0, a line each."""

import json
import sys

from better_profanity import profanity

profanity.load_censor_words()
for line in sys.stdin:
    print(int(profanity.contains_profanity(json.loads(line))))
