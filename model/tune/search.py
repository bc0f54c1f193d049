"""Searches for the best settings: `make tune`.

Optuna proposes what to try next based on the results of earlier trials. All trials use the same
records and are compared on their validation split; the test split is never used. An interrupted
search resumes, and ends with the same result as if it hadn't been interrupted.

TensorFlow and Optuna are imported lazily, so that `--help` is immediate.
"""

import csv
import functools
import math
import os
from typing import TYPE_CHECKING, Any

from model.training import flags, settings
from model.tune import search_space
from textrecords import atomic, imports, terminal
from textrecords.errors import BadInput, Failure

if TYPE_CHECKING:
    import optuna

PROG = "model.tune"
OVER = ("learning_rate=0.0003..0.01", "lstm_units=32,64,128", "dropout=0..0.5")
SHOWN = 10  # trials in the table at the end
STUDY = "study.db"  # Optuna's, in SQLite
TABLE = "trials.csv"
BEST = "best.txt"  # a preset
TRIALS = "trials"  # TensorBoard's logs, one folder per trial
RECORDS = "records"  # of `make tune`
HOLDS = rf"{STUDY}(-journal)?|{TABLE}|{BEST}|{TRIALS}|{RECORDS}|\..*"
OUTCOME = ("val_accuracy", "best_epoch", "seconds")  # stored by Optuna with the loss


def search(space: search_space.Space, output: str, *, trials: int) -> None:
    """Tries settings until there are `trials` trials, including those of earlier runs.

    Args:
      space: the settings to choose from, and the dataset, with a validation split.
      output: the folder that keeps the search.
      trials: their number; if the space has only lists, at most one per combination.

    Raises:
      BadInput: if there is no validation split, or the folder keeps another search.
    """
    with imports.quiet():
        from model.training import replicas
        from model.tune import trial
    with imports.quiet():
        import optuna

    replicas.check(1)
    trial.check(space.dataset)
    space.check()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    total = min(trials, space.size())
    with atomic.kept_folder(output, holds=HOLDS):
        study = _study(output, space)
        for number in range(len(_done(study)) + 1, total + 1):
            study.sampler = _sampler(space, number)
            folder = os.path.join(output, TRIALS, f"{number:03}")
            terminal.say("")
            terminal.say(f"trial {number} of {total}")
            study.optimize(functools.partial(_try, space, folder), n_trials=1)
            _write(output, space, study)
        _show(output, space, study)


def _study(output: str, space: search_space.Space) -> "optuna.Study":
    """Resumes the search that the folder keeps, or begins one."""
    import optuna
    import sqlalchemy.exc

    path = os.path.join(os.path.abspath(output), STUDY)
    try:
        study = optuna.create_study(
            study_name=PROG,
            storage=f"sqlite:///{path}",
            load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(n_warmup_steps=1),  # the first epoch says little
        )
    except (RuntimeError, sqlalchemy.exc.SQLAlchemyError) as error:
        first_line = str(error).partition("\n")[0]
        raise BadInput(f"{path} can't be read ({first_line}): remove it") from None
    identity = space.identity()
    before = study.user_attrs.get("identity", identity)
    if before != identity:
        differ = [name for name in identity if before.get(name) != identity[name]]
        raise BadInput(
            f"{output} keeps a search with other {differ[0]}: name another folder, or remove it"
        )
    study.set_user_attr("identity", identity)
    return study


def _done(study: "optuna.Study") -> list["optuna.trial.FrozenTrial"]:
    """Returns the finished trials, without interrupted ones."""
    from optuna.trial import TrialState

    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))


def _sampler(space: search_space.Space, number: int) -> "optuna.samplers.BaseSampler":
    """Returns the sampler of a trial's values, which depend only on the trials before."""
    import optuna

    if space.size() < math.inf:
        values = {name: list(tried.values) for name, tried in space.over.items()}
        return optuna.samplers.GridSampler(values, seed=space.training.seed)
    # constant_liar would count an interrupted trial as running.
    seed = space.training.seed + number
    return optuna.samplers.TPESampler(seed=seed, constant_liar=False)


def _try(space: search_space.Space, folder: str, proposed: "optuna.Trial") -> float:
    """Returns the validation loss of a trial; a loss that isn't finite counts as the worst."""
    import keras
    import optuna

    from model.tune import trial

    def report(epoch: int, logs: dict[str, float]) -> None:
        proposed.report(logs["val_loss"], epoch)
        if proposed.should_prune():
            terminal.say("stopped early: most earlier trials were better at this epoch")
            raise optuna.TrialPruned

    values = {name: _propose(proposed, name, tried) for name, tried in space.over.items()}
    terminal.say(_named(values))
    config = settings.configure(space.dataset, *space.settings(values))
    callback = keras.callbacks.LambdaCallback(on_epoch_end=report)
    try:
        outcome = trial.run(space.dataset, config, folder, callbacks=[callback])
    except Failure as error:
        terminal.say(error)
        return math.inf
    for name in OUTCOME:
        proposed.set_user_attr(name, getattr(outcome, name))
    return outcome.val_loss if math.isfinite(outcome.val_loss) else math.inf


def _propose(proposed: "optuna.Trial", name: str, tried: search_space.Tried) -> Any:
    if not tried.is_range:
        return proposed.suggest_categorical(name, tried.values)
    whole = isinstance(tried.values[0], int)
    suggest = proposed.suggest_int if whole else proposed.suggest_float
    return suggest(name, *tried.values, log=tried.by_logarithm)


def _named(values: dict[str, Any]) -> str:
    return ", ".join(f"{name} {_shown(value)}" for name, value in values.items())


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _rows(space: search_space.Space, study: "optuna.Study") -> list[dict[str, Any]]:
    """Returns all trials, best first; a pruned trial has only its last loss."""
    rows = [
        {
            "trial": number,
            "state": each.state.name.lower(),
            "val_loss": each.value,
            **{name: each.user_attrs.get(name) for name in OUTCOME},
            **{name: each.params[name] for name in space.over},
        }
        for number, each in enumerate(_done(study), 1)
    ]
    return sorted(rows, key=lambda row: (row["state"] == "pruned", row["val_loss"]))


def _write(output: str, space: search_space.Space, study: "optuna.Study") -> None:
    """Writes the table of all trials, and the best one's settings as a preset."""
    rows = _rows(space, study)
    with (
        atomic.write_file(os.path.join(output, TABLE)) as part,
        open(part, "w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    best = rows[0]
    comment = f"# trial {best['trial']} of {len(rows)}: validation loss {best['val_loss']:.4f}"
    preset = flags.to_preset(*space.settings(best))
    atomic.write_text(os.path.join(output, BEST), f"{comment}\n\n{preset}")


def _show(output: str, space: search_space.Space, study: "optuna.Study") -> None:
    """Prints the best trials, and where to find the rest."""
    rows = _rows(space, study)
    shown = []
    for row in rows[:SHOWN]:
        result = (row["val_loss"], *(row[name] for name in OUTCOME[:2]))
        tried = _named({name: row[name] for name in space.over})
        outcome = ("stopped" if value is None else _shown(value) for value in result)
        shown.append((str(row["trial"]), tried, *outcome))
    terminal.show(("trial", "settings", "val_loss", "val_accuracy", "epoch"), shown, words=2)
    terminal.say(f"all {len(rows)} trials: {os.path.join(output, TABLE)}")
    terminal.say(f"the best settings: {os.path.join(output, BEST)}, for PRESET or --preset")
