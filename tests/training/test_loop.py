from __future__ import annotations

import errno
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import cisoform.weights.store as store
from cisoform.errors import InputError
from cisoform.training.log import read_log
from cisoform.training.loop import fit
from cisoform.training.optim import learning_rate
from cisoform.training.protocols import Cost, Interrupted, Loss, Silent
from cisoform.weights.store import load_model, sha256_file
from tests.training.toy import Stop, StopAt, ToyBatch, ToySource, ToyTask, linear_task, toy_config, toy_model

ROOT = Path(__file__).resolve().parents[2]
TIMES = {"samples_per_s", "seconds", "mfu"}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def train(run_dir, config=None, task=None, progress=None, **options):
    options = {"device": "cpu", "description": {"recipe": "toy", "dataset_hash": "aa11"}} | options
    task = task or ToyTask()
    config = config or toy_config()
    return fit(task, ToySource(), ToySource(seed=1, rows=9), config, run_dir, progress=progress, **options)


def log_without_times(run_dir):
    return [
        {key: value for key, value in row.items() if key not in TIMES}
        for row in read_log(run_dir / "log.csv")
    ]


def assert_same_run(one, other):
    """Same tensors in checkpoint and model, same log but for its times."""
    assert log_without_times(one) == log_without_times(other)
    for folder in (one, other):
        assert len(list((folder / "last").iterdir())) == 2
    tensors = [next((folder / "last").glob("*.safetensors")) for folder in (one, other)]
    assert sha256_file(tensors[0]) == sha256_file(tensors[1])
    for name in ("model.safetensors", "config.json", "normaliser.json", "training.json"):
        assert (one / "model" / name).read_bytes() == (other / "model" / name).read_bytes()


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("runs") / "whole"
    train(run_dir)
    return run_dir


# 22 rows in batches of 4 are 6 batches, with 2 batches a step 3 steps an epoch: 9 steps in all.


@pytest.mark.parametrize("stop", range(1, 10))
def test_a_run_stopped_at_any_step_and_resumed_equals_the_uninterrupted_one(tmp_path, uninterrupted, stop):
    with pytest.raises(Stop):
        train(tmp_path / "run", progress=StopAt(stop))
    train(tmp_path / "run", resume=True)
    assert_same_run(tmp_path / "run", uninterrupted)


def test_a_run_stopped_again_and_again_equals_the_uninterrupted_one(tmp_path):
    config = toy_config(checkpoint_every=1, ema_decay=None)
    train(tmp_path / "whole", config)
    for stop in range(1, 10):
        with pytest.raises(Stop):
            train(tmp_path / "run", config, progress=StopAt(stop + 1 if stop < 9 else 9), resume=stop > 1)
    train(tmp_path / "run", config, resume=True)
    assert_same_run(tmp_path / "run", tmp_path / "whole")


def test_a_process_killed_with_sigkill_is_resumed_exactly(tmp_path, uninterrupted):
    def run(*words):
        command = [sys.executable, "-m", "tests.training.toy", str(tmp_path / "run"), *words]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True).returncode

    assert run("SIGKILL", "8") == -9
    rows = log_without_times(tmp_path / "run")
    assert [row["step"] for row in rows] == ["2", "4", "6"]
    assert run("resume") == 0
    assert log_without_times(tmp_path / "run") == log_without_times(uninterrupted)
    ours, whole = (load_model(folder).state for folder in (tmp_path / "run", uninterrupted))
    assert all(torch.equal(ours[name], whole[name]) for name in whole)


class Killed(BaseException):
    """Stands for the end of the process: nothing that catches errors catches it."""


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_run_killed_at_any_renaming_of_a_file_is_resumed_exactly(
    tmp_path, monkeypatch, uninterrupted, moment
):
    real, calls = Path.replace, 0

    def replace(path, target):
        nonlocal calls
        calls += 1
        done = real(path, target) if moment == "after" or calls < deadly else None
        if calls == deadly:
            raise Killed
        return done

    for deadly in range(3, 100, 3):  # the first two renamings put config.json and the log's head in place
        run_dir, calls = tmp_path / str(deadly), 0
        monkeypatch.setattr(Path, "replace", replace)
        try:
            train(run_dir)
        except Killed:
            monkeypatch.undo()
        else:
            break
        train(run_dir, resume=True)
        assert_same_run(run_dir, uninterrupted)
        assert sorted(path.name for path in run_dir.iterdir()) == ["config.json", "last", "log.csv", "model"]
    assert deadly > 10


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_ctrl_c_writes_a_checkpoint_and_says_how_to_go_on(tmp_path, uninterrupted, name):
    with pytest.raises(Interrupted, match=r"after step 5 of 9.*run.*--resume") as stopped:
        train(tmp_path / "run", progress=StopAt(5, name))
    assert isinstance(stopped.value, KeyboardInterrupt)
    assert (tmp_path / "run/last/tensors-000000005.safetensors").exists()
    train(tmp_path / "run", resume=True)
    assert_same_run(tmp_path / "run", uninterrupted)


class InterruptValidation(Silent):
    def validating(self, done: int, total: int) -> None:
        if done == 1:
            StopAt(0, "SIGINT").step(type("Report", (), {"step": 0})())


def test_ctrl_c_during_validation_resumes_with_that_validation(tmp_path, uninterrupted):
    with pytest.raises(Interrupted, match="after step 4 of 9"):
        train(tmp_path / "run", progress=InterruptValidation())
    assert [row["step"] for row in read_log(tmp_path / "run/log.csv")] == ["2"]
    # killed after that validation, before the next checkpoint: the row of step 4 must not come twice
    with pytest.raises(Stop):
        train(tmp_path / "run", progress=StopAt(5), resume=True)
    train(tmp_path / "run", resume=True)
    assert_same_run(tmp_path / "run", uninterrupted)


def test_signal_handlers_are_put_back(tmp_path):
    import signal

    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    train(tmp_path / "run")
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_a_time_budget_ends_with_a_checkpoint_and_can_be_raised(tmp_path, uninterrupted):
    result = train(tmp_path / "run", toy_config(max_minutes=1e-9))
    assert (result.reason, result.step) == ("minutes", 0)
    result = train(tmp_path / "run", toy_config(max_minutes=None), resume=True)
    assert (result.reason, result.step) == ("finished", 9)
    assert_same_run(tmp_path / "run", uninterrupted)


def test_a_finished_run_resumed_stays_as_it_is(tmp_path):
    first = train(tmp_path / "run")
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    again = train(tmp_path / "run", resume=True)
    assert (again.step, again.reason, again.best) == (first.step, "finished", first.best)
    assert {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()} == before


def test_a_run_killed_before_its_first_checkpoint_starts_anew(tmp_path, uninterrupted):
    with pytest.raises(Stop):
        train(tmp_path / "run", progress=StopAt(2))
    assert not (tmp_path / "run/last").exists()
    train(tmp_path / "run", resume=True)
    assert_same_run(tmp_path / "run", uninterrupted)


def test_validating_more_often_does_not_change_the_training(tmp_path, uninterrupted):
    train(tmp_path / "run", toy_config(validate_every=1, log_every=1, checkpoint_every=100))
    ours, whole = (
        store.load_file(next((folder / "last").glob("*.safetensors")))
        for folder in (tmp_path / "run", uninterrupted)
    )
    assert all(torch.equal(ours[name], whole[name]) for name in whole)


def test_training_leaves_the_callers_random_numbers_alone(tmp_path):
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    train(tmp_path / "run")
    assert torch.equal(torch.rand(4), expected)


def test_two_accumulated_batches_are_one_batch_of_twice_the_size(tmp_path):
    # No batch norm and no dropout: they see a batch. 22 rows: 5 batches of 4 and one of 2, or 2 of 8 and one of 6.
    results = []
    for size, accumulate in ((4, 2), (8, 1)):
        task = linear_task()
        config = toy_config(accumulate=accumulate, clip=None, optimiser="adam")
        fit(task, ToySource(size=size), None, config, tmp_path / f"run{size}", device="cpu")
        results.append(task.model[0].weight.detach().clone())
    torch.testing.assert_close(results[0], results[1], rtol=1e-4, atol=1e-6)


def test_a_batch_without_labels_does_not_move_the_gradient(tmp_path):
    class NoLabels(ToyTask):
        def loss(self, batch: ToyBatch) -> Loss:
            return Loss(total=0.0 * super().loss(batch).total, weight=torch.tensor(0.0))

    task = NoLabels()
    before = {name: value.clone() for name, value in task.model.named_parameters()}
    fit(task, ToySource(), None, toy_config(weight_decay=0.0), tmp_path / "run", device="cpu")
    assert all(torch.equal(value, before[name]) for name, value in task.model.named_parameters())
    assert all(row["train_loss"] == "" for row in read_log(tmp_path / "run/log.csv"))


def test_the_toy_task_is_learnt_and_the_saved_model_is_the_best_average(tmp_path):
    seen = []

    class Watch(Silent):
        def validated(self, report):
            seen.append(report)

    task = ToyTask(toy_model(dropout=0.0))
    config = toy_config(epochs=20, validate_every=None, checkpoint_every=1000, log_every=1000, lr=0.05)
    source, valid = ToySource(rows=200, size=20), ToySource(seed=0, rows=40)
    result = fit(task, source, valid, config, tmp_path / "run", device="cpu", progress=Watch())
    values = [report.metrics["mse"] for report in seen]
    assert len(values) == 20 and result.best["mse"] == min(values) < 0.2 * values[0]
    assert result.best_step == next(report.step for report in seen if report.metrics["mse"] == min(values))
    stored = load_model(tmp_path / "run")
    assert stored.config == {"inputs": 6} and stored.files["normaliser.json"] == {"mean": [0.5]}
    assert stored.files["training.json"]["step"] == result.best_step
    # The model on disk gives the validation's value: it is the average that was validated, not the raw weights.
    task.model.load_state_dict(stored.state)
    task.model.eval()
    with torch.no_grad():
        assert task.validate(valid.epoch(0))["mse"] == result.best["mse"]


def test_training_stops_early_when_patience_runs_out(tmp_path):
    class Worse(ToyTask):
        calls = 0

        def validate(self, batches):
            self.calls += 1
            return {"mse": 1.0 if self.calls == 2 else 2.0, "bias": 0.0}

    config = toy_config(epochs=None, max_steps=100, validate_every=1, patience=3)
    result = fit(Worse(), ToySource(), ToySource(seed=1), config, tmp_path / "run", device="cpu")
    # validations after steps 1 to 5: 2, 1 (best), 2, 2, 2
    assert (result.reason, result.step, result.best_step, result.best["mse"]) == ("early", 5, 2, 1.0)
    again = fit(Worse(), ToySource(), ToySource(seed=1), config, tmp_path / "run", device="cpu", resume=True)
    assert (again.reason, again.step) == ("early", 5)


def test_patience_survives_a_resume(tmp_path):
    class Worse(ToyTask):
        def validate(self, batches):
            return {"mse": 1.0, "bias": 0.0}

    config = toy_config(epochs=None, max_steps=100, validate_every=1, patience=4, checkpoint_every=1)
    sources = ToySource(), ToySource(seed=1)
    with pytest.raises(Stop):
        fit(Worse(), *sources, config, tmp_path / "run", device="cpu", progress=StopAt(4))
    assert fit(Worse(), *sources, config, tmp_path / "run", device="cpu", resume=True).step == 5


def test_the_log_has_a_row_per_logged_step_with_rate_and_mfu(tmp_path):
    cost = Cost(flops=lambda batch: 1e6 * len(batch), peak=1e12)
    train(tmp_path / "run", cost=cost)
    rows = read_log(tmp_path / "run/log.csv")
    assert [(row["step"], row["epoch"]) for row in rows] == [
        ("2", "1"), ("4", "2"), ("6", "2"), ("8", "3"), ("9", "3")
    ]  # fmt: skip
    assert [bool(row["valid_mse"]) for row in rows] == [False, True, False, True, True]
    for row in rows:
        assert float(row["lr"]) == learning_rate(int(row["step"]) - 1, 9, toy_config())
        assert float(row["samples_per_s"]) > 0 and 0 < float(row["mfu"]) < 1
    assert [float(row["seconds"]) for row in rows] == sorted(float(row["seconds"]) for row in rows)
    assert float(rows[-1]["lr"]) == 0.0


def test_progress_hears_every_step_and_the_plan(tmp_path):
    heard = []

    class Hear(Silent):
        def start(self, plan):
            heard.append(("start", plan.total_steps, plan.first_step, plan.trainable, plan.device))

        def step(self, report):
            heard.append((report.step, report.epoch, report.eta_s >= 0))

        def finish(self, result):
            heard.append(("finish", result.reason))

    train(tmp_path / "run", progress=Hear())
    # Parameters: 6 * 7 + 7, batch norm 7 + 7, 7 + 1.
    assert heard[0] == ("start", 9, 0, 71, "cpu") and heard[-1] == ("finish", "finished")
    assert heard[1:-1] == [(step, (step + 2) // 3, True) for step in range(1, 10)]


def test_the_loop_prints_nothing(tmp_path, capfd):
    train(tmp_path / "run")
    assert capfd.readouterr() == ("", "")


def test_bfloat16_autocast_reaches_the_model(tmp_path):
    seen = set()

    class Watch(ToyTask):
        def loss(self, batch):
            seen.add(self.model[0](batch.inputs).dtype)
            return super().loss(batch)

    task = Watch()
    train(tmp_path / "run", toy_config(bf16=True, max_steps=2), task=task)
    assert seen == {torch.bfloat16}
    assert {value.dtype for value in task.model.parameters()} == {torch.float32}


def test_without_validation_the_last_weights_are_the_model(tmp_path):
    task = ToyTask()
    result = fit(task, ToySource(), None, toy_config(ema_decay=None), tmp_path / "run", device="cpu")
    state = load_model(tmp_path / "run").state
    assert result.best_step is None and all(
        torch.equal(state[k], v) for k, v in task.model.state_dict().items()
    )


# --- errors ---------------------------------------------------------------------------------------------------


def test_a_folder_that_holds_a_run_is_not_overwritten(tmp_path, uninterrupted):
    with pytest.raises(InputError, match=r"whole: already holds a run \(config.json\).*--resume"):
        train(uninterrupted)


def test_resuming_nothing_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no run to resume"):
        train(tmp_path / "run", resume=True)
    assert not (tmp_path / "run").exists()


def test_resuming_with_another_config_names_the_keys_and_both_values(tmp_path):
    train(tmp_path / "run", toy_config(max_steps=1))
    description = {"recipe": "other", "dataset_hash": "aa11", "size": {"dim": 8}}
    with pytest.raises(InputError) as error:
        train(tmp_path / "run", toy_config(max_steps=1, lr=0.01), resume=True, description=description)
    said = str(error.value)
    assert 'run.recipe is "toy" in the run and "other" now' in said
    assert "run.size.dim is absent in the run and 8 now" in said
    assert "train.lr is 0.05 in the run and 0.01 now" in said and "\n" not in said


def test_resuming_on_another_data_set_is_refused(tmp_path):
    train(tmp_path / "run", toy_config(max_steps=1))
    with pytest.raises(InputError, match='another data set: its hash is "aa11" in the run and "bb22" now'):
        train(tmp_path / "run", toy_config(max_steps=1), resume=True, description={"dataset_hash": "bb22"})


def test_resuming_with_another_model_names_a_parameter(tmp_path):
    train(tmp_path / "run", toy_config(max_steps=1))
    task = ToyTask(nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 1), nn.Flatten(0)))
    with pytest.raises(
        InputError, match=r"run: .*0.weight has shape \(7, 6\) in it and \(5, 6\) in the model"
    ):
        train(tmp_path / "run", toy_config(max_steps=1), task=task, resume=True)


@pytest.mark.parametrize("pattern", ["tensors-*.safetensors", "state.json"])
def test_a_flipped_byte_in_the_checkpoint_is_found(tmp_path, pattern):
    train(tmp_path / "run")
    path = next((tmp_path / "run/last").glob(pattern))
    content = bytearray(path.read_bytes())
    position = content.index(b'"step": 9') + 8 if pattern == "state.json" else len(content) - 5
    content[position] ^= 1
    path.write_bytes(content)
    with pytest.raises(
        InputError, match=rf"{path.name}: the file is damaged.* sha256 is \w{{64}}, but \w{{64}}"
    ):
        train(tmp_path / "run", resume=True)


def full_disk(*_arguments):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("place", ["tensors", "state"])
def test_a_full_disk_leaves_the_previous_checkpoint_and_can_be_resumed(
    tmp_path, monkeypatch, uninterrupted, place
):
    class FillDisk(Silent):
        def step(self, report):
            if report.step == 5:
                target = (store, "_save_file") if place == "tensors" else (Path, "replace")
                monkeypatch.setattr(*target, full_disk)

    with pytest.raises(InputError, match="No space left on device.*checkpoint of step 3 is intact") as error:
        train(tmp_path / "run", progress=FillDisk())
    assert "\n" not in str(error.value)
    monkeypatch.undo()
    names = sorted(path.name for path in (tmp_path / "run/last").iterdir())
    assert names == ["state.json", "tensors-000000003.safetensors"]
    assert not list((tmp_path / "run").rglob("*partial*"))
    train(tmp_path / "run", resume=True)
    assert_same_run(tmp_path / "run", uninterrupted)


def test_safetensors_own_full_disk_error_is_recognised(tmp_path, monkeypatch):
    def fail(*_arguments):
        raise store.SafetensorError(
            "Error while serializing: I/O error: No space left on device (os error 28)"
        )

    monkeypatch.setattr(store, "save_file", fail)
    with pytest.raises(InputError, match=r"No space left on device; free some space"):
        store.write_tensors(tmp_path / "x.safetensors", {"a": torch.zeros(2)})


def test_a_full_disk_while_logging_leaves_no_half_row(tmp_path, monkeypatch, uninterrupted):
    class FillDisk(Silent):
        def step(self, report):
            if report.step == 6:
                monkeypatch.setattr("os.fsync", full_disk)

    with pytest.raises(InputError, match="log.csv: cannot be written: No space left.*checkpoint of step 3"):
        train(tmp_path / "run", progress=FillDisk())
    monkeypatch.undo()
    assert [row["step"] for row in read_log(tmp_path / "run/log.csv")] == ["2", "4"]
    assert (tmp_path / "run/log.csv").read_text().endswith("\n")
    train(tmp_path / "run", resume=True)
    assert_same_run(tmp_path / "run", uninterrupted)


def test_a_half_written_last_row_is_dropped_on_resume(tmp_path, uninterrupted):
    with pytest.raises(Stop):
        train(tmp_path / "run", progress=StopAt(5))
    with (tmp_path / "run/log.csv").open("a") as handle:
        handle.write("6,2,0.1")
    (tmp_path / "run/model.partial-123").mkdir()
    train(tmp_path / "run", resume=True)
    assert_same_run(tmp_path / "run", uninterrupted)
    assert not (tmp_path / "run/model.partial-123").exists()


def test_a_loss_that_is_not_a_number_stops_with_a_message(tmp_path):
    class Diverges(ToyTask):
        def loss(self, batch):
            loss = super().loss(batch)
            return Loss(total=loss.total * math.inf, weight=loss.weight)

    with pytest.raises(InputError, match=r"training loss became nan at or before step 2 \(lr 0.05\)"):
        train(tmp_path / "run", task=Diverges())


def test_an_empty_epoch_is_refused(tmp_path):
    with pytest.raises(InputError, match="has no batch"):
        fit(ToyTask(), ToySource(rows=0), None, toy_config(), tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()


def test_a_frozen_model_is_refused(tmp_path):
    task = ToyTask()
    task.model.requires_grad_(False)
    with pytest.raises(InputError, match="no trainable parameter"):
        train(tmp_path / "run", task=task)


def test_two_processes_train_as_one_with_their_batches_joined(tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"]
    command += ["-m", "tests.training.toy", str(tmp_path / "two"), "parallel"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    # Not the exit code: gloo can abort a process while it exits. The run is judged by what it has written.
    assert (tmp_path / "two/last/tensors-000000009.safetensors").exists(), done.stderr
    train(tmp_path / "one", toy_config(accumulate=2), task=linear_task())
    for one, two in zip(*(log_without_times(tmp_path / name) for name in ("one", "two")), strict=True):
        assert (one["step"], one["epoch"], one["lr"]) == (two["step"], two["epoch"], two["lr"])
        for name in ("train_loss", "valid_mse"):
            assert (one[name] or two[name]) == "" or float(one[name]) == pytest.approx(
                float(two[name]), rel=1e-4
            )
    states = [load_model(tmp_path / name).state for name in ("one", "two")]
    torch.testing.assert_close(states[0], states[1], rtol=1e-4, atol=1e-5)
