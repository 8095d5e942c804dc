"""Croissant metadata (``croissant.json``): what programs and search engines read, with the responsible-AI fields.

Follows the Croissant 1.1 specification of MLCommons (docs/croissant-spec-1.1.md in mlcommons/croissant) and its RAI
vocabulary 1.0. A test lets the reference reader, mlcroissant, check it and read the records through it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from avbench.curate import card as cards
from avbench.dataset import INDEX_NAME

if TYPE_CHECKING:
    import pyarrow as pa

CONFORMS_TO = ["http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0"]

CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""Names of the vocabulary, as the specification asks a document to declare them."""

_TYPES = {"string": "sc:Text", "double": "sc:Float", "int64": "sc:Integer"}

COLUMNS = {
    "clip_id": "Name of the clip.",
    "source_id": "Recording it was cut from.",
    "group": "Recordings of one group never stand in two splits.",
    "split": "train, validation or test.",
    "start_s": "First picture in the recording, seconds.",
    "end_s": "End in the recording, seconds, exclusive.",
    "clip_s": "Length, seconds.",
    "fps": "Pictures per second.",
    "width": "Pixels.",
    "height": "Pixels.",
    "sample_rate_hz": "Sound samples per second.",
    "channels": "Sound channels.",
    "verdict": "What reading the clip back found.",
    "lag_s": "By how much its sound comes later than the recording's, seconds; empty where it cannot be compared.",
    "picture_psnr_db": "First picture against the recording's, dB.",
    "av_offset_s": "Start of sound minus start of picture, seconds, edit lists honoured.",
    "raw_av_offset_s": "The same, edit lists ignored.",
    "licence": "Licence of the recording.",
    "title": "Title of the recording.",
    "url": "Address of the recording.",
    "sha256": "Digest of the mp4.",
    "bytes": "Size of the mp4.",
    "shard": "Tar that holds the clip.",
    "view_frames": "Pictures of the training view.",
    "view_size": "Height and width of the training view, pixels.",
    "view_fps": "Pictures per second of the training view.",
    "view_samples": "Sound samples of the training view.",
    "view_sample_rate_hz": "Sound samples per second of the training view.",
    "video_offset": "Byte in the tar where the raw pictures begin.",
    "audio_offset": "Byte in the tar where the raw sound begins.",
}


def metadata(
    card: dict[str, Any], index: pa.Table, index_bytes: int, *, index_file: str = INDEX_NAME, with_media: bool = True
) -> dict[str, Any]:
    """The document.

    Args:
        card: `DATASET.json`, its ``files`` aside.
        index: One row per clip.
        index_bytes: Size of the index file.
        index_file: Its name.
        with_media: False leaves the tars out.

    Returns:
        JSON-LD, ready to be written.
    """
    rows = index.to_pylist()
    stated = sorted({row["licence"] for row in rows if row["licence"]})
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": CONFORMS_TO,
        "name": card["name"],
        "description": card.get("description") or "Paired audio-video clips.",
        "version": card["version"],
        "license": stated or ["not stated"],
        **({"url": card["homepage"]} if card.get("homepage") else {}),
        **({"citeAs": card["citation"]} if card.get("citation") else {}),
        "isLiveDataset": False,
        **_responsible(card, rows),
        "distribution": [
            _file(index_file, index_bytes, card["index_sha256"], "application/x-parquet"),
            *(_file(s["file"], s["bytes"], s["sha256"], "application/x-tar") for s in card["shards"] if with_media),
        ],
        "recordSet": [_splits(card), _clips(index.schema, index_file)],
    }


def _file(name: str, size: int, digest: str, kind: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "contentUrl": name,
        "contentSize": f"{size} B",
        "encodingFormat": kind,
        "sha256": digest,
    }


def _splits(card: dict[str, Any]) -> dict[str, Any]:
    names = [split for split, held in card["splits"].items() if held["clips"]]
    return {
        "@type": "cr:RecordSet",
        "@id": "splits",
        "name": "splits",
        "description": "The splits of the dataset.",
        "dataType": "cr:Split",
        "key": {"@id": "splits/name"},
        "field": [
            {"@type": "cr:Field", "@id": "splits/name", "name": "name", "description": "Split.", "dataType": "sc:Text"}
        ],
        "data": [{"splits/name": name} for name in names],
    }


def _clips(schema: pa.Schema, index_file: str) -> dict[str, Any]:
    fields = []
    for column in schema:
        source = {"fileObject": {"@id": index_file}, "extract": {"column": column.name}}
        described = COLUMNS.get(column.name) or f"What the filter {column.name.removeprefix('filter_')} measured."
        field: dict[str, Any] = {
            "@type": "cr:Field",
            "@id": f"clips/{column.name}",
            "name": column.name,
            "description": described,
            "dataType": _TYPES[str(column.type)],
            "source": source,
        }
        if column.name == "split":
            field["references"] = {"field": {"@id": "splits/name"}}
        fields.append(field)
    return {
        "@type": "cr:RecordSet",
        "@id": "clips",
        "name": "clips",
        "description": "One record per clip.",
        "key": {"@id": "clips/clip_id"},
        "field": fields,
    }


def _responsible(card: dict[str, Any], rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The RAI fields; what is not known is said to be so."""
    cut, told = card["recipe"]["segment"], cards.exactness(rows)
    filters = ", ".join(spec["name"] for spec in card["recipe"]["filters"]) or "none"
    read_back = "; ".join(f"{count} {verdict}" for verdict, count in told["verdicts"].items())
    drops = "; ".join(f"{count} {reason}" for reason, count in card["dropped"].items()) or "none"
    return {
        "rai:dataCollection": "Recordings named by a manifest were downloaded from where their owners published them.",
        "rai:dataCollectionType": ["Existing datasets", "Web Scraping"],
        "rai:dataCollectionRawData": "Whole recordings with picture and sound; they are not part of the dataset.",
        "rai:dataPreprocessingProtocol": [
            f"Clips of {cut['clip_s']:g} s on the frame grid of each recording, {cut['width']}x{cut['height']} at "
            f"{cut['fps']:g} fps, {cut['channels']} x {cut['sample_rate_hz']} Hz.",
            f"Every clip read back and compared with its recording: {read_back}.",
        ],
        "rai:dataManipulationProtocol": f"Filters: {filters}. Left out: {drops}.",
        "rai:dataAnnotationProtocol": "No annotation by people; measured values are columns of the index.",
        "rai:machineAnnotationTools": ["avbench"],
        "rai:personalSensitiveInformation": [
            "Faces and voices of performers, players and bystanders can be seen and heard.",
            "Titles and addresses of the recordings name whoever published them.",
        ],
        "rai:dataBiases": "What is still online is over-represented; filters favour loud and moving clips.",
        "rai:dataLimitations": "Not made to identify people, and not a sample of any population.",
        "rai:dataSocialImpact": "Models trained on it can make sound and picture that resemble real performances.",
        "rai:dataUseCases": ["Training and evaluation of joint audio-video generation"],
        "rai:dataReleaseMaintenancePlan": (
            "Recordings are removed on request of their owners; each removal raises the version, and users must move "
            f"to the newest one. Removals so far: {len(card['tombstones'])}."
        ),
    }
