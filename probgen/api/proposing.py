"""Optuna, which proposes the options of trials and keeps what came of them: everything of it that a search uses."""

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

RANDOM = 10  # trials before the estimator is used


def require_optuna() -> None:
    """Errors: `InputError` where Optuna is not installed."""
    try:
        import optuna  # noqa: F401
    except ImportError:
        raise InputError("a search needs Optuna: pip install 'probgen[scale]'") from None


@contextmanager
def quiet() -> Iterator[None]:
    """Optuna says nothing of what goes well; how much it says is as before afterwards."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


@contextmanager
def study_in(path: Path) -> Iterator[optuna.Study]:
    """The study in a file of SQLite, which is made where there is none. Errors: `RunError` for a file that is none, is full or cannot be written."""
    import optuna
    from sqlalchemy.exc import DatabaseError  # Optuna passes on some of them

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
            f"{path} cannot be used: {said}; begin anew (--force), or choose another folder"
        ) from error
    finally:
        if storage is not None:
            storage.remove_session()
            storage.engine.dispose()


def receipts_of(study: optuna.Study) -> dict[int, Receipt]:
    """What came of the trials that are done, by their numbers."""
    done = sorted(trial.number for trial in study.get_trials() if trial.state.is_finished())
    return {number: study.user_attrs[str(number)] for number in done}


def begin(study: optuna.Study, space: Space, values: Mapping[str, Any]) -> None:
    """Write that the next trial is being done, with these options, in one transaction."""
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
    """Write what came of a trial. It is done once its state says so, which is written last."""
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
    """The options of the next trial, a function of those before it, by a tree-structured Parzen estimator of all options together (Bergstra
    et al. 2011; Falkner et al. 2018), after `RANDOM` trials at random.

    Trials that are being done count as bad ones, so that those side by side differ ("constant liar"). One that ended early counts
    by its validations, below all that came to their end; one that diverged or was refused below these.
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
    """Options, of what Optuna holds: of a list of choices their JSON."""
    return {n: json.loads(params[n]) if isinstance(part, Choice) else params[n] for n, part in space.items()}


def importances(study: optuna.Study) -> dict[str, float]:
    """How much each option matters for being among the best, in parts of 1, by PED-ANOVA (Watanabe et al. 2023).

    Nothing where too few trials came to their end, or all to the same value.
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
