"""Normal intervals of the parts that are too many for bootstrap replicates: single neurons."""

from __future__ import annotations

import numpy as np

from asc_core.scores.methods import Means, Method
from asc_core.scores.streaming import Sums


def margins_of(method: Method, sums: Sums, values: Means) -> dict[str, np.ndarray]:
    """{part: (parts,)} half the width of the 95 % interval of parts whose statistics have no replicates.

    values: the method's scores. Where the method does not say, they are taken for a statistic times a factor.
    """
    if method.margins is not None:
        return method.margins(sums)
    margins = {}
    for name, unit in (method.statistics or {}).items():
        if not sums.replicated(name):
            part = name.rpartition(".")[2]
            mean = sums.mean(name, unit)
            factor = np.divide(values[part], mean, out=np.zeros_like(mean), where=mean != 0)  # a layer's normalisation
            margins[part] = factor * sums.margin(name, unit)
    return margins
