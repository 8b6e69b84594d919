// A text policy in JavaScript: flags what is shouted. docs/plugins.md says how it becomes a plugin.
export const lifecycle = {
  describe: () => ({ name: 'js-shouting', version: '0.1.0', configSchema: '{"type":"object"}' }),
  configure() {},
  snapshot: () => new Uint8Array(),
  restore() {},
  sourceEnded() {},
};
export const text = {
  judge(_atUs, utterance) {
    const said = utterance.words.map((w) => w.text).join(' ');
    const shouted = utterance.words.length > 2 && said === said.toUpperCase() && said !== said.toLowerCase();
    return shouted ? [{ words: { first: 0, count: utterance.words.length }, category: { tag: 'harassment' }, severity: 0.2, confidence: 1, reason: 'all capitals' }] : [];
  },
};
