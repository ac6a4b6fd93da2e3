"""`cisoform regulation`: the commands of the regulatory system (CREformer), from the modules `regulation_*`."""

from __future__ import annotations

import typer

from cisoform.cli import (
    regulation_features,
    regulation_fit,
    regulation_genes,
    regulation_grn,
    regulation_links,
    regulation_masters,
    regulation_perturb,
    regulation_regions,
    regulation_report,
    regulation_scale,
    regulation_score,
    regulation_targets,
    regulation_transition,
    regulation_variants,
)

app = typer.Typer(help="Expression from accessible peaks and tracks (CREformer).", no_args_is_help=True)

regulation_regions.add_commands(app)
regulation_genes.add_commands(app)
regulation_fit.add_commands(app)
regulation_score.add_commands(app)
regulation_links.add_commands(app)
regulation_perturb.add_commands(app)
regulation_variants.add_commands(app)
regulation_features.add_commands(app)
regulation_masters.add_commands(app)
regulation_transition.add_commands(app)
regulation_targets.add_commands(app)
regulation_scale.add_commands(app)
regulation_grn.add_commands(app)
regulation_report.add_commands(app)
