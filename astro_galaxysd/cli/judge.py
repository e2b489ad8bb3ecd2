"""``galaxysd evaluate`` and ``galaxysd sweep``."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astro_galaxysd.cli.inputs import named_path, read_named_table, use_threads
from astro_galaxysd.errors import ConditionError, UnknownNameError

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["run_evaluate", "run_sweep"]


def run_evaluate(options: argparse.Namespace) -> int:
    """Judge, write the report, print the figures over all."""
    from astro_galaxysd.assessment import assess
    from astro_galaxysd.evaluation.curves import read_metrics
    from astro_galaxysd.images.files import rehearse_folder
    from astro_galaxysd.reporting.report import is_report, write_report
    from astro_galaxysd.sweeping import read_sweep

    if not options.out:
        raise ConditionError("no output named; give -o FOLDER, for example -o report/")
    rehearse_folder(options.out, options.overwrite, ours=is_report)
    use_threads(options.threads)
    sweep = None if options.sweep is None else read_sweep(options.sweep)
    if options.history is not None:
        read_metrics(options.history)  # what is wrong with it is said before the work
    found = assess(
        named_path(options.real),
        named_path(options.synthetic),
        training=options.training,
        reconstructions=None if options.reconstructions is None else _table_or_weights(options.reconstructions),
        evaluators=options.evaluator,
        groups=None if options.groups == "none" else options.groups,
        n=options.n,
        **_shared(options),
    )
    place = write_report(
        found,
        options.out,
        sweep=sweep,
        history=options.history,
        blind=options.blind,
        overwrite=options.overwrite,
    )
    _print_figures(found.table)
    print(f"report   {place}")
    return 0


def _shared(options: argparse.Namespace) -> dict[str, Any]:
    """Arguments that judging and sweeping share."""
    return {
        "images": options.images,
        "schema": options.schema,
        "id_column": options.id_column,
        "reader": options.reader,
        "cache": options.cache,
        "rng": options.seed,
        "progress": not options.no_progress,
        **({"embedder": options.embedder} if "embedder" in options else {}),
    }


def _table_or_weights(name: str) -> Table | str:
    """A table that was read, or weights by their name or folder."""
    from astro_galaxysd.diffusion.components import is_weights_folder
    from astro_galaxysd.images.storage import read_table
    from astro_galaxysd.plugins.manager import get_registry

    known = get_registry().records_of("weights")
    if name in known or is_weights_folder(Path(name).expanduser()):
        return name
    if not Path(name).exists():
        raise UnknownNameError("table or weights", name, known, "The path of a table or of a weights folder will do.")
    return read_table(name)


def _print_figures(table: Table) -> None:
    """The figures over all: value, error, and what real galaxies score."""
    rows = [row for row in table if row["group"] == "all"]
    width = max((len(str(row["metric"])) for row in rows), default=0)
    for row in rows:
        arrow = "higher is better" if row["higher_is_better"] else "lower is better"
        told = f"{row['value']:>9.4g} ± {row['error']:<8.2g} real {row['ceiling']:>9.4g}  {arrow}"
        shown = row["note"] if math.isnan(row["value"]) else "  ".join(filter(None, [told, str(row["note"])]))
        print(f"{row['metric']!s:<{width}}  {shown}")


def run_sweep(options: argparse.Namespace) -> int:
    """Draw and judge every combination of settings, write and print the table."""
    from astro_galaxysd.images.files import atomic_path, rehearse_path
    from astro_galaxysd.sweeping import SETTINGS, sweep

    if not options.out:
        raise ConditionError("no output named; give -o FILE.ecsv")
    out = Path(options.out)
    rehearse_path(out, overwrite=True)
    use_threads(options.threads)
    over = {name: values for name in SETTINGS if (values := getattr(options, name)) is not None}
    log = out.with_name(f"{out.stem}.log.ecsv")
    table = sweep(read_named_table(options.real), over, n=options.n, out=log, **_shared(options))
    with atomic_path(out, overwrite=True) as partial:
        table.write(partial, format="ascii.ecsv", overwrite=True)
    shown = [*over, "nearest_real", "pairwise_distance", "consistency", "front"]
    print("\n".join(table[[name for name in shown if name in table.colnames]].pformat(max_lines=-1, max_width=-1)))
    print(f"sweep    {out}")
    return 0
