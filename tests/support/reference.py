"""The verdict written out slowly, as the definition reads: loops over dicts, one image at a time.

Tests hold the fast code against this. A row is a dict with ``check_id, concept_id, text_model, image_side,
image_index, prompt_score, contrast_score``; a missing score is None. Nothing is imported from the package.
"""

from __future__ import annotations

from fractions import Fraction

DIRECTIONS = ("forward_text", "inverse_text", "forward_image", "inverse_image")


def one_check(rows, protocol, direction, paper):
    """(verdict, chance, share of ties) of the rows of one check, or None where there is no verdict."""
    forward, text = direction.startswith("forward"), direction.endswith("text")
    own_side, own_score, other_score = (
        ("original", "prompt_score", "contrast_score")
        if forward
        else ("contrast", "contrast_score", "prompt_score")
    )
    rows = sorted(rows, key=lambda row: row["image_index"])
    own_images = [row for row in rows if row["image_side"] == own_side]
    other_images = [row for row in rows if row["image_side"] != own_side]
    if text:
        pairs = [(row[own_score], row[other_score]) for row in own_images]
        judge = _syn_text if protocol == "syn" else _hum_text
        return judge(pairs, paper)
    match = [row[own_score] for row in own_images]
    opposing = [row[own_score] for row in other_images]
    judge = _syn_image if protocol == "syn" else _hum_image
    return judge(match, opposing, paper)


def _syn_text(pairs, paper):
    """The image that scores highest with its own prompt: does it beat itself with the other prompt?"""
    if paper:
        best = None
        for match, other in pairs:
            if match is not None and (best is None or match > best[0]):  # the first of tied images stays
                best = (match, other)
        if best is None:
            return None
        match, other = best
        if other is None:
            return Fraction(0), Fraction(5, 6), Fraction(0)
        return Fraction(match > other), Fraction(5, 6), Fraction(match == other)
    scored = [(match, other) for match, other in pairs if match is not None and other is not None]
    if not scored:
        return None

    def verdict(scored):
        top = max(match for match, _ in scored)
        chosen = [(match, other) for match, other in scored if match == top]
        points = [_points(match, other) for match, other in chosen]
        ties = [Fraction(match == other) for match, other in chosen]
        return sum(points) / len(chosen), sum(ties) / len(chosen)

    value, ties = verdict(scored)
    exchanged, _ = verdict([(other, match) for match, other in scored])
    return value, (value + exchanged) / 2, ties


def _syn_image(match, opposing, paper):
    """The best image of the own side against the best image of the other side."""
    match = [score for score in match if score is not None]
    opposing = [score for score in opposing if score is not None]
    if not match:
        return None
    if not opposing:
        return (Fraction(0), Fraction(1, 2), Fraction(0)) if paper else None
    first, second = max(match), max(opposing)
    tie = Fraction(first == second)
    if paper:
        return Fraction(first > second), Fraction(1, 2), tie
    return _points(first, second), Fraction(len(match), len(match) + len(opposing)), tie


def _hum_text(pairs, paper):
    """Every image of the own side by itself."""
    points, ties = [], []
    for match, other in pairs:
        if match is None or other is None:
            if paper:
                points.append(Fraction(0))
                ties.append(Fraction(0))
            continue
        points.append(Fraction(match > other) if paper else _points(match, other))
        ties.append(Fraction(match == other))
    return (sum(points) / len(points), Fraction(1, 2), sum(ties) / len(ties)) if points else None


def _hum_image(match, opposing, paper):
    """Every image of the own side with every image of the other side."""
    return _hum_text([(first, second) for first in match for second in opposing], paper)


def _points(first, second):
    """1 for greater, one half for equal, 0 for smaller."""
    return Fraction(1) if first > second else Fraction(1, 2) if first == second else Fraction(0)


def scale(accuracy, chance, swapped=False):
    """(a−c)/(1−c) above chance, and below it where chance is the swap null; else (a−c)/c; 0 at chance."""
    if accuracy == chance:
        return Fraction(0)
    if accuracy > chance or swapped:
        return (accuracy - chance) / (1 - chance)
    return (accuracy - chance) / chance


def judge(rows, protocol, paper):
    """Everything a report says of one metric on one group of checks.

    Returns:
        ``{(direction, text_model): {accuracy, chance, scaled, n, ties}}``; text model None is the average
        over the text models. A direction without any verdict has None for the numbers and n = 0.
    """
    checks = {}
    for row in rows:
        checks.setdefault((row["text_model"], row["check_id"]), []).append(row)
    models = sorted({model for model, _ in checks}, key=str)
    out = {}
    for direction in DIRECTIONS:
        swapped = protocol == "syn" and not paper and direction.endswith("_text")
        means = []
        total = 0
        for model in models:
            found = [
                one_check(members, protocol, direction, paper)
                for (its_model, _), members in checks.items()
                if its_model == model
            ]
            found = [verdict for verdict in found if verdict is not None]
            total += len(found)
            mean = [_mean([verdict[part] for verdict in found]) for part in range(3)]
            if found:
                means.append(mean)
            if model is not None:
                out[direction, model] = _entry(*mean, len(found), swapped)
        joint = (_mean([mean[part] for mean in means]) for part in range(3))
        out[direction, None] = _entry(*joint, total, swapped)
    return out


def _mean(values):
    return sum(values) / len(values) if values else None


def _entry(accuracy, chance, ties, n, swapped):
    scaled = None if accuracy is None else scale(accuracy, chance, swapped)
    return {"accuracy": accuracy, "chance": chance, "scaled": scaled, "ties": ties, "n": n}


def coverage(rows, images):
    """Per direction, the share of the scores it reads that are there.

    Args:
        rows: the rows of one metric.
        images: ``{check_id: {(side, index), …}}``, the images that exist, whichever metric scored them.
    """
    score_of = {(row["check_id"], row["image_side"], row["image_index"]): row for row in rows}
    out = {}
    for direction in DIRECTIONS:
        forward, text = direction.startswith("forward"), direction.endswith("text")
        own_side = "original" if forward else "contrast"
        own_score = "prompt_score" if forward else "contrast_score"
        there = wanted = 0
        for check, its_images in images.items():
            if not text and len({side for side, _ in its_images}) < 2:
                continue  # an image direction compares two sides; with one it asks for nothing
            for side, index in its_images:
                if text and side != own_side:
                    continue
                row = score_of.get((check, side, index), {})
                read = ("prompt_score", "contrast_score") if text else (own_score,)
                wanted += len(read)
                there += sum(row.get(name) is not None for name in read)
        out[direction] = Fraction(there, wanted) if wanted else None
    return out
