"""Which models people compare by judging: what training began with, the champion, the challenger."""

from pathlib import Path

from udml import paths
from udml.evaluation.results import BASELINES
from udml.files import read_json, write_json
from udml.judgement.answers import FILE, read_answers
from udml.judgement.deck import Model, NothingToCompareError, open_deck
from udml.judgement.standing import Standing, as_json, stand
from udml.registry import store
from udml.registry.bundle import MODEL_FILE

KEPT_FILE = "judged.json"  # in models/: what judgements said last of each model


def models_to_judge(models: Path) -> list[Model]:
    """The frozen backbone, whitened if it was; the champion, if any; what the workspace made last."""
    kind = next((kind for kind in ("whitened", "frozen") if (paths.EXPORTED / f"{kind}.onnx").exists()), None)
    found = []
    if kind is not None:
        title = BASELINES[kind].removeprefix("the ").removesuffix(",")
        found.append(Model("baseline", title, paths.EXPORTED / f"{kind}.onnx"))
    champion = store.champion_name(models)
    if champion is not None:
        path = store.version_directory(models, champion) / MODEL_FILE
        found.append(Model("champion", f"champion {champion}", path))
    if paths.MODEL.exists():
        title = "challenger" if champion is not None else "trained model"
        found.append(Model("challenger", title, paths.MODEL))
    return found


def judged_standing(models: Path) -> Standing | None:
    """What people's answers say of the present models; None where nobody has judged, or there is but one.

    Raises:
        UdmlError: as `open_deck`.
    """
    answers = read_answers(FILE)
    if not len(answers):
        return None
    try:
        standing = stand(open_deck(models_to_judge(models)), answers)
    except NothingToCompareError:
        return None
    return standing if standing.answers else None


def keep_standing(models: Path, standing: Standing) -> None:
    """Note what is known of each model in the registry, where `udml models show` finds it."""
    if standing.judged is None or not models.is_dir():
        return
    path = models / KEPT_FILE
    said = as_json(standing)
    noted = {
        one["model_version"]: {**one, "answers": said["counted"]}
        for one in said["models"]  # type: ignore[attr-defined]
    }
    write_json(path, (read_json(path) if path.exists() else {}) | noted)


def kept_figure(models: Path, model_version: str) -> str | None:
    """What was judged of a model, in a line; None if nothing was."""
    path = models / KEPT_FILE
    found = read_json(path).get(model_version) if path.exists() else None
    if found is None:
        return None
    one, five = (
        "{:.1f} % ({:.1f} to {:.1f})".format(*(100 * value for value in found[f"precision_at_{depth}"]))
        for depth in (1, 5)
    )
    return f"precision at 1 {one}, at 5 {five}, by {found['answers']:,} answers of people"
