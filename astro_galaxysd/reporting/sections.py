"""The sections of a report, each of an assessment or of what was given besides; None where there is nothing to show."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Mapping
from html import escape
from itertools import combinations as pairs_of
from typing import TYPE_CHECKING, Any

import numpy as np

from astro_galaxysd.errors import ConditionError
from astro_galaxysd.records import ImageBatch
from astro_galaxysd.reporting import figures, gallery, measured
from astro_galaxysd.reporting.figures import HELD, REAL, SYNTHETIC, inline_svg
from astro_galaxysd.reporting.metrics import counted, metric_tables, readings
from astro_galaxysd.reporting.page import Section, facts
from astro_galaxysd.reporting.upset import combinations, described, draw_upset

if TYPE_CHECKING:
    from astropy.table import Table

    from astro_galaxysd.assessment import Assessment
    from astro_galaxysd.evaluation.calibration import CalibrationCurve

__all__ = [
    "answers_section",
    "calibration_section",
    "distribution_section",
    "history_section",
    "image_section",
    "metric_section",
    "pareto_section",
    "record_section",
    "summary_section",
    "training_section",
]

#: Entries of the record that the summary repeats.
_TOLD = ("embedder", "reader", "weights", "seed")
_DIGITS = 12  # of a hash the first are told; the record has all
_HASH = re.compile(r"[0-9a-f]{32,}")
_NAMES = {REAL: "real, compared with", HELD: "real, for the ceiling", SYNTHETIC: "synthetic"}
_DASHES = {REAL: 'stroke-width="2"', HELD: 'stroke-width="2" stroke-dasharray="5 3"', SYNTHETIC: 'stroke-width="3.5"'}
_VARIABLE = {REAL: "--real", HELD: "--held", SYNTHETIC: "--synthetic"}


def _key(*colours: str) -> str:
    """What the lines of the figures below mean."""
    items = "".join(
        f'<li><svg viewBox="0 0 32 10" aria-hidden="true"><line x1="0" y1="5" x2="32" y2="5" {_DASHES[colour]} '
        f'style="stroke:var({_VARIABLE[colour]})"/></svg>{_NAMES[colour]}</li>'
        for colour in colours
    )
    return f'<ul class="key">{items}</ul>'


def _panel(draw: Callable[[Any], None], caption: str, alt: str, name: str, height: float = 2.6) -> str:
    drawn = inline_svg(draw, alt=alt, name=name, height=height)
    return f"<figure>{drawn}" + (f"<figcaption>{caption}</figcaption>" if caption else "") + "</figure>"


def _panels(found: list[str]) -> str:
    return f'<div class="panels">{"".join(found)}</div>'


def summary_section(assessment: Assessment) -> Section:
    """What was compared with what, and how to read the figures."""
    found = readings(assessment.table)
    record, size = assessment.record, assessment.synthetic.images.shape[1:3]
    pairs = [
        ("images in each set", f"{len(assessment.synthetic)} of {size[0]} x {size[1]} px"),
        ("groups", str(len(assessment.groups)) if assessment.groups else "none"),
        ("training images", str(len(assessment.training)) if assessment.training is not None else "not given"),
        *((name, _short(record[name])) for name in _TOLD if record.get(name) not in (None, "", [])),
    ]
    reading = (
        "Each figure stands beside its ceiling: the same figure of real images that were put in the synthetic ones' "
        "place, as many of them and in the same mixture of kinds. Errors are one standard error. A figure within its "
        "ceiling's error is as good as this number of images can show; one that exceeds the ceiling is no better than "
        "real, and may mean copies or a narrow choice."
    )
    told = f"<p>{escape(counted(found))}</p><p>{escape(reading)}</p>"
    return Section("summary", "Summary", facts(pairs) + _cautions(record) + told)


def _cautions(record: Mapping[str, Any]) -> str:
    """Rows that were left out, and rows that a judge or the generator has seen."""
    seen = [
        f"{number} real rows were among those {who} learnt from: what is said of them is too good."
        for who, number in (record.get("seen") or {}).items()
        if number
    ]
    excluded = [
        f"{kind}: " + ", ".join(f"{number} {reason}" for reason, number in reasons.items() if number)
        for kind, reasons in (record.get("excluded") or {}).items()
        if any(reasons.values())
    ]
    left_out = f'<p class="hint">Rows left out: {escape("; ".join(excluded))}.</p>' if excluded else ""
    return left_out + "".join(f'<p class="warning">{escape(text)}</p>' for text in seen)


def _short(value: Any) -> str:
    if isinstance(value, Mapping) and "name" in value:
        revision = _short(value.get("revision") or "")
        return f"{value['name']} ({revision})" if revision else str(value["name"])
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_short(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_short, value))
    return _HASH.sub(lambda found: found[0][:_DIGITS], str(value))


def metric_section(assessment: Assessment) -> Section:
    """All figures with errors and ceilings."""
    key = (
        '<ul class="key"><li><span>within 2 &sigma; of the ceiling</span></li>'
        '<li><span class="away">2 to 5 &sigma; worse</span></li><li><span class="far">more than 5 &sigma; worse</span>'
        '</li><li><span class="beyond">more than 2 &sigma; better</span></li></ul>'
        '<p class="hint">&sigma; is the common error of a figure and its ceiling. It says how sure a difference is, '
        "not how large: look at both columns.</p>"
    )
    return Section("figures", "Figures", key + metric_tables(readings(assessment.table)))


def answers_section(asked: Mapping[str, np.ndarray]) -> Section | None:
    """Which answers occur together, in real rows and in what synthetic ones were asked for."""
    try:
        found = combinations(asked)
    except ConditionError:
        return None
    names = list(found.counts)
    drawn = inline_svg(
        lambda panel: draw_upset(panel, found), alt=described(found, names), name="upset", css_class="wide",
        width=11.5, height=1.9 + 0.29 * len(found.answers),
    )  # fmt: skip
    rest = ", ".join(f"{found.left_out(name)} of {found.rows[name]} {name} rows" for name in names)
    hint = (
        "Blue: shares of real rows, orange: of synthetic rows; a row has an answer if its votes or its prompt ask for "
        f"it with a fraction of at least 0.5. In other combinations, or without an answer: {rest}."
    )
    body = f'<div class="scroll" tabindex="0" role="region" aria-label="UpSet plot">{drawn}</div>'
    return Section("answers", "What was asked for", f'{body}<p class="hint">{escape(hint)}</p>')


def image_section(assessment: Assessment, asked: Mapping[str, np.ndarray]) -> Section:
    """Real beside synthetic images, prompt by prompt."""
    from astropy.table import Table

    one, two = assessment.real, assessment.held
    both = ImageBatch(np.concatenate([one.images, two.images]), Table(), np.concatenate([one.ids, two.ids]))
    sheets = gallery.published_sheets(both, assessment.synthetic, asked)
    hint = '<p class="hint">The first rows that ask for all that a prompt names; nothing was picked by eye.</p>'
    if assessment.groups:
        sheets += f"<details><summary>By group of the table ({len(assessment.groups)})</summary>"
        sheets += gallery.group_sheets(assessment.groups, assessment.synthetic, one) + "</details>"
    return Section("images", "Images for the published prompts", hint + sheets)


def distribution_section(assessment: Assessment) -> Section:
    """Photometry and morphology of the three sets."""
    distance = {r.metric: r for r in readings(assessment.table) if r.group == "all"}
    quantities, curves = measured.photometry(assessment)
    photometry = [_distribution(name, samples, distance) for name, samples in quantities.items()]
    photometry.append(_curve("power", *curves["power"], ("cycles per pixel", "power"), log=True))
    photometry.append(_curve("profile", *curves["profile"], ("radius, pixels", "light, grey levels"), log=False))
    shapes = [
        _distribution(name, samples, distance) for name, samples in measured.morphology_samples(assessment).items()
    ]
    hint = (
        '<p class="hint">In grey levels of the display stretch. KS is the Kolmogorov-Smirnov distance of synthetic '
        "from real images. Bands: 16th to 84th percentile of real images.</p>"
    )
    morphology = f"<h3>Morphology</h3>{_panels(shapes)}" if shapes else ""
    body = f"{_key(REAL, HELD, SYNTHETIC)}{hint}<h3>Photometry</h3>{_panels(photometry)}{morphology}"
    return Section("distributions", "Photometry and morphology", body)


def _distribution(name: str, samples: Mapping[str, np.ndarray], distance: Mapping[str, Any]) -> str:
    label = measured.LABELS.get(name, name.replace("_", " "))
    missing = int((~np.isfinite(samples[SYNTHETIC])).sum())
    ks = distance.get(f"{name}_ks")
    parts = [f"KS {ks.value:.2f}, ceiling {ks.ceiling:.2f}"] if ks and math.isfinite(ks.value) else []
    parts += [f"{missing} synthetic not measurable"] if missing else []
    medians = ", ".join(
        f"{_NAMES[colour]} {np.median(values[np.isfinite(values)]):.3g}"
        for colour, values in samples.items() if np.isfinite(values).any()
    )  # fmt: skip
    alt = f"Histograms of {label}; medians: {medians}"
    return _panel(
        lambda panel: figures.distribution(panel, samples, label=label), "; ".join(parts), alt, name, height=2.2
    )


def _curve(name: str, x: np.ndarray, curves: Mapping[str, np.ndarray], labels: tuple[str, str], *, log: bool) -> str:
    alt = f"Median {labels[1]} against {labels[0]} of real and synthetic images"
    return _panel(lambda panel: figures.bands(panel, x, curves, labels=labels, log=log), "", alt, name, height=2.2)


def calibration_section(assessment: Assessment) -> Section | None:
    """Fractions read off images against fractions asked for."""
    found = measured.calibration_curves(assessment)
    if not found:
        return None

    def drawn(title: str, curves: Mapping[str, CalibrationCurve]) -> str:
        alt = f"Fraction read against fraction asked for, {title}"
        return _panel(
            lambda p: figures.calibration(p, curves, title=title), "", alt, f"calibration {title}", height=3.0
        )

    hint = (
        '<p class="hint">A reader of votes looks at the images. Dotted: what is read is what was asked for. Real '
        "images with their volunteers' votes bend away from it too, as no reader is perfect: synthetic images should "
        "follow them.</p>"
    )
    panels = _panels([drawn(title, curves) for title, curves in found.items()])
    return Section("calibration", "Asked for and read", _key(HELD, SYNTHETIC) + hint + panels)


def training_section(assessment: Assessment) -> Section | None:
    """Synthetic images beside their nearest training images."""
    if assessment.training is None:
        return None
    from astro_galaxysd.evaluation.memorisation import closest_pairs

    pairs = closest_pairs(assessment.synthetic, assessment.training, assessment.memory)
    hint = (
        '<p class="hint">Left a synthetic image, right the training image nearest to it, mirrored or '
        "turned to fit best; of all synthetic images those that are closest. Correlation is of the pixels.</p>"
    )
    body = hint + gallery.twins(pairs, assessment.synthetic, assessment.training)
    return Section("training", "Closest training images", body)


def history_section(history: str | os.PathLike[str]) -> Section:
    """Figures of a training run against the step. Raises as `astro_galaxysd.evaluation.curves.read_metrics`."""
    from astro_galaxysd.evaluation.curves import draw_metric, read_metrics

    def drawn(name: str, rows: Any) -> str:
        last = max(rows)
        alt = f"{name} against training step; at step {last} {rows[last][0]:.3g}, ceiling {rows[last][2]:.3g}"

        def draw(panel: Any) -> None:
            panel.set_prop_cycle(color=[SYNTHETIC])
            draw_metric(panel, name, rows, ceiling_colour=REAL)

        return _panel(draw, "", alt, f"history {name}")

    panels = _panels([drawn(name, rows) for name, rows in read_metrics(history).items()])
    hint = '<p class="hint">Orange: the weights in training, on validation rows; blue: real images in their place.</p>'
    return Section("history", "During training", hint + panels)


def pareto_section(sweep: Table) -> Section:
    """Objectives of a sweep against each other, see `astro_galaxysd.evaluation.pareto.sweep_table`.

    Raises
    ------
    ConditionError
        If the sweep has fewer than two of the columns `astro_galaxysd.evaluation.pareto.OBJECTIVES`.
    """
    from astro_galaxysd.evaluation.pareto import OBJECTIVES, pareto_front

    names = [name for name in OBJECTIVES if name in sweep.colnames]
    if len(names) < 2:
        raise ConditionError(f"the sweep has columns {', '.join(sweep.colnames)}; give two of {', '.join(OBJECTIVES)}")
    told = _settings(sweep)
    labels = [", ".join(f"{name} {row[name]}" for name in told) for row in sweep]

    def drawn(x: str, y: str) -> str:
        front = pareto_front(sweep, {x: OBJECTIVES[x], y: OBJECTIVES[y]})
        best = "; ".join(labels[row] for row in np.flatnonzero(front["front"]))
        alt = f"{y} against {x} of {len(sweep)} settings; on the front: {best}"
        return _panel(lambda p: figures.pareto(p, front, x, y, labels=labels), "", alt, f"pareto {x} {y}", height=3.2)

    hint = (
        '<p class="hint">Each point is a setting. Filled and joined: those that no other setting outdoes in both '
        "objectives; further up and to the right is better.</p>"
    )
    return Section("pareto", "Trade-offs", hint + _panels([drawn(x, y) for x, y in pairs_of(names, 2)]))


def _settings(sweep: Table) -> list[str]:
    """Columns that tell the rows of a sweep apart: neither metrics, which have an error beside them, nor constant."""
    metrics = {name for name in sweep.colnames if f"{name}_error" in sweep.colnames}
    others = {*metrics, *(f"{name}_error" for name in metrics), "front"}
    return [name for name in sweep.colnames if name not in others and len(set(map(str, sweep[name]))) > 1]


def record_section(assessment: Assessment) -> Section:
    """Everything that is needed to repeat the evaluation."""
    text = json.dumps(assessment.record, indent=2, ensure_ascii=False, default=str)
    return Section("record", "Record", f'<pre tabindex="0">{escape(text)}</pre>')
