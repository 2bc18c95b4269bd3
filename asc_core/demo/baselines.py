"""What a shallow model reaches: an application is only worth compressing for above this.

A high "second_text_only" would mean that one text gives the label away, a high "bag_of_words"
that no interaction between the two texts is needed.
"""

from __future__ import annotations

from asc_core.demo.generator import APPLICATIONS, application_rows


def shallow_baselines(name: str) -> dict[str, float]:
    """Accuracies on test of logistic regressions on word counts, fitted on train.

    Returns:
        "bag_of_words": tf-idf of the uni- and bigrams of all texts, a separate vocabulary for
        each text; "second_text_only": the same for the second text alone (left out where the
        application has one text).

    Raises:
        ValueError: for an unknown application, or one without a class to predict.
    """
    application = APPLICATIONS.get(name)
    if application is None or not application.labels:
        known = ", ".join(name for name, other in APPLICATIONS.items() if other.labels)
        raise ValueError(f"no shallow baseline for {name!r}; choose one of {known}")
    target = "intent" if application.kind == "intent-slots" else "label"
    fields = application.fields
    scores = {"bag_of_words": _accuracy(name, fields, target)}
    if len(fields) > 1:
        scores["second_text_only"] = _accuracy(name, fields[1:], target)
    return scores


def _accuracy(name: str, fields: tuple[str, ...], target: str) -> float:
    from scipy.sparse import hstack
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    train, test = application_rows(name, "train"), application_rows(name, "test")
    seen, unseen = [], []
    for field in fields:
        words = TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"[^\s.?]+", sublinear_tf=True)
        seen.append(words.fit_transform(_texts(train, field)))
        unseen.append(words.transform(_texts(test, field)))
    model = LogisticRegression(C=10.0, max_iter=1000)
    model.fit(hstack(seen), [row[target] for row in train])
    return float(model.score(hstack(unseen), [row[target] for row in test]))


def _texts(rows: list[dict], field: str) -> list[str]:
    return [row[field] if isinstance(row[field], str) else " ".join(row[field]) for row in rows]
