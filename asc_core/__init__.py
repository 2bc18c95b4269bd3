"""ASC Studio's engine: which parts of a Transformer encoder does an application not need?

>>> import asc_core                                                                        # doctest: +SKIP
>>> encoder, task = asc_core.load_encoder("demo:nli"), asc_core.load_task("demo:nli")      # doctest: +SKIP
>>> scores = asc_core.score(encoder, task, ["fisher"])["fisher"]                           # doctest: +SKIP
>>> plan = asc_core.by_budget(scores, asc_core.task_cost_model(encoder, task), 0.5)        # doctest: +SKIP
>>> smaller = asc_core.compress(encoder, plan)                                             # doctest: +SKIP
>>> asc_core.evaluate(smaller, task, "validation", against=encoder)                        # doctest: +SKIP
>>> asc_core.export(smaller, "smaller", plan=plan, original=encoder)      # doctest: +SKIP

Importing this package also makes transformers load exported models without `trust_remote_code`.
"""

import asc_core.demo  # noqa: F401 (what it registers)
from asc_core import arguments
from asc_core.encoder import Encoder
from asc_core.errors import Cancelled, UserError
from asc_core.evaluate import evaluate, layer_times
from asc_core.export import export
from asc_core.loading import load_encoder
from asc_core.plan import asc_greedy, by_budget, by_share, by_threshold
from asc_core.plan.encoder_cost import task_cost_model
from asc_core.progress import Progress, bar
from asc_core.recipes import Recipe, compress
from asc_core.scores import sweep
from asc_core.scores.ablation import ablate
from asc_core.scores.faithfulness import faithfulness
from asc_core.study import Study
from asc_core.tasks import load_task
from asc_core.train.distil import distil
from asc_core.train.finetune import finetune
from asc_core.values import Estimate, Plan, Scores

ablate = arguments.checked(ablate)
asc_greedy = arguments.checked(asc_greedy)
by_budget = arguments.checked(by_budget)
by_share = arguments.checked(by_share)
by_threshold = arguments.checked(by_threshold)
compress = arguments.checked(compress)
distil = arguments.checked(distil)
evaluate = arguments.checked(evaluate)
export = arguments.checked(export)
faithfulness = arguments.checked(faithfulness)
finetune = arguments.checked(finetune)
layer_times = arguments.checked(layer_times)
task_cost_model = arguments.checked(task_cost_model)
score = arguments.checked(sweep, "score")
trust = faithfulness  # its name before; for one version

__all__ = [
    "Cancelled",
    "Encoder",
    "Estimate",
    "Plan",
    "Progress",
    "Recipe",
    "Scores",
    "Study",
    "UserError",
    "ablate",
    "asc_greedy",
    "bar",
    "by_budget",
    "by_share",
    "by_threshold",
    "compress",
    "distil",
    "evaluate",
    "export",
    "faithfulness",
    "finetune",
    "layer_times",
    "load_encoder",
    "load_task",
    "score",
    "task_cost_model",
    "trust",
]
