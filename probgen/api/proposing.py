"""The functions of Optuna that a search uses: it proposes the options of trials and stores their results."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probgen.api.trials import LEAST, Receipt
from probgen.contract.ranges import Choice, Range, Space
from probgen.contract.seeds import key
from probgen.errors import InputError, RunError

if TYPE_CHECKING:
    import optuna

RANDOM = 10  # random trials before the estimator is used


def require_optuna() -> None:
    """Raise `InputError` if Optuna is not installed."""
    try:
        import optuna  # noqa: F401
    except ImportError:
        raise InputError("a search needs Optuna. Run pip install 'probgen[scale]'.") from None


@contextmanager
def quiet() -> Iterator[None]:
    """Limit the log of Optuna to errors in this context."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


@contextmanager
def study_in(path: Path) -> Iterator[optuna.Study]:
    """Open the study in an SQLite file, and create the file if it does not exist.

    It raises `RunError` if the file is not a study or cannot be written.
    """
    import optuna
    from sqlalchemy.exc import DatabaseError  # Optuna does not convert all of these

    storage: Any = None
    try:
        with quiet():
            storage = optuna.storages.RDBStorage(f"sqlite:///{path.resolve()}")
            study = optuna.create_study(
                storage=storage, study_name="search", direction="maximize", load_if_exists=True
            )
        yield study
    except (DatabaseError, optuna.exceptions.StorageInternalError) as error:
        cause = error if isinstance(error, DatabaseError) else error.__cause__
        said = cause.orig if isinstance(cause, DatabaseError) else error
        raise RunError(
            f"{path} cannot be used: {said}. Start again (--force), or choose another folder."
        ) from error
    finally:
        if storage is not None:
            storage.remove_session()
            storage.engine.dispose()


def receipts_of(study: optuna.Study) -> dict[int, Receipt]:
    """Return the receipts of the completed trials, by number."""
    done = sorted(trial.number for trial in study.get_trials() if trial.state.is_finished())
    return {number: study.user_attrs[str(number)] for number in done}


def begin(study: optuna.Study, space: Space, values: Mapping[str, Any]) -> None:
    """Write the start of the next trial and its options to the study, in one transaction."""
    import optuna

    params = {
        n: json.dumps(values[n]) if isinstance(part, Choice) else values[n] for n, part in space.items()
    }
    running = optuna.trial.create_trial(
        state=optuna.trial.TrialState.RUNNING, params=params, distributions=_distributions(space)
    )
    with quiet():
        study.add_trial(running)


def end(study: optuna.Study, number: int, receipt: Receipt) -> None:
    """Write the receipt of a trial to the study. The state is written last, and completes the trial."""
    import optuna

    with quiet():
        study.set_user_attr(str(number), receipt)
        if receipt["state"] == "done":
            study.tell(number, receipt["value"])
        else:
            study.tell(number, state=optuna.trial.TrialState.PRUNED)


def proposal(
    space: Space, trials: list[optuna.trial.FrozenTrial], receipts: Mapping[int, Receipt], seed: int
) -> dict[str, Any]:
    """Return the options of the next trial, as a function of the earlier trials.

    The first `RANDOM` trials are random. Later trials come from a tree-structured Parzen estimator of all options
    together (Bergstra et al. 2011; Falkner et al. 2018). Unfinished trials count as bad, so that concurrent trials
    differ ("constant liar"). Pruned trials rank below complete trials, by their validations. Diverged and refused trials
    rank last.
    """
    import optuna

    sampler = optuna.samplers.TPESampler(
        n_startup_trials=RANDOM, multivariate=True, seed=key(seed, "search", len(trials)) % 2**32
    )
    with quiet():
        study = optuna.create_study(direction="maximize", sampler=sampler)
        for trial in trials:
            curve = receipts[trial.number]["curve"] if trial.state.is_finished() else {}
            reports = dict(enumerate(value for stage in curve.values() for value in stage))
            study.add_trial(
                optuna.trial.create_trial(
                    state=trial.state,
                    value=trial.value,
                    params=trial.params,
                    distributions=trial.distributions,
                    intermediate_values=reports,
                )
            )
        return values_of(space, study.ask(_distributions(space)).params)


def values_of(space: Space, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return options from the parameters of Optuna, which are JSON for lists of choices."""
    return {n: json.loads(params[n]) if isinstance(part, Choice) else params[n] for n, part in space.items()}


def importances(study: optuna.Study) -> dict[str, float]:
    """Return the importance of each option for the best trials, by PED-ANOVA (Watanabe et al. 2023).

    The importances sum to 1. The result is empty if too few trials are complete, or if all have the same value.
    """
    import optuna

    done = [t for t in study.get_trials() if t.state == optuna.trial.TrialState.COMPLETE]
    if len(done) < LEAST or len({trial.value for trial in done}) == 1:
        return {}
    with quiet():
        return optuna.importance.get_param_importances(study)


def _distributions(space: Space) -> dict[str, Any]:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    def of(part: Range | Choice) -> Any:
        if isinstance(part, Choice):
            return CategoricalDistribution(part.texts)
        kind: Any = FloatDistribution if isinstance(part.low, float) else IntDistribution
        return kind(part.low, part.high, log=part.log)

    return {name: of(part) for name, part in space.items()}
