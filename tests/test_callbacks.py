"""scikit-learn's callbacks (sklearn.callback) on the MLP estimators: one task an epoch."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from estimators import TARGETS, estimator, output, problem
from nnfast import _training

callback = pytest.importorskip("sklearn.callback", reason="scikit-learn has callbacks from 1.9 on")
ProgressBar, ScoringMonitor = callback.ProgressBar, callback.ScoringMonitor

SOLVERS = {"adam": "epoch", "sgd": "epoch", "lbfgs": "lbfgs-iter"}


class Recorder:
    """A callback that keeps what it is told, and asks to stop at the end of the given task."""

    def __init__(self, stop_after=None):
        self.stop_after = stop_after
        self.calls = []
        self.models = []
        self.data = []

    def setup(self, estimator, context):
        self.calls.append(("setup", context.task_name, context.task_id))

    def teardown(self, estimator, context):
        self.calls.append(("teardown", context.task_name, context.task_id))

    def on_fit_task_begin(self, estimator, context, *, fitted_estimator=None):
        self.calls.append(("begin", context.task_name, context.task_id))

    def on_fit_task_end(self, estimator, context, *, X=None, y=None, metadata=None, fitted_estimator=None):
        self.calls.append(("end", context.task_name, context.task_id))
        self.max_subtasks = context.parent.max_subtasks if context.parent else None
        if context.parent:
            self.models.append(fitted_estimator)
            self.data.append((X, y, metadata))
            return self.stop_after == context.task_id
        return None


class Deaf(Recorder):
    """A callback that wants nothing but to be called."""

    def on_fit_task_begin(self, estimator, context):
        super().on_fit_task_begin(estimator, context)

    def on_fit_task_end(self, estimator, context):
        self.calls.append(("end", context.task_name, context.task_id))


def run(target, recorder, **parameters):
    _, X, y = problem(target)
    model = estimator(target, **parameters).set_callbacks(recorder)
    return model.fit(X, y), X, y


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("target", TARGETS)
def test_every_epoch_is_a_task(target, solver):
    recorder = Recorder()
    model, X, y = run(target, recorder, solver=solver)
    assert model.n_iter_ == 5
    tasks = [(step, SOLVERS[solver], i) for i in range(5) for step in ("begin", "end")]
    fit = ("fit", 0)
    assert recorder.calls == [("setup", *fit), ("begin", *fit), *tasks, ("end", *fit), ("teardown", *fit)]
    np.testing.assert_array_equal(output(recorder.models[-1], X), output(model, X))
    for i, part in enumerate(recorder.models):
        alone = estimator(target, solver=solver, max_iter=i + 1).fit(X, y)
        np.testing.assert_array_equal(output(part, X), output(alone, X))
    assert all(data[0] is X and data[1] is y and data[2] is None for data in recorder.data)
    plain = estimator(target, solver=solver).fit(X, y)
    np.testing.assert_array_equal(output(plain, X), output(model, X))
    assert not {name for name in vars(model) if "callback" in name} - {"_skl_callbacks"}


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_callback_may_stop_the_fit(solver, recwarn):
    recorder = Recorder(stop_after=2)
    model, X, y = run("regression", recorder, solver=solver, max_iter=50)
    assert [w for w in recwarn if issubclass(w.category, ConvergenceWarning)] == []
    assert model.n_iter_ == 3
    assert recorder.calls[-3:-1] == [("end", SOLVERS[solver], 2), ("end", "fit", 0)]
    same = estimator("regression", solver=solver, max_iter=3).fit(X, y)
    np.testing.assert_array_equal(output(model, X), output(same, X))


def test_a_stop_keeps_the_best_weights():
    recorder = Recorder(stop_after=30)
    model, X, _ = run("multiclass", recorder, early_stopping=True, n_iter_no_change=np.inf, max_iter=200)
    assert model.n_iter_ == 31
    best = int(np.argmax(model.validation_scores_))
    assert best < 30
    np.testing.assert_array_equal(output(model, X), output(recorder.models[best], X))


@pytest.mark.parametrize("solver", SOLVERS)
def test_nothing_is_copied_for_those_who_do_not_ask(solver, monkeypatch):
    _, X, y = problem("regression")
    snapshots = []
    monkeypatch.setattr(_training.Training, "snapshot", counted(_training.Training.snapshot, snapshots))
    monkeypatch.setattr(_training.Objective, "unpack", counted(_training.Objective.unpack, snapshots))
    estimator("regression", solver=solver).fit(X, y)
    without = len(snapshots)
    snapshots.clear()
    deaf = Deaf()
    estimator("regression", solver=solver).set_callbacks(deaf).fit(X, y)
    assert len(deaf.calls) == 14
    assert len(snapshots) == without
    snapshots.clear()
    estimator("regression", solver=solver).set_callbacks(Recorder()).fit(X, y)
    assert len(snapshots) == without + 10  # the beginning and the end of each epoch


def counted(method, calls):
    def counting(*arguments):
        calls.append(method)
        return method(*arguments)

    return counting


def test_weights_of_the_rows_are_told():
    _, X, y = problem("regression")
    recorder, weights = Recorder(), np.linspace(1, 2, len(X))
    estimator("regression").set_callbacks(recorder).fit(X, y, sample_weight=weights)
    assert recorder.data[0][2] == {"sample_weight": weights}


def test_a_callback_that_fails_is_torn_down():
    class Failing(Recorder):
        def on_fit_task_end(self, estimator, context):
            raise RuntimeError("no more")

    recorder = Failing()
    _, X, y = problem("regression")
    model = estimator("regression").set_callbacks(recorder)
    with pytest.raises(RuntimeError, match="no more"):
        model.fit(X, y)
    assert recorder.calls[-1] == ("teardown", "fit", 0)
    model.set_callbacks().fit(X, y)
    assert not hasattr(model, "_skl_callbacks")


def test_bad_data_leaves_nothing_behind():
    recorder = Recorder()
    _, X, y = problem("regression")
    model = estimator("regression").set_callbacks(recorder)
    with pytest.raises(ValueError):
        model.fit(X[:, 0], y)
    assert recorder.calls == []
    assert model.fit(X, y).n_iter_ == 5


def test_partial_fit_and_predict_tell_nothing():
    recorder = Recorder()
    model, X, y = run("regression", recorder)
    before = len(recorder.calls)
    model.partial_fit(X, y).predict(X)
    assert len(recorder.calls) == before


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("scoring", ["neg_mean_squared_error", ("r2", "neg_mean_squared_error")])
def test_scoring_monitor(scoring, solver):
    monitor = ScoringMonitor(scoring=scoring)
    model, X, y = run("regression", monitor, solver=solver)
    rows = monitor.get_logs().data
    epochs = [row for row in rows if row["task_name"] == SOLVERS[solver]]
    assert [row["task_id"] for row in epochs] == list(range(5))
    key = scoring if isinstance(scoring, str) else scoring[0]
    scores = [row[key] for row in epochs]
    mse = -np.mean((y - model.predict(X)) ** 2)
    assert scores[-1] == pytest.approx(mse if key.startswith("neg") else model.score(X, y), rel=1e-12)
    assert len(set(scores)) == 5


def test_scoring_monitor_of_data_frames_and_sparse_data():
    pd = pytest.importorskip("pandas")
    _, X, y = problem("multiclass")
    for data in (pd.DataFrame(X, columns=[f"x{i}" for i in range(X.shape[1])]), scipy.sparse.csr_array(X)):
        monitor = ScoringMonitor(scoring="accuracy")
        model = estimator("multiclass").set_callbacks(monitor).fit(data, y)
        assert monitor.get_logs().data[-1]["accuracy"] == model.score(data, y)


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_scoring_monitor_in_pipeline_and_search(solver):
    _, X, y = problem("multiclass")
    monitor = ScoringMonitor(scoring="accuracy")
    pipeline = make_pipeline(StandardScaler(), estimator("multiclass", solver=solver).set_callbacks(monitor))
    pipeline.fit(X, y)
    epochs = [row for row in monitor.get_logs().data if row["task_name"] == SOLVERS[solver]]
    assert [row["task_id_path"][-2:] for row in epochs] == [(1, i) for i in range(5)]
    assert epochs[-1]["accuracy"] == pipeline.score(X, y)

    search = GridSearchCV(clone(pipeline), {"mlpclassifier__alpha": [0.1, 1.0]}, cv=2)
    search.fit(X, y)
    monitor = search.best_estimator_[-1]._skl_callbacks[0]
    epochs = [row for row in monitor.get_logs().data if row["task_name"] == SOLVERS[solver]]
    assert len(epochs) == 5 * 5  # four fits and the last


@pytest.mark.parametrize("n_jobs", [None, 2])
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_progress_bar_alone_in_pipeline_and_in_search(solver, n_jobs, capsys):
    pytest.importorskip("rich")
    _, X, y = problem("multiclass")
    model = estimator("multiclass", solver=solver)
    fits = {
        "MLPClassifier": model,
        "Pipeline": make_pipeline(StandardScaler(), model),
        "GridSearchCV": GridSearchCV(
            make_pipeline(StandardScaler(), model), {"mlpclassifier__alpha": [0.1, 1.0]}, cv=2, n_jobs=n_jobs
        ),
    }
    for name, fit in fits.items():
        clone(fit).set_callbacks(ProgressBar()).fit(X, y)
        text = capsys.readouterr().out
        assert name in text
        assert "100%" in text


def test_pickles_with_its_callbacks():
    import pickle

    model, X, _ = run("regression", Recorder())
    other = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(output(other, X), output(model, X))
    assert len(other._skl_callbacks) == len(clone(model)._skl_callbacks) == 1
