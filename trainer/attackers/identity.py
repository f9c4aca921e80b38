"""Re-identification: people in protected pictures, searched for in a gallery."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import torch
from torch import Tensor, nn

from trainer.attackers.layers import convolution
from trainer.runtime.cancellation import while_wanted
from trainer.runtime.optim import OneCycle, ShuffledBatches, fit, update_batch_norm
from trainer.runtime.precision import cpu_precision
from trainer.runtime.rng import reproducible_layers
from trainer.statistics import ConfidenceInterval, bootstrap_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

Embedder = Callable[[Tensor], Tensor]
"""Maps ``uint8`` images ``[N, 3, H, W]`` to vectors ``[N, D]``; those of one person point the same way."""

AUC_FLOOR: Final = 0.5
_BATCH: Final = 64
_READ_BATCH: Final = 64
_RATE: Final = 3e-3
_TEMPERATURE: Final = 0.1
_EQUAL: Final = 1e-6
"""Difference of two similarities that counts as rounding."""


class Portraits(NamedTuple):
    """Pictures of people."""

    images: Tensor
    """``uint8`` RGB, shape ``[N, 3, H, W]``."""
    identities: Tensor
    """Number of the person, shape ``[N]``. Without such labels, number the groups of a data set: anything else that is
    seen twice, such as a room, can be searched for in the same way."""


class IdentityData(NamedTuple):
    """Portraits that an attacker learns from, tunes on and is judged by; protected alike, nobody is in two splits."""

    train: Portraits
    val: Portraits
    test: Portraits


class Reidentification(NamedTuple):
    """Frequency with which people are found in a gallery that shows each of them once."""

    top1: ConfidenceInterval
    """Share of the probes whose nearest picture in the gallery is of the same person."""
    top1_floor: float
    """Share of the commonest person among the probes, reached by always naming that person."""
    auc: ConfidenceInterval
    """Probability that a probe is nearer to its person than to somebody else; 0.5 is chance."""
    same_picture: bool
    """Whether the gallery holds the original of every probe, because nobody has two pictures. The search then measures
    whether a protected picture can be linked to its original."""
    probes: int
    gallery: int


class Findings(NamedTuple):
    """Searches for protected probes in two galleries."""

    original_gallery: Reidentification
    """Search among originals, such as portraits that the attacker has from elsewhere."""
    protected_gallery: Reidentification | None
    """Search among other pictures protected alike, by which somebody could be followed over several pictures; ``None``
    if nobody has two."""


class Reidentifier:
    """Attacker that finds people with a network of its own, which adapts, or with a given one, which does not.

    The default network learns from originals which pictures show one person (or, for people with one picture, which
    two random views show one picture) by a contrastive loss (Khosla et al., 2020) that also works for people never
    seen. To adapt, a copy of the network is trained for protected pictures; both learn together to place a protected
    picture next to originals of the same person, and next to other protected pictures of that person. The validation
    split decides between the networks before and after.

    A given embedder shows how far a ready-made network gets, and nothing about an attacker who adapts: measure with the
    default network as well.

    Copy a prepared attacker for each engine.

    Args:
        embedder: Ready-made embedder, such as a face recognition network with its own alignment and cropping.
        warm_epochs: Passes over the originals.
        epochs: Passes over the protected images in each attack.
    """

    def __init__(self, embedder: Embedder | None = None, *, warm_epochs: int = 20, epochs: int = 10) -> None:
        self._warm_epochs, self._epochs = warm_epochs, epochs
        self._originals: IdentityData | None = None
        self._given = embedder
        self._networks: tuple[EmbeddingNetwork, EmbeddingNetwork] | None = None
        """The network for originals and that for protected pictures."""
        self._searches: dict[str, _Search] = {}

    @property
    def description(self) -> str:
        """Training of the attacker, in words, for a report."""
        if self._given is not None:
            return "re-identification by a given embedder, which does not adapt"
        return (
            f"re-identification by a convolutional embedder: {self._warm_epochs} epochs on originals, then "
            f"{self._epochs} on pairs of original and protected training images for each operating point; the better "
            "of before and after on the validation split"
        )

    def prepare(self, originals: IdentityData, *, generator: torch.Generator) -> Reidentification:
        """Learn from originals, forgetting everything before, and draw the people to search for.

        Returns:
            The search for originals among originals, the ceiling; trivially 1 where ``same_picture``.

        Raises:
            ValueError: If *test* shows fewer than two people, or a given embedder gives numbers that are not finite.
        """
        self._originals = originals
        self._searches = {
            split: _draw_search(getattr(originals, split).identities, generator) for split in ("val", "test")
        }
        if self._given is None:
            with reproducible_layers(generator):
                network = EmbeddingNetwork().to(memory_format=torch.channels_last)
            seen = _Seen(network, originals.train.images)
            _place_together((seen,), seen, originals.train.identities, self._warm_epochs, generator)
            self._networks = (network, copy.deepcopy(network))
        embed = self._embedders().originals
        search, images = self._searches["test"], originals.test.images
        return search.judge(embed(images[search.gallery]), embed(images[search.probes]), generator)

    def attack(self, protected: IdentityData, *, generator: torch.Generator) -> Findings:
        """Adapt to protected images of the same pictures, and search for those of the test split.

        Args:
            protected: The images that :meth:`prepare` was given, in the same order.
            generator: Source of randomness.

        Raises:
            ValueError: If :meth:`prepare` was not called, or these are other pictures.
        """
        candidates, originals = [self._embedders()], self._originals
        if originals is None:
            raise ValueError("the attacker must see originals first: call prepare()")
        if any(
            not torch.equal(ours.identities, theirs.identities)
            for ours, theirs in zip(originals, protected, strict=True)
        ):
            raise ValueError("the protected images are not those that the attacker was prepared with")
        if self._networks is not None:
            self._networks = copy.deepcopy(self._networks)
            seen = tuple(
                _Seen(network, data.train.images)
                for network, data in zip(self._networks, (originals, protected), strict=True)
            )
            _place_together(seen, seen[1], protected.train.identities, self._epochs, generator)
            candidates.insert(0, self._embedders())
        search = self._searches["test"]
        return Findings(
            self._find(candidates, originals, protected, generator),
            None if search.same_picture else self._find(candidates, protected, protected, generator),
        )

    def _find(
        self,
        candidates: Sequence[_Embedders],
        shown: IdentityData,
        protected: IdentityData,
        generator: torch.Generator,
    ) -> Reidentification:
        """Search in a gallery of ``shown``, with the embedders that find most on the validation split."""

        def vectors(embedders: _Embedders, split: Literal["val", "test"]) -> tuple[Tensor, Tensor]:
            search = self._searches[split]
            of_gallery = embedders.protected if shown is protected else embedders.originals
            gallery, probes = getattr(shown, split).images, getattr(protected, split).images
            return of_gallery(gallery[search.gallery]), embedders.protected(probes[search.probes])

        best = max(
            candidates,
            key=lambda embedders: float(self._searches["val"].ranks(*vectors(embedders, "val"))[0].sum()),
        )
        return self._searches["test"].judge(*vectors(best, "test"), generator)

    def _embedders(self) -> _Embedders:
        if self._given is not None:
            return _Embedders(self._given, self._given)
        if self._networks is None:
            raise ValueError("the attacker must see originals first: call prepare()")
        of_originals, of_protected = self._networks
        return _Embedders(of_originals.embed, of_protected.embed)


class EmbeddingNetwork(nn.Module):
    """Maps a picture to 64 numbers: convolutions to an eighth of the resolution, and a linear map of 4x4 means."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.PixelUnshuffle(2),
            *convolution(12, 32, pool=2),
            *convolution(32, 64, pool=2),
            *convolution(64, 64),
            nn.AdaptiveAvgPool2d(4),
            nn.Flatten(),
            nn.Linear(64 * 16, 64),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Map images in [0, 1], ``[B, 3, H, W]``, sides multiples of 8, to directions ``[B, 64]``."""
        vectors: Tensor = self.layers(images * 2 - 1)
        return nn.functional.normalize(vectors.float(), dim=1)

    @cpu_precision()
    @torch.no_grad()
    def embed(self, images: Tensor) -> Tensor:
        """Embed ``uint8`` images; this method is an :data:`Embedder`."""
        self.eval()
        return torch.cat([self(_as_input(part)) for part in while_wanted(torch.split(images, _READ_BATCH))])


class _Embedders(NamedTuple):
    """The embedder of originals and that of protected pictures."""

    originals: Embedder
    protected: Embedder


class _Seen(NamedTuple):
    """A network and the images that it learns from."""

    network: EmbeddingNetwork
    images: Tensor


class _Search(NamedTuple):
    """The probes of a search and its gallery."""

    gallery: Tensor
    """Rows of the pictures that stand for each person."""
    probes: Tensor
    """Rows of the pictures that are searched for."""
    match: Tensor
    """Position in the gallery where each probe belongs."""
    same_picture: bool

    def ranks(self, gallery: Tensor, probes: Tensor) -> tuple[Tensor, Tensor]:
        """Return, for each probe, its hit (shared among equals) and the share of other people who are farther."""
        shown, sought = (nn.functional.normalize(each.double(), dim=1) for each in (gallery, probes))
        lead = sought @ shown.T
        lead = lead - lead.gather(1, self.match[:, None])
        others = torch.ones_like(lead, dtype=torch.bool).scatter_(1, self.match[:, None], value=False)
        nearer = ((lead > _EQUAL) & others).sum(dim=1)
        equal = ((lead.abs() <= _EQUAL) & others).sum(dim=1)
        hits = torch.where(nearer > 0, 0.0, 1 / (1 + equal))
        return hits, 1 - (nearer + equal / 2) / max(1, len(gallery) - 1)

    def judge(self, gallery: Tensor, probes: Tensor, generator: torch.Generator) -> Reidentification:
        """Measure a search, with intervals over people."""
        people, groups = torch.unique(self.match, return_inverse=True)
        if len(people) < 2:
            raise ValueError("fewer than two people are searched for")
        if not (gallery.isfinite().all() and probes.isfinite().all()):
            raise ValueError("an embedding is not finite")
        hits, farther = (each.float() for each in self.ranks(gallery, probes))
        return Reidentification(
            top1=bootstrap_mean(hits, groups, generator=generator),
            top1_floor=float(torch.bincount(groups).max() / len(groups)),
            auc=bootstrap_mean(farther, groups, generator=generator),
            same_picture=self.same_picture,
            probes=len(probes),
            gallery=len(gallery),
        )


def _draw_search(identities: Tensor, generator: torch.Generator) -> _Search:
    """Draw one picture of each person for the gallery; the others are probes, or all if nobody has a second one."""
    order = torch.randperm(len(identities), generator=generator).tolist()
    shown: dict[int, int] = {}
    for row in order:
        shown.setdefault(int(identities[row]), row)
    probes = [row for row in order if shown[int(identities[row])] != row]
    same_picture = not probes
    probes = probes or order
    position = {person: index for index, person in enumerate(shown)}
    match = [position[int(identities[row])] for row in probes]
    gallery = torch.tensor(list(shown.values()), dtype=torch.long)
    return _Search(
        gallery, torch.tensor(probes, dtype=torch.long), torch.tensor(match, dtype=torch.long), same_picture
    )


@cpu_precision()
def _place_together(
    anchors: Sequence[_Seen], target: _Seen, identities: Tensor, epochs: int, generator: torch.Generator
) -> None:
    """Train the networks to place the pictures of each anchor next to the target's pictures of the same people."""
    learning = list({id(each.network): each for each in (*anchors, target)}.values())
    for each in learning:
        each.network.train()
    batches = ShuffledBatches(len(identities), _BATCH, epochs=epochs, generator=generator)

    def loss(rows: Tensor) -> Tensor:
        partners = _partners(rows, identities, generator)
        towards = target.network(_view(target.images[partners], generator))
        losses = [
            _contrast(each.network(_view(each.images[rows], generator)), towards, identities[rows])
            for each in anchors
        ]
        return torch.stack(losses).sum()

    descent = OneCycle(
        [each for seen in learning for each in seen.network.parameters()],
        steps=len(batches),
        learning_rate=_RATE,
        fused=True,
    )
    fit(descent, loss, batches)
    order = torch.randperm(len(identities), generator=generator)
    for each in learning:
        update_batch_norm(each.network, each.images[order], _as_input)


def _contrast(first: Tensor, second: Tensor, identities: Tensor) -> Tensor:
    r"""Compute the supervised contrastive loss (Khosla et al., 2020, eq. 2) between two sets of directions, both ways.

    .. math:: -\frac1{|P(i)|} \sum_{p \in P(i)}
        \log \frac{\exp(z_i \cdot z_p / \tau)}{\sum_a \exp(z_i \cdot z_a / \tau)}
    """
    similarity = first @ second.T / _TEMPERATURE
    same = (identities[:, None] == identities).float()
    same = same / same.sum(dim=1, keepdim=True)
    log_shares = similarity.log_softmax(dim=1) + similarity.T.log_softmax(dim=1)
    return -(log_shares * same).sum(dim=1).mean()


def _partners(rows: Tensor, identities: Tensor, generator: torch.Generator) -> Tensor:
    """Draw another picture of the same person for each row, or the same one if there is no other."""
    order = identities.argsort(stable=True)
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order))
    _, numbers, counts = torch.unique(identities, return_inverse=True, return_counts=True)
    first, count = (counts.cumsum(0) - counts)[numbers[rows]], counts[numbers[rows]]
    steps = 1 + (torch.rand(len(rows), generator=generator) * (count - 1)).long()
    return order[first + (place[rows] - first + steps) % count]


def _view(images: Tensor, generator: torch.Generator) -> Tensor:
    """Shift images by up to a tenth, enlarge or shrink them by as much, and change light and contrast."""
    count = len(images)
    shift, scale, light, contrast = (
        torch.rand(count, width, generator=generator) * 2 - 1 for width in (2, 1, 1, 1)
    )
    change = torch.eye(2) * (1 + 0.1 * scale[..., None])
    grid = nn.functional.affine_grid(
        torch.cat([change, 0.2 * shift[..., None]], dim=2), list(images.shape), align_corners=False
    )
    pixels = nn.functional.grid_sample(_as_input(images), grid, padding_mode="border", align_corners=False)
    pixels = (pixels - 0.5) * (1 + 0.2 * contrast[..., None, None]) + 0.5 + 0.1 * light[..., None, None]
    return pixels.clamp(0, 1)


def _as_input(images: Tensor) -> Tensor:
    return images.to(memory_format=torch.channels_last).float().div_(255)
