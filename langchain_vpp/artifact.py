"""Trained protectors on disk: weights, graphs, manifest, digests. Nothing in them is ever unpickled.

An artifact is a folder::

    model.safetensors    the weights
    protector.onnx       the network as a graph in int8, which needs no torch (if it was exported)
    protector.fp32.onnx  the graph before quantisation (if it was exported)
    manifest.json        configuration, attributes and questions of the training, its cost, the measured front, licence
                         and attribution, and the sha256 of every other file

The artifact of a learned admission (:class:`~langchain_vpp.engines.words.admitted.AdmittedKinds`) has a manifest alone.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import re
import warnings
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from langchain_vpp.errors import ArtifactError
from langchain_vpp.extras import require
from langchain_vpp.network.config import ProtectorConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

    from langchain_vpp.engines import Engine
    from langchain_vpp.network.protector import Protector

_WEIGHTS = "model.safetensors"
_MANIFEST = "manifest.json"
GRAPH: Final = "protector.onnx"
"""File of the quantised graph."""
EXACT_GRAPH: Final = "protector.fp32.onnx"
"""File of the graph that equals the network in torch."""
_MAX_MANIFEST_BYTES = 4 * 2**20
_SHIPPED = Path(__file__).with_name("artifacts")
_DEFAULT = "staff-cards"
"""Name of the artifact that ``default`` stands for."""
_MADE_FOR = "drawn staff cards with a portrait"
"""Pictures that this artifact was trained on."""


class FrontPoint(BaseModel):
    """Measured point of the privacy-utility front."""

    model_config = ConfigDict(frozen=True)

    level: float = Field(ge=0, le=1)
    leak: float
    """Share that an attacker recovers: 0 is chance, 1 is as much as from originals; mean over private attributes."""
    utility: float
    """Share of questions that the chat model still answers: 0 is chance, 1 is every answer right."""
    answers: int = Field(default=0, ge=0)
    """Number of answers behind ``utility``; 0 if that is not known."""
    leak_interval: tuple[float, float] | None = None  # 95 %, over pictures


class ShownKinds(BaseModel):
    """Kinds of regions that a learned admission shows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    level: float = Field(ge=0, le=1)
    """Highest level at which they are shown."""
    kinds: tuple[str, ...]
    """Names in :data:`langchain_vpp.engines.words.kinds.KINDS`."""


class Manifest(BaseModel):
    """Description of an artifact."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    engine: Literal["network", "words"] = "network"
    """Engine of the artifact: a network, or the engine of words with learned kinds of words to show."""
    protector: dict[str, Any]
    """Configuration of the network: a :class:`~langchain_vpp.network.config.ProtectorConfig` in JSON."""
    shown: tuple[ShownKinds, ...] = ()
    """Kinds that are shown at each level, by rising level; above the last one nothing is shown."""
    needs: dict[str, tuple[str, ...]] = {}
    """Question -> kinds that it was found to need; empty too if it needs none, or if no kinds help."""
    prices: dict[str, float] = {}
    """Kind -> privacy price of showing it."""
    private_attributes: dict[str, tuple[str, ...]]
    """Private attributes that training hides, with their classes."""
    unread: tuple[str, ...] = ()
    """Those that training could not read even from originals, and so did not learn to hide."""
    questions: tuple[str, ...]
    """Questions that training keeps answerable."""
    trained_against: str
    """Chat model that answered in training, as ``provider:name`` or a class name."""
    access: Literal["logprobs", "labels"]
    queries: int = Field(ge=0)
    """Number of paid queries of training."""
    cost_usd: float | None = None
    steps: int = Field(ge=0)
    seed: int
    data_digest: str
    """sha256 of the file ``data.jsonl`` of the data set."""
    training_digest: str = ""
    """sha256 of all pictures of the training split together; empty in artifacts of earlier versions.

    It identifies the set of pictures, not a single one. Digests of single pictures must stay out of a manifest: with
    them anybody could check whether a picture that they hold was in the training set.
    """
    started_from: str = ""
    """sha256 of the weights that training started from; empty for new weights."""
    questions_per_call: int = Field(default=1, ge=1)
    """Most questions about one picture in one request of training."""
    front: tuple[FrontPoint, ...] = ()
    front_measured_by: str = ""
    """Attacker that measured ``front``, and the split of the data."""
    presets: dict[str, float] = {}
    licence: str = ""
    """Licence of the weights."""
    attribution: str = ""
    """Authors and licence of the training data."""
    created_with: str
    """Name and version of the package that wrote the artifact."""
    files: dict[str, str] = {}
    """sha256, in hex, of every other file of the artifact."""


def level_of(manifest: Manifest, level: float | str | None) -> float:
    """Return a level that is given as a number or by the name of a preset.

    Args:
        manifest: Manifest of the artifact, which has the presets.
        level: A number from 0 to 1, a preset, or ``None`` for ``balanced``, or for 0.5 if there is no such preset.

    Raises:
        ValueError: If the artifact has no preset of that name.
    """
    return level_in(manifest.presets, level)


def level_in(presets: Mapping[str, float], level: float | str | None) -> float:
    """Return a level that is given as a number or by the name of one of the presets; see :func:`level_of`."""
    if level is None:
        return presets.get("balanced", 0.5)
    if not isinstance(level, str):
        return level
    if level not in presets:
        names = ", ".join(presets) or "none"
        msg = f"the artifact has no preset {level!r}; it has {names}. Give one, or a number from 0 to 1"
        raise ValueError(msg)
    return presets[level]


def save_artifact(folder: Path, protector: Protector, manifest: Manifest) -> str:
    """Write an artifact, the manifest last and each file atomically, and return its digest.

    Args:
        folder: Created if missing. Files of an earlier artifact in it are replaced.
        protector: The trained network; its configuration replaces ``manifest.protector``.
        manifest: The description. Its ``protector`` and ``files`` are filled in.

    Raises:
        ArtifactError: If the folder can't be written.
        MissingExtraError: If torch or safetensors (extra ``train``) is not installed.
    """
    _require_torch("written")
    from safetensors.torch import save  # noqa: PLC0415  loads torch

    weights = save({name: tensor.contiguous() for name, tensor in protector.state_dict().items()})
    complete = manifest.model_copy(
        update={
            "protector": protector.config.model_dump(mode="json"),
            "files": {_WEIGHTS: hashlib.sha256(weights).hexdigest()},
        }
    )
    return _write(folder, {_WEIGHTS: weights}, complete)


def save_admission(folder: Path, manifest: Manifest) -> str:
    """Write the artifact of a learned admission, which has no network, and return its digest.

    Args:
        folder: Created if missing.
        manifest: The description; its engine is ``words``.

    Raises:
        ArtifactError: If the folder can't be written.
        ValueError: If the artifact is one of a network.
    """
    if manifest.engine != "words":
        raise ValueError("an artifact of a network is saved with its weights")
    return _write(folder, {}, manifest.model_copy(update={"protector": {}, "files": {}}))


def save_graphs(folder: Path, graphs: Mapping[str, bytes]) -> str:
    """Replace the graphs of an artifact, and return its new digest.

    Args:
        folder: An artifact.
        graphs: File name, :data:`GRAPH` or :data:`EXACT_GRAPH`, to graph; empty to serve the artifact by torch again.

    Raises:
        ArtifactError: If a file of the artifact is missing or was changed, or the artifact can't be written.
        ValueError: If a file name is another one.
    """
    if not set(graphs) <= {GRAPH, EXACT_GRAPH}:
        msg = f"a graph must be named {GRAPH} or {EXACT_GRAPH}"
        raise ValueError(msg)
    _, manifest, _ = load_protector(folder)
    digests = {name: hashlib.sha256(graph).hexdigest() for name, graph in graphs.items()}
    files = {_WEIGHTS: manifest.files[_WEIGHTS], **digests}
    return _write(folder, graphs, manifest.model_copy(update={"files": files}))


def save_presets(folder: Path, presets: Mapping[str, float]) -> str:
    """Replace the presets of an artifact, and return its new digest.

    Args:
        folder: An artifact.
        presets: Name -> user level in [0, 1].

    Raises:
        ArtifactError: If a file of the artifact is missing or was changed, or the artifact can't be written.
    """
    _, manifest, _ = load_protector(folder)
    return _write(folder, {}, manifest.model_copy(update={"presets": dict(presets)}))


def _write(folder: Path, files: Mapping[str, bytes], manifest: Manifest) -> str:
    text = json.dumps(manifest.model_dump(mode="json"), indent=2, sort_keys=True).encode() + b"\n"
    failure = ""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # The manifest comes last: until then a reader finds files that it does not describe, and refuses them.
        for name, data in files.items():
            _replace(folder / name, data)
        _replace(folder / _MANIFEST, text)
    except OSError as error:
        failure = error.strerror or type(error).__name__
    if failure:
        raise ArtifactError(
            f"the artifact was not written to {folder}: {failure}. Choose a folder that can be written."
        )
    return hashlib.sha256(text).hexdigest()


def read_manifest(folder: Path) -> tuple[Manifest, str]:
    """Read the manifest and the digest of an artifact.

    The digest is the sha256 of the manifest, and so of all files, because the manifest holds theirs.

    Args:
        folder: An artifact.

    Raises:
        ArtifactError: If it is missing, malformed or of a format that this version does not know.
    """
    text = _read(folder, _MANIFEST, limit=_MAX_MANIFEST_BYTES)
    try:
        manifest = Manifest.model_validate_json(text)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"]) or "not JSON"
        reason = f"{where}: {error.errors()[0]['msg']}"
    else:
        if manifest.engine == "words":
            _check_admission(folder, manifest)
        elif not {_WEIGHTS} <= set(manifest.files) <= {_WEIGHTS, GRAPH, EXACT_GRAPH}:
            raise ArtifactError(
                f"{folder / _MANIFEST} must list exactly {_WEIGHTS}, or the graphs {GRAPH} and {EXACT_GRAPH} as well. "
                "Nothing was loaded."
            )
        return manifest, hashlib.sha256(text).hexdigest()
    raise ArtifactError(f"{folder / _MANIFEST} is not a manifest of format 1 ({reason}). Nothing was loaded.")


def _check_admission(folder: Path, manifest: Manifest) -> None:
    """Refuse the manifest of a learned admission that names unknown kinds, or files that nothing would check."""
    from langchain_vpp.engines.words.kinds import KINDS  # noqa: PLC0415  extra `words`

    levels = [each.level for each in manifest.shown]
    known = all(set(each.kinds) <= set(KINDS) for each in manifest.shown)
    if manifest.files or not known or levels != sorted(set(levels)):
        raise ArtifactError(
            f"{folder / _MANIFEST} must list kinds that this version knows, by rising level, and no files. Nothing was "
            "loaded."
        )


def verify_artifact(folder: Path) -> tuple[Manifest, str]:
    """Check every file of an artifact, and return its manifest and its digest. Loads no torch.

    Args:
        folder: An artifact.

    Raises:
        ArtifactError: If a file is missing or was changed since it was written, or the manifest is not valid.
    """
    manifest, digest = read_manifest(folder)
    if manifest.engine == "network":
        _config(folder, manifest)
    for name in sorted(manifest.files):
        _read_checked(folder, name, manifest)
    return manifest, digest


def load_protector(folder: Path) -> tuple[Protector, Manifest, str]:
    """Load the network, the manifest and the digest of an artifact, after checking the sha256 of every file.

    Args:
        folder: An artifact.

    Raises:
        ArtifactError: If a file is missing, was changed since it was written, or does not fit the configuration.
        MissingExtraError: If torch or safetensors (extra ``train``) is not installed.
    """
    manifest, digest = read_manifest(folder)
    if manifest.engine == "words":
        raise ArtifactError(f"{folder} is a learned admission, which has no network. Nothing was loaded.")
    files = {name: _read_checked(folder, name, manifest) for name in sorted(manifest.files)}
    weights = files[_WEIGHTS]
    _require_torch("loaded")
    from safetensors import SafetensorError  # noqa: PLC0415
    from safetensors.torch import load  # noqa: PLC0415

    from langchain_vpp.network.protector import Protector  # noqa: PLC0415

    try:
        protector = Protector(ProtectorConfig.model_validate(manifest.protector))
        protector.load_state_dict(load(weights))
    except (ValidationError, SafetensorError, RuntimeError) as error:
        reason = type(error).__name__
    else:
        return protector.eval(), manifest, digest
    raise ArtifactError(
        f"the weights in {folder} don't fit its configuration ({reason}). Nothing was loaded."
    )


def _require_torch(done: str) -> None:
    """Refuse to read or write weights without torch, which an artifact with a graph does not need."""
    require("torch", "safetensors", extra="train", undone=f"the artifact was not {done}")


def artifact_folder(source: str | os.PathLike[str]) -> Path:
    """Find an artifact.

    Args:
        source: A folder, or a name from :func:`shipped_artifacts`. The text of such a name always means the artifact of
            the package; a folder of that name is ``./staff-cards``, say. ``default`` is another name for
            ``staff-cards``; the first use in a process gives a :class:`FutureWarning`, because a later version will
            mean an artifact for photographs by it.

    Raises:
        ArtifactError: If there is no such folder or name. The message lists the names.
    """
    shipped = shipped_artifacts()
    name = _DEFAULT if source == "default" else source
    if isinstance(name, str) and name in shipped:
        if source == "default":
            _warn_of_default()
        return _SHIPPED / name
    if source == "default":
        raise ArtifactError(
            "this installation comes without the default artifact. Nothing was loaded. Train one with `vpp train` or "
            "`vpp demo` and give its folder (./default for one of that name), or use a classical engine."
        )
    folder = Path(source)
    if folder.is_dir():
        return folder
    raise ArtifactError(
        f"there is no artifact folder {re.sub(r'[^ -~]', '?', str(folder))[:200]!r}, and no artifact of that name "
        f"comes with this installation, which has: {', '.join(('default', *shipped)) if shipped else 'none'}. Nothing "
        "was loaded. Train one with `vpp train` or `vpp demo`, or use a classical engine."
    )


@cache
def _warn_of_default() -> None:
    """Say which artifact ``default`` is, once in a process, at the line that called this package."""
    frame, level = inspect.currentframe(), 1
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] == __package__:
        frame, level = frame.f_back, level + 1
    warnings.warn(
        f"'default' is the artifact {_DEFAULT!r}, which was made for {_MADE_FOR}; of other pictures, such as letters "
        "and screenshots, it can show private text. A later version will mean an artifact for photographs by "
        f"'default'. Name {_DEFAULT!r} to keep this one; for other pictures use a classical engine.",
        FutureWarning,
        stacklevel=level,
    )


def shipped_artifacts() -> tuple[str, ...]:
    """Name the artifacts that come with the package, sorted; ``default`` stands for one of them."""
    if not _SHIPPED.is_dir():
        return ()
    return tuple(sorted(folder.name for folder in _SHIPPED.iterdir() if (folder / _MANIFEST).is_file()))


class Artifact(NamedTuple):
    """Artifact that is ready to protect.

    Attributes:
        folder: Its folder.
        engine: Its graph in ONNX Runtime, or its network in torch.
        manifest: Its description.
        digest: sha256 of the manifest, and so of all files.
    """

    folder: Path
    engine: Engine
    manifest: Manifest
    digest: str


def load_engine(source: str | os.PathLike[str]) -> Engine:
    """Load the engine of an artifact; see :func:`load_artifact`."""
    return load_artifact(source).engine


def load_artifact(source: str | os.PathLike[str]) -> Artifact:
    """Load an artifact to protect with it: its quantised graph, else its exact graph, else its weights.

    Only the file that runs is read, and its sha256 is checked. Torch is loaded only if there is no graph.

    Args:
        source: A folder, or a name from :func:`shipped_artifacts`; see :func:`artifact_folder`.

    Raises:
        ArtifactError: If there is no such artifact, a file is missing or was changed, or ONNX Runtime can't load the
            graph.
        MissingExtraError: If there is no graph, and torch or safetensors (extra ``train``) is not installed.
    """
    folder = artifact_folder(source)
    manifest, digest = read_manifest(folder)
    return Artifact(folder, _engine(folder, manifest, digest), manifest, digest)


def _engine(folder: Path, manifest: Manifest, digest: str) -> Engine:
    if manifest.engine == "words":
        from langchain_vpp.engines.words.admitted import AdmittedKinds  # noqa: PLC0415  extra `words`

        steps = [(each.level, each.kinds) for each in manifest.shown]
        return AdmittedKinds(steps, needs=manifest.needs, artifact_digest=digest)
    from langchain_vpp.engines import OnnxEngine, TorchEngine  # noqa: PLC0415

    name = next((name for name in (GRAPH, EXACT_GRAPH) if name in manifest.files), None)
    if name is None:
        protector, _, _ = load_protector(folder)
        return TorchEngine(protector, digest=digest)
    resolution = _config(folder, manifest).working_resolution
    return OnnxEngine(_read_checked(folder, name, manifest), working_resolution=resolution, digest=digest)


def _config(folder: Path, manifest: Manifest) -> ProtectorConfig:
    with suppress(ValidationError):
        return ProtectorConfig.model_validate(manifest.protector)
    raise ArtifactError(
        f"the configuration of the protector in {folder / _MANIFEST} is not valid. Nothing was loaded."
    )


def _read_checked(folder: Path, name: str, manifest: Manifest) -> bytes:
    data = _read(folder, name)
    if hashlib.sha256(data).hexdigest() != manifest.files[name]:
        raise ArtifactError(
            f"{folder / name} is not the file that the manifest describes (sha256 differs). "
            "Nothing was loaded. Get the artifact again from where it was trained."
        )
    return data


def _read(folder: Path, name: str, *, limit: int = 2**30) -> bytes:
    path = folder / name
    try:
        if path.stat().st_size <= limit:
            return path.read_bytes()
        failure = "too large"
    except OSError as error:
        failure = error.strerror or type(error).__name__
    raise ArtifactError(f"{path} could not be read: {failure}. Nothing was loaded.")


def _replace(path: Path, data: bytes) -> None:
    """Write a file so that a crash leaves either the old one or the new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
