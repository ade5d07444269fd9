"""Models on disk, safe to load and checked on every load.

An artifact is a folder:

    manifest.json            format, name, features, packages, settings, facts; each file's SHA-256 and size
    estimator.skops          a scikit-learn model; or
    estimator.safetensors    the tensors of a torch model, and
    estimator.json           what goes with them
    calibration.json  cut_off.json  metrics.json  bins.json  reference.parquet

A blend holds one such estimator for each of its members, under the member's name.

Nothing in it can run code: skops builds only the types listed here, safetensors and Parquet hold
numbers, the rest is JSON. Only files that the manifest lists are opened, and only names that this module
writes are accepted in it; anything else in the folder is ignored and never read.

The bytes depend on the model and the caller's facts alone: saving a model twice, or developing it twice
from the same data and seed, gives the same sums. So no time is written here; a caller who wants one adds
it to the facts.
"""

import hashlib
import io
import json
import os
import shutil
import sys
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import polars as pl
import safetensors.numpy
import skops.io
from skops.io.exceptions import UntrustedTypesFoundException

from creditflow.disk import to_disk
from creditflow.errors import (
    ArtifactCorrupt,
    ArtifactError,
    ArtifactMissing,
    ArtifactNewer,
    ArtifactOutdated,
    CreditflowError,
    HomeUnusable,
)
from models.anomaly import VAEAnomalyDetector, VAELikelihoodRatio
from models.blend import BlendClassifier
from models.calibration import CalibratorChoice
from models.cost import CutOff
from models.develop import SCORE, DevelopedModel, TrainingFacts
from models.features import FeatureSet
from models.metrics import Metric
from models.registry import MODELS
from models.stability import ReferenceBins
from models.vae import VAEClassifier

FORMAT = 2
MANIFEST = "manifest.json"
# A model that is no blend is one part of this name.
WHOLE = "estimator"
SKOPS, TENSORS, TENSORS_META = ".skops", ".safetensors", ".json"
CALIBRATION, CUT_OFF, METRICS = "calibration.json", "cut_off.json", "metrics.json"
BINS, REFERENCE = "bins.json", "reference.parquet"
COMMON_FILES = frozenset({CALIBRATION, CUT_OFF, METRICS, BINS, REFERENCE})
PACKAGES = ("numpy", "polars", "scikit-learn", "imbalanced-learn", "scipy", "torch", "skops", "safetensors")
TORCH_ESTIMATORS: dict[str, Any] = {
    kind.__name__: kind for kind in (VAEClassifier, VAEAnomalyDetector, VAELikelihoodRatio)
}
BLEND = BlendClassifier.__name__
# Types beyond scikit-learn's own estimators and numpy's arrays that a saved model may hold. Fixed
# here, never taken from the file that is being read.
TRUSTED_TYPES: tuple[str, ...] = (
    "imblearn.over_sampling._smote.base.SMOTE",
    "models.baselines.BaselinePipeline",
    "models.baselines.RankPreparation",
    # Its node indices are not checked by scikit-learn; the manifest's sums stand for them.
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
)
# Rows scored again on load. The tolerance leaves room for another processor's rounding, not another model.
SELF_TEST_ROWS = 64
SELF_TEST_TOLERANCE = 1e-4
RECOVERY = "Restore the folder from a backup, or retrain with `creditflow run MONTH --retrain`."


# --- save --------------------------------------------------------------------------------------------


def save(model: DevelopedModel, folder: Path, facts: Mapping[str, Any] | None = None) -> str:
    """Write the model's artifact in one step: readers see all of it or nothing.

    Args:
        model: the developed model.
        folder: where it shall lie. An artifact that is there already is replaced, unless it is the same.
        facts: what the caller knows besides (training months, sums, version); JSON values.

    Returns:
        The SHA-256 of the manifest, by which `load` knows the artifact again.

    Raises:
        HomeUnusable: the disk is full or the folder cannot be written.
    """
    contents = _contents(model)
    manifest = _json_bytes(_manifest(model, contents, dict(facts or {})))
    try:
        _publish(contents | {MANIFEST: manifest}, folder)
    except OSError as error:
        raise HomeUnusable(
            f"artifact folder {folder}",
            expected="a folder that can be written, on a disk with room",
            found=f"{type(error).__name__}: {error.strerror or error}",
            remedy="Free the disk or correct the permissions, then run the month again.",
        ) from error
    return _sha256(manifest)


def _contents(model: DevelopedModel) -> dict[str, bytes]:
    reference = io.BytesIO()
    model.reference.write_parquet(reference, compression="zstd", statistics=False)
    estimators = [_estimator_files(stem, part) for stem, part in _parts(model.estimator).items()]
    return {name: content for files in estimators for name, content in files.items()} | {
        CALIBRATION: _json_bytes(model.calibration.to_state()),
        CUT_OFF: _json_bytes(model.cut_off.to_state()),
        METRICS: _json_bytes({name: metric.as_dict() for name, metric in model.held_out.items()}),
        BINS: _json_bytes({name: bins.to_state() for name, bins in model.bins.items()}),
        REFERENCE: reference.getvalue(),
    }


def _parts(estimator: Any) -> dict[str, Any]:
    return dict(estimator.estimators_) if isinstance(estimator, BlendClassifier) else {WHOLE: estimator}


def _estimator_files(stem: str, estimator: Any) -> dict[str, bytes]:
    if type(estimator).__name__ not in TORCH_ESTIMATORS:
        return {stem + SKOPS: _stable_skops(skops.io.dumps(estimator))}
    tensors, meta = estimator.get_state()
    dense = {name: np.ascontiguousarray(tensor) for name, tensor in sorted(tensors.items())}
    # The tensors' own metadata block has no fixed order, so what goes with them is a file of its own.
    return {stem + TENSORS: safetensors.numpy.save(dense), stem + TENSORS_META: _json_bytes(meta)}


def _manifest(model: DevelopedModel, contents: Mapping[str, bytes], facts: dict[str, Any]) -> dict[str, Any]:
    parts = _parts(model.estimator)
    return {
        "format": FORMAT,
        "name": model.name,
        "estimator": type(model.estimator).__name__,
        "parts": {stem: type(part).__name__ for stem, part in parts.items()},
        "features": list(model.facts.features),
        "seed": model.facts.seed,
        "settings": {stem: _settings(part) for stem, part in parts.items()},
        "training": asdict(model.facts),
        "facts": facts,
        "packages": {"python": ".".join(map(str, sys.version_info[:3]))} | {p: version(p) for p in PACKAGES},
        "files": {n: {"sha256": _sha256(c), "bytes": len(c)} for n, c in sorted(contents.items())},
    }


def _settings(estimator: Any) -> dict[str, Any]:
    """The estimator's parameters, steps by name; for a value that JSON lacks, its type."""
    parameters = estimator.get_params(deep=True)
    return {
        key: parameters[key] if _is_json(parameters[key]) else type(parameters[key]).__name__
        for key in parameters
    }


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return True


def _publish(contents: Mapping[str, bytes], folder: Path) -> None:
    """Write beside the place, then rename; an older artifact gives way only to a complete one."""
    if _holds(folder, contents):
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh, stale = (folder.with_name(f".{folder.name}.{os.getpid()}.{end}") for end in ("new", "old"))
    for leftover in (fresh, stale):
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        fresh.mkdir()
        for name, content in contents.items():
            _write_through(fresh / name, content)
        _swap(fresh, folder, stale)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    shutil.rmtree(stale, ignore_errors=True)
    to_disk(folder.parent)


def _swap(fresh: Path, folder: Path, stale: Path) -> None:
    if folder.exists():
        folder.rename(stale)
    try:
        fresh.rename(folder)
    except OSError:
        if stale.exists():
            stale.rename(folder)
        raise


def _holds(folder: Path, contents: Mapping[str, bytes]) -> bool:
    paths = [(folder / name, content) for name, content in contents.items()]
    return all(path.is_file() and path.read_bytes() == content for path, content in paths)


def _write_through(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


# --- load --------------------------------------------------------------------------------------------


def load(
    folder: Path, expected_manifest_sha256: str | None = None, shared: dict[str, Any] | None = None
) -> DevelopedModel:
    """Read an artifact after checking every sum, and score a few reference rows to see that it works.

    Args:
        folder: the artifact.
        expected_manifest_sha256: what `save` returned; without it the manifest is taken as it is.
        shared: estimators read before, by their files' sums. The same dictionary given for all models of a
            set makes a blend hold the very estimators of its members, so that nothing is scored twice.

    Raises:
        ArtifactMissing: the folder, its manifest or a listed file is not there.
        ArtifactCorrupt: a sum, the content or the scores of the reference rows are not as recorded.
        ArtifactNewer: written by a newer creditflow.
        ArtifactOutdated: written by an older creditflow, or for other features than this one computes.
    """
    manifest, files = _read(folder, expected_manifest_sha256)
    with _told_as_corrupt(folder):
        model = _assemble(manifest, files, {} if shared is None else shared)
    _self_test(model, folder, manifest["packages"])
    return model


def load_bins(folder: Path, expected_manifest_sha256: str) -> dict[str, ReferenceBins]:
    """The frozen bins alone, their sum checked; the estimator, most of the cost of `load`, is not built.

    Raises:
        ArtifactMissing, ArtifactCorrupt, ArtifactNewer, ArtifactOutdated: as in `load`.
    """
    content = _read_one(folder, expected_manifest_sha256, BINS)
    with _told_as_corrupt(folder):
        return _bins(content)


def load_reference(folder: Path, expected_manifest_sha256: str) -> pl.DataFrame:
    """The reference sample alone, in the same way.

    Raises:
        ArtifactMissing, ArtifactCorrupt, ArtifactNewer, ArtifactOutdated: as in `load`.
    """
    content = _read_one(folder, expected_manifest_sha256, REFERENCE)
    with _told_as_corrupt(folder):
        return pl.read_parquet(io.BytesIO(content))


@contextmanager
def _told_as_corrupt(folder: Path) -> Iterator[None]:
    """Each format fails in its own way, from zipfile to Rust; the answer is one."""
    try:
        yield
    except ArtifactError:
        raise
    except UntrustedTypesFoundException as error:
        said = str(error).splitlines()[0].rstrip(".")
        _corrupt(folder, "only the types that creditflow trusts", said, error)
    except Exception as error:
        _corrupt(folder, "files that make up a model", f"{type(error).__name__}: {error}", error)


def verify(folder: Path, expected_manifest_sha256: str) -> None:
    """Check every sum of an artifact without building the model.

    Raises:
        ArtifactMissing, ArtifactCorrupt, ArtifactNewer, ArtifactOutdated: as in `load`.
    """
    _read(folder, expected_manifest_sha256)


def _read(folder: Path, expected_sha256: str | None) -> tuple[dict[str, Any], dict[str, bytes]]:
    manifest = read_manifest(folder, expected_sha256)
    return manifest, {name: _verified(folder / name, entry) for name, entry in manifest["files"].items()}


def _read_one(folder: Path, expected_sha256: str, name: str) -> bytes:
    return _verified(folder / name, read_manifest(folder, expected_sha256)["files"][name])


def read_manifest(folder: Path, expected_sha256: str | None = None) -> dict[str, Any]:
    """The manifest, its format and its entries checked; no other file is read.

    Raises:
        ArtifactMissing, ArtifactCorrupt, ArtifactNewer, ArtifactOutdated: as in `load`.
    """
    path = folder / MANIFEST
    content = _bytes_of(path)
    if expected_sha256 is not None and _sha256(content) != expected_sha256:
        _corrupt(path, f"SHA-256 {expected_sha256}", _sha256(content))
    try:
        manifest = json.loads(content)
        written = int(manifest["format"])
    except (ValueError, KeyError, TypeError) as error:
        _corrupt(path, "a JSON manifest with a format number", f"{type(error).__name__}: {error}", error)
    if written > FORMAT:
        raise ArtifactNewer(
            str(path),
            expected=f"artifact format {FORMAT} or older",
            found=f"format {written}",
            remedy="Upgrade creditflow, or retrain with this version.",
        )
    if written < FORMAT:
        _outdated(path, f"artifact format {FORMAT}", f"format {written}")
    _check_manifest(manifest, path)
    return manifest


def _check_manifest(manifest: dict[str, Any], path: Path) -> None:
    for part in ("files", "training", "packages", "parts", "facts"):
        if not isinstance(manifest.get(part), dict):
            _corrupt(path, f"a table {part!r}", repr(manifest.get(part)))
    if manifest.get("name") not in MODELS:
        _corrupt(path, f"a model among {', '.join(MODELS)}", repr(manifest.get("name")))
    _check_features(manifest, path)
    members = MODELS[manifest["name"]].members or (WHOLE,)
    if tuple(manifest["parts"]) != members or not all(isinstance(k, str) for k in manifest["parts"].values()):
        found = ", ".join(f"{stem} ({kind})" for stem, kind in manifest["parts"].items())
        _corrupt(path, f"an estimator for each of the parts {', '.join(members)}", found or "none")
    wanted = COMMON_FILES | {name for item in manifest["parts"].items() for name in _file_names(*item)}
    listed = manifest["files"]
    if set(listed) != wanted:
        _corrupt(path, f"the files {', '.join(sorted(wanted))}", ", ".join(sorted(listed)) or "none")
    if not all(isinstance(entry, dict) for entry in listed.values()):
        _corrupt(path, "a sum and a size for every file", str(listed))


def _check_features(manifest: dict[str, Any], path: Path) -> None:
    """Features by name and in order: a column in another's place would score every client wrongly."""
    try:
        wanted = list(FeatureSet(manifest["training"].get("attributes")).names)
    except CreditflowError as error:
        _corrupt(path, error.expected, error.found, error)
    found = manifest.get("features")
    if found == wanted:
        return
    if not isinstance(found, list):
        _corrupt(path, "a list of features", repr(found))
    missing = [name for name in wanted if name not in found]
    unknown = [str(name) for name in found if name not in wanted]
    differences = [f"no {name}" for name in missing] + [f"{name}, which is not computed" for name in unknown]
    _outdated(path, "the features that are computed", ", ".join(differences) or "them in another order")


def _file_names(stem: str, kind: str) -> tuple[str, ...]:
    return (stem + TENSORS, stem + TENSORS_META) if kind in TORCH_ESTIMATORS else (stem + SKOPS,)


def _outdated(path: Path, expected: str, found: str) -> NoReturn:
    raise ArtifactOutdated(
        str(path),
        expected=expected,
        found=found,
        remedy="Retrain with `creditflow run MONTH --retrain`.",
    )


def _verified(path: Path, entry: Mapping[str, Any]) -> bytes:
    content = _bytes_of(path)
    if _sha256(content) != entry.get("sha256"):
        expected = f"SHA-256 {entry.get('sha256')} ({entry.get('bytes')} bytes)"
        _corrupt(path, expected, f"{_sha256(content)} ({len(content)} bytes)")
    return content


def _assemble(
    manifest: Mapping[str, Any], files: Mapping[str, bytes], shared: dict[str, Any]
) -> DevelopedModel:
    training = manifest["training"] | {"features": tuple(manifest["training"]["features"])}
    return DevelopedModel(
        name=manifest["name"],
        estimator=_estimator(manifest, files, shared),
        calibration=CalibratorChoice.from_state(json.loads(files[CALIBRATION])),
        cut_off=CutOff.from_state(json.loads(files[CUT_OFF])),
        held_out={name: Metric(**entry) for name, entry in json.loads(files[METRICS]).items()},
        bins=_bins(files[BINS]),
        reference=pl.read_parquet(io.BytesIO(files[REFERENCE])),
        facts=TrainingFacts(**training),
    )


def _bins(content: bytes) -> dict[str, ReferenceBins]:
    return {name: ReferenceBins.from_state(entry) for name, entry in json.loads(content).items()}


def _estimator(manifest: Mapping[str, Any], files: Mapping[str, bytes], shared: dict[str, Any]) -> Any:
    parts = {}
    for stem, kind in manifest["parts"].items():
        key = "|".join(_sha256(files[name]) for name in _file_names(stem, kind))
        if key not in shared:
            shared[key] = _read_part(stem, kind, files)
        parts[stem] = shared[key]
    return BlendClassifier.from_fitted(parts) if manifest["estimator"] == BLEND else parts[WHOLE]


def _read_part(stem: str, kind: str, files: Mapping[str, bytes]) -> Any:
    if kind not in TORCH_ESTIMATORS:
        return skops.io.loads(files[stem + SKOPS], trusted=TRUSTED_TYPES)
    return TORCH_ESTIMATORS[kind].from_state(
        safetensors.numpy.load(files[stem + TENSORS]), json.loads(files[stem + TENSORS_META])
    )


def _self_test(model: DevelopedModel, folder: Path, packages: Mapping[str, str]) -> None:
    """Other versions of a library may read a file well and yet score differently: the scores tell."""
    rows = model.reference.head(SELF_TEST_ROWS)
    again, recorded = model.score(rows)[SCORE].to_numpy(), rows[SCORE].to_numpy()
    if np.allclose(again, recorded, rtol=SELF_TEST_TOLERANCE, atol=1e-6):
        return
    changed = [f"{name} {old}" for name, old in packages.items() if name in PACKAGES and version(name) != old]
    written_with = f"; it was written with {', '.join(changed)}" if changed else ""
    distance = float(np.abs(again - recorded).max())
    _corrupt(
        folder,
        "the recorded scores of the reference rows",
        f"scores off by up to {distance:.3g}{written_with}",
    )


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ArtifactMissing(
            str(path), expected="a file of the model's artifact", found="none", remedy=RECOVERY
        ) from error
    except OSError as error:
        raise ArtifactError(
            str(path),
            expected="a file that can be read",
            found=f"{type(error).__name__}: {error.strerror}",
            remedy="Correct the permissions, then run again.",
        ) from error


def _corrupt(where: Path, expected: str, found: str, cause: Exception | None = None) -> NoReturn:
    raise ArtifactCorrupt(str(where), expected=expected, found=found, remedy=RECOVERY) from cause


# --- bytes that do not change between two saves ------------------------------------------------------

_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)


def _stable_skops(content: bytes) -> bytes:
    """The same skops archive without times and memory addresses.

    skops names every object by its address. Here they are numbered in the order of their appearance; leaves
    (numbers, texts) lose the number, as it depends on which equal ones Python happened to share.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        schema = json.loads(archive.read("schema.json"))
        arrays = {name: archive.read(name) for name in archive.namelist() if name != "schema.json"}
    numbers: dict[int, int] = {}
    names: dict[str, str] = {}
    for node in _nodes(schema):
        _renumber(node, numbers, names)
    members = {names[old]: array for old, array in arrays.items()}
    return _zip({"schema.json": json.dumps(schema, indent=1).encode()} | members)


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """Every object of a JSON tree, outer before inner, in the order of the text."""
    if isinstance(tree, dict):
        yield tree
    children = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ()
    for child in children:
        yield from _nodes(child)


def _renumber(node: dict[str, Any], numbers: dict[int, int], names: dict[str, str]) -> None:
    address = node.get("__id__")
    if isinstance(address, int):
        if node.get("__loader__") == "JsonNode":
            del node["__id__"]
        else:
            node["__id__"] = numbers.setdefault(address, len(numbers) + 1)
    file = node.get("file")
    if "__loader__" in node and isinstance(file, str):
        node["file"] = names.setdefault(file, f"{len(names) + 1}{Path(file).suffix}")


def _zip(members: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            entry = zipfile.ZipInfo(name, _ZIP_EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    return buffer.getvalue()


def _json_bytes(value: Any) -> bytes:
    return (json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n").encode()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
