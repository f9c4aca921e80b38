r"""Zeroth-order estimators: utility gradients from differences of answers alone, measured against the student.

All of them ask about pairs of pictures :math:`x \pm s\,Q(x)u` and read a slope off the two answers,

.. math:: D_u = \frac{\ell(x + s Q u) - \ell(x - s Q u)}{2s} \approx u^\top Q^\top \nabla_x \ell ,

with the loss of an answer from :func:`~trainer.algorithms.interface.answer_loss` and an orthonormal frame
:math:`Q(x)` of few columns, the *code*: :class:`BlockCode` or :class:`OperatorCode`. An estimate :math:`\hat g` of the
gradient on the code becomes the picture gradient :math:`Q \hat g`, which estimates the projection of
:math:`\nabla_x \ell` on the code's span. ``loss`` is the linear function of the picture that has this gradient, and
the measured loss as its value.

============================  =====================================  ==========================================
estimator                     code                                   directions
============================  =====================================  ==========================================
:class:`PerImageDifferences`  one per image                          one at random per picture and question
:class:`SharedSPSA`           one displacement for the whole batch   a few at random, averaged; with or without
                                                                     momentum and look-ahead (SPSA-GC)
:class:`SharedRGF`            one displacement for the whole batch   the largest past estimates, then random
                                                                     ones orthogonal to them
============================  =====================================  ==========================================

The step size, which the sources fold into the update of the code, is left to the protector's optimizer: the code
carries the estimate to the protector and is not itself learned. In a step that asks nothing, estimates on a shared
code are held (a step of the protector is cheap, a query is not), and images not asked about have a gradient of zero.
Products are written as sums: matrix products may run in half precision, which finite differences do not survive.

Sources: Spall (1992, SPSA); Nesterov & Spokoiny (2017, random gradient-free); Oh et al. (BlackVIP, CVPR 2023, SPSA-GC);
Cheng et al. (NeurIPS 2019 and 2021, prior-guided RGF); McRae et al. (ICLR 2022, critical gradients); Maheswaranathan et
al. (2019, guided evolution strategies).
"""

from trainer.algorithms.zeroth_order.codes import BlockCode, Code, OperatorCode
from trainer.algorithms.zeroth_order.critical_gradients import CriticalGradients
from trainer.algorithms.zeroth_order.per_image import PerImageDifferences
from trainer.algorithms.zeroth_order.rgf import RGFSettings, SharedRGF
from trainer.algorithms.zeroth_order.spsa import SharedSPSA, SPSASettings

__all__ = [
    "BlockCode",
    "Code",
    "CriticalGradients",
    "OperatorCode",
    "PerImageDifferences",
    "RGFSettings",
    "SPSASettings",
    "SharedRGF",
    "SharedSPSA",
]
