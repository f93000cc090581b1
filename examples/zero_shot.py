"""A finding told by sentences alone, without training on a label; then calibrated, which does take labels."""

from pathlib import Path

import numpy as np
import typer
from sklearn.linear_model import LogisticRegression

import crossray
from crossray import plots
from crossray.data.store import Store
from crossray.inference.model import PromptPair

# As radiologists write it, which is with size and side; and always with its denial (docs/limits.md: wording matters).
EFFUSIONS = [f"There is a {size} {side} pleural effusion." for size in ("small", "large") for side in ("left", "right")]
PROMPTS = {
    "Pleural Effusion": PromptPair(EFFUSIONS, ["There is no pleural effusion."]),
    "Cardiomegaly": PromptPair(["The heart is enlarged.", "There is cardiomegaly."], ["Heart size is normal."]),
}


def main(run: Path, store: Path, finding: str = "Pleural Effusion", out: Path = Path("reliability.png")) -> None:
    """Print the films with the highest scores; calibrate on half of the patients, and draw the other half."""
    films = Store.open(store)
    study_of = np.array([films.film(row).study_index for row in range(films.film_count)])
    truth = films.labels[study_of, films.label_names.index(finding)]
    scores = crossray.load(run).classify(list(films.pixels(range(films.film_count))), PROMPTS)[finding]
    for row in np.argsort(-scores)[:5]:
        print(f"{films.film(int(row)).film_id}: score {scores[row]:+.3f}, label {truth[row]:.0f}")

    patients = [films.patient_ids[study] or films.study_ids[study] for study in study_of]
    first_half = np.isin(patients, sorted(set(patients))[::2])
    known = ~np.isnan(truth)
    platt = LogisticRegression(C=1e6).fit(scores[first_half & known, None], truth[first_half & known])
    shown = ~first_half & known
    probabilities = platt.predict_proba(scores[shown, None])[:, 1]
    plots.plot_reliability(probabilities, truth[shown], finding).savefig(out, dpi=150)


if __name__ == "__main__":
    typer.run(main)
