from matplotlib import pyplot

from cisoform.report.ablation import draw_table


def row(name, label):
    scores = {"r2": 0.2, "spearman": 0.4, "r2_ci": [0.1, 0.3], "r2_seeds": [0.19, 0.21]}
    return {"name": name, "label": label, "scores": {"mean": scores}, "paper": None}


def test_long_labels_leave_room_for_the_bars():
    long = "dna, rna, protein pre-trained, tuned (-256 to +128 bp, the last 900 nt, the first 64 residues, no exchange)"
    content = {
        "table": "pretraining",
        "split": "test",
        "recipe": "ablate",
        "reference": "plain",
        "rows": [row("plain", "the recipe's own encoders"), row("long", long)],
        "baselines": [row("trees", "boosted trees")],
    }
    figure = draw_table(content)
    figure.canvas.draw()  # warns, which fails here, where the axes have no room
    (axes,) = figure.axes
    assert axes.get_position().width > 0.4
    assert " ".join(axes.get_yticklabels()[1].get_text().split("\n")) == long
    pyplot.close(figure)
