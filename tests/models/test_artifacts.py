import hashlib
import json
import os
import pickle
import subprocess
import sys

import numpy as np
import polars as pl
import pytest
import skops.io
from sklearn.dummy import DummyClassifier

from creditflow.errors import (
    ArtifactCorrupt,
    ArtifactError,
    ArtifactMissing,
    ArtifactNewer,
    ArtifactOutdated,
    HomeUnusable,
)
from models.artifacts import (
    BINS,
    COMMON_FILES,
    FORMAT,
    MANIFEST,
    REFERENCE,
    TRUSTED_TYPES,
    load,
    load_bins,
    load_reference,
    read_manifest,
    save,
)
from models.registry import MODELS

SKOPS, TENSORS = "estimator.skops", "estimator.safetensors"
FACTS = {"training_months": ["2005-04"], "training_sha256": "ab" * 32}


@pytest.fixture(scope="module")
def saved(developed, tmp_path_factory):
    """One artifact a model, with the sum of its manifest. Read only: tests that break one copy it."""
    top = tmp_path_factory.mktemp("artifacts")
    return {name: (top / name, save(model, top / name, FACTS)) for name, model in developed.items()}


@pytest.fixture
def broken(saved, tmp_path):
    """Copies an artifact to where it may be broken."""

    def copy(name="logistic"):
        folder = tmp_path / name
        folder.mkdir()
        for path in saved[name][0].iterdir():
            (folder / path.name).write_bytes(path.read_bytes())
        return folder

    return copy


def edit_manifest(folder, **changes):
    path = folder / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def replace_file(folder, name, content):
    """Put other content in place, and a manifest that agrees: the work of someone who knows the format."""
    (folder / name).write_bytes(content)
    files = json.loads((folder / MANIFEST).read_text())["files"]
    files[name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    edit_manifest(folder, files=files)


# --- round trip --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_a_loaded_model_scores_to_the_last_bit(developed, saved, clients, name):
    again = load(*saved[name])
    assert again.score(clients).equals(developed[name].score(clients))


@pytest.mark.parametrize("name", MODELS)
def test_everything_else_comes_back(developed, saved, name):
    model, again = developed[name], load(*saved[name])
    assert again.name == name
    assert again.held_out == model.held_out
    assert list(again.held_out) == list(model.held_out)
    assert again.bins == model.bins
    assert again.reference.equals(model.reference)
    assert again.facts == model.facts
    assert again.calibration.to_state() == model.calibration.to_state()
    assert again.cut_off == model.cut_off
    assert again.fit_seconds is None


@pytest.mark.parametrize(("read", "field"), [(load_bins, "bins"), (load_reference, "reference")])
def test_a_part_alone_is_that_of_the_whole(saved, read, field):
    folder, digest = saved["blend"]
    whole, part = getattr(load(folder, digest), field), read(folder, digest)
    assert part.equals(whole) if field == "reference" else part == whole


@pytest.mark.parametrize(("read", "name"), [(load_bins, BINS), (load_reference, REFERENCE)])
def test_a_damaged_part_is_refused_alone_too(saved, broken, read, name):
    folder, digest = broken("logistic"), saved["logistic"][1]
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    with pytest.raises(ArtifactCorrupt, match=name):
        read(folder, digest)


@pytest.mark.parametrize("name", MODELS)
def test_saving_twice_gives_the_same_bytes(developed, saved, tmp_path, name):
    folder, expected = saved[name]
    assert save(developed[name], tmp_path / "again", FACTS) == expected
    assert save(load(folder), tmp_path / "loaded", FACTS) == expected
    for path in folder.iterdir():
        assert (tmp_path / "loaded" / path.name).read_bytes() == path.read_bytes(), path.name


DEVELOP_ELSEWHERE = """
import sys
from pathlib import Path
import polars as pl
from models.artifacts import save
from models.develop import develop
frame = pl.read_parquet(sys.argv[1])
for model in develop(frame, seed=7, names=sys.argv[3:]):
    print(save(model, Path(sys.argv[2]) / model.name, {}))
"""


@pytest.mark.slow
def test_another_process_develops_the_same_bytes(developed, clients, tmp_path):
    names = list(MODELS)
    clients.write_parquet(tmp_path / "clients.parquet")
    arguments = [
        sys.executable,
        "-c",
        DEVELOP_ELSEWHERE,
        tmp_path / "clients.parquet",
        tmp_path / "other",
        *names,
    ]
    # Neither the seed of hashes nor the number of threads may show in the bytes.
    environment = os.environ | {"PYTHONHASHSEED": "12345", "OMP_NUM_THREADS": "1"}
    output = subprocess.run(arguments, check=True, capture_output=True, text=True, env=environment).stdout
    assert output.split() == [save(developed[name], tmp_path / name) for name in names]


@pytest.mark.parametrize("name", MODELS)
def test_manifest(saved, name):
    folder, expected = saved[name]
    manifest = read_manifest(folder, expected)
    assert hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest() == expected
    assert manifest["format"] == FORMAT
    assert manifest["facts"] == FACTS
    assert len(manifest["features"]) == 75
    assert manifest["training"]["rows"] == 1500
    assert all(7 in settings.values() for settings in manifest["settings"].values())
    assert manifest["packages"]["scikit-learn"] == __import__("sklearn").__version__
    assert {path.name for path in folder.iterdir()} == {MANIFEST, *manifest["files"]}
    for file, entry in manifest["files"].items():
        content = (folder / file).read_bytes()
        assert entry == {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}


def test_the_reference_names_no_client(saved):
    for folder, _ in saved.values():
        assert "client_id" not in pl.read_parquet_schema(folder / "reference.parquet")


def test_an_older_artifact_gives_way_whole(developed, tmp_path):
    folder = tmp_path / "model"
    first = save(developed["logistic"], folder, {"version": 1})
    second = save(developed["vae_supervised"], folder, {"version": 2})
    assert first != second
    assert load(folder, second).name == "vae_supervised"
    assert not (folder / SKOPS).exists()
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_saving_the_same_again_touches_nothing(developed, tmp_path):
    folder = tmp_path / "model"
    first = save(developed["logistic"], folder)
    before = folder.stat().st_ino
    assert save(developed["logistic"], folder) == first
    assert folder.stat().st_ino == before


def test_a_failed_save_leaves_the_older_artifact(developed, tmp_path, monkeypatch):
    folder = tmp_path / "model"
    expected = save(developed["logistic"], folder)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("models.artifacts._write_through", full)
    with pytest.raises(HomeUnusable, match="No space left on device"):
        save(developed["vae_supervised"], folder)
    assert load(folder, expected).name == "logistic"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_failed_rename_leaves_the_older_artifact(developed, tmp_path, monkeypatch):
    folder = tmp_path / "model"
    expected = save(developed["logistic"], folder)
    rename = type(folder).rename

    def refuse_new(self, target):
        if self.name.endswith(".new"):
            raise PermissionError(13, "Permission denied")
        return rename(self, target)

    monkeypatch.setattr("pathlib.Path.rename", refuse_new)
    with pytest.raises(HomeUnusable, match="Permission denied"):
        save(developed["vae_supervised"], folder)
    assert load(folder, expected).name == "logistic"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_place_that_is_no_folder_is_refused(developed, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(HomeUnusable, match="artifact folder"):
        save(developed["logistic"], tmp_path / "file" / "model")


# --- damage ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["logistic", "vae_anomaly"])
@pytest.mark.parametrize("where", [0.0, 0.5, 1.0])
def test_a_flipped_byte_in_any_file_is_refused(saved, broken, name, where):
    folder, expected = broken(name), saved[name][1]
    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        position = int(where * (len(content) - 1))
        path.write_bytes(content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :])
        with pytest.raises(
            ArtifactCorrupt, match=rf"{path.name}: expected SHA-256 \w+.*, found \w+.*retrain"
        ):
            load(folder, expected)
        path.write_bytes(content)
    load(folder, expected)


@pytest.mark.parametrize("name", ["logistic", "vae_anomaly"])
def test_a_missing_file_is_named(broken, name):
    folder = broken(name)
    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        path.unlink()
        with pytest.raises(ArtifactMissing, match=path.name):
            load(folder)
        path.write_bytes(content)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(ArtifactMissing, match="nowhere"):
        load(tmp_path / "nowhere")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"format": "x"}', '{"format": 1', "\x00"])
def test_a_truncated_manifest_is_refused(broken, text):
    folder = broken()
    (folder / MANIFEST).write_text(text)
    with pytest.raises(ArtifactCorrupt, match="manifest"):
        load(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "oracle"}, "found 'oracle'"),
        ({"features": None}, "found None"),
        ({"parts": {}}, "found none"),
        ({"parts": {"../escape": "VAEClassifier"}}, r"\.\./escape"),
        ({"files": {}}, "found none"),
        ({"files": None}, "found None"),
        ({"files": {"../../etc/passwd": {}}}, "found ../../etc/passwd"),
        ({"files": dict.fromkeys([*COMMON_FILES, SKOPS], None)}, "a sum and a size"),
        ({"parts": {"estimator": "VAEClassifier"}}, "estimator.safetensors"),
        ({"parts": {"estimator": ["VAEClassifier"]}}, "parts"),
        ({"training": {"rows": 1}}, "one of unprotected, all, found None"),
        ({"training": {"attributes": "unprotected"}}, "KeyError"),
        ({"facts": None}, "facts"),
        ({"packages": None}, "packages"),
    ],
)
def test_a_manifest_that_makes_no_model_is_refused(broken, changes, message):
    folder = broken()
    edit_manifest(folder, **changes)
    with pytest.raises(ArtifactCorrupt, match=message):
        load(folder)


def test_a_newer_format_is_refused_first(broken):
    folder = broken()
    edit_manifest(folder, format=FORMAT + 1, files="another shape")
    with pytest.raises(ArtifactNewer, match=f"found format {FORMAT + 1}"):
        load(folder)


def test_an_older_format_is_refused_with_the_way_out(broken):
    folder = broken()
    edit_manifest(folder, format=FORMAT - 1)
    with pytest.raises(ArtifactOutdated, match=f"found format {FORMAT - 1}.*--retrain"):
        load(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda names: names[1:], "found no limit_bal"),
        (lambda names: [*names, "moon_phase"], "found moon_phase, which is not computed"),
        (lambda names: names[::-1], "found them in another order"),
    ],
)
def test_other_features_than_those_computed_are_refused_by_name(broken, change, message):
    folder = broken()
    names = json.loads((folder / MANIFEST).read_text())["features"]
    edit_manifest(folder, features=change(names))
    with pytest.raises(ArtifactOutdated, match=message):
        load(folder)


def test_a_set_loaded_together_shares_its_estimators(saved):
    shared = {}
    models = {name: load(*saved[name], shared) for name in MODELS}
    members = models["blend"].estimator.estimators_
    assert all(members[name] is models[name].estimator for name in MODELS["blend"].members)


@pytest.mark.parametrize("name", ["calibration.json", "cut_off.json", "metrics.json", "bins.json"])
@pytest.mark.parametrize("content", [b"", b'{"a": ', b"[]", b'{"a": {"b": 1}}', b"\xff"])
def test_json_that_does_not_fit_is_refused(broken, name, content):
    folder = broken()
    replace_file(folder, name, content)
    with pytest.raises(ArtifactCorrupt):
        load(folder)


@pytest.mark.parametrize(
    ("model", "name"), [("logistic", SKOPS), ("vae_anomaly", TENSORS), ("logistic", "reference.parquet")]
)
def test_binary_files_that_cannot_be_read_are_refused(broken, model, name):
    folder = broken(model)
    content = (folder / name).read_bytes()
    for wrong in (b"", content[: len(content) // 2], b"no such format"):
        replace_file(folder, name, wrong)
        with pytest.raises(ArtifactCorrupt):
            load(folder)


def test_a_file_without_permission_is_told(broken, monkeypatch):
    def denied(self):
        raise PermissionError(13, "Permission denied")

    folder = broken()
    monkeypatch.setattr("pathlib.Path.read_bytes", denied)
    with pytest.raises(ArtifactError, match="Permission denied"):
        load(folder)


# --- what must never run -----------------------------------------------------------------------------


class Bomb:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return (open, (str(self.mark), "w"))


@pytest.mark.parametrize("name", ["estimator.pkl", "model.joblib", "estimator.pt"])
def test_a_pickle_beside_the_model_is_never_read(saved, broken, tmp_path, name):
    folder, mark = broken(), tmp_path / "exploded"
    (folder / name).write_bytes(pickle.dumps(Bomb(mark)))
    load(folder, saved["logistic"][1])
    assert not mark.exists()


@pytest.mark.parametrize("model", ["logistic", "vae_supervised"])
def test_a_pickle_in_place_of_the_model_is_never_read(broken, tmp_path, model):
    folder, mark = broken(model), tmp_path / "exploded"
    name = SKOPS if model == "logistic" else TENSORS
    replace_file(folder, name, pickle.dumps(Bomb(mark)))
    with pytest.raises(ArtifactCorrupt):
        load(folder)
    assert not mark.exists()


def test_a_type_that_is_not_trusted_is_refused(broken):
    folder = broken()
    estimator = DummyClassifier()
    estimator.note = subprocess.Popen
    replace_file(folder, SKOPS, skops.io.dumps(estimator))
    with pytest.raises(ArtifactCorrupt, match=r"subprocess\.Popen"):
        load(folder)


def test_no_more_types_are_trusted_than_the_registry_needs(saved):
    held = [path for folder, _ in saved.values() for path in folder.glob("*.skops")]
    needed = {kind for path in held for kind in skops.io.get_untrusted_types(file=path)}
    assert set(TRUSTED_TYPES) == needed


def test_an_estimator_that_scores_otherwise_is_refused(developed, broken):
    folder = broken("logistic")
    other = pl.read_parquet(folder / "reference.parquet").with_columns(pl.col("score") * 0.999)
    other.write_parquet(folder / "other.parquet")
    replace_file(folder, "reference.parquet", (folder / "other.parquet").read_bytes())
    with pytest.raises(
        ArtifactCorrupt, match="recorded scores of the reference rows, found scores off by up to"
    ):
        load(folder)


def test_the_self_test_names_changed_packages(broken):
    folder = broken("logistic")
    shifted = pl.read_parquet(folder / "reference.parquet").with_columns(pl.col("score") + 1)
    shifted.write_parquet(folder / "other.parquet")
    replace_file(folder, "reference.parquet", (folder / "other.parquet").read_bytes())
    packages = json.loads((folder / MANIFEST).read_text())["packages"]
    edit_manifest(folder, packages=packages | {"scikit-learn": "0.1"})
    with pytest.raises(ArtifactCorrupt, match=r"written with scikit-learn 0\.1"):
        load(folder)


def test_scores_after_loading_use_the_same_numbers(saved, clients):
    # Two loads are two objects with equal state, not one object twice.
    first, second = (load(*saved["vae_supervised"]) for _ in range(2))
    assert first.estimator is not second.estimator
    assert np.array_equal(first.score(clients)["pd"], second.score(clients)["pd"])
