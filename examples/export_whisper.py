"""Makes of a Whisper what `speech.model` takes.

    pip install "optimum-onnx[onnxruntime]"
    python examples/export_whisper.py openai/whisper-base.en FOLDER     # or a folder of your own

It is what `optimum-cli export onnx --task automatic-speech-recognition-with-past` makes, with one thing more: the decoder says what it
looks at in the sound. From that Scrim knows when each word was said.
"""

import sys

from optimum.exporters.onnx import main_export
from optimum.exporters.onnx.base import ConfigBehavior
from optimum.exporters.onnx.model_configs import WhisperOnnxConfig
from transformers import AutoConfig


class Looking(WhisperOnnxConfig):
    @property
    def outputs(self):
        outputs = super().outputs
        if self._behavior is ConfigBehavior.DECODER:
            for layer in range(self._config.decoder_layers):
                outputs[f"cross_attentions.{layer}"] = {0: "batch_size", 2: "decoder_sequence_length", 3: "encoder_sequence_length"}
        return outputs


if len(sys.argv) != 3:
    sys.exit(__doc__)
model, folder = sys.argv[1:]
config = Looking(config=AutoConfig.from_pretrained(model), task="automatic-speech-recognition")
main_export(
    model,
    output=folder,
    task="automatic-speech-recognition-with-past",
    model_kwargs={"output_attentions": True},
    custom_onnx_configs={
        "encoder_model": config.with_behavior("encoder"),
        "decoder_model": config.with_behavior("decoder", use_past=True, use_past_in_inputs=False),
        "decoder_with_past_model": config.with_behavior("decoder", use_past=True, use_past_in_inputs=True),
    },
)
