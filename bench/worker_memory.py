"""Peak memory of a worker that uses every default model, one kind of file after the other.

    python -m bench.worker_memory

A real server with one worker process takes a batch of each kind: texts, photos, a video with speech, scanned
pages, faces, a recording. The worker is never ended between them, so that in the end it holds all models.
`peak_mb` of a step is the most that the process held during it (VmHWM, which counts shared libraries
whole), `after_mb` what it holds when the step is done. Runs on Linux.
"""

import base64
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

from bench.corpus import short_texts
from bench.harness import Figure, Record, Server, answered, arguments, fresh, rounded
from bench.images import photos
from lamina.core.statuses import TERMINAL
from lamina.inference.registry import built_in
from lamina.media.audio import read_sound
from tests.films import film, frames_of
from tests.media import MODELS_DIR, faces, located, sound, video
from tests.media.photos import PHOTOS
from tests.pdfs import scanned

REACH_MB = 2000

WHISPER_RATE = 16_000


@dataclass(frozen=True)
class Step:
    """Objects for one extractor. `files` are the blobs of each object: property type, MIME type and bytes."""

    name: str
    extractor: str
    key: str
    objects: Sequence[Sequence[tuple[str, str, bytes]]]
    parameters: Record = field(default_factory=dict)


def main() -> None:
    """Process every kind of file, and look at the worker after each."""
    arguments(__doc__).parse_args()
    steps = kinds()
    figure = Figure(
        "worker_memory",
        "Peak memory of a worker with all default models used, MB",
        objects={step.name: len(step.objects) for step in steps},
    )
    settings = {
        "LAMINA_WORKERS": "1",
        "LAMINA_WORKER_IDLE_SECONDS": "3600",
        "LAMINA_MODELS_DIR": str(MODELS_DIR),
        "LAMINA_MAX_REQUEST_BYTES": str(128 << 20),
    }
    peaks: dict[str, float] = {}
    with Server(fresh("worker_memory") / "data", settings=settings) as server:
        worker: psutil.Process | None = None
        for step in steps:
            run, bucket_id, ids = prepared(server, step)
            if worker is not None:
                _forget_peak(worker)
            began = time.perf_counter()
            written = process(server, bucket_id, ids)
            seconds = time.perf_counter() - began
            now = worker_of(server)
            if worker is not None and now.pid != worker.pid:
                raise SystemExit(f"{step.name}: the worker that held the other models has ended")
            worker = now
            peaks[step.name] = _status(worker, "VmHWM")
            figure.note(
                step.name,
                {
                    "extractor": run,
                    "documents": written,
                    "seconds": rounded(seconds),
                    "peak_mb": rounded(peaks[step.name]),
                    "after_mb": rounded(_status(worker, "VmRSS")),
                    "anonymous_after_mb": rounded(_status(worker, "RssAnon")),
                },
            )
    most = max(peaks, key=lambda name: peaks[name])
    figure.note("peak_set_by", most)
    figure.note("default_models", sorted(built_in()[1].values()))
    figure.wanted("worker with all default models used, peak MB", rounded(peaks[most]), most=REACH_MB)
    figure.write()


def kinds() -> list[Step]:
    """The steps, with media of usual sizes."""
    large = photos(12, 4000)
    spoken = spoken_video(30.0)
    scan = scanned_pages(4)
    recording = located(sound.TWO_CITIES).read_bytes()
    of_faces = [[("image", "image/jpeg", located(one).read_bytes())] for one in faces.ONE_PERSON]
    sentences = short_texts(128 * 20)
    texts = [". ".join(sentences[at : at + 20]).encode() for at in range(0, len(sentences), 20)]
    of_texts = [[("text", "text/plain", one)] for one in texts]
    of_photos = [[("image", "image/jpeg", one)] for one in large]
    whatever = [*of_photos[:4], [("video", "video/mp4", spoken)], [("pdf", "application/pdf", scan)]]
    return [
        Step("texts", "text_extractor", "text", of_texts),
        Step("tokens", "colbert_extractor", "text", of_texts[:64]),
        Step("photos", "image_extractor", "image", of_photos),
        Step(
            "video_with_speech",
            "multimodal_extractor",
            "video",
            [[("video", "video/mp4", spoken)]],
            {
                "split_method": "scene",
                "run_transcription": True,
                "run_transcription_embedding": True,
                "run_ocr": True,
            },
        ),
        Step("scanned_pages", "document_graph_extractor", "pdf", [[("pdf", "application/pdf", scan)]]),
        Step("faces", "face_identity_extractor", "image", of_faces),
        Step("recording", "audio_fingerprint_extractor", "audio", [[("audio", "audio/wav", recording)]]),
        Step("page_tokens", "colqwen_extractor", "image", of_photos[:4]),
        Step("whatever", "universal_extractor", "content", whatever),
        Step("several_files", "gemini_multifile_extractor", "files", [list(itertools.chain(*of_photos[:4]))]),
        Step("lecture", "course_content_extractor", "video", [[("video", "video/mp4", spoken)]]),
        Step("moving_text", "scrolling_text_extractor", "video", [[("video", "video/mp4", spoken)]]),
    ]


def spoken_video(seconds: float) -> bytes:
    """720p with a reader's voice."""
    with located(video.TWO_CITIES).open("rb") as file:
        voice = read_sound(file, WHISPER_RATE, seconds=seconds)
    frames = itertools.islice(frames_of(video.BUNNY, times=1 + int(seconds / 5)), round(seconds * 25))
    return film(frames, sound=(np.asarray(voice, np.float32), WHISPER_RATE), options={"crf": "28"})


def scanned_pages(count: int) -> bytes:
    """A PDF of pages without text of their own, at 200 dpi."""
    with Image.open(located(PHOTOS["page"])) as text:
        page = Image.new("L", (1654, 2339), 255)
        page.paste(text.convert("L").resize((1400, 700)), (120, 200))
        page.paste(text.convert("L").resize((1400, 700)), (120, 1200))
    return scanned([page] * count, dpi=200)


def prepared(server: Server, step: Step) -> tuple[str, str, list[str]]:
    """A bucket with the step's objects, and a collection that reads it."""
    types = sorted({kind for files in step.objects for kind, _, _ in files})
    schema = {"properties": {kind: {"type": kind} for kind in types}}
    bucket = server.post("/v1/buckets", {"bucket_name": step.name, "bucket_schema": schema})["bucket_id"]
    server.post(
        "/v1/collections",
        {
            "collection_name": step.name,
            "source": {"type": "bucket", "bucket_ids": [bucket]},
            "feature_extractor": {
                "feature_extractor_name": step.extractor,
                "version": "v1",
                "input_mappings": {step.key: types if len(types) > 1 else types[0]},
                "parameters": step.parameters,
            },
        },
    )
    made = [server.post(f"/v1/buckets/{bucket}/objects", _object(files)) for files in step.objects]
    return step.extractor, bucket, [one["object_id"] for one in made]


def _object(files: Sequence[tuple[str, str, bytes]]) -> Record:
    blobs: list[Record] = []
    for kind, mime_type, content in files:
        data: Any = content.decode() if kind == "text" else None
        if data is None:
            encoded = base64.b64encode(content).decode()
            data = {
                "base64": encoded,
                "mime_type": mime_type,
                "filename": f"a.{mime_type.rpartition('/')[2]}",
            }
        blobs.append({"property": kind, "type": kind, "data": data})
    return {"blobs": blobs}


def process(server: Server, bucket_id: str, ids: Sequence[str]) -> int:
    """The documents of a batch that has ended well."""
    batches = f"/v1/buckets/{bucket_id}/batches"
    batch_id = server.post(batches, {"object_ids": ids})["batch_id"]
    task_id = server.post(f"{batches}/{batch_id}/submit", {})["task_id"]
    with server.client() as client:
        while (task := answered(client.get(f"/v1/tasks/{task_id}")))["status"] not in TERMINAL:
            time.sleep(0.1)
        batch = answered(client.get(f"/v1/batches/{batch_id}"))
    if task["status"] != "COMPLETED":
        raise SystemExit(f"The batch is {task['status']}: {batch.get('failed_objects')}")
    return int(batch["documents_written"])


def worker_of(server: Server) -> psutil.Process:
    """The server's one worker process."""
    found = [one for one in server.seen.children() if "lamina.processing.worker" in " ".join(one.cmdline())]
    if len(found) != 1:
        raise SystemExit(f"The server has {len(found)} workers, not one.")
    return found[0]


def _forget_peak(worker: psutil.Process) -> None:
    """Let VmHWM begin anew from what the process holds now (proc(5), `clear_refs`)."""
    Path(f"/proc/{worker.pid}/clear_refs").write_text("5")


def _status(worker: psutil.Process, name: str) -> float:
    """A line of the process's status, in MB."""
    lines = Path(f"/proc/{worker.pid}/status").read_text().splitlines()
    (kilobytes,) = (line.split()[1] for line in lines if line.startswith(f"{name}:"))
    return int(kilobytes) * 1024 / 1e6


if __name__ == "__main__":
    main()
