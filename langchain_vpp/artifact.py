"""Trained protectors on disk: weights, graphs, manifest, digests. Nothing in them is ever unpickled.

An artifact is a folder::

    model.safetensors    the weights
    protector.onnx       the network as a graph in int8, which needs no torch (if it was exported)
    protector.fp32.onnx  the graph before quantisation (if it was exported)
    faces.onnx           a small face detector (if the manifest names one)
    domain.npz           statistics by which unfamiliar pictures are told (if they were fitted): arrays, no objects
    manifest.json        configuration, attributes and questions of the training, its cost, the measured front, licence
                         and attribution, and the sha256 of every other file

The artifact of a learned admission (:class:`~langchain_vpp.engines.words.admitted.AdmittedKinds`) has a manifest alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from pydantic import ValidationError

from langchain_vpp.errors import ArtifactError
from langchain_vpp.extras import require
from langchain_vpp.manifest import (
    DomainFacts,
    FaceDetector,
    FrontPoint,
    Manifest,
    ShownKinds,
    level_in,
    level_of,
    warn_of_default,
    warn_of_unknown_domain,
)
from langchain_vpp.network.config import ProtectorConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

    from langchain_vpp.engines import Engine
    from langchain_vpp.engines.face_cover import FaceCover
    from langchain_vpp.network.domain import Domain
    from langchain_vpp.network.protector import Protector

__all__ = [
    "DETECTOR",
    "DOMAIN",
    "EXACT_GRAPH",
    "GRAPH",
    "Artifact",
    "DomainFacts",
    "FaceDetector",
    "FrontPoint",
    "Manifest",
    "ShownKinds",
    "artifact_folder",
    "level_in",
    "level_of",
    "load_artifact",
    "load_engine",
    "load_protector",
    "read_manifest",
    "save_admission",
    "save_artifact",
    "save_detector",
    "save_domain",
    "save_graphs",
    "save_presets",
    "shipped_artifacts",
    "verify_artifact",
    "warn_of_unknown_domain",
]

_WEIGHTS = "model.safetensors"
_MANIFEST = "manifest.json"
GRAPH: Final = "protector.onnx"
"""File of the quantised graph."""
EXACT_GRAPH: Final = "protector.fp32.onnx"
"""File of the graph that equals the network in torch."""
DETECTOR: Final = "faces.onnx"
"""File of the face detector's graph."""
DOMAIN: Final = "domain.npz"
"""File of the statistics by which unfamiliar pictures are told."""
_MAX_MANIFEST_BYTES = 4 * 2**20
_SHIPPED = Path(__file__).with_name("artifacts")
_DEFAULT = "staff-cards"  # what ``default`` stands for


def save_artifact(folder: Path, protector: Protector, manifest: Manifest) -> str:
    """Write an artifact, the manifest last and each file atomically, and return its digest.

    Args:
        folder: Created if missing. Files of an earlier artifact in it are replaced.
        protector: The trained network; its configuration replaces ``manifest.protector``.
        manifest: The description. Its ``protector`` and ``files`` are filled in, and its domain is left to
            :func:`save_domain`.

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
            "face_detector": None,  # its graph is added later
            "domain": None,
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

    Statistics of its domain were fitted with what was served before, so the artifact loses them;
    :func:`save_domain` gives it new ones.

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
    kept = {name: digest for name, digest in manifest.files.items() if name in (_WEIGHTS, DETECTOR)}
    return _write(folder, graphs, manifest.model_copy(update={"files": kept | digests, "domain": None}))


def save_detector(folder: Path, graph: bytes, detector: FaceDetector) -> str:
    """Add a face detector to an artifact, or replace it, and return the artifact's new digest.

    Args:
        folder: An artifact.
        graph: The detector's graph; see :class:`~langchain_vpp.engines.face_cover.FaceCover`.
        detector: Its description.

    Raises:
        ArtifactError: If a file of the artifact is missing or was changed, or the artifact can't be written.
    """
    return _add(folder, DETECTOR, graph, face_detector=detector)


def save_domain(folder: Path, domain: Domain, facts: DomainFacts) -> str:
    """Give an artifact statistics by which it tells unfamiliar pictures, and return its new digest.

    Args:
        folder: An artifact.
        domain: The statistics.
        facts: Facts about them for the manifest.

    Raises:
        ArtifactError: If a file of the artifact is missing or was changed, or the artifact can't be written.
    """
    return _add(folder, DOMAIN, domain.to_bytes(), domain=facts)


def _add(folder: Path, name: str, data: bytes, **facts: FaceDetector | DomainFacts) -> str:
    _, manifest, _ = load_protector(folder)
    files = manifest.files | {name: hashlib.sha256(data).hexdigest()}
    return _write(folder, {name: data}, manifest.model_copy(update={"files": files, **facts}))


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
        else:
            _check_files(folder, manifest)
        return manifest, hashlib.sha256(text).hexdigest()
    raise ArtifactError(f"{folder / _MANIFEST} is not a manifest of format 1 ({reason}). Nothing was loaded.")


def _check_files(folder: Path, manifest: Manifest) -> None:
    """Refuse the manifest of a network that lists unknown files, or files without their facts, or facts alone."""
    if not {_WEIGHTS} <= set(manifest.files) <= {_WEIGHTS, GRAPH, EXACT_GRAPH, DOMAIN, DETECTOR}:
        raise ArtifactError(
            f"{folder / _MANIFEST} must list exactly {_WEIGHTS}, or {GRAPH}, {EXACT_GRAPH}, {DOMAIN} and {DETECTOR} "
            "as well. Nothing was loaded."
        )
    for name, facts in ((DOMAIN, manifest.domain), (DETECTOR, manifest.face_detector)):
        if (facts is None) != (name not in manifest.files):
            raise ArtifactError(
                f"{folder / _MANIFEST} must have both the file {name} and facts about it, or neither. Nothing was "
                "loaded."
            )


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
            the package; a folder of that name is ``./staff-cards``, say. ``default`` means ``staff-cards``, with a
            :class:`FutureWarning` once, because a later version will mean an artifact for photographs by it.

    Raises:
        ArtifactError: If there is no such folder or name. The message lists the names.
    """
    shipped = shipped_artifacts()
    name = _DEFAULT if source == "default" else source
    if isinstance(name, str) and name in shipped:
        if source == "default":
            warn_of_default(_DEFAULT)
        return _SHIPPED / name
    if source == "default":
        raise ArtifactError(
            "this installation comes without the default artifact. Nothing was loaded. Train one with `vpp train` or "
            "`vpp demo` and give its folder (./default for one of that name), or use a classical engine."
        )
    if (folder := Path(source)).is_dir():
        return folder
    near = "".join(f"Did you mean {name!r}? " for name in get_close_matches(str(source), shipped, n=1))
    raise ArtifactError(
        f"there is no artifact folder {re.sub(r'[^ -~]', '?', str(folder))[:200]!r}, and no artifact of that name "
        f"comes with this installation, which has: {', '.join(('default', *shipped)) if shipped else 'none'}. Nothing "
        f"was loaded. {near}Name one of these, screens (extra words) or the folder of a run; or use a classical engine."
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

    faces = _face_cover(folder, manifest)
    name = next((name for name in (GRAPH, EXACT_GRAPH) if name in manifest.files), None)
    domain = _domain(folder, manifest)
    if name is None:
        protector, _, _ = load_protector(folder)
        return TorchEngine(protector, digest=digest, domain=domain, faces=faces)
    graph = _read_checked(folder, name, manifest)
    resolution = _config(folder, manifest).working_resolution
    return OnnxEngine(graph, working_resolution=resolution, digest=digest, domain=domain, faces=faces)


def _face_cover(folder: Path, manifest: Manifest) -> FaceCover | None:
    if manifest.face_detector is None:
        return None
    from langchain_vpp.engines.face_cover import FaceCover  # noqa: PLC0415  ONNX Runtime

    detector = manifest.face_detector
    graph = _read_checked(folder, DETECTOR, manifest)
    return FaceCover(
        graph,
        threshold=detector.threshold,
        scales=detector.scales,
        heads_from=detector.heads_from,
        sure=detector.sure,
    )


def _domain(folder: Path, manifest: Manifest) -> Domain | None:
    if DOMAIN not in manifest.files:
        return None
    from langchain_vpp.network.domain import Domain  # noqa: PLC0415  numpy

    with suppress(ValueError):
        return Domain.from_bytes(_read_checked(folder, DOMAIN, manifest))
    raise ArtifactError(f"{folder / DOMAIN} holds no statistics of a domain. Nothing was loaded.")


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
    raise ArtifactError(f"{path} could not be read: {failure}. Nothing was loaded; give a whole artifact.")


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
