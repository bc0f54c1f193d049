"""Searches for the best settings: `make tune`.

Optuna proposes what to try next from what the trials before came to. All of them train on the same
records and are judged on their validation split; the test split is never looked at. A search that
was stopped goes on, and comes to what it would have come to.

TensorFlow and Optuna are imported once there is something to do, so that `--help` is immediate.
"""

import csv
import functools
import math
import os
from typing import TYPE_CHECKING, Any

from model import config, flags, space
from pipelines import commands, contract, files, folders, terminal

if TYPE_CHECKING:
    import optuna

PROG = "model.tune"
OVER = ("learning_rate=0.0003..0.01", "lstm_units=32,64,128", "dropout=0..0.5")
SHOWN = 10  # trials in the table at the end

STUDY = "study.db"  # Optuna's, in SQLite
TABLE = "trials.csv"
BEST = "best.txt"  # a preset
TRIALS = "trials"  # TensorBoard's logs, a folder a trial
HOLDS = rf"{STUDY}(-journal)?|{TABLE}|{BEST}|{TRIALS}|records|\..*"  # records: of `make tune`

OUTCOME = ("val_accuracy", "best_epoch", "seconds")  # kept by Optuna beside the loss


def search(searched: space.Space, records_dir: str, output: str, *, trials: int) -> None:
    """Tries settings until there are so many trials, those of earlier runs included.

    Args:
      searched: the settings to choose among.
      records_dir: the dataset, with a validation split.
      output: the folder that keeps the search.
      trials: how many; if flags are searched over lists alone, at most one each combination.

    Raises:
      BadInput: if there is no validation split, or another search is kept in the folder.
    """
    with commands.quiet_imports():
        import optuna

        from model import replicas, trial

    replicas.check(1)
    trial.check(searched.manifest)
    searched.check()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    most = min(trials, searched.size())
    with folders.kept_folder(output, holds=HOLDS):
        study = _study(output, searched)
        for number in range(len(_done(study)) + 1, most + 1):
            study.sampler = _sampler(searched, number)
            folder = os.path.join(output, TRIALS, f"{number:03}")
            commands.say("")
            commands.say(f"trial {number} of {most}")
            study.optimize(functools.partial(_try, searched, records_dir, folder), n_trials=1)
            _write(output, searched, study)
        _show(output, searched, study)


def _study(output: str, searched: space.Space) -> "optuna.Study":
    """Takes up the search that is kept in the folder, or begins one."""
    import optuna
    import sqlalchemy.exc

    path = os.path.join(os.path.abspath(output), STUDY)
    try:
        study = optuna.create_study(
            study_name=PROG,
            storage=f"sqlite:///{path}",
            load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(n_warmup_steps=1),  # one epoch tells little
        )
    except (RuntimeError, sqlalchemy.exc.SQLAlchemyError) as error:
        first_line = str(error).partition("\n")[0]
        raise commands.BadInput(f"{path} can't be read ({first_line}): remove it") from None
    identity = searched.identity()
    before = study.user_attrs.get("identity", identity)
    if before != identity:
        differ = [name for name in identity if before.get(name) != identity[name]]
        raise commands.BadInput(
            f"{output} keeps a search with other {differ[0]}: name another folder, or remove it"
        )
    study.set_user_attr("identity", identity)
    return study


def _done(study: "optuna.Study") -> list["optuna.trial.FrozenTrial"]:
    """Returns the trials that came to an end; one that was stopped isn't among them."""
    from optuna.trial import TrialState

    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))


def _sampler(searched: space.Space, number: int) -> "optuna.samplers.BaseSampler":
    """Returns what proposes a trial's values, which depend on nothing but the trials before."""
    import optuna

    if searched.size() < math.inf:
        values = {name: list(tried.values) for name, tried in searched.over.items()}
        return optuna.samplers.GridSampler(values, seed=searched.training.seed)
    # constant_liar would have a trial that was stopped count as one that is running.
    seed = searched.training.seed + number
    return optuna.samplers.TPESampler(seed=seed, constant_liar=False)


def _try(searched: space.Space, records_dir: str, folder: str, proposed: "optuna.Trial") -> float:
    """Returns the validation loss of a trial; a loss that isn't finite is the worst one."""
    import keras
    import optuna

    from model import trial

    def report(epoch: int, logs: dict[str, float]) -> None:
        proposed.report(logs["val_loss"], epoch)
        if proposed.should_prune():
            commands.say("stopped: most trials before did better by then")
            raise optuna.TrialPruned

    values = {name: _propose(proposed, name, tried) for name, tried in searched.over.items()}
    commands.say(_named(values))
    described = config.describe(searched.manifest, *searched.settings(values))
    callback = keras.callbacks.LambdaCallback(on_epoch_end=report)
    try:
        outcome = trial.run(records_dir, searched.manifest, described, folder, callbacks=[callback])
    except commands.Failure as error:
        commands.say(error)
        return math.inf
    for name in OUTCOME:
        proposed.set_user_attr(name, getattr(outcome, name))
    return outcome.val_loss if math.isfinite(outcome.val_loss) else math.inf


def _propose(proposed: "optuna.Trial", name: str, tried: space.Tried) -> Any:
    if not tried.is_range:
        return proposed.suggest_categorical(name, tried.values)
    whole = isinstance(tried.values[0], int)
    suggest = proposed.suggest_int if whole else proposed.suggest_float
    return suggest(name, *tried.values, log=tried.by_logarithm)


def _named(values: dict[str, Any]) -> str:
    return ", ".join(f"{name} {_shown(value)}" for name, value in values.items())


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _rows(searched: space.Space, study: "optuna.Study") -> list[dict[str, Any]]:
    """Returns all trials, the best first; of one that was pruned only its last loss is known."""
    rows = [
        {
            "trial": number,
            "state": each.state.name.lower(),
            "val_loss": each.value,
            **{name: each.user_attrs.get(name) for name in OUTCOME},
            **{name: each.params[name] for name in searched.over},
        }
        for number, each in enumerate(_done(study), 1)
    ]
    return sorted(rows, key=lambda row: (row["state"] == "pruned", row["val_loss"]))


def _write(output: str, searched: space.Space, study: "optuna.Study") -> None:
    """Writes the table of all trials, and the best one's settings as a preset."""
    rows = _rows(searched, study)
    with (
        folders.whole_file(os.path.join(output, TABLE)) as part,
        open(part, "w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    best = rows[0]
    told = f"# trial {best['trial']} of {len(rows)}: validation loss {best['val_loss']:.4f}"
    preset = flags.preset(*searched.settings(best))
    with folders.whole_file(os.path.join(output, BEST)) as part:
        files.write_text(part, f"{told}\n\n{preset}")


def _show(output: str, searched: space.Space, study: "optuna.Study") -> None:
    """Prints the best trials, and where the rest stands."""
    rows = _rows(searched, study)
    shown = []
    for row in rows[:SHOWN]:
        result = (row["val_loss"], *(row[name] for name in OUTCOME[:2]))
        settings = _named({name: row[name] for name in searched.over})
        told = ("stopped" if value is None else _shown(value) for value in result)
        shown.append((str(row["trial"]), settings, *told))
    terminal.show(("trial", "settings", "val_loss", "val_accuracy", "epoch"), shown, words=2)
    commands.say(f"all {len(rows)} trials: {os.path.join(output, TABLE)}")
    commands.say(f"the best one's settings: {os.path.join(output, BEST)}, for PRESET or --preset")


def main(argv: list[str]) -> None:
    parser = commands.ArgumentParser(prog=PROG, description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--records", required=True, metavar="DIR", help="of preprocess with --validation 0.2, say")
    add("--output", required=True, metavar="DIR", help="the folder that keeps the search")
    add(
        "--over",
        nargs="+",
        default=OVER,
        metavar="FLAG=VALUES",
        help="what is searched: lists as lstm_units=32,64, ranges as dropout=0..0.5, switches as "
        "bidirectional=yes,no",
    )
    add("--trials", type=commands.number(least=1), default=20, help="in all, with earlier runs")
    add("--no_verify", action="store_true", help=commands.NO_VERIFY)
    args = flags.parse_args(parser, argv)
    folders.check_local(args.output)
    folders.check_path(args.output)
    manifest = contract.read_manifest(args.records, verify=not args.no_verify)
    searched = space.Space(manifest, *flags.settings(args), over=space.parse(args.over))
    search(searched, args.records, args.output, trials=args.trials)


if __name__ == "__main__":
    commands.run(main)
