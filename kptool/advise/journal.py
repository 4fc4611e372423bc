"""The Optuna study of a search, stored in a journal: one line of JSON per operation, flushed to disk.

Optuna is an extra and is imported only when a study is opened. A journal is preferred to SQLite because it is append-only and
works on network file systems; recovering it only takes removing an incomplete last line, which a full disk or a power cut
may leave.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kptool.base.errors import CheckpointError, ConfigError
from kptool.base.version import install

if TYPE_CHECKING:
    import optuna

FILE = "study.journal"
FAILED, SECONDS = "failed", "seconds"
"""User attributes of a trial: why it failed, and how long it trained."""
_BEST_TRIALS = 5
"""The least number of best trials whose settings are compared with those of all."""


def load_optuna() -> Any:
    """Import `optuna` and limit its logging to warnings. Raises ConfigError if it is not installed."""
    try:
        import optuna
    except ImportError as error:
        raise ConfigError(f"searching settings needs Optuna: {install('tune')}") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


class _Unlocked:
    """A lock that does nothing: the caller has locked the folder, and that lock cannot outlive its process."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass


def open_study(out: Path, *, startup_trials: int, warmup_steps: int) -> optuna.Study:
    """Open the study in the folder `out`, which the caller has locked, or create it.

    Trials are pruned by the median rule, once `startup_trials` are complete and after `warmup_steps` epochs. Raises
    CheckpointError if the journal is damaged.
    """
    import optuna
    from optuna.storages.journal import JournalFileBackend, JournalStorage

    path = out / FILE
    try:
        _cut_torn_line(path)
        storage = JournalStorage(JournalFileBackend(str(path), lock_obj=_Unlocked()))  # type: ignore[arg-type]
        pruner = optuna.pruners.MedianPruner(n_startup_trials=startup_trials, n_warmup_steps=warmup_steps)
        study = optuna.create_study(
            storage=storage, study_name="kptool", load_if_exists=True, direction="minimize", pruner=pruner
        )
        study.get_trials(deepcopy=False)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, AssertionError) as error:
        raise CheckpointError(
            f"{path} is not the journal of a search ({type(error).__name__}: {error}); choose another --out, or remove it"
        ) from error
    return study


def _cut_torn_line(path: Path) -> None:
    """Remove an incomplete last line: its operation was never acknowledged."""
    if not path.is_file():
        return
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole < len(data):
        with path.open("rb+") as file:
            file.truncate(whole)


def state(trial: optuna.trial.FrozenTrial) -> str:
    """The state of a trial: one of `kptool.advise.study.STATES`."""
    from optuna.trial import TrialState

    if not trial.state.is_finished():
        return "stopped"
    if trial.state == TrialState.FAIL or FAILED in trial.user_attrs:
        return "failed"
    return "pruned" if trial.state == TrialState.PRUNED else "complete"


def running(study: optuna.Study) -> int | None:
    """The number of the interrupted trial, if there is one."""
    from optuna.trial import TrialState

    found = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    return found[0].number if found else None


def trial(study: optuna.Study, number: int, *, resume: bool, seed: int) -> optuna.Trial:
    """Trial `number` of a study: the interrupted one with its settings (`resume`), or a new one.

    The sampler is seeded from `seed` and the trial's number, so no random state has to survive a restart.
    """
    import optuna

    state = np.random.SeedSequence([seed, number]).generate_state(1)
    study.sampler = optuna.samplers.TPESampler(seed=int(state[0]), multivariate=True)
    if not resume:
        return study.ask()
    return optuna.Trial(study, study.get_trials(deepcopy=False)[number]._trial_id)


def importances(study: optuna.Study) -> dict[str, float]:
    """Each setting's share of the importance, which add up to 1, largest first; empty with fewer than 10 complete trials.

    By PED-ANOVA (Watanabe, Bansal & Hutter, IJCAI 2023): how far the settings of the best trials, at least 5 of them, are
    from those of all complete trials, setting by setting.
    """
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
    from optuna.trial import TrialState

    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(complete) < 2 * _BEST_TRIALS or len({trial.value for trial in complete}) == 1:
        return {}
    evaluator = PedAnovaImportanceEvaluator(target_quantile=max(0.1, _BEST_TRIALS / len(complete)))
    found = get_param_importances(study, evaluator=evaluator, params=list(complete[0].params))
    return {key: float(value) for key, value in found.items()} if sum(found.values()) > 0 else {}


def prune(study: optuna.Study, trial: optuna.Trial, *, failed: str | None = None) -> None:
    """End a trial early. The sampler ranks one without a single epoch last, such as one that `failed` at once."""
    from optuna.trial import TrialState

    if failed is not None:
        trial.set_user_attr(FAILED, failed)
    study.tell(trial, state=TrialState.PRUNED)
